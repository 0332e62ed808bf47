// Each rule about circuit breakers agrees with what was decided, and with nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "../breaker/observed_world.hpp"
#include "explained.hpp"

namespace portcullis::core {
namespace {

using breaker_tests::observed_world;
using testing::HasSubstr;

/// What the breakers' actor logs.
class breaker_log {
 public:
  template <class World>
  void take(World& from) {
    for (; taken_ < from.events.size(); ++taken_) add(from.events[taken_], from.now_ms);
  }
  void add(event_body body, millis at_ms) {
    event what;
    what.seq = all.size() + 1;
    what.at_ms = what.decided_at_ms = at_ms;
    what.body = std::move(body);
    if (std::holds_alternative<breaker_override_set>(what.body)) what.actor = "ada";
    all.push_back(std::move(what));
  }
  [[nodiscard]] explanation of(std::size_t index, const breaker_policy& policy,
                               const std::function<void(event&)>& alter = nullptr) const {
    policy_book book;
    book.breakers.fallback = policy;
    explainer again([](const subject_id&) { return nullptr; }, {{0, 0, true, book}});
    past_events past(topic_of(all[index]));
    for (std::size_t i = 0; i < index; ++i) {
      again.pass(from_disk(all[i]));
      past.note(all[i]);
    }
    auto what = from_disk(all[index]);
    if (alter) alter(what);
    return again.explain(what, &past);
  }
  [[nodiscard]] std::size_t last(event_type type) const {
    for (std::size_t i = all.size(); i-- > 0;)
      if (all[i].type() == type) return i;
    ADD_FAILURE() << "no " << to_string(type);
    return 0;
  }
  std::vector<event> all;

