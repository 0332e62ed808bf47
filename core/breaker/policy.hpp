// The rules of hosted breakers (configuration `breaker.*`).
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/breaker/types.hpp"

namespace portcullis::core {

enum class window_kind : std::uint8_t { time, count };
inline constexpr std::array<std::string_view, 2> window_kind_names = {"time", "count"};

/// What callers are told while nodes that share breakers cannot reach their log.
enum class store_down_rule : std::uint8_t { local, fail_open, fail_closed };
inline constexpr std::array<std::string_view, 3> store_down_rule_names = {"local", "fail_open",
                                                                          "fail_closed"};

struct breaker_policy {
  window_kind window = window_kind::time;
  std::int64_t window_s = 60;         // time: how far back calls count
  std::uint32_t window_buckets = 10;  // time: in steps of window_s / window_buckets
  std::uint32_t window_calls = 100;   // count: how many calls count
  std::int64_t window_age_s = 600;    // count: older ones do not
  std::uint32_t min_calls = 20;       // never more than a count window holds: calls_needed()
  double failure_rate_threshold = 0.5;
  std::int64_t slow_call_ms = 60'000;  // longer than this is slow
  double slow_rate_threshold = 1.0;
  std::uint32_t consecutive_failures = 0;  // 0: off
  millis open_wait_ms = 60'000;            // doubled by each failed half-open phase
  millis open_wait_max_ms = 300'000;       // before the jitter
  double open_wait_jitter = 0.2;           // +- this part
  std::uint32_t half_open_permits = 10;
  std::uint32_t half_open_concurrency = 1;
  millis max_half_open_ms = 30'000;
  millis permit_ttl_ms = 30'000;
  bool auto_half_open = true;  // when the wait is over, not when a caller comes
  millis retire_after_ms = 86'400'000;
  std::uint32_t trip_quorum = 2;  // of several nodes: so many must have failures to open it for all
  store_down_rule store_down = store_down_rule::local;
  friend bool operator==(const breaker_policy&, const breaker_policy&) = default;

  [[nodiscard]] std::uint32_t calls_needed() const noexcept {
    return window == window_kind::count && window_calls < min_calls ? window_calls : min_calls;
  }
};

/// The breaker that stands before this server's own store.
inline constexpr std::string_view own_service = "portcullis";
inline constexpr std::string_view store_breaker = "store";
inline constexpr std::string_view store_breaker_pattern = "portcullis/store";
[[nodiscard]] constexpr bool is_the_stores(const breaker_name& name) noexcept {
  return name == breaker_name{own_service, store_breaker};
}
/// Its policy where configuration has none for it: opens within a second, tries again as soon.
[[nodiscard]] constexpr breaker_policy store_breaker_policy() noexcept {
  breaker_policy policy;
  policy.window_s = 10;
  policy.min_calls = 5;
  policy.consecutive_failures = 3;
  policy.open_wait_ms = 500;
  policy.open_wait_max_ms = 5'000;
  policy.half_open_permits = 1;
  return policy;
}

/// The policies of all breakers: the default, and those of `[breaker."SERVICE/BREAKER"]`, where
/// either part may be `*`. The most specific one holds as a whole: the name itself, then
/// SERVICE/*, then */BREAKER.
struct breaker_book {
  breaker_policy fallback;
  std::map<std::string, breaker_policy, std::less<>> patterns;
  std::uint32_t breakers_max = 500;

  [[nodiscard]] const breaker_policy& of(const breaker_name& name) const;
};
/// Whether the text is SERVICE/BREAKER with a name or `*` for each.
[[nodiscard]] bool is_breaker_pattern(std::string_view text) noexcept;

}  // namespace portcullis::core
