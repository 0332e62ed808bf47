// The containers that sessions live in: slot index, slab, timer wheel.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>
#include <unordered_map>

#include "core/session/sealed_users.hpp"
#include "core/session/slab.hpp"
#include "core/session/slot_index.hpp"
#include "core/session/wheel.hpp"

namespace portcullis::core {
namespace {

RC_GTEST_PROP(slot_index, agrees_with_a_multimap, ()) {
  slot_index index;
  std::unordered_multimap<std::uint32_t, std::uint32_t> model;
  std::uint32_t next_slot = 0;
  const auto steps = *rc::gen::inRange(0, 400);
  // Few hashes, all with the same low bits now and then: long chains that wrap around the table's
  // end.
  const auto hash = rc::gen::element<std::uint32_t>(0, 1, 2, 61, 62, 63, 64, 127, 128, 0xffff'ffff,
                                                    0xffff'ffc0, 63 + 64 * 7);
  for (int i = 0; i < steps; ++i) {
    const auto h = *hash;
    if (*rc::gen::inRange(0, 3) != 0) {
      index.insert(h, next_slot);
      model.emplace(h, next_slot++);
    } else if (!model.empty()) {
      const auto victim =
          static_cast<std::uint32_t>(*rc::gen::inRange<int>(0, static_cast<int>(next_slot)));
      for (auto at = model.begin(); at != model.end(); ++at) {
        if (at->second != victim) continue;
        index.erase(at->first, victim);
        model.erase(at);
        break;
      }
      index.erase(h, 1'000'000);  // not there
    }
    RC_ASSERT(index.size() == model.size());
  }
  for (std::uint32_t slot = 0; slot < next_slot; ++slot)
    for (const auto h :
         {0U, 1U, 2U, 61U, 62U, 63U, 64U, 127U, 128U, 0xffff'ffffU, 0xffff'ffc0U, 63U + 64U * 7U}) {
      const auto [from, to] = model.equal_range(h);
      bool expected = false;
      for (auto at = from; at != to; ++at) expected |= at->second == slot;
      RC_ASSERT((index.find(h, [&](std::uint32_t found) { return found == slot; }) == slot) ==
                expected);
    }
}

TEST(slot_index, finds_nothing_in_an_empty_table) {
  slot_index index;
  EXPECT_EQ(index.find(7, [](std::uint32_t) { return true; }), slot_index::none);
  index.erase(7, 1);
  EXPECT_EQ(index.size(), 0U);
}

TEST(slot_index, reserve_makes_room_without_losing_entries) {
  slot_index index;
  for (std::uint32_t i = 0; i < 100; ++i) index.insert(i * 2'654'435'761U, i);
  index.reserve(100'000);
  for (std::uint32_t i = 0; i < 100; ++i)
    EXPECT_EQ(index.find(i * 2'654'435'761U, [&](std::uint32_t slot) { return slot == i; }), i);
}

TEST(slab, a_slot_given_back_is_fresh_and_is_taken_again) {
  slab<std::vector<int>> records;
  const auto a = records.take(), b = records.take();
  records[a] = {1, 2, 3};
  records[b] = {4};
  const auto* where = &records[b];
  records.give_back(a);
  EXPECT_TRUE(records[a].empty());
  EXPECT_EQ(records.live(), 1U);
  EXPECT_EQ(records.take(), a);
  for (int i = 0; i < 5000; ++i) (void)records.take();
  EXPECT_EQ(&records[b], where);
  EXPECT_EQ(records[b], std::vector{4});
  EXPECT_EQ(records.used(), 5002U);
}

// What sessions do: look whether it is really due, else put it back.
struct alarm_clock {
  timer_wheel wheel;
  std::map<std::uint32_t, millis> due;
  std::map<std::uint32_t, millis> added;
  std::map<std::uint32_t, millis> rang;

  alarm_clock(std::size_t width, millis tick_ms) : wheel(width, tick_ms) {}
  void add(std::uint32_t entry, millis due_ms, millis now_ms) {
    due[entry] = due_ms;
    added[entry] = now_ms;
    wheel.add(entry, due_ms, now_ms);
  }
  bool advance(millis now_ms, std::size_t limit) {
    return wheel.advance(now_ms, limit, [&](std::uint32_t entry) {
      if (now_ms < due[entry]) return wheel.add(entry, due[entry], now_ms);
      rang.emplace(entry, now_ms);
    });
  }
};

RC_GTEST_PROP(timer_wheel, everything_fires_not_before_it_is_due_and_at_most_a_tick_late, ()) {
  const auto width = *rc::gen::element<std::size_t>(2, 8, 64);
  const auto tick_ms = *rc::gen::element<millis>(1000, 100, 7);
  alarm_clock clock(width, tick_ms);
  millis now_ms = 1'700'000'000'000 + *rc::gen::inRange(0, 1000);
  std::uint32_t next = 0;
  const auto steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) {
    const auto entries = *rc::gen::inRange(0, 6);
    for (int n = 0; n < entries; ++n)
      clock.add(next++, now_ms + *rc::gen::inRange(-2'000, 200'000), now_ms);
    now_ms += *rc::gen::element<millis>(1, 100, 999, 1000, 1001, 7'000, 500'000);
    const auto limit = *rc::gen::element<std::size_t>(1, 3, 100'000);
    while (clock.advance(now_ms, limit)) {
    }
    for (std::uint32_t entry = 0; entry < next; ++entry) {
      const auto rang = clock.rang.find(entry);
      if (rang != clock.rang.end()) {
        RC_ASSERT(rang->second >= clock.due[entry]);
      } else {
        RC_ASSERT(now_ms - std::max(clock.due[entry], clock.added[entry]) < tick_ms);
      }
    }
  }
}

TEST(sealed_users, are_kept_until_dropped_each_for_itself) {
  sealed_users kept;
  EXPECT_FALSE(kept.has(0));
  std::map<std::uint32_t, std::string> expected;
  for (const std::uint32_t slot : {0U, 5U, 1'023U, 1'024U, 700'000U}) {
    expected[slot] = "row " + std::to_string(slot) + std::string(slot % 7, 'x');
    kept.put(slot, slot + 1, expected[slot]);
  }
  const auto all_there = [&] {
    for (const auto& [slot, text] : expected) {
      ASSERT_TRUE(kept.has(slot));
      EXPECT_EQ(kept.get(slot).ring_key, slot + 1);
      EXPECT_EQ(kept.get(slot).wrapped, text);
    }
  };
  all_there();
  for (const std::uint32_t slot : {5U, 0U, 1'023U, 1'024U}) {
    kept.drop(slot);
    expected.erase(slot);
    EXPECT_FALSE(kept.has(slot));
    all_there();
  }
  EXPECT_FALSE(kept.has(4));
  kept.put(5, 9, "");  // also after its block is gone
  EXPECT_EQ(kept.get(5).wrapped, "");
}

TEST(timer_wheel, a_limit_leaves_the_rest_for_the_next_call) {
  alarm_clock clock(16, 1000);
  for (std::uint32_t i = 0; i < 10; ++i) clock.add(i, 5'000'000, 4'999'000);
  EXPECT_TRUE(clock.advance(5'000'000, 4));
  EXPECT_EQ(clock.rang.size(), 4U);
  EXPECT_TRUE(clock.advance(5'000'000, 4));
  EXPECT_FALSE(clock.advance(5'000'000, 4));
  EXPECT_EQ(clock.rang.size(), 10U);
}

TEST(timer_wheel, a_clock_that_jumps_back_fires_nothing_early) {
  alarm_clock clock(16, 1000);
  clock.add(1, 5'000'000, 4'999'000);
  clock.advance(5'002'000, 10);
  EXPECT_EQ(clock.rang.count(1), 1U);
  clock.add(2, 4'000'500, 4'000'000);  // the clock went back
  clock.advance(4'000'400, 10);
  EXPECT_EQ(clock.rang.count(2), 0U);
}

}  // namespace
}  // namespace portcullis::core
