// Which calls count: those of the last seconds in buckets, or the last so many.
#include "core/breaker/window.hpp"

#include <gtest/gtest.h>

#include "world.hpp"

namespace portcullis::core::breaker_tests::of_windows {
namespace {

using enum call_result;

struct counted {
  breaker_policy policy;
  call_window window;
  millis now_ms = start_ms;
  explicit counted(const breaker_policy& rules) : policy(rules) { window.reset(policy, now_ms); }
  void add(call_result result, std::uint32_t times = 1, bool slow = false) {
    window.add(result, slow, times, now_ms);
  }
  std::uint64_t calls_after(millis by_ms) {
    now_ms += by_ms;
    window.advance(now_ms);
    return window.calls();
  }
};
breaker_policy seconds(std::int64_t window_s, std::uint32_t buckets) {
  breaker_policy out;
  out.window_s = window_s;
  out.window_buckets = buckets;
  return out;
}
breaker_policy last_calls(std::uint32_t calls, std::int64_t age_s = 600) {
  breaker_policy out;
  out.window = window_kind::count;
  out.window_calls = calls;
  out.window_age_s = age_s;
  return out;
}

TEST(breaker_window, a_new_one_is_empty) {
  for (const auto& policy : {seconds(60, 10), last_calls(100)}) {
    const counted c(policy);
    EXPECT_EQ(c.window.calls(), 0U);
    EXPECT_EQ(c.window.failures(), 0U);
    EXPECT_EQ(c.window.slow(), 0U);
    EXPECT_EQ(c.window.counts(), call_counts{});
  }
}

TEST(breaker_window, counts_each_result_as_what_it_is) {
  for (const auto& policy : {seconds(60, 10), last_calls(100)}) {
    counted c(policy);
    c.add(success, 3);
    c.add(failure, 2);
    c.add(timeout);
    c.add(timeout, 1, true);
    c.add(slow_success, 4);
    c.add(slow_failure);
    EXPECT_EQ(c.window.calls(), 12U);
    EXPECT_EQ(c.window.failures(), 5U);
    EXPECT_EQ(c.window.slow(), 6U);
    const auto counts = c.window.counts();
    EXPECT_EQ(counts[success], 3U);
    EXPECT_EQ(counts[timeout], 2U);
    EXPECT_EQ(counts.calls(), 12U);
    EXPECT_EQ(counts.failures(), 5U);
  }
}

TEST(breaker_window, a_time_window_forgets_bucket_by_bucket) {
  counted c(seconds(60, 10));  // begins with a bucket
  c.add(failure);
  c.now_ms += 6'000;
  c.add(slow_success, 2);
  c.now_ms += 5'999;
  c.add(success, 4);  // the same bucket, its last moment
  EXPECT_EQ(c.window.calls(), 7U);
  EXPECT_EQ(c.calls_after(48'000), 7U);  // 59.999 s after the first
  EXPECT_EQ(c.calls_after(1), 6U);
  EXPECT_EQ(c.window.failures(), 0U);
  EXPECT_EQ(c.window.slow(), 2U);
  EXPECT_EQ(c.calls_after(5'999), 6U);
  EXPECT_EQ(c.calls_after(1), 0U);
  EXPECT_EQ(c.window.slow(), 0U);
  EXPECT_EQ(c.window.counts(), call_counts{});
}

TEST(breaker_window, a_time_window_that_was_left_alone_for_days_is_empty_and_counts_on) {
  counted c(seconds(60, 10));
  c.add(failure, 50);
  EXPECT_EQ(c.calls_after(7 * 86'400'000), 0U);
  c.add(success);
  EXPECT_EQ(c.window.calls(), 1U);
  EXPECT_EQ(c.window.failures(), 0U);
}

TEST(breaker_window, a_clock_that_stands_still_or_goes_back_forgets_nothing) {
  for (const auto& policy : {seconds(60, 10), last_calls(100)}) {
    counted c(policy);
    c.add(failure);
    EXPECT_EQ(c.calls_after(0), 1U);
    EXPECT_EQ(c.calls_after(-3'600'000), 1U);
    c.add(failure);
    EXPECT_EQ(c.window.calls(), 2U);
    EXPECT_EQ(c.calls_after(3'600'000), 2U);  // where it was
  }
}

TEST(breaker_window, buckets_of_odd_length_hold_as_many_as_were_asked_for) {
  counted c(seconds(1, 7));  // of 142 ms
  for (int i = 0; i < 100; ++i) {
    c.add(success);
    c.now_ms += 142;
    c.window.advance(c.now_ms);
    EXPECT_LE(c.window.calls(), 7U);
  }
  EXPECT_EQ(c.window.calls(), 6U);
  EXPECT_EQ(c.calls_after(994), 0U);
}

TEST(breaker_window, one_bucket_is_a_window_that_begins_anew_each_time) {
  counted c(seconds(10, 1));
  c.add(failure, 5);
  EXPECT_EQ(c.calls_after(9'999), 5U);
  EXPECT_EQ(c.calls_after(1), 0U);
}

TEST(breaker_window, a_count_window_holds_the_last_so_many) {
  counted c(last_calls(5));
  c.add(failure, 3);
  c.add(success, 2);
  EXPECT_EQ(c.window.failures(), 3U);
  c.add(slow_success);
  EXPECT_EQ(c.window.calls(), 5U);
  EXPECT_EQ(c.window.failures(), 2U);
  EXPECT_EQ(c.window.slow(), 1U);
  c.add(success, 4);
  EXPECT_EQ(c.window.failures(), 0U);
  EXPECT_EQ(c.window.slow(), 1U);
  c.add(success);
  EXPECT_EQ(c.window.slow(), 0U);
  EXPECT_EQ(c.window.counts(), counts_of(5));
}

TEST(breaker_window, more_at_once_than_a_count_window_holds_fill_it) {
  counted c(last_calls(5));
  c.add(success, 3);
  c.add(failure, 1'000'000);
  EXPECT_EQ(c.window.calls(), 5U);
  EXPECT_EQ(c.window.failures(), 5U);
  EXPECT_EQ(c.window.counts(), counts_of(0, 5));
}

TEST(breaker_window, a_count_window_ignores_calls_past_their_age) {
  counted c(last_calls(100, 600));
  c.add(failure, 3);
  c.now_ms += 1'000;
  c.add(timeout, 2, true);
  EXPECT_EQ(c.calls_after(598'999), 5U);
  EXPECT_EQ(c.calls_after(1), 2U);
  EXPECT_EQ(c.window.failures(), 2U);
  EXPECT_EQ(c.window.slow(), 2U);
  EXPECT_EQ(c.calls_after(1'000), 0U);
  EXPECT_EQ(c.window.slow(), 0U);
  EXPECT_EQ(c.window.counts(), call_counts{});
}

TEST(breaker_window, knows_when_the_policy_asks_for_another_shape) {
  counted time(seconds(60, 10));
  EXPECT_TRUE(time.window.fits(seconds(60, 10)));
  EXPECT_FALSE(time.window.fits(seconds(30, 10)));
  EXPECT_FALSE(time.window.fits(seconds(60, 6)));
  EXPECT_FALSE(time.window.fits(last_calls(10)));
  counted count(last_calls(100, 600));
  EXPECT_TRUE(count.window.fits(last_calls(100, 600)));
  EXPECT_FALSE(count.window.fits(last_calls(99, 600)));
  EXPECT_FALSE(count.window.fits(last_calls(100, 601)));
  EXPECT_FALSE(count.window.fits(seconds(60, 10)));
  auto thresholds = seconds(60, 10);
  thresholds.min_calls = 7;
  thresholds.window_calls = 8;  // of the kind that is not in use
  EXPECT_TRUE(time.window.fits(thresholds));
}

TEST(breaker_window, changes_its_shape_by_a_reset) {
  counted c(seconds(60, 10));
  c.add(failure, 9);
  c.policy = last_calls(3);
  c.window.reset(c.policy, c.now_ms);
  EXPECT_EQ(c.window.calls(), 0U);
  c.add(failure, 9);
  EXPECT_EQ(c.window.calls(), 3U);
  c.policy = seconds(10, 2);
  c.window.reset(c.policy, c.now_ms);
  c.add(failure, 9);
  EXPECT_EQ(c.window.calls(), 9U);
  EXPECT_EQ(c.calls_after(10'000), 0U);
}

}  // namespace
}  // namespace portcullis::core::breaker_tests::of_windows
