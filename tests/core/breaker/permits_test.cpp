// Who may try a half-open breaker, and what becomes of a permit (breaker.md: permits).
#include <set>

#include "core/breaker/hosted.hpp"
#include "world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

using enum call_outcome;

/// A breaker that is half-open, with so many permits and at most so many at a time.
world half_open_one(std::uint32_t permits = 10, std::uint32_t concurrency = 1) {
  breaker_policy policy;
  policy.half_open_permits = permits;
  policy.half_open_concurrency = concurrency;
  world w(policy);
  w.trip_and_wait();
  return w;
}
report_call with(const breaker_permit& permit, call_outcome outcome) {
  auto call = world::call_of(outcome);
  call.permit = permit;
  return call;
}

TEST(breaker_permits, no_more_at_a_time_than_the_policy_says) {
  for (const std::uint32_t concurrency : {1U, 3U, 10U}) {
    auto w = half_open_one(10, concurrency);
    std::vector<breaker_permit> out;
    for (std::uint32_t i = 0; i < concurrency; ++i) out.push_back(w.permit());
    EXPECT_FALSE(w.acquire().allowed);
    w.settle(out.back(), success);
    EXPECT_EQ(w.acquire().allowed, concurrency < 10);
    EXPECT_FALSE(w.acquire().allowed);
  }
}

TEST(breaker_permits, no_more_in_a_phase_than_the_budget) {
  auto w = half_open_one(3, 10);
  std::vector<breaker_permit> out;
  for (int i = 0; i < 3; ++i) out.push_back(w.permit());
  EXPECT_FALSE(w.acquire().allowed);
  w.settle(out[0], success);
  w.settle(out[1], success);
  EXPECT_FALSE(w.acquire().allowed);  // settled ones are used up
  w.settle(out[2], success);
  EXPECT_EQ(w.state(), breaker_state::closed);
}

TEST(breaker_permits, each_is_another_and_names_breaker_epoch_and_phase) {
  auto w = half_open_one(10, 10);
  std::set<std::uint32_t> numbers;
  for (int i = 0; i < 10; ++i) {
    const auto permit = w.permit();
    numbers.insert(permit.number);
    EXPECT_EQ(permit.breaker, tag_of({"payments", "default"}));
    EXPECT_EQ(permit.epoch, w->epoch());
  }
  EXPECT_EQ(numbers.size(), 10U);
}

TEST(breaker_permits, one_that_is_ignored_gives_its_slot_back) {
  auto w = half_open_one(1, 1);
  for (int i = 0; i < 100; ++i) {
    w.settle(w.permit(), ignored);
    ASSERT_EQ(w.state(), breaker_state::half_open);
  }
  w.settle(w.permit(), success);
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w.last().counts[call_result::ignored], 100U);
  EXPECT_EQ(w.last().counts[call_result::success], 1U);
}

