// What an error of a Redis server means for whoever asked. Pure.
#pragma once
#include <optional>

#include "core/error/catalogue.hpp"
#include "net/redis/reply.hpp"

namespace portcullis::net::redis {

/// The error for a reply by which the server says that it, and not the command, is the trouble:
/// STORE_FULL "oom", STORE_UNAVAILABLE with the reply's first word in lower case as its rule
/// ("loading", "readonly", "masterdown", "noauth", "wrongpass", "noperm", "clusterdown",
/// "tryagain", "busy", "misconf", "noreplicas"). Absent for all else, which is a reply like any.
[[nodiscard]] std::optional<core::error> fault_of(const reply& what) noexcept;

/// Whether a server was asked, and says that it does not take such commands now, or from us.
[[nodiscard]] bool is_refusal(const core::error& why) noexcept;
/// Whether the server may have another role than was thought: READONLY, MASTERDOWN.
[[nodiscard]] bool is_wrong_role(const core::error& why) noexcept;

/// An error of `rule`: STORE_UNAVAILABLE.
[[nodiscard]] constexpr core::error unavailable(std::string_view rule,
                                                const char* file = __builtin_FILE(),
                                                unsigned line = __builtin_LINE(),
                                                const char* function = __builtin_FUNCTION()) {
  return core::fail(core::error_code::STORE_UNAVAILABLE, {}, rule, -1, file, line, function);
}

/// A server's words, printable and at most limits::detail_bytes_max, for a log.
[[nodiscard]] std::string shown(std::string_view text);

}  // namespace portcullis::net::redis