 private:
  std::size_t taken_ = 0;
};

class of_a_breaker : public testing::Test {
 protected:
  template <class Body>
  void altered(event_type type, const char* how, const std::function<void(Body&)>& alter) {
    log.take(b);
    const auto at = log.last(type);
    EXPECT_EQ(log.of(at, b.policy).agrees, agreement::yes) << log.of(at, b.policy).why;
    const auto found = log.of(at, b.policy, [&](event& what) { alter(std::get<Body>(what.body)); });
    EXPECT_EQ(found.agrees, agreement::no) << how;
    EXPECT_THAT(found.why, HasSubstr("the rules give")) << how;
  }
  breaker_tests::world b;
  breaker_log log;
};

TEST_F(of_a_breaker, an_opening_needs_a_breach_an_epoch_a_state_before_and_a_wait) {
  b.trip();
  constexpr auto type = event_type::breaker_opened;
  using body = breaker_opened;
  altered<body>(type, "too few calls", [](auto& x) { x.counts = breaker_tests::counts_of(0, 19); });
  altered<body>(type, "too few failures",
                [](auto& x) { x.counts = breaker_tests::counts_of(11, 9); });
  altered<body>(type, "another cause", [](auto& x) { x.cause = breaker_cause::slow_rate; });
  altered<body>(type, "a rule that is off",
                [](auto& x) { x.cause = breaker_cause::consecutive_failures; });
  altered<body>(type, "an epoch left out", [](auto& x) { ++x.epoch; });
  altered<body>(type, "from another state", [](auto& x) { x.from = breaker_state::half_open; });
  altered<body>(type, "a longer wait", [](auto& x) { x.until_ms += 13'000; });
  altered<body>(type, "a phase that failed", [](auto& x) { x.failed_rounds = 1; });
}

TEST_F(of_a_breaker, timeouts_that_may_have_been_slow_leave_it_open) {
  b.policy.failure_rate_threshold = 1.0;
  b.policy.slow_rate_threshold = 0.5;
  b.policy.slow_call_ms = 100;
  b.repeat(10, call_outcome::success);
  b.repeat(10, call_outcome::timeout, 200);
  log.take(b);
  const auto found = log.of(log.last(event_type::breaker_opened), b.policy);
  EXPECT_EQ(found.agrees, agreement::not_checkable);
  EXPECT_THAT(found.why, HasSubstr("timeouts"));
}

TEST_F(of_a_breaker, probes_are_judged_again_and_waits_are_over) {
  b.policy.half_open_permits = 2;
  b.trip_and_wait();
  altered<breaker_half_opened>(event_type::breaker_half_opened, "a longer phase",
                               [](auto& x) { x.until_ms += 1; });
  altered<breaker_half_opened>(event_type::breaker_half_opened, "a phase that failed",
                               [](auto& x) { ++x.failed_rounds; });
  const auto at = log.last(event_type::breaker_half_opened);
  EXPECT_EQ(log.of(at, b.policy, [](event& what) { what.decided_at_ms -= 100; }).agrees,
            agreement::no)
      << "the wait was not over";
  b.settle(b.permit(), call_outcome::failure);
  altered<breaker_opened>(event_type::breaker_opened, "no failure",
                          [](auto& x) { x.counts = breaker_tests::counts_of(1); });
  altered<breaker_opened>(event_type::breaker_opened, "a time-out too early",
                          [](auto& x) { x.cause = breaker_cause::probe_timeout; });
  b.advance(2 * b.policy.open_wait_ms);
  b.settle(b.permit(), call_outcome::success);
  b.settle(b.permit(), call_outcome::success);
  altered<breaker_closed>(event_type::breaker_closed, "a probe left out",
                          [](auto& x) { x.counts = breaker_tests::counts_of(1); });
  altered<breaker_closed>(event_type::breaker_closed, "another cause",
                          [](auto& x) { x.cause = breaker_cause::wait_elapsed; });
}

TEST_F(of_a_breaker, overrides_begin_and_end_as_the_state_before_has_them) {
  b.override_with(override_mode::metrics_only, 60);
  altered<breaker_override_set>(event_type::breaker_override_set, "the same epoch",
                                [](auto& x) { x.epoch = 1; });
  altered<breaker_override_set>(event_type::breaker_override_set, "from another state",
                                [](auto& x) { x.from = breaker_state::open; });
  altered<breaker_override_set>(event_type::breaker_override_set, "over already",
                                [](auto& x) { *x.expires_at_ms -= 60'000; });
  b.override_with(override_mode::metrics_only, 90, "for longer");
  altered<breaker_override_set>(event_type::breaker_override_set, "an epoch for the same mode",
                                [](auto& x) { ++x.epoch; });
  b.repeat(20, call_outcome::failure);
  altered<breaker_would_open>(event_type::breaker_would_open, "no breach",
                              [](auto& x) { x.counts = breaker_tests::counts_of(20); });
  altered<breaker_would_open>(event_type::breaker_would_open, "another epoch",
                              [](auto& x) { ++x.epoch; });
  b.advance(90'000);
  altered<breaker_override_cleared>(event_type::breaker_override_cleared, "another mode",
                                    [](auto& x) { x.mode = override_mode::disabled; });
  const auto at = log.last(event_type::breaker_override_cleared);
  EXPECT_EQ(log.of(at, b.policy, [](event& what) { what.decided_at_ms -= 1; }).agrees,
            agreement::no)
      << "its time was not over";
  b.trip();
  b.reset();
  altered<breaker_closed>(event_type::breaker_closed, "from another state",
                          [](auto& x) { x.from = breaker_state::closed; });
  log.add(breaker_retired{"payments", "default", b->epoch()}, b.now_ms + 86'400'000);
  altered<breaker_retired>(event_type::breaker_retired, "another epoch",
                           [](auto& x) { ++x.epoch; });
}

TEST_F(of_a_breaker, what_led_to_a_change_is_the_changes_before) {
  b.trip_and_wait();
  b.settle(b.permit(), call_outcome::failure);
  log.take(b);
  const auto at = log.last(event_type::breaker_half_opened);
  const auto found = log.of(at, b.policy);
  ASSERT_EQ(found.because.size(), 1U);
  EXPECT_EQ(found.because[0].type, event_type::breaker_opened);
  EXPECT_THAT(found.because[0].text, HasSubstr("20 of 20 calls failed"));
}

TEST(of_an_observed_breaker, a_report_begins_where_its_source_was) {
  observed_world o;
  breaker_log log;
  EXPECT_TRUE(o.accepted({.seq = 1, .state = breaker_state::open}));
  EXPECT_TRUE(o.accepted({.seq = 1, .state = breaker_state::half_open, .source = "other"}));
  EXPECT_TRUE(o.accepted({.seq = 2, .state = breaker_state::closed}));
  log.take(o);
  const breaker_policy policy;
  ASSERT_EQ(log.all.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(log.of(i, policy).agrees, agreement::yes) << log.of(i, policy).why;
  const auto wrong = [&](const std::function<void(breaker_closed&)>& alter) {
    return log.of(2, policy, [&](event& what) { alter(std::get<breaker_closed>(what.body)); })
        .agrees;
  };
  EXPECT_EQ(wrong([](auto& x) { x.from = breaker_state::half_open; }), agreement::no);
  EXPECT_EQ(wrong([](auto& x) { ++x.epoch; }), agreement::no);
  EXPECT_EQ(wrong([](auto& x) { x.source = "other"; }), agreement::no);
  EXPECT_EQ(wrong([](auto& x) { x.cause = breaker_cause::reset; }), agreement::no);
}

RC_GTEST_PROP(any_history_of_a_breaker, has_each_event_explained_as_what_the_rules_give, ()) {
  breaker_policy policy;
  policy.min_calls = *rc::gen::inRange(1U, 6U);
  policy.half_open_permits = *rc::gen::inRange(1U, 4U);
  policy.half_open_concurrency = 2;
  policy.slow_call_ms = 100;
  policy.slow_rate_threshold = *rc::gen::element(0.5, 1.0);
  policy.consecutive_failures = *rc::gen::element(0U, 3U);
  policy.auto_half_open = *rc::gen::arbitrary<bool>();
  breaker_tests::world b(policy);
  b.random = counted_random();
  breaker_log log;
  std::vector<breaker_permit> permits;
  const auto steps = *rc::gen::inRange(1, 400);
  for (int i = 0; i < steps; ++i) {
    switch (*rc::gen::inRange(0, 8)) {
      case 0:
        if (const auto got = b.acquire(); got.permit) permits.push_back(*got.permit);
        break;
      case 1:
      case 2:
      case 3: {
        auto call = b.call_of(
            *rc::gen::element(call_outcome::success, call_outcome::failure, call_outcome::timeout),
            *rc::gen::element<millis>(1, 200));
        if (!permits.empty() && *rc::gen::arbitrary<bool>()) {
          call.permit = permits.back();
          permits.pop_back();
        }
        (void)b.report(call);
        break;
      }
      case 4:
        (void)b.batch("app", static_cast<std::uint64_t>(i) + 1,
                      breaker_tests::counts_of(*rc::gen::inRange(0U, 3U), *rc::gen::inRange(0U, 3U),
                                               *rc::gen::inRange(0U, 2U)));
        break;
      case 5:
        b.advance(*rc::gen::element<millis>(0, 1'000, 31'000, 130'000));
        break;
      case 6:
        (void)b.override_with(
            *rc::gen::element(override_mode::none, override_mode::forced_open,
                              override_mode::metrics_only, override_mode::disabled),
            *rc::gen::element<std::optional<std::int64_t>>(std::nullopt, 5));
        break;
      case 7:
        (void)b.reset();
        break;
    }
    log.take(b);
  }
  policy_book book;
  book.breakers.fallback = policy;
  explainer again([](const subject_id&) { return nullptr; }, {{0, 0, true, book}});
  for (const auto& each : log.all) {
    const auto what = from_disk(each);
    const auto how = again.explain(what);
    RC_LOG() << what.seq << ' ' << to_string(what.type()) << ": " << how.why << '\n';
    RC_ASSERT(how.agrees != agreement::no);
    again.pass(what);
  }
}

}  // namespace
}  // namespace portcullis::core
