// When calls that were counted are too many failures: what a hosted breaker judges by, and what an
// explanation of its past judges again.
#pragma once
#include <algorithm>
#include <cmath>
#include <optional>

#include "core/breaker/policy.hpp"

namespace portcullis::core {

/// Calls that took place, and those among them that failed or were slow.
struct judged_calls {
  std::uint64_t calls = 0, failures = 0, slow = 0;
};
/// Failure and slow rate; absent below the calls that are needed.
struct call_rates {
  std::optional<double> failure, slow;
};

[[nodiscard]] inline double share_of(std::uint64_t part, std::uint64_t whole) noexcept {
  return static_cast<double>(part) / static_cast<double>(whole);
}
[[nodiscard]] inline call_rates rates_of(const judged_calls& of, std::uint64_t needed) noexcept {
  if (of.calls == 0 || of.calls < needed) return {};
  return {share_of(of.failures, of.calls), share_of(of.slow, of.calls)};
}
/// Which rate is at its threshold; absent: none.
[[nodiscard]] inline std::optional<breaker_cause> breach_of(const call_rates& rates,
                                                            const breaker_policy& policy) noexcept {
  if (rates.failure && *rates.failure >= policy.failure_rate_threshold)
    return breaker_cause::failure_rate;
  if (rates.slow && *rates.slow >= policy.slow_rate_threshold) return breaker_cause::slow_rate;
  return std::nullopt;
}
/// How a half-open phase ends, as soon as nothing can change that; absent: it goes on.
[[nodiscard]] inline std::optional<breaker_cause> outcome_of_round(
    const judged_calls& of, const breaker_policy& policy) noexcept {
  const auto whole = std::max<std::uint64_t>(policy.half_open_permits, of.calls);
  if (share_of(of.failures, whole) >= policy.failure_rate_threshold)
    return breaker_cause::probe_failed;
  if (share_of(of.slow, whole) >= policy.slow_rate_threshold) return breaker_cause::probe_slow;
  if (of.calls >= policy.half_open_permits) return breaker_cause::probe_succeeded;
  return std::nullopt;
}
/// How long it stays open after so many half-open phases that failed, in milliseconds, before the
/// jitter.
[[nodiscard]] inline double open_wait_of(const breaker_policy& policy,
                                         std::uint32_t failed_rounds) noexcept {
  const auto doubled = std::ldexp(static_cast<double>(policy.open_wait_ms),
                                  static_cast<int>(std::min<std::uint32_t>(failed_rounds, 40)));
  return std::min(doubled,
                  static_cast<double>(std::max(policy.open_wait_max_ms, policy.open_wait_ms)));
}
/// The longest that it may stay open, jitter included, in milliseconds.
[[nodiscard]] inline double longest_open_wait_of(const breaker_policy& policy) noexcept {
  return static_cast<double>(std::max(policy.open_wait_max_ms, policy.open_wait_ms)) *
         (1.0 + policy.open_wait_jitter);
}

}  // namespace portcullis::core
