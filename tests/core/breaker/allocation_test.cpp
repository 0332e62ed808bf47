// What acquire and report do while no state changes allocates nothing.
#include "core/breaker/set.hpp"
#include "quota.hpp"
#include "tests/count_allocations.hpp"
#include "world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

using enum call_outcome;

template <class Run>
std::size_t allocations_of(Run&& run) {
  const auto before = allocations;
  run();
  return allocations - before;
}
/// A call, without what the checks of `world` may allocate.
void call(world& w, call_outcome outcome, millis duration_ms = 3) {
  const auto granted = w->acquire(w.policy, w.now_ms, w.random, w.events);
  if (!granted.allowed) return;
  auto report = world::call_of(outcome, duration_ms);
  report.permit = granted.permit;
  (void)w->report(report, w.policy, w.now_ms, w.random, w.events);
}

TEST(breaker_allocation, is_counted_where_there_is_one) {
  world w;
  EXPECT_GT(allocations_of([&] { w.trip(); }), 0U);
}

TEST(breaker_allocation, none_in_a_closed_breaker_whichever_its_window) {
  for (const auto kind : {window_kind::time, window_kind::count}) {
    breaker_policy policy;
    policy.window = kind;
    world w(policy);
    const auto made = allocations_of([&] {
      for (int i = 0; i < 500; ++i) {
        call(w, success);
        call(w, ignored);
        if (i % 5 == 0) call(w, timeout, 70'000);
        if (i % 7 == 0) call(w, failure);
        w.now_ms += i == 250 ? 3'600'000 : 700;
      }
    });
    EXPECT_EQ(made, 0U);
    EXPECT_TRUE(w.events.empty());
  }
}

TEST(breaker_allocation, none_in_an_open_or_half_open_breaker) {
  breaker_policy policy;
  policy.half_open_permits = 200;
  policy.half_open_concurrency = 8;
  policy.permit_ttl_ms = 50;
  world w(policy);
  w.trip();
  EXPECT_EQ(allocations_of([&] {
              for (int i = 0; i < 100; ++i) call(w, success);
            }),
            0U);
  w.advance(60'000);
  const auto before = w.events.size();
  EXPECT_EQ(allocations_of([&] {
              for (int i = 0; i < 60; ++i) {
                call(w, success);
                call(w, ignored);
                (void)w->acquire(w.policy, w.now_ms, w.random, w.events);  // never reported
                w.now_ms += 10;
              }
            }),
            0U);
  EXPECT_GT(w.permits(permit_outcome::expired), 30U);
  EXPECT_EQ(w.events.size(), before);
}

TEST(breaker_allocation, none_for_reports_that_are_stale_or_duplicates) {
  world w;
  w.trip_and_wait();
  const auto first = w.permit();
  w.settle(first, failure);
  EXPECT_EQ(allocations_of([&] {
              auto late = world::call_of(success);
              for (int i = 0; i < 50; ++i) {
                late.permit = first;
                (void)w->report(late, w.policy, w.now_ms, w.random, w.events);
                late.permit.reset();
                late.epoch = 1;
                (void)w->report(late, w.policy, w.now_ms, w.random, w.events);
              }
            }),
            0U);
  EXPECT_EQ(w.permits(permit_outcome::duplicate), 50U);
}

TEST(breaker_allocation, none_under_an_override) {
  for (const auto mode :
       {override_mode::forced_open, override_mode::disabled, override_mode::metrics_only}) {
    world w;
    w.override_with(mode);
    EXPECT_EQ(allocations_of([&] {
                for (int i = 0; i < 100; ++i) call(w, success);
              }),
              0U);
  }
}

TEST(breaker_allocation, none_to_find_a_breaker_and_its_policy) {
  breaker_book book;
  const std::string service(64, 's'), breaker(64, 'b');
  book.patterns[service + "/*"].min_calls = 7;
  breaker_set set(std::make_shared<quota_of_one>());
  ASSERT_TRUE(set.need(breaker_kind::hosted, {service, breaker}, book, start_ms));
  std::size_t found = 0;
  EXPECT_EQ(allocations_of([&] {
              for (int i = 0; i < 10; ++i)
                if (set.find({service, breaker}) != no_breaker)
                  found += book.of({service, breaker}).min_calls;
            }),
            0U);
  EXPECT_EQ(found, 70U);
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
