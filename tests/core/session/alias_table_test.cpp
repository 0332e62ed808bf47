// Sessions that their callers named: what an alias stands for, and how long it is taken.
#include "core/session/alias_table.hpp"

#include <rapidcheck.h>

#include <map>

#include "world.hpp"

namespace portcullis::core {
namespace {

constexpr millis now_ms = 1'700'000'000'000;
constexpr std::string_view ada = "ada's own session id, 16 bytes or more";

short_hash tag_of(std::uint64_t number) {
  short_hash out{};
  auto random = counted_random(number + 1);
  random(out);
  return out;
}

TEST(an_alias, stands_for_an_id_of_its_users_shard_whatever_the_ring_holds) {
  auto random = counted_random();
  const auto ring = generate_keyring(random, 1);
  const key_material keys(ring), later(*rotate_keyring(ring, false, random, 2));
  const auto id = keys.alias_id("acme", ada, 7);
  EXPECT_EQ(id.bytes[0], 7);
  EXPECT_EQ(later.alias_id("acme", ada, 7), id);
  EXPECT_EQ(later.alias_tag("acme", ada), keys.alias_tag("acme", ada));
}

TEST(an_alias, of_another_tenant_text_or_key_file_is_another_id_and_another_tag) {
  auto random = counted_random();
  const key_material keys(generate_keyring(random, 1)), others(generate_keyring(random, 1));
  const auto id = keys.alias_id("acme", ada, 7);
  const auto tag = keys.alias_tag("acme", ada);
  EXPECT_NE(keys.alias_id("acm", "e" + std::string(ada), 7), id) << "the parts are told apart";
  EXPECT_NE(keys.alias_tag("acm", "e" + std::string(ada)), tag);
  EXPECT_NE(keys.alias_id("globex", ada, 7), id);
  EXPECT_NE(keys.alias_tag("globex", ada), tag);
  EXPECT_NE(others.alias_id("acme", ada, 7), id);
  EXPECT_NE(others.alias_tag("acme", ada), tag);
}

TEST(an_alias, tells_nothing_of_the_id_by_its_tag) {
  auto random = counted_random();
  const key_material keys(generate_keyring(random, 1));
  const auto id = keys.alias_id("acme", ada, 7);
  const auto tag = keys.alias_tag("acme", ada);
  EXPECT_FALSE(std::equal(tag.begin() + 1, tag.end(), id.bytes.begin() + 1));
}

TEST(an_alias, is_the_first_id_of_its_session_and_opens_its_data) {
  world w;
  auto command = w.creation();
  command.alias = ada;
  command.data = "{\"a\":1}";
  const auto s = w.create(command);
  const auto byte = w.state.user(w.user()).subject.bytes[0];
  EXPECT_EQ(s.id, w.keys.alias_id("acme", ada, byte));
  EXPECT_EQ(std::get<session_created>(w.log.back().body).alias, w.keys.alias_tag("acme", ada));
  EXPECT_EQ(w.verdict_of(s.id), verdict::valid);
  EXPECT_EQ(w.data(s.id), "{\"a\":1}");
}

TEST(an_alias, that_was_rotated_out_is_an_old_id) {
  world w;
  auto command = w.creation();
  command.alias = ada;
  const auto s = w.create(command);
  const auto next = w.rotate(s.id);
  EXPECT_EQ(w.judge(s.id).kind, id_kind::predecessor);
  EXPECT_EQ(w.verdict_of(s.id), verdict::valid);
  (void)w.rotate(next, false);
  EXPECT_EQ(w.verdict_of(s.id), verdict::reused);
}

// A node purges in its own time: it may have the record of the session before.
TEST(an_alias, that_is_given_again_leads_to_the_session_made_last) {
  world w;
  auto command = w.creation();
  command.alias = ada;
  command.absolute_ttl_s = 60;
  const auto first = w.create(command);
  w.now_ms += 60'000 + limits::tombstone_keep_ms;
  const auto second = w.create(command);
  ASSERT_EQ(second.id, first.id);
  EXPECT_EQ(w.verdict_of(first.id), verdict::valid);
  EXPECT_EQ(w.state.find(hash_id(w.keys, first.id)).slot, w.state.find(second.handle));
  w.state.purge(w.state.find(first.handle));
  EXPECT_EQ(w.verdict_of(first.id), verdict::valid) << "and stays there";
}

TEST(an_alias, that_was_given_again_leads_to_the_session_made_last_in_whatever_order_they_load) {
  world w;
  auto command = w.creation();
  command.alias = ada;
  command.absolute_ttl_s = 60;
  const auto first = w.create(command);
  (void)w.rotate(first.id, false);  // it has the alias among its old ids
  w.now_ms += 60'000 + limits::tombstone_keep_ms;
  const auto second = w.create(command);
  for (const bool last_first : {true, false}) {
    session_state loaded;
    for (const bool last : {last_first, !last_first}) {
      const auto& from = w.state.at(w.state.find(last ? second.handle : first.handle));
      session_record s;
      s.id = from.id;
      s.handle = from.handle;
      s.seq = from.seq;
      s.status = from.status;
      s.user = loaded.need_user({}, "acme");
      (void)loaded.load_session(std::move(s),
                                from.extra ? from.extra->old_ids : std::vector<old_id>());
    }
    const auto found = loaded.find(hash_id(w.keys, first.id));
    EXPECT_EQ(found.slot, loaded.find(second.handle)) << last_first;
    EXPECT_EQ(found.kind, id_kind::current);
  }
}

TEST(a_session, without_alias_has_none_in_the_log) {
  world w;
  (void)w.create();
  EXPECT_FALSE(std::get<session_created>(w.log.back().body).alias);
}

TEST(the_aliases, lead_to_their_sessions_until_those_are_forgotten) {
  alias_table table;
  EXPECT_FALSE(table.find(tag_of(1), now_ms));
  table.keep(tag_of(1), 9, now_ms + 5'000);
  EXPECT_EQ(table.find(tag_of(1), now_ms + 4'999), 9);
  EXPECT_FALSE(table.reserve(tag_of(1), 9, now_ms + 4'999)) << "taken, also for its own user";
  EXPECT_FALSE(table.find(tag_of(1), now_ms + 5'000));
  EXPECT_TRUE(table.reserve(tag_of(1), 3, now_ms + 5'000));
  EXPECT_EQ(table.find(tag_of(1), now_ms + 5'000), 3);
}

TEST(the_aliases, are_not_free_a_moment_too_early) {
  alias_table table;
  table.keep(tag_of(1), 9, now_ms + 1);
  EXPECT_FALSE(table.reserve(tag_of(1), 3, now_ms)) << "whole seconds are kept, rounded up";
}

TEST(a_reservation, keeps_an_alias_from_other_shards_until_it_is_released) {
  alias_table table;
  ASSERT_TRUE(table.reserve(tag_of(1), 3, now_ms));
  EXPECT_EQ(table.find(tag_of(1), now_ms), 3) << "who names it comes behind its creation";
  EXPECT_FALSE(table.reserve(tag_of(1), 4, now_ms));
  table.release(tag_of(1), 4);  // that is not its own
  EXPECT_FALSE(table.reserve(tag_of(1), 4, now_ms));
  table.release(tag_of(1), 3);
  EXPECT_FALSE(table.find(tag_of(1), now_ms));
  EXPECT_EQ(table.size(), 0U);
  EXPECT_TRUE(table.reserve(tag_of(1), 4, now_ms));
}

TEST(a_reservation, is_shared_by_creates_that_their_shard_puts_in_order) {
  alias_table table;
  ASSERT_TRUE(table.reserve(tag_of(1), 3, now_ms));
  ASSERT_TRUE(table.reserve(tag_of(1), 3, now_ms));
  table.release(tag_of(1), 3);
  EXPECT_FALSE(table.reserve(tag_of(1), 4, now_ms)) << "the other one still has it";
  table.release(tag_of(1), 3);
  EXPECT_TRUE(table.reserve(tag_of(1), 4, now_ms));
}

TEST(a_reservation, gives_way_to_the_session_and_its_release_does_not_free_that) {
  alias_table table;
  ASSERT_TRUE(table.reserve(tag_of(1), 3, now_ms));
  ASSERT_TRUE(table.reserve(tag_of(1), 3, now_ms));
  table.keep(tag_of(1), 3, now_ms + 60'000);
  table.release(tag_of(1), 3);
  table.release(tag_of(1), 3);
  EXPECT_EQ(table.find(tag_of(1), now_ms), 3);
  EXPECT_TRUE(table.renew(tag_of(1), 3, now_ms));
}

TEST(a_reservation, is_lost_to_a_session_that_another_node_has_made_under_the_alias) {
  alias_table table;
  ASSERT_TRUE(table.reserve(tag_of(1), 3, now_ms));
  EXPECT_TRUE(table.renew(tag_of(1), 3, now_ms));
  table.keep(tag_of(1), 4, now_ms + 60'000);
  EXPECT_FALSE(table.renew(tag_of(1), 3, now_ms));
}

TEST(a_reservation, that_nobody_releases_ends_by_itself) {
  alias_table table;
  ASSERT_TRUE(table.reserve(tag_of(1), 3, now_ms));
  const auto over_ms = now_ms + limits::alias_reservation_ms;
  EXPECT_FALSE(table.reserve(tag_of(1), 4, over_ms - 1));
  EXPECT_TRUE(table.reserve(tag_of(1), 4, over_ms));
  EXPECT_FALSE(table.renew(tag_of(1), 3, over_ms)) << "another one has it by now";
}

TEST(a_reservation, is_void_when_its_shard_was_started_again) {
  alias_table table;
  for (std::uint64_t i = 0; i < 100; ++i)
    ASSERT_TRUE(table.reserve(tag_of(i), static_cast<std::uint8_t>(i), now_ms));
  table.keep(tag_of(200), 10, now_ms + 60'000);
  std::bitset<256> gone;
  for (std::size_t byte = 0; byte < 50; ++byte) gone.set(byte);
  table.drop_reservations(gone);
  for (std::uint64_t i = 0; i < 100; ++i)
    EXPECT_EQ(table.find(tag_of(i), now_ms).has_value(), i >= 50) << i;
  EXPECT_EQ(table.find(tag_of(200), now_ms), 10) << "a session's alias stays";
}

TEST(of_two_sessions, under_one_alias_the_one_that_is_remembered_longer_counts) {
  for (const bool later_first : {true, false}) {
    alias_table table;
    if (later_first) table.keep(tag_of(1), 2, now_ms + 90'000);
    table.keep(tag_of(1), 1, now_ms + 10'000);
    if (!later_first) table.keep(tag_of(1), 2, now_ms + 90'000);
    EXPECT_EQ(table.find(tag_of(1), now_ms), 2);
  }
}

TEST(the_aliases, give_their_memory_back) {
  alias_table table;
  for (std::uint64_t i = 0; i < 10'000; ++i) table.keep(tag_of(i), 1, now_ms + 1'000);
  table.keep(tag_of(10'000), 1, now_ms + 60'000);
  const auto most = table.bytes();
  EXPECT_LE(most, 10'001U * 48);
  for (int i = 0; i < 200; ++i) table.sweep(now_ms + 2'000, 512);
  EXPECT_EQ(table.size(), 1U);
  EXPECT_LT(table.bytes(), most / 100);
  EXPECT_EQ(table.find(tag_of(10'000), now_ms + 2'000), 1);
  for (int i = 0; i < 10; ++i) table.sweep(now_ms + 60'000, 512);
  EXPECT_EQ(table.bytes(), 0U);
  EXPECT_TRUE(table.reserve(tag_of(5), 1, now_ms)) << "and begin anew";
}

TEST(the_aliases, are_swept_the_faster_the_more_there_are) {
  alias_table table;
  for (std::uint64_t i = 0; i < 20'000; ++i) table.keep(tag_of(i), 1, now_ms + 1'000);
  for (int i = 0; i < 300; ++i) table.sweep(now_ms + 2'000, 8);
  EXPECT_EQ(table.size(), 0U);
}

TEST(the_aliases, have_a_holder_when_its_session_is_made_and_until_that_is_forgotten) {
  alias_table table;
  EXPECT_FALSE(table.holder(tag_of(1), now_ms));
  ASSERT_TRUE(table.reserve(tag_of(1), 3, now_ms));
  EXPECT_FALSE(table.holder(tag_of(1), now_ms)) << "it is only about to have it";
  table.keep(tag_of(1), 4, now_ms + 5'000);
  EXPECT_EQ(table.holder(tag_of(1), now_ms), 4);
  EXPECT_FALSE(table.holder(tag_of(1), now_ms + 5'000));
}

// Whatever comes in whatever order, the table says what a map of the same rules says.
TEST(the_aliases, are_those_of_a_simple_map) {
  EXPECT_TRUE(rc::check([] {
    struct known {
      bool taken = false;
      unsigned creates = 0;
      std::uint8_t byte = 0;
      millis until_ms = 0;
    };
    alias_table table;
    std::map<std::uint64_t, known> model;
    millis at_ms = now_ms;
    for (const int step : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 1 << 20))) {
      const auto which = static_cast<std::uint64_t>(step >> 4 & 31);
      const auto byte = static_cast<std::uint8_t>(step >> 9 & 1);
      const auto tag = tag_of(which);
      const auto found = model.find(which);
      const bool there = found != model.end() && at_ms < found->second.until_ms;
      switch (step % 8) {
        case 0:
        case 1:
        case 2: {
          const bool joins = there && !found->second.taken && found->second.byte == byte;
          RC_ASSERT(table.reserve(tag, byte, at_ms) == (!there || joins));
          if (there && !joins) break;
          auto& now = model[which];
          now = {false, joins ? now.creates + 1 : 1, byte, at_ms + limits::alias_reservation_ms};
          break;
        }
        case 3:
          table.release(tag, byte);
          if (found != model.end() && !found->second.taken && found->second.byte == byte &&
              --found->second.creates == 0)
            model.erase(found);
          break;
        case 4: {
          const auto until_ms = at_ms + 1'000 * (step >> 10);
          table.keep(tag, byte, until_ms);
          auto& now = model[which];
          if (!now.taken || now.until_ms <= until_ms) now = {true, 0, byte, until_ms};
          break;
        }
        case 5:
          at_ms += 1'000 * (step >> 12);
          break;
        case 6:
          table.sweep(at_ms, 8);
          std::erase_if(model, [&](const auto& each) { return at_ms >= each.second.until_ms; });
          for (std::size_t i = 0; i < 64; ++i) table.sweep(at_ms, 8);
          RC_ASSERT(table.size() == model.size());
          break;
        default:
          RC_ASSERT(table.find(tag, at_ms) ==
                    (there ? std::optional(found->second.byte) : std::nullopt));
      }
    }
  }));
}

}  // namespace
}  // namespace portcullis::core
