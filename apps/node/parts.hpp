// What the node's parts share. Private to apps/node.
#pragma once
#include <string>
#include <string_view>

#include "monitoring/log.hpp"
#include "net/rpc/encode.hpp"

namespace portcullis::apps {

/// Tells why, and ends the process without another word to anybody.
[[noreturn]] void die(std::string_view why);
/// This thread's.
[[nodiscard]] net::correlation_maker& made_up();
[[nodiscard]] std::string make_correlation_id();

}  // namespace portcullis::apps
