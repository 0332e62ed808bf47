#include "net/loop/loop.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "tests/net/transport_harness.hpp"

namespace portcullis::net {
namespace {

struct loop_test : testing::Test {
  test::moved_clock clock;
  loop on{clock};
};

TEST_F(loop_test, hooks_run_by_phase_and_then_in_order_of_registration) {
  std::string trace;
  const auto record = [&](char c) { return [&trace, c] { return trace.push_back(c), false; }; };
  const loop::hook write(on, phase::write, record('w'));
  const loop::hook run(on, phase::run, record('r'));
  const loop::hook first(on, phase::submit, record('1'));
  const loop::hook second(on, phase::submit, record('2'));
  on.wake();
  on.run_once();
  EXPECT_EQ(trace, "12rw12rw");  // before and after the wait
}

TEST_F(loop_test, does_not_wait_while_a_hook_has_work_left) {
  int left = 1000;
  const loop::hook work(on, phase::run, [&] { return --left > 0; });
  const loop::hook end(on, phase::write, [&] {
    if (left <= 0) on.stop();
    return false;
  });
  on.run();  // would wait for ever otherwise: nothing wakes it
  EXPECT_LE(left, 0);
}

TEST_F(loop_test, another_thread_wakes_it_without_a_lost_turn) {
  std::atomic<int> asked{0};
  int seen = 0;
  const loop::hook drain(on, phase::run, [&] {
    seen = asked.load();
    if (seen == 2000) on.stop();
    return false;
  });
  std::thread other([&] {
    for (int i = 0; i < 2000; ++i) {
      asked.fetch_add(1);
      on.wake();
    }
  });
  on.run();
  other.join();
  EXPECT_EQ(seen, 2000);
}

TEST_F(loop_test, stop_before_run_is_not_lost_and_counts_once) {
  on.stop();
  on.run();
  std::thread other([&] { on.stop(); });
  on.run();
  other.join();
}

TEST_F(loop_test, a_hook_may_be_removed_between_turns) {
  int calls = 0;
  {
    const loop::hook counted(on, phase::run, [&] { return ++calls, false; });
    on.wake();
    on.run_once();
  }
  const int before = calls;
  on.wake();
  on.run_once();
  EXPECT_GT(before, 0);
  EXPECT_EQ(calls, before);
}

TEST_F(loop_test, timers_fire_once_or_repeatedly_until_stopped) {
  int once = 0, often = 0;
  loop::timer single(on, [&] { ++once; });
  loop::timer repeated(on, [&] {
    if (++often == 5) on.stop();
  });
  single.after(1);
  repeated.every(1);
  on.run();
  EXPECT_EQ(once, 1);
  EXPECT_EQ(often, 5);
  repeated.stop();
  loop::timer end(on, [&] { on.stop(); });
  end.after(5);
  on.run();
  EXPECT_EQ(often, 5);
}

TEST_F(loop_test, a_timer_may_destroy_itself) {
  std::unique_ptr<loop::timer> timer;
  timer = std::make_unique<loop::timer>(on, [&] {
    timer.reset();
    on.stop();
  });
  timer->after(1);
  on.run();
  EXPECT_EQ(timer, nullptr);
}

TEST_F(loop_test, the_time_stands_still_within_a_turn_and_moves_with_the_next) {
  std::vector<std::int64_t> seen;
  const loop::hook read_twice(on, phase::run, [&] {
    seen.push_back(on.mono_ns());
    clock.advance_ms(1);
    seen.push_back(on.mono_ns());
    return false;
  });
  on.wake();
  on.run_once();
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[2], seen[3]);
  EXPECT_EQ(seen[2] - seen[0], 1'000'000);
}

}  // namespace
}  // namespace portcullis::net
