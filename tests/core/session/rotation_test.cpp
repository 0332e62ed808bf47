// session.rotate (protocol.md): one successor for parallel requests, a grace that ends, reuse that
// is found out.
#include <set>

#include "world.hpp"

namespace portcullis::core {
namespace {

using enum verdict;

TEST(rotation, gives_a_new_id_and_keeps_handle_data_creation_and_absolute_expiry) {
  world w;
  auto command = w.creation();
  command.data = R"({"cart":3})";
  const auto s = w.create(command);
  const auto before = w.state.at(w.state.find(s.handle)).absolute_expires_at_ms;
  w.now_ms += 1000;
  const auto next = w.rotate(s.id);
  EXPECT_NE(next, s.id);
  EXPECT_EQ(next.bytes[0], s.id.bytes[0]);  // routes to the same shard
  const auto& record = w.state.at(w.judge(next).slot);
  EXPECT_EQ(record.handle, s.handle);
  EXPECT_EQ(record.created_at_ms, world::start_ms);
  EXPECT_EQ(record.absolute_expires_at_ms, before);
  EXPECT_EQ(record.version, 1U);
  EXPECT_EQ(w.data(next), R"({"cart":3})");
}

TEST(rotation, touches) {
  world w;
  const auto s = w.create();
  w.now_ms += 5000;
  w.rotate(s.id);
  EXPECT_EQ(w.state.at(w.state.find(s.handle)).last_seen_at_ms, w.now_ms);
}

TEST(rotation, in_grace_the_old_id_is_valid_and_gives_the_same_successor) {
  world w;
  auto command = w.creation();
  command.data = "{\"a\":1}";
  const auto s = w.create(command);
  const auto next = w.rotate(s.id);
  EXPECT_EQ(w.judge(s.id).kind, id_kind::predecessor);
  EXPECT_EQ(w.verdict_of(s.id), valid);
  EXPECT_EQ(w.rotate(s.id), next);
  EXPECT_EQ(w.rotate(s.id), next);
  EXPECT_EQ(w.data(s.id), "{\"a\":1}");
  EXPECT_EQ(current_id(w.state.at(w.judge(s.id).slot), s.id, id_kind::predecessor, w.keys), next);
}

TEST(rotation, an_unused_successor_leaves_grace_300_s) {
  world w;
  auto command = w.creation();
  const auto s = w.create(command);
  w.rotate(s.id);
  w.now_ms += 299'999;
  EXPECT_EQ(w.verdict_of(s.id), valid);
  w.now_ms += 1;
  EXPECT_EQ(w.verdict_of(s.id), reused);
}

TEST(rotation, grace_ends_10_s_after_the_successors_first_use) {
  world w;
  const auto s = w.create();
  const auto next = w.rotate(s.id);
  w.now_ms += 100'000;
  EXPECT_TRUE(w.use(next).first_successor_use);
  EXPECT_FALSE(w.use(next).first_successor_use);
  w.now_ms += 9'999;
  EXPECT_EQ(w.verdict_of(s.id), valid);
  w.now_ms += 1;
  EXPECT_EQ(w.verdict_of(s.id), reused);
}

TEST(rotation, a_late_first_use_does_not_lengthen_grace_past_300_s) {
  world w;
  const auto s = w.create();
  const auto next = w.rotate(s.id);
  w.now_ms += 295'000;
  w.use(next);
  w.now_ms += 5'000;
  EXPECT_EQ(w.verdict_of(s.id), reused);
}

TEST(rotation, the_policy_says_how_long_grace_is_after_first_use) {
  world w;
  w.policies.session.rotation_grace_s = 0;
  const auto s = w.create();
  const auto next = w.rotate(s.id);
  w.use(next);
  EXPECT_EQ(w.verdict_of(s.id), reused);
}

TEST(rotation, use_of_the_old_id_is_not_the_successors_first_use) {
  world w;
  const auto s = w.create();
  w.rotate(s.id);
  EXPECT_FALSE(w.use(s.id).first_successor_use);
  w.now_ms += 200'000;
  EXPECT_EQ(w.verdict_of(s.id), valid);
}

TEST(rotation, rotating_the_successor_ends_the_grace_of_its_predecessor) {
  world w;
  const auto s = w.create();
  const auto second = w.rotate(s.id);
  const auto third = w.rotate(second);
  EXPECT_EQ(w.judge(second).kind, id_kind::predecessor);
  EXPECT_EQ(w.verdict_of(third), valid);
  EXPECT_EQ(w.verdict_of(second), valid);
  // Quiet, not reuse, until its own grace would have ended: 10 s after the first use of its
  // successor (the rotation).
  EXPECT_EQ(w.verdict_of(s.id), revoked);
  w.now_ms += 9'999;
  EXPECT_EQ(w.verdict_of(s.id), revoked);
  w.now_ms += 1;
  EXPECT_EQ(w.verdict_of(s.id), reused);
}

TEST(rotation, long_chains_keep_every_rule) {
  world w;
  std::vector<session_id> ids{w.create().id};
  for (int i = 0; i < 20; ++i) {
    ids.push_back(w.rotate(ids.back()));
    w.now_ms += 20'000;
    EXPECT_EQ(w.use(ids.back()).verdict, valid);
    EXPECT_EQ(w.verdict_of(ids[ids.size() - 2]), valid);
    for (std::size_t old = 0; old + 3 < ids.size(); ++old)
      EXPECT_EQ(w.verdict_of(ids[old]), reused) << old;
  }
}

TEST(rotation, without_grace_mints_afresh_and_ends_every_earlier_id_at_once) {
  world w;
  const auto s = w.create();
  const auto second = w.rotate(s.id);
  const auto fresh = w.rotate(s.id, false);  // by the old id, in grace: the successor ends too
  EXPECT_NE(fresh, second);
  EXPECT_EQ(w.verdict_of(fresh), valid);
  EXPECT_EQ(w.verdict_of(second), reused);
  EXPECT_EQ(w.verdict_of(s.id), reused);
}

TEST(rotation, without_grace_ends_the_quiet_time_of_older_ids_too) {
  world w;
  const auto s = w.create();
  const auto second = w.rotate(s.id);
  const auto third = w.rotate(second);
  EXPECT_EQ(w.verdict_of(s.id), revoked);  // its grace would still run: quiet
  EXPECT_EQ(w.verdict_of(second), valid);
  const auto fresh = w.rotate(third, false);
  EXPECT_EQ(w.verdict_of(fresh), valid);
  for (const auto& old : {s.id, second, third}) EXPECT_EQ(w.verdict_of(old), reused);
}

TEST(rotation, without_grace_never_gives_the_same_id_twice) {
  world w;
  auto id = w.create().id;
  std::set<session_id> seen{id};
  for (int i = 0; i < 10; ++i) {
    id = w.rotate(id, false);
    EXPECT_TRUE(seen.insert(id).second);
    EXPECT_EQ(w.verdict_of(id), valid);
  }
}

TEST(rotation, reuse_ends_the_session_for_every_id) {
  world w;
  const auto s = w.create();
  const auto next = w.rotate(s.id, false);
  ASSERT_EQ(w.verdict_of(s.id), reused);
  w.about_session(s.handle, session_reuse_detected{});
  EXPECT_EQ(w.verdict_of(s.id), revoked);
  EXPECT_EQ(w.verdict_of(next), revoked);
  EXPECT_EQ(w.state.counts().revoked, 1U);
}

TEST(rotation, old_ids_are_bounded_and_the_oldest_is_forgotten) {
  world w;
  std::vector<session_id> ids{w.create().id};
  for (std::size_t i = 0; i < limits::old_ids_per_session_max + 2; ++i)
    ids.push_back(w.rotate(ids.back(), false));
  EXPECT_EQ(w.state.at(w.judge(ids.back()).slot).extra->old_ids.size(),
            limits::old_ids_per_session_max);
  EXPECT_EQ(w.verdict_of(ids[0]), unknown);
  EXPECT_EQ(w.verdict_of(ids[1]), unknown);
  EXPECT_EQ(w.verdict_of(ids[2]), reused);
  EXPECT_EQ(w.verdict_of(ids.back()), valid);
}

TEST(rotation, a_late_rotation_cannot_revive_a_revoked_session) {
  world w;
  const auto s = w.create();
  auto late = *decide_rotate(w.input(), {s.id, w.home, true}, w.judge(s.id), w.random);
  w.revoke(s.handle);
  for (auto& each : late.events) w.apply(std::move(each));
  EXPECT_EQ(w.verdict_of(s.id), revoked);
  EXPECT_EQ(w.verdict_of(late.id), unknown);
}

TEST(updating, replaces_data_and_raises_the_version) {
  world w;
  auto command = w.creation();
  command.data = "{\"a\":1}";
  const auto s = w.create(command);
  EXPECT_EQ(w.update(s.id, "{\"b\":2}"), 2U);
  EXPECT_EQ(w.data(s.id), "{\"b\":2}");
  EXPECT_EQ(w.update(s.id, "{}"), 3U);
  EXPECT_EQ(w.data(s.id), "{}");
}

TEST(updating, a_stale_version_is_a_conflict_that_names_the_current_one) {
  world w;
  const auto s = w.create();
  w.update(s.id, "{}");
  const auto judged = w.judge(s.id);
  const auto stale = decide_update(w.input(), {s.id, w.home, "{}", 1U}, judged, w.random);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, error_code::SESSION_VERSION_CONFLICT);
  EXPECT_EQ(stale.error().limit, 2);
  EXPECT_TRUE(decide_update(w.input(), {s.id, w.home, "{}", 2U}, judged, w.random));
}

TEST(updating, by_the_old_id_in_grace_is_read_by_both_ids) {
  world w;
  auto command = w.creation();
  command.data = "{\"a\":1}";
  const auto s = w.create(command);
  const auto next = w.rotate(s.id);
  w.update(s.id, "{\"by\":\"old\"}");
  EXPECT_EQ(w.data(s.id), "{\"by\":\"old\"}");
  EXPECT_EQ(w.data(next), "{\"by\":\"old\"}");
  w.update(next, "{\"by\":\"new\"}");
  EXPECT_EQ(w.data(s.id), "{\"by\":\"new\"}");
  EXPECT_EQ(w.data(next), "{\"by\":\"new\"}");
}

TEST(updating, data_survives_chains_of_both_kinds_of_rotation) {
  world w;
  auto command = w.creation();
  command.data = "{\"n\":0}";
  auto id = w.create(command).id;
  for (int i = 1; i < 8; ++i) {
    id = w.rotate(id, i % 3 != 0);
    w.now_ms += 1000;
    EXPECT_EQ(w.data(id), "{\"n\":" + std::to_string(i - 1) + "}");
    w.update(id, "{\"n\":" + std::to_string(i) + "}");
  }
}

TEST(updating, data_cannot_be_opened_with_another_sessions_id_or_under_another_handle) {
  world w;
  auto command = w.creation();
  command.data = "{\"a\":1}";
  const auto a = w.create(command), b = w.create(command);
  auto& record = w.state.at(w.state.find(a.handle));
  EXPECT_FALSE(open_data(record, b.id, id_kind::current, w.keys));
  record.handle = b.handle;
  EXPECT_FALSE(open_data(record, a.id, id_kind::current, w.keys));
}

}  // namespace
}  // namespace portcullis::core
