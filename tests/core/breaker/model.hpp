// A breaker after breaker.md in its simplest form: lists of all that happened, searched from the
// start each time; nothing of the implementation. Jitter is left out (policy: 0).
#pragma once
#include <map>
#include <vector>

#include "core/breaker/policy.hpp"
#include "core/breaker/tallies.hpp"

namespace portcullis::core::breaker_tests {

struct model {
  enum class answer { counts, stale, duplicate, invalid, nothing };
  struct one_call {
    millis at_ms;
    bool failed, slow;
  };
  struct one_permit {
    std::uint64_t epoch;  // of its phase
    millis ends_ms;
    bool out = true, told_late = false;
  };
  struct step {
    breaker_state from, to;
    breaker_cause cause;
  };

  breaker_policy policy;
  breaker_state base = breaker_state::closed;
  override_mode on_top = override_mode::none;
  millis on_top_ends_ms = 0;  // 0: it stays
  std::uint64_t epoch = 1;
  millis wait_ends_ms = 0, phase_ends_ms = 0;
  std::uint32_t failed_rounds = 0, row = 0;
  bool in_breach = false;
  std::vector<one_call> calls;  // since the window was last emptied
  std::vector<one_permit> permits;
  std::uint32_t settled = 0, failures = 0, slow = 0;  // of the phase
  call_counts totals;
  std::map<permit_outcome, std::uint64_t> counted;
  std::vector<step> steps;
  std::uint64_t would_open = 0;

  [[nodiscard]] breaker_state state() const {
    return on_top == override_mode::none ? base : state_of(on_top);
  }
  [[nodiscard]] bool judging() const {
    return state() == breaker_state::closed || state() == breaker_state::metrics_only;
  }
  [[nodiscard]] std::uint32_t permits_out() const {
    std::uint32_t out = 0;
    for (const auto& each : permits) out += each.out ? 1 : 0;
    return out;
  }

  void move(breaker_state to, breaker_cause cause, millis now_ms) {
    steps.push_back({state(), to, cause});
    ++epoch;
    for (auto& each : permits) each.out = false;
    settled = failures = slow = 0;
    on_top = override_mode::none;
    if (to == breaker_state::open) {
      failed_rounds = base == breaker_state::half_open ? failed_rounds + 1 : 0;
      millis wait_ms = policy.open_wait_ms;
      for (std::uint32_t i = 0; i < failed_rounds && wait_ms < policy.open_wait_max_ms; ++i)
        wait_ms *= 2;
      wait_ends_ms = now_ms + std::min(wait_ms, policy.open_wait_max_ms);
    } else if (to == breaker_state::half_open) {
      phase_ends_ms = now_ms + policy.max_half_open_ms;
    } else {
      failed_rounds = row = 0;
      calls.clear();
    }
    base = to;
  }

  /// Those that the window still shows now.
  [[nodiscard]] std::vector<one_call> window(millis now_ms) const {
    std::vector<one_call> out;
    const auto bucket_ms = policy.window_s * 1000 / policy.window_buckets;
    for (const auto& each : calls) {
      const bool young = policy.window == window_kind::time
                             ? now_ms / bucket_ms - each.at_ms / bucket_ms < policy.window_buckets
                             : now_ms - each.at_ms < policy.window_age_s * 1000;
      if (young) out.push_back(each);
    }
    if (policy.window == window_kind::count && out.size() > policy.window_calls)
      out.erase(out.begin(), out.end() - policy.window_calls);
    return out;
  }
  [[nodiscard]] std::optional<breaker_cause> breach(millis now_ms) const {
    if (policy.consecutive_failures > 0 && row >= policy.consecutive_failures)
      return breaker_cause::consecutive_failures;
    const auto recent = window(now_ms);
    auto enough = policy.min_calls;
    if (policy.window == window_kind::count) enough = std::min(enough, policy.window_calls);
    if (recent.empty() || recent.size() < enough) return std::nullopt;
    double failed = 0, slow_ones = 0;
    for (const auto& each : recent) {
      failed += each.failed ? 1 : 0;
      slow_ones += each.slow ? 1 : 0;
    }
    const auto all = static_cast<double>(recent.size());
    if (failed / all >= policy.failure_rate_threshold) return breaker_cause::failure_rate;
    if (slow_ones / all >= policy.slow_rate_threshold) return breaker_cause::slow_rate;
    return std::nullopt;
  }
  void decide_phase(millis now_ms) {
    const double all = policy.half_open_permits;
    if (failures / all >= policy.failure_rate_threshold)
      move(breaker_state::open, breaker_cause::probe_failed, now_ms);
    else if (slow / all >= policy.slow_rate_threshold)
      move(breaker_state::open, breaker_cause::probe_slow, now_ms);
    else if (settled == policy.half_open_permits)
      move(breaker_state::closed, breaker_cause::probe_succeeded, now_ms);
  }

