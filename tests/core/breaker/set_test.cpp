// The breakers of one shard: limits, kinds, names, slots, and that none is forgotten by time.
#include "core/breaker/set.hpp"

#include <gtest/gtest.h>

#include <set>

#include "quota.hpp"
#include "world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

class shard {
 public:
  breaker_book book;
  millis now_ms = start_ms;
  std::shared_ptr<quota_of_one> quota = std::make_shared<quota_of_one>();
  breaker_set set{quota};

  breaker_slot hosted(std::string_view service, std::string_view breaker = "default") {
    auto slot = set.need(breaker_kind::hosted, {service, breaker}, book, now_ms);
    return slot ? *slot : no_breaker;
  }
  std::optional<error_code> refused(breaker_kind kind, std::string_view service) {
    const auto slot = set.need(kind, {service, "default"}, book, now_ms);
    return slot ? std::nullopt : std::optional(slot.error().code);
  }
  /// Advances second by second, as the actor does; the slots that were due.
  std::vector<breaker_slot> advance_to(millis until_ms) {
    std::vector<breaker_slot> out;
    for (; now_ms < until_ms; now_ms = std::min(until_ms, now_ms + 1'000)) tick(out);
    tick(out);
    return out;
  }

 private:
  void tick(std::vector<breaker_slot>& out) {
    while (set.advance(now_ms, 100, [&](breaker_slot slot) { out.push_back(slot); })) {
    }
  }
};

TEST(breaker_set_names, one_that_is_not_there_is_not_found) {
  const shard s;
  EXPECT_EQ(s.set.find({"payments", "default"}), no_breaker);
}

TEST(breaker_set_names, each_of_many_is_found_and_no_other) {
  shard s;
  s.book.breakers_max = 20'000;
  std::map<std::pair<std::string, std::string>, breaker_slot> slots;
  for (int i = 0; i < 100; ++i)
    for (int k = 0; k < 100; ++k) {
      const auto service = "service-" + std::to_string(i), breaker = "b" + std::to_string(k);
      slots[{service, breaker}] = s.hosted(service, breaker);
    }
  std::set<breaker_slot> distinct;
  for (const auto& [name, slot] : slots) {
    ASSERT_NE(slot, no_breaker);
    ASSERT_EQ(s.set.find({name.first, name.second}), slot);
    ASSERT_EQ(s.set.name_of(slot), (breaker_name{name.first, name.second}));
    distinct.insert(slot);
  }
  EXPECT_EQ(distinct.size(), 10'000U);
  EXPECT_EQ(s.set.find({"service-1", "b100"}), no_breaker);
}

TEST(breaker_set_names, service_and_breaker_are_not_taken_for_each_other) {
  shard s;
  const std::pair<std::string, std::string> names[] = {
      {"a", "bc"}, {"ab", "c"}, {"bc", "a"}, {"a", "b"}, {"b", "a"}, {"a.b", "c"}, {"a", "b.c"}};
  std::set<breaker_slot> slots;
  for (const auto& [service, breaker] : names) slots.insert(s.hosted(service, breaker));
  EXPECT_EQ(slots.size(), std::size(names));
}

TEST(breaker_set_names, of_every_length_have_tags_of_their_own) {
  std::set<std::uint32_t> tags;
  std::size_t names = 0;
  for (std::size_t service = 1; service <= 64; ++service)
    for (std::size_t breaker = 1; breaker <= 64; ++breaker, ++names)
      tags.insert(tag_of({std::string(service, 'a'), std::string(breaker, 'a')}));
  EXPECT_GE(tags.size(), names - 8);  // of 4096 in 2^32 places: 0.002 collisions are expected
  std::string longest(64, 'x');
  std::set<std::uint32_t> changed;
  for (auto& letter : longest) {
    letter = 'y';
    changed.insert(tag_of({longest, "default"}));
    changed.insert(tag_of({"default", longest}));
    letter = 'x';
  }
  EXPECT_EQ(changed.size(), 128U);
}

// Permits carry it from node to node: it is the same on every machine.
TEST(breaker_set_names, tags_do_not_change) {
  EXPECT_EQ(tag_of({"a", "b"}), 0xe4d3d536U);
  EXPECT_EQ(tag_of({"payments", "default"}), 0x341adfd2U);
  EXPECT_EQ(tag_of({"a-service-of-20-bytes", "abcdef"}), 0xbedacbaaU);
  EXPECT_EQ(tag_of({std::string(64, 'a'), std::string(64, 'b')}), 0x9e0246c5U);
}

TEST(breaker_set_limits, past_the_most_there_is_no_room_and_those_there_are_still_found) {
  shard s;
  s.book.breakers_max = 3;
  const auto first = s.hosted("a");
  EXPECT_NE(s.hosted("b"), no_breaker);
  EXPECT_NE(s.hosted("c"), no_breaker);
  EXPECT_EQ(s.refused(breaker_kind::hosted, "d"), error_code::BREAKER_LIMIT);
  EXPECT_EQ(s.refused(breaker_kind::observed, "d"), error_code::BREAKER_LIMIT);
  EXPECT_EQ(s.hosted("a"), first);
  s.set.erase(first);
  EXPECT_NE(s.hosted("d"), no_breaker);
  EXPECT_EQ(s.set.find({"a", "default"}), no_breaker);
}

TEST(breaker_set_limits, hold_for_all_shards_of_a_node_together) {
  shard one;
  one.book.breakers_max = 2;
  {
    shard two;
    two.book = one.book;
    breaker_set other(one.quota);
    EXPECT_TRUE(other.need(breaker_kind::hosted, {"a", "x"}, one.book, start_ms));
    EXPECT_NE(one.hosted("b"), no_breaker);
    EXPECT_EQ(one.refused(breaker_kind::hosted, "c"), error_code::BREAKER_LIMIT);
  }
  EXPECT_NE(one.hosted("c"), no_breaker);  // what the other held was given back
  EXPECT_EQ(one.refused(breaker_kind::hosted, "d"), error_code::BREAKER_LIMIT);
}

TEST(breaker_set_limits, do_not_keep_out_what_was_stored) {
  shard s;
  s.book.breakers_max = 1;
  for (const auto* service : {"a", "b"}) {
    stored_breaker stored;
    stored.record.service = service;
    stored.record.breaker = "default";
    s.set.load(stored, s.book, s.now_ms);
    EXPECT_NE(s.set.find({service, "default"}), no_breaker);
  }
  EXPECT_EQ(s.refused(breaker_kind::hosted, "c"), error_code::BREAKER_LIMIT);
  s.set.erase(s.set.find({"a", "default"}));
  EXPECT_EQ(s.refused(breaker_kind::hosted, "c"), error_code::BREAKER_LIMIT);
  s.set.erase(s.set.find({"b", "default"}));
  EXPECT_NE(s.hosted("c"), no_breaker);
}

TEST(breaker_set_kinds, the_other_kinds_calls_are_a_conflict) {
  shard s;
  EXPECT_FALSE(s.refused(breaker_kind::hosted, "h"));
  EXPECT_FALSE(s.refused(breaker_kind::observed, "o"));
  EXPECT_EQ(s.refused(breaker_kind::observed, "h"), error_code::BREAKER_KIND_CONFLICT);
  EXPECT_EQ(s.refused(breaker_kind::hosted, "o"), error_code::BREAKER_KIND_CONFLICT);
  EXPECT_NE(s.set.at(s.set.find({"h", "default"})).hosted(), nullptr);
  EXPECT_NE(s.set.at(s.set.find({"o", "default"})).observed(), nullptr);
}

TEST(breaker_set_kinds, may_change_after_erasing) {
  shard s;
  s.set.erase(s.hosted("a"));
  EXPECT_FALSE(s.refused(breaker_kind::observed, "a"));
}

TEST(breaker_set_slots, are_used_again_under_another_number) {
  shard s;
  const auto first = s.hosted("a"), second = s.hosted("b");
  EXPECT_LT(s.set.at(first).number, s.set.at(second).number);
  const auto before = s.set.at(second).number;
  s.set.at(first).busy = true;
  s.set.erase(first);
  EXPECT_FALSE(s.set.used(first));
  EXPECT_EQ(s.set.name_of(first), breaker_name{});
  const auto third = s.hosted("c");
  EXPECT_EQ(third, first);
  EXPECT_EQ(s.set.slots(), 2U);
  EXPECT_GT(s.set.at(third).number, before);
  EXPECT_FALSE(s.set.at(third).busy);
  EXPECT_EQ(s.set.find({"a", "default"}), no_breaker);
  EXPECT_EQ(s.set.find({"c", "default"}), third);
}

TEST(breaker_set_slots, of_stored_observed_ones_have_their_sources) {
  shard s;
  stored_breaker stored;
  stored.record.service = "payments";
  stored.record.breaker = "default";
  stored.record.kind = breaker_kind::observed;
  stored.record.state = breaker_state::open;
  stored.sources.push_back({"payments", "default", "app", {}, false});
  stored.sources.back().what.state = breaker_state::open;
  s.set.load(stored, s.book, s.now_ms);
  auto* observed = s.set.at(s.set.find({"payments", "default"})).observed();
  ASSERT_NE(observed, nullptr);
  EXPECT_EQ(observed->sources().size(), 1U);
  EXPECT_EQ(observed->state(), breaker_state::open);
}

// --- time

TEST(breaker_set_time, an_idle_breaker_is_due_when_it_may_retire_and_not_before) {
  shard s;
  const auto slot = s.hosted("a");
  EXPECT_TRUE(s.advance_to(start_ms + 86'400'000 - 1).empty());  // far past the wheel's edge
  const auto due = s.advance_to(start_ms + 86'401'000);
  EXPECT_EQ(due, std::vector<breaker_slot>{slot});
}

TEST(breaker_set_time, an_earlier_time_than_scheduled_is_kept_and_the_later_one_too) {
  shard s;
  const auto slot = s.hosted("a");
  auto& hosted = *s.set.at(slot).hosted();
  std::vector<event_body> events;
  breaker_policy policy;
  for (int i = 0; i < 20; ++i)
    (void)hosted.report(world::call_of(call_outcome::failure), policy, s.now_ms, fixed_random(),
                        events);
  s.set.schedule(slot, policy, s.now_ms);  // opens: due in a minute
  EXPECT_EQ(s.advance_to(start_ms + 59'999), std::vector<breaker_slot>{});
  EXPECT_EQ(s.advance_to(start_ms + 61'000), std::vector<breaker_slot>{slot});
  override_breaker clear;
  hosted.apply(*hosted.decide_reset("x"), "x", policy, s.now_ms);
  s.set.schedule(slot, policy, s.now_ms);  // closed again: nothing but retirement
  EXPECT_EQ(s.advance_to(start_ms + 86'401'000), std::vector<breaker_slot>{slot});
}

TEST(breaker_set_time, what_somebody_still_needs_is_not_retired) {
  shard s;
  const auto slot = s.hosted("a");
  auto& hosted = *s.set.at(slot).hosted();
  std::vector<event_body> events;
  breaker_policy policy;
  policy.retire_after_ms = 10'000;
  const auto retires = [&] { return s.set.retires_at_ms(slot, policy); };
  EXPECT_EQ(retires(), start_ms + 10'000);
  for (int i = 0; i < 20; ++i)
    (void)hosted.report(world::call_of(call_outcome::failure), policy, s.now_ms, fixed_random(),
                        events);
  EXPECT_EQ(retires(), start_ms + 60'000) << "open until its wait is over";
  hosted.advance(policy, start_ms + 60'000, fixed_random(), events);
  EXPECT_EQ(retires(), start_ms + 10'000) << "half-open, and nobody tries";
  EXPECT_TRUE(hosted.acquire(policy, start_ms + 60'000, fixed_random(), events).permit);
  EXPECT_EQ(retires(), std::nullopt) << "somebody tries";
  hosted.apply(*hosted.decide_reset("x"), "x", policy, start_ms + 60'000);
  EXPECT_EQ(retires(), start_ms + 10'000);
  override_breaker order;
  order.mode = override_mode::disabled;
  hosted.apply(*hosted.decide_override(order, "x", override_scope::node, s.now_ms), "x", policy,
               s.now_ms);
  EXPECT_EQ(retires(), std::nullopt) << "an administrator's word";
}

TEST(breaker_set_time, the_stores_own_breaker_takes_no_place_and_stays) {
  shard s;
  s.book.breakers_max = 1;
  const auto own = s.set.need(breaker_kind::hosted, {own_service, store_breaker}, s.book, s.now_ms);
  ASSERT_TRUE(own);
  EXPECT_EQ(s.set.retires_at_ms(*own, s.book.fallback), std::nullopt);
  EXPECT_NE(s.hosted("a"), no_breaker);
  EXPECT_EQ(s.refused(breaker_kind::hosted, "b"), error_code::BREAKER_LIMIT);
  s.set.erase(*own);
  EXPECT_EQ(s.refused(breaker_kind::hosted, "b"), error_code::BREAKER_LIMIT)
      << "nor gives one back";
}

TEST(breaker_set_time, a_later_time_than_scheduled_costs_one_look) {
  shard s;
  const auto slot = s.hosted("a");
  s.now_ms += 80'000'000;
  s.set.at(slot).used_at_ms = s.now_ms;
  s.set.schedule(slot, s.book.fallback, s.now_ms);
  const auto used_ms = s.now_ms;
  EXPECT_EQ(s.advance_to(start_ms + 86'401'000), std::vector<breaker_slot>{slot});
  s.set.schedule(slot, s.book.fallback, s.now_ms);
  EXPECT_EQ(s.advance_to(used_ms + 86'401'000), std::vector<breaker_slot>{slot});
}

TEST(breaker_set_time, one_that_is_erased_is_not_due_and_its_slots_next_owner_is_in_its_own_time) {
  shard s;
  const auto slot = s.hosted("a");
  s.now_ms += 1'000'000;
  (void)s.advance_to(s.now_ms);
  s.set.erase(slot);
  const auto made_ms = s.now_ms;
  EXPECT_EQ(s.hosted("b"), slot);
  EXPECT_TRUE(s.advance_to(made_ms + 86'399'999).empty());
  EXPECT_EQ(s.advance_to(made_ms + 86'401'000), std::vector<breaker_slot>{slot});
}

TEST(breaker_set_time, an_erased_slot_that_nobody_took_is_silent) {
  shard s;
  s.set.erase(s.hosted("a"));
  EXPECT_TRUE(s.advance_to(start_ms + 90'000'000).empty());
}

TEST(breaker_set_time, a_long_stop_loses_none) {
  shard s;
  std::set<breaker_slot> all, due;
  for (int i = 0; i < 300; ++i) {
    all.insert(s.hosted("service-" + std::to_string(i)));
    s.now_ms += 20'000;
  }
  s.now_ms += 90'000'000;
  while (s.set.advance(s.now_ms, 16, [&](breaker_slot slot) { due.insert(slot); })) {
  }
  // Those beyond the wheel's edge are looked at there first.
  for (const auto slot : s.advance_to(s.now_ms + 4'200'000)) due.insert(slot);
  EXPECT_EQ(due, all);
}

TEST(breaker_set_time, no_more_at_once_than_asked_for_and_the_rest_next_time) {
  shard s;
  for (int i = 0; i < 10; ++i) s.hosted("service-" + std::to_string(i));
  s.now_ms += 1'000;
  (void)s.advance_to(s.now_ms);
  std::size_t due = 0;
  for (breaker_slot slot = 0; slot < 10; ++slot) {
    s.set.at(slot).used_at_ms = s.now_ms - 86'400'000;
    s.set.schedule(slot, s.book.fallback, s.now_ms);
  }
  s.now_ms += 1'000;
  EXPECT_TRUE(s.set.advance(s.now_ms, 4, [&](breaker_slot) { ++due; }));
  EXPECT_EQ(due, 4U);
  EXPECT_FALSE(s.set.advance(s.now_ms, 100, [&](breaker_slot) { ++due; }));
  EXPECT_EQ(due, 10U);
}

// --- whose policy holds

TEST(breaker_book_of, the_most_specific_pattern_holds_as_a_whole) {
  breaker_book book;
  book.fallback.min_calls = 1;
  book.patterns["*/reads"].min_calls = 2;
  book.patterns["payments/*"].min_calls = 3;
  book.patterns["payments/reads"].min_calls = 4;
  EXPECT_EQ(book.of({"orders", "default"}).min_calls, 1U);
  EXPECT_EQ(book.of({"orders", "reads"}).min_calls, 2U);
  EXPECT_EQ(book.of({"payments", "default"}).min_calls, 3U);
  EXPECT_EQ(book.of({"payments", "reads"}).min_calls, 4U);
  const std::string longest(64, 'x');
  book.patterns[longest + "/" + longest].min_calls = 5;
  EXPECT_EQ(book.of({longest, longest}).min_calls, 5U);
  EXPECT_EQ(book.of({longest, longest.substr(1)}).min_calls, 1U);
}

TEST(breaker_book_of, patterns_are_two_names_or_stars) {
  for (const auto* good : {"a/b", "*/b", "a/*", "*/*", "a.b-c_d/E9"})
    EXPECT_TRUE(is_breaker_pattern(good)) << good;
  for (const auto* bad : {"", "a", "/", "a/", "/b", "a/b/c", "a*/b", "a/b*", "a b/c", "**/a"})
    EXPECT_FALSE(is_breaker_pattern(bad)) << bad;
  EXPECT_TRUE(is_breaker_pattern(std::string(64, 'a') + "/b"));
  EXPECT_FALSE(is_breaker_pattern(std::string(65, 'a') + "/b"));
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
