// The rules that failed attempts are counted by (protocol.md, Lockouts). Configuration: lockout.*.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace portcullis::core {

enum class lockout_scope : std::uint8_t { user, user_source };
/// In the order of lockout_scope.
inline constexpr std::array<std::string_view, 2> lockout_scope_names = {"user", "user_source"};

struct lockout_policy {
  std::uint32_t threshold = 10;
  std::int64_t window_s = 900;    // fixed, from the first failure
  std::int64_t duration_s = 900;  // from the lock
  lockout_scope scope = lockout_scope::user;
  std::uint32_t user_threshold = 100;  // over all sources, with scope user_source
  std::int64_t repeat_collapse_s =
      0;  // > 0: the same failing context of a session counts once in that time
  bool revoke_offending = false;
  std::uint32_t source_threshold = 0;  // 0: off
  friend bool operator==(const lockout_policy&, const lockout_policy&) = default;
};

}  // namespace portcullis::core
