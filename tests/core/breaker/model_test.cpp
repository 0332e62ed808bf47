// Random schedules of all that may happen to a hosted breaker, against the naive model.
#include "model.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

breaker_policy any_policy() {
  breaker_policy policy;
  policy.window = *rc::gen::element(window_kind::time, window_kind::count);
  policy.window_s = *rc::gen::element<std::int64_t>(2, 10, 60);
  policy.window_buckets = *rc::gen::element(1U, 2U, 10U);
  policy.window_calls = *rc::gen::element(1U, 3U, 8U);
  policy.window_age_s = *rc::gen::element<std::int64_t>(5, 600);
  policy.min_calls = *rc::gen::element(1U, 2U, 5U);
  policy.failure_rate_threshold = *rc::gen::element(0.1, 0.3, 0.5, 0.75, 1.0);
  policy.slow_rate_threshold = *rc::gen::element(0.5, 1.0);
  policy.slow_call_ms = 100;
  policy.consecutive_failures = *rc::gen::element(0U, 0U, 1U, 3U);
  policy.open_wait_ms = *rc::gen::element<millis>(500, 5'000);
  policy.open_wait_max_ms = *rc::gen::element<millis>(5'000, 20'000);
  policy.open_wait_jitter = 0;
  policy.half_open_permits = *rc::gen::element(1U, 2U, 5U);
  policy.half_open_concurrency = *rc::gen::element(1U, 2U, 5U);
  policy.max_half_open_ms = *rc::gen::element<millis>(3'000, 30'000);
  policy.permit_ttl_ms = *rc::gen::element<millis>(700, 2'000, 40'000);
  policy.auto_half_open = *rc::gen::arbitrary<bool>();
  return policy;
}

/// Whether the state machine of breaker.md has this step.
bool is_legal(breaker_state from, event_type type, breaker_cause cause) {
  using enum breaker_state;
  const bool administered = cause == breaker_cause::reset;
  if (type == event_type::breaker_opened)
    return (from == closed &&
            (cause == breaker_cause::failure_rate || cause == breaker_cause::slow_rate ||
             cause == breaker_cause::consecutive_failures)) ||
           (from == half_open &&
            (cause == breaker_cause::probe_failed || cause == breaker_cause::probe_slow ||
             cause == breaker_cause::probe_timeout));
  if (type == event_type::breaker_half_opened)
    return from == open && cause == breaker_cause::wait_elapsed;
  if (type == event_type::breaker_closed)
    return administered || (from == half_open && cause == breaker_cause::probe_succeeded);
  return true;
}

struct run {
  world w{any_policy()};
  model naive;
  std::vector<breaker_permit> permits;  // in the order of the model's
  std::size_t events_seen = 0;
  std::uint64_t epoch_seen = 1;

  run() { naive.policy = w.policy; }

  static call_outcome any_outcome() {
    return *rc::gen::weightedElement<call_outcome>({{4, call_outcome::success},
                                                    {4, call_outcome::failure},
                                                    {1, call_outcome::timeout},
                                                    {1, call_outcome::ignored}});
  }
  static millis any_duration() { return *rc::gen::element<millis>(1, 1, 100, 101); }

  void acquire() {
    const auto answer = w->acquire(w.policy, w.now_ms, w.random, w.events);
    const bool granted = naive.acquire(w.now_ms);
    RC_ASSERT(answer.allowed == granted);
    RC_ASSERT(answer.retry_after_ms >= 0);
    const bool probe = granted && naive.state() == breaker_state::half_open;
    RC_ASSERT(answer.permit.has_value() == probe);
    if (!probe) return;
    for (const auto& earlier : permits) RC_ASSERT(!(earlier == *answer.permit));
    RC_ASSERT(answer.permit->epoch == static_cast<std::uint32_t>(naive.epoch));
    permits.push_back(*answer.permit);
  }
  void report_with_permit() {
    if (permits.empty()) return;
    // Mostly a young one: of phases further back than the breaker remembers, none are duplicates.
    const auto back = *rc::gen::weightedElement<std::size_t>({{6, 0}, {2, 1}, {1, 2}, {1, 5}});
    const auto which = permits.size() - 1 - std::min(back, permits.size() - 1);
    if (forgotten(which)) return;
    auto call = world::call_of(any_outcome(), any_duration());
    call.permit = permits[which];
    RC_ASSERT(static_cast<bool>(w->report(call, w.policy, w.now_ms, w.random, w.events)));
    naive.report_with(which, call.outcome, call.duration_ms, w.now_ms);
  }
  [[nodiscard]] bool forgotten(std::size_t which) const {
    std::set<std::uint64_t> later;
    for (std::size_t i = which + 1; i < permits.size(); ++i) later.insert(permits[i].epoch);
    return later.size() > 6;
  }
  void report_with_bad_permit() {
    auto call = world::call_of(call_outcome::failure);
    call.permit = permits.empty() ? breaker_permit{} : permits.back();
    if (*rc::gen::arbitrary<bool>())
      ++call.permit->breaker;
    else if (!permits.empty())
      call.permit->number += 1'000;
    else
      call.permit->breaker = 1;
    const auto answer = w->report(call, w.policy, w.now_ms, w.random, w.events);
    naive.time(w.now_ms);
    RC_ASSERT(!answer);
    RC_ASSERT(answer.error().code == error_code::BREAKER_PERMIT_INVALID);
  }
  void report() {
    auto call = world::call_of(any_outcome(), any_duration());
    const auto age = *rc::gen::weightedElement<int>({{6, 0}, {2, -1}, {1, 1}, {1, 2}});
    if (age >= 0) call.epoch = naive.epoch - std::min<std::uint64_t>(naive.epoch, age);
    RC_ASSERT(static_cast<bool>(w->report(call, w.policy, w.now_ms, w.random, w.events)));
    naive.report(call.outcome, call.duration_ms, call.epoch, w.now_ms);
  }
  void administer() {
    w->advance(w.policy, w.now_ms, w.random, w.events);
    if (*rc::gen::element(true, false, false)) {
      (void)w.reset();
      naive.reset(w.now_ms);
      return;
    }
    const auto mode =
        *rc::gen::element(override_mode::none, override_mode::none, override_mode::forced_open,
                          override_mode::disabled, override_mode::metrics_only);
    std::optional<std::int64_t> ttl_s;
    if (mode != override_mode::none && *rc::gen::element(true, true, true, false))
      ttl_s = *rc::gen::element<std::int64_t>(1, 10);
    (void)w.override_with(mode, ttl_s);
    naive.override_with(mode, ttl_s ? w.now_ms + *ttl_s * 1000 : 0, w.now_ms);
  }
  void pass_time() {
    w.now_ms += *rc::gen::weightedElement<millis>({{4, 1},
                                                   {4, 100},
                                                   {4, 499},
                                                   {4, 700},
                                                   {4, 1'000},
                                                   {2, 5'000},
                                                   {2, 10'000},
                                                   {1, 3'600'000}});
    if (*rc::gen::arbitrary<bool>()) return;
    w->advance(w.policy, w.now_ms, w.random, w.events);
    naive.time(w.now_ms);
  }

  void compare() {
    RC_ASSERT(w.state() == naive.state());
    RC_ASSERT(w->base_state() == naive.base);
    RC_ASSERT(w->epoch() == naive.epoch);
    RC_ASSERT(w->tallies().calls == naive.totals);
    for (std::size_t i = 0; i < permit_outcome_names.size(); ++i)
      RC_ASSERT(w->tallies().permits[i] == naive.counted[static_cast<permit_outcome>(i)]);
    std::uint64_t would_open = 0;
    for (const auto& each : w.events)
      would_open += std::holds_alternative<breaker_would_open>(each) ? 1 : 0;
    RC_ASSERT(would_open == naive.would_open);
    std::uint64_t moved = 0;
    for (const auto& each : w->tallies().transitions) moved += each.count;
    RC_ASSERT(moved == naive.steps.size());
    const auto row = w->describe(w.policy, w.now_ms);
    RC_ASSERT(row.retry_after_ms.value_or(0) >= 0);
    if (naive.base == breaker_state::half_open && naive.on_top == override_mode::none) {
      RC_ASSERT(naive.permits_out() <= w.policy.half_open_concurrency);
      RC_ASSERT(naive.settled + naive.permits_out() <= w.policy.half_open_permits);
    }
    check_events();
  }
  void check_events() {
    for (; events_seen < w.events.size(); ++events_seen) {
      const auto told = told_by(w.events[events_seen]);
      RC_ASSERT(is_legal(told.from, told.type, told.cause));
      const bool keeps =
          told.type == event_type::breaker_would_open ||
          (told.type == event_type::breaker_override_set && told.epoch == epoch_seen);
      RC_ASSERT(told.epoch == epoch_seen + (keeps ? 0 : 1));
      epoch_seen = told.epoch;
    }
  }
};

enum class action { acquire, report_with_permit, report_with_bad_permit, report, administer, time };

RC_GTEST_PROP(breaker_model, agrees_with_random_schedules, ()) {
  run r;
  for (int i = 0; i < 300; ++i) {
    switch (*rc::gen::weightedElement<action>({{12, action::acquire},
                                               {10, action::report_with_permit},
                                               {1, action::report_with_bad_permit},
                                               {8, action::report},
                                               {1, action::administer},
                                               {7, action::time}})) {
      case action::acquire:
        r.acquire();
        break;
      case action::report_with_permit:
        r.report_with_permit();
        break;
      case action::report_with_bad_permit:
        r.report_with_bad_permit();
        break;
      case action::report:
        r.report();
        break;
      case action::administer:
        r.administer();
        break;
      case action::time:
        r.pass_time();
        break;
    }
    r.compare();
  }
  RC_CLASSIFY(r.permits.size() > 3, "several probes");
  RC_CLASSIFY(r.w->epoch() > 5, "several transitions");
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
