// The bounds of one message that configuration may change.
#pragma once
#include "core/limits.hpp"

namespace portcullis::net {

struct message_limits {
  std::size_t value_bytes_max = core::limits::value_bytes_max;
  std::size_t nesting_depth_max = core::limits::nesting_depth_max;
  std::size_t batch_entries_max = core::limits::batch_entries_max;
  std::size_t data_bytes_max = core::limits::data_bytes_max;
  /// A context needs no `ip`: the connection has one.
  bool context_ip_optional = false;
};

}  // namespace portcullis::net