  void time(millis now_ms) {
    if (on_top != override_mode::none) {
      if (on_top_ends_ms > 0 && now_ms >= on_top_ends_ms) {
        move(breaker_state::closed, breaker_cause::override_expired, now_ms);
      } else if (on_top == override_mode::metrics_only && !breach(now_ms)) {
        in_breach = false;
      }
      return;
    }
    if (base == breaker_state::open) {
      if (policy.auto_half_open && now_ms >= wait_ends_ms)
        move(breaker_state::half_open, breaker_cause::wait_elapsed, now_ms);
      return;
    }
    if (base != breaker_state::half_open) return;
    for (auto& each : permits) {
      if (!each.out || each.ends_ms > now_ms) continue;
      each.out = false;
      ++counted[permit_outcome::expired];
      ++settled;
      ++failures;
      decide_phase(now_ms);
      if (base != breaker_state::half_open) return;
    }
    if (now_ms >= phase_ends_ms) move(breaker_state::open, breaker_cause::probe_timeout, now_ms);
  }

  /// Whether a call may begin; in half-open its permit is the last of `permits`.
  bool acquire(millis now_ms) {
    time(now_ms);
    if (state() == breaker_state::open && now_ms >= wait_ends_ms)
      move(breaker_state::half_open, breaker_cause::wait_elapsed, now_ms);
    if (state() == breaker_state::disabled) return true;
    bool granted = judging();
    if (state() == breaker_state::half_open) {
      granted = permits_out() < policy.half_open_concurrency &&
                settled + permits_out() < policy.half_open_permits;
      if (granted) permits.push_back({epoch, now_ms + policy.permit_ttl_ms});
    }
    ++counted[granted ? permit_outcome::granted : permit_outcome::denied];
    if (!granted) ++totals[call_result::rejected];
    return granted;
  }

  void add_to_totals(call_outcome outcome, bool is_slow) {
    using enum call_result;
    if (outcome == call_outcome::success) ++totals[is_slow ? slow_success : success];
    if (outcome == call_outcome::failure) ++totals[is_slow ? slow_failure : failure];
    if (outcome == call_outcome::timeout) ++totals[timeout];
    if (outcome == call_outcome::ignored) ++totals[ignored];
  }
  /// With the permit of that place in `permits`.
  void report_with(std::size_t which, call_outcome outcome, millis duration_ms, millis now_ms) {
    time(now_ms);
    auto& permit = permits[which];
    const bool was_out = permit.out;
    const bool late = !was_out && !permit.told_late;
    permit.out = false;
    permit.told_late = true;
    if (state() == breaker_state::disabled) return;
    if (!was_out && !late) {
      ++counted[permit_outcome::duplicate];
      return;
    }
    const bool is_slow = duration_ms > policy.slow_call_ms;
    add_to_totals(outcome, is_slow);
    if (late) {
      ++counted[permit_outcome::stale];
      return;
    }
    if (outcome == call_outcome::ignored) return;
    ++settled;
    failures += outcome == call_outcome::success ? 0 : 1;
    slow += is_slow ? 1 : 0;
    decide_phase(now_ms);
  }
  void report(call_outcome outcome, millis duration_ms, std::optional<std::uint64_t> of_epoch,
              millis now_ms) {
    time(now_ms);
    if (state() == breaker_state::disabled) return;
    const bool is_slow = duration_ms > policy.slow_call_ms;
    add_to_totals(outcome, is_slow);
    if (!judging() || (of_epoch && *of_epoch != epoch)) {
      ++counted[permit_outcome::stale];
      return;
    }
    if (outcome == call_outcome::ignored) return;
    const bool failed = outcome != call_outcome::success;
    calls.push_back({now_ms, failed, is_slow});
    row = failed ? row + 1 : 0;
    const auto why = breach(now_ms);
    if (state() == breaker_state::closed) {
      if (why) move(breaker_state::open, *why, now_ms);
      return;
    }
    if (why && !in_breach) ++would_open;
    in_breach = why.has_value();
  }

  void override_with(override_mode mode, millis ends_ms, millis now_ms) {
    time(now_ms);
    if (mode == override_mode::none) {
      if (on_top != mode) move(breaker_state::closed, breaker_cause::override_cleared, now_ms);
      return;
    }
    on_top_ends_ms = ends_ms;
    if (mode == on_top) return;
    steps.push_back({state(), state_of(mode), breaker_cause::override_set});
    ++epoch;
    on_top = mode;
    for (auto& each : permits) each.out = false;
    settled = failures = slow = row = 0;
    calls.clear();
    in_breach = false;
  }
  void reset(millis now_ms) {
    time(now_ms);
    if (state() == breaker_state::closed && window(now_ms).empty() && row == 0) return;
    move(breaker_state::closed, breaker_cause::reset, now_ms);
  }
};

}  // namespace portcullis::core::breaker_tests