TEST(breaker_permits, one_that_expires_counts_as_a_failure_and_frees_its_slot) {
  breaker_policy policy;
  policy.permit_ttl_ms = 1'000;
  world w(policy);
  w.trip_and_wait();
  (void)w.permit();
  EXPECT_EQ(w->due_ms(policy), w.now_ms + 1'000);
  w.now_ms += 999;
  EXPECT_FALSE(w.acquire().allowed);
  w.now_ms += 1;
  EXPECT_TRUE(w.acquire().allowed);
  EXPECT_EQ(w.permits(permit_outcome::expired), 1U);
  for (int i = 0; i < 3; ++i) {
    w.now_ms += 1'000;
    EXPECT_TRUE(w.acquire().allowed);
  }
  EXPECT_EQ(w.state(), breaker_state::half_open);
  w.advance(1'000);  // the fifth of ten
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().cause, breaker_cause::probe_failed);
  EXPECT_EQ(w.permits(permit_outcome::expired), 5U);
}

// The event that said "probe_failed" told of no failure where the failures were expired permits.
TEST(breaker_permits, expired_ones_are_failures_in_the_event_and_no_calls_in_the_totals) {
  breaker_policy policy;
  policy.half_open_permits = policy.half_open_concurrency = 2;
  policy.failure_rate_threshold = 1.0;
  world w(policy);
  w.trip_and_wait();
  (void)w.permit();
  (void)w.permit();
  w.advance(30'000);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.last().counts, counts_of(0, 2));
  EXPECT_EQ(w.total(call_result::failure), 20U);
}

TEST(breaker_permits, the_last_of_a_budget_may_expire_and_still_let_it_close) {
  breaker_policy policy;
  policy.permit_ttl_ms = 1'000;
  world w(policy);
  w.trip_and_wait();
  for (int i = 0; i < 9; ++i) w.settle(w.permit(), success);
  (void)w.permit();
  w.advance(1'000);
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w.last().counts, counts_of(9, 1));
}

TEST(breaker_permits, one_that_comes_after_its_time_is_stale_once_and_then_a_duplicate) {
  breaker_policy policy;
  policy.permit_ttl_ms = 1'000;
  world w(policy);
  w.trip_and_wait();
  const auto slow = w.permit();
  w.advance(1'000);
  const auto before = w.events.size();
  EXPECT_TRUE(w.report(with(slow, success)));
  EXPECT_EQ(w.permits(permit_outcome::stale), 1U);
  EXPECT_EQ(w.total(call_result::success), 1U);
  EXPECT_TRUE(w.report(with(slow, success)));
  EXPECT_EQ(w.permits(permit_outcome::stale), 1U);
  EXPECT_EQ(w.permits(permit_outcome::duplicate), 1U);
  EXPECT_EQ(w.total(call_result::success), 1U);
  EXPECT_EQ(w.events.size(), before);
}

TEST(breaker_permits, a_duplicate_counts_nothing) {
  auto w = half_open_one();
  const auto permit = w.permit();
  w.settle(permit, failure);
  const auto totals = w->tallies().calls;
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(w.report(with(permit, i % 2 == 0 ? failure : success)));
  EXPECT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w->tallies().calls, totals);
  EXPECT_EQ(w.permits(permit_outcome::duplicate), 50U);
}

TEST(breaker_permits, a_duplicate_of_an_ignored_one_gives_no_second_slot_back) {
  auto w = half_open_one(1, 1);
  const auto first = w.permit();
  w.settle(first, ignored);
  (void)w.permit();
  EXPECT_TRUE(w.report(with(first, ignored)));
  EXPECT_FALSE(w.acquire().allowed);
}

TEST(breaker_permits, a_duplicate_stays_one_when_the_phase_is_over) {
  auto w = half_open_one(1, 1);
  const auto permit = w.permit();
  w.settle(permit, success);
  ASSERT_EQ(w.state(), breaker_state::closed);
  const auto totals = w->tallies().calls;
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(w.report(with(permit, failure)));
  EXPECT_EQ(w.state(), breaker_state::closed);
  EXPECT_EQ(w.permits(permit_outcome::duplicate), 30U);
  EXPECT_EQ(w->tallies().calls, totals);
}

TEST(breaker_permits, those_out_when_the_phase_ends_are_stale) {
  auto w = half_open_one(10, 10);
  std::vector<breaker_permit> out;
  for (int i = 0; i < 10; ++i) out.push_back(w.permit());
  for (int i = 0; i < 5; ++i) w.settle(out[static_cast<std::size_t>(i)], failure);
  ASSERT_EQ(w.state(), breaker_state::open);
  for (int i = 5; i < 10; ++i) w.settle(out[static_cast<std::size_t>(i)], success);
  EXPECT_EQ(w.state(), breaker_state::open);
  EXPECT_EQ(w.permits(permit_outcome::stale), 5U);
  EXPECT_EQ(w.total(call_result::success), 5U);
  for (const auto& permit : out) w.settle(permit, success);
  EXPECT_EQ(w.permits(permit_outcome::duplicate), 10U);
  EXPECT_EQ(w.total(call_result::success), 5U);
}

TEST(breaker_permits, one_of_an_earlier_phase_does_not_settle_a_later_one) {
  auto w = half_open_one(1, 1);
  const auto old = w.permit();
  w.advance(30'000);  // it expires: open
  ASSERT_EQ(w.state(), breaker_state::open);
  w.advance(120'000);
  ASSERT_EQ(w.state(), breaker_state::half_open);
  const auto now = w.permit();
  EXPECT_NE(now, old);
  w.settle(old, success);
  EXPECT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w.permits(permit_outcome::stale), 1U);
  EXPECT_FALSE(w.acquire().allowed);  // the later one is still out
  w.settle(now, success);
  EXPECT_EQ(w.state(), breaker_state::closed);
}

TEST(breaker_permits, of_phases_long_gone_are_stale) {
  auto w = half_open_one(1, 1);
  const auto oldest = w.permit();
  for (int round = 0; round < 20; ++round) {
    w.advance(30'000);
    w.advance(400'000);
    ASSERT_EQ(w.state(), breaker_state::half_open);
    (void)w.permit();
  }
  w.settle(oldest, success);
  EXPECT_EQ(w.permits(permit_outcome::stale), 1U);
  EXPECT_EQ(w.state(), breaker_state::half_open);
}

TEST(breaker_permits, of_another_breaker_is_invalid) {
  auto w = half_open_one();
  auto foreign = w.permit();
  foreign.breaker = tag_of({"payments", "other"});
  const auto answer = w.report(with(foreign, failure));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, error_code::BREAKER_PERMIT_INVALID);
  EXPECT_EQ(w.total(call_result::failure), 20U);
  EXPECT_FALSE(w.acquire().allowed);  // the true one is still out
}

TEST(breaker_permits, never_given_out_is_invalid) {
  auto w = half_open_one(10, 1);
  auto forged = w.permit();
  ++forged.number;
  for (const auto number : {forged.number, 9U, 10U, 0xffff'ffffU}) {
    forged.number = number;
    const auto answer = w.report(with(forged, failure));
    ASSERT_FALSE(answer) << number;
    EXPECT_EQ(answer.error().code, error_code::BREAKER_PERMIT_INVALID);
  }
  w.advance(30'000);
  const auto later = w.report(with(forged, failure));  // of a phase that is over
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().code, error_code::BREAKER_PERMIT_INVALID);
  EXPECT_EQ(w.total(call_result::failure), 20U);
}

TEST(breaker_permits, with_another_phases_name_was_never_given_out) {
  auto w = half_open_one(1, 1);
  const auto real = w.permit();
  auto forged = real;
  ++forged.round;
  const auto refused = [&] {
    const auto answer = w.report(with(forged, success));
    return !answer && answer.error().code == error_code::BREAKER_PERMIT_INVALID;
  };
  EXPECT_TRUE(refused());
  w.settle(real, failure);
  ASSERT_EQ(w.state(), breaker_state::open);
  EXPECT_TRUE(refused()) << "nor in the phase before";
  forged.epoch = static_cast<std::uint32_t>(w->epoch());
  EXPECT_TRUE(refused()) << "nor in one that gives none";
  EXPECT_EQ(w.permits(permit_outcome::stale), 0U);
  EXPECT_EQ(w.total(call_result::success), 0U);
}

TEST(breaker_permits, of_a_phase_that_a_restart_interrupted_are_late) {
  auto w = half_open_one(2, 2);
  const auto before = w.permit();
  breaker_record stored;
  stored.service = "payments";
  stored.breaker = "default";
  stored.state = breaker_state::half_open;
  stored.epoch = w->epoch();
  w.restore(stored);
  w.settle(before, success);
  EXPECT_EQ(w.permits(permit_outcome::stale), 1U);
  w.advance(w.policy.max_half_open_ms);
  ASSERT_EQ(w.state(), breaker_state::open);
  w.settle(before, success);
  EXPECT_EQ(w.permits(permit_outcome::stale), 2U) << "also when that phase is over";
}

TEST(breaker_permits, of_an_epoch_to_come_was_never_given_out) {
  auto w = half_open_one(1, 1);
  auto forged = w.permit();
  for (const std::uint32_t ahead : {1U, 1000U, 0x7fff'ffffU}) {
    forged.epoch = static_cast<std::uint32_t>(w->epoch()) + ahead;
    const auto answer = w.report(with(forged, success));
    ASSERT_FALSE(answer) << ahead;
    EXPECT_EQ(answer.error().code, error_code::BREAKER_PERMIT_INVALID);
  }
  EXPECT_EQ(w.permits(permit_outcome::stale), 0U);
  EXPECT_EQ(w.total(call_result::success), 0U);
}

TEST(breaker_permits, with_an_old_epoch_beside_it_changes_no_state) {
  for (const auto outcome : {success, failure}) {
    auto w = half_open_one(1, 1);
    auto call = with(w.permit(), outcome);
    call.epoch = w->epoch() - 1;
    EXPECT_TRUE(w.report(call));
    EXPECT_EQ(w.state(), breaker_state::half_open);
    EXPECT_EQ(w.permits(permit_outcome::stale), 1U);
    call.epoch = w->epoch();
    EXPECT_TRUE(w.report(call));
    EXPECT_EQ(w.permits(permit_outcome::duplicate), 1U) << "it was given back";
    w.settle(w.permit(), success);
    EXPECT_EQ(w.state(), breaker_state::closed);
  }
}

TEST(breaker_permits, a_report_without_one_does_not_settle_a_probe) {
  auto w = half_open_one(1, 1);
  (void)w.permit();
  w.report(success);
  auto of_now = world::call_of(failure);
  of_now.epoch = w->epoch();
  EXPECT_TRUE(w.report(of_now));
  EXPECT_EQ(w.state(), breaker_state::half_open);
  EXPECT_EQ(w.permits(permit_outcome::stale), 2U);
}

TEST(breaker_permits, whoever_is_denied_learns_when_to_come_again) {
  auto w = half_open_one();
  (void)w.permit();
  EXPECT_EQ(w.acquire().retry_after_ms, 1'000);
  w.now_ms += 29'600;
  EXPECT_EQ(w.acquire().retry_after_ms, 400);
}

TEST(breaker_permits, a_probe_whose_owner_died_is_followed_by_another_within_its_time) {
  breaker_policy policy;
  policy.half_open_permits = 2;
  policy.failure_rate_threshold = 0.6;
  policy.permit_ttl_ms = 5'000;
  world w(policy);
  w.trip_and_wait();
  (void)w.permit();  // nobody will report it
  millis waited_ms = 0;
  while (!w.acquire().allowed) {
    w.now_ms += 250;
    waited_ms += 250;
    ASSERT_LE(waited_ms, 5'000);
  }
}

TEST(breaker_permits, their_text_comes_back_as_what_it_was) {
  for (const auto& permit : {breaker_permit{}, breaker_permit{1, 2, 3, 4},
                             breaker_permit{0xffff'ffff, 0x8000'0000, 0xdead'beef, 0x0102'0304}}) {
    char text[permit_text_size];
    to_text(permit, text);
    const std::string_view whole(text, sizeof text);
    EXPECT_TRUE(whole.starts_with("p_"));
    EXPECT_EQ(parse_permit(whole), permit);
  }
  char text[permit_text_size];
  to_text(breaker_permit{1, 2, 3, 4}, text);
  EXPECT_EQ(std::string_view(text, sizeof text), "p_AAAAAQAAAAIAAAADAAAABA");
  for (const std::string_view bad :
       {"", "p_", "p_AAAAAQAAAAIAAAADAAAAB", "q_AAAAAQAAAAIAAAADAAAABA",
        "p_AAAAAQAAAAIAAAADAAAABAA", "p_AAAAAQAAAAIAAAADAAAAB="})
    EXPECT_FALSE(parse_permit(bad)) << bad;
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
