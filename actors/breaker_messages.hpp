// What is said to and by the breaker actors.
#pragma once
#include <optional>
#include <vector>

#include "actors/messages.hpp"
#include "core/breaker/set.hpp"

namespace portcullis::actors {

/// A shard's breakers as they are committed.
struct load_breakers {
  std::uint32_t shard = 0;
};
struct breakers_loaded {
  std::vector<core::stored_breaker> breakers;
  std::optional<core::error> why;
  std::uint64_t position = 0;  // of the log, up to which they are what it says
};
/// breaker.list: those after this one, by creation, of services that the caller sees.
struct list_breakers_after {
  std::uint64_t number = 0;
  std::uint32_t limit = 0;
  const core::caller* who = nullptr;
};
struct breakers_listed {
  struct row {
    std::uint64_t number = 0;
    core::breaker_row what;
  };
  std::vector<row> rows;
  std::uint64_t order = 0;  // that the numbers are of
  bool more = false;
};
struct collect_breakers {};

/// The store's own breaker (portcullis/store) stands before the journal's writes. What became of
/// them since the last report, in order; `permit`: the one that a half-open phase let through, for
/// the last of them.
struct store_attempts {
  struct attempt {
    bool good = false;
    core::millis duration_ms = 0;
  };
  std::vector<attempt> all;
  std::optional<core::breaker_permit> permit;
};
/// To the journal: whether it may write, or try to.
struct store_gate {
  bool open = true;
  std::optional<core::breaker_permit> permit;
};

using breakers_collected = collected<monitoring::breaker_shard_tallies>;

}  // namespace portcullis::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::load_breakers)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::breakers_loaded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::list_breakers_after)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::breakers_listed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::collect_breakers)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::store_attempts)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::store_gate)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::breakers_collected)
