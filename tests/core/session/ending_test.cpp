// How sessions end: revocations by session, user and tenant, expiry and the sweep; and that nothing
// revives one.
#include "world.hpp"

namespace portcullis::core {
namespace {

using enum verdict;

TEST(revoking, a_session_ends_it_and_no_other) {
  world w;
  const auto a = w.create(), b = w.create();
  w.revoke(a.handle);
  EXPECT_EQ(w.verdict_of(a.id), revoked);
  EXPECT_EQ(w.verdict_of(b.id), valid);
  EXPECT_EQ(w.state.counts().live, 1U);
  EXPECT_EQ(w.state.counts().revoked, 1U);
}

TEST(revoking, twice_counts_once) {
  world w;
  const auto a = w.create();
  w.revoke(a.handle);
  w.revoke(a.handle);
  EXPECT_EQ(w.state.counts().revoked, 1U);
  EXPECT_EQ(w.state.counts().live, 0U);
}

TEST(revoking, a_user_ends_all_of_the_users_sessions_and_nobody_elses) {
  world w;
  const auto a = w.create(), b = w.create(), other = w.create("bob");
  EXPECT_EQ(w.revoke_user(w.user()), 2U);
  EXPECT_EQ(w.verdict_of(a.id), revoked);
  EXPECT_EQ(w.verdict_of(b.id), revoked);
  EXPECT_EQ(w.verdict_of(other.id), valid);
  EXPECT_EQ(w.state.counts().live, 1U);
  EXPECT_EQ(w.verdict_of(w.create().id), valid);
}

TEST(revoking, a_user_spares_the_excepted_session_now_and_the_next_time) {
  world w;
  const auto a = w.create(), b = w.create(), c = w.create();
  EXPECT_EQ(w.revoke_user(w.user(), b.handle), 2U);
  EXPECT_EQ(w.verdict_of(a.id), revoked);
  EXPECT_EQ(w.verdict_of(b.id), valid);
  EXPECT_EQ(w.verdict_of(c.id), revoked);
  EXPECT_EQ(w.revoke_user(w.user(), b.handle), 0U);
  EXPECT_EQ(w.verdict_of(b.id), valid);
  EXPECT_EQ(w.revoke_user(w.user()), 1U);
  EXPECT_EQ(w.verdict_of(b.id), revoked);
  EXPECT_EQ(w.state.counts().live, 0U);
  EXPECT_EQ(w.state.counts().revoked, 3U);
}

TEST(revoking, an_exception_of_another_user_or_of_a_dead_session_spares_nothing) {
  world w;
  const auto a = w.create(), bob = w.create("bob");
  event what;
  what.subject = w.state.user(w.user()).subject;
  what.tenant_id = "acme";
  session_revoked body;
  body.scope = revoke_scope::user;
  body.count = 1;
  body.except_handle = bob.handle;
  what.body = body;
  w.apply(what);
  EXPECT_EQ(w.verdict_of(a.id), revoked);
  const auto dead = w.create();
  w.revoke_user(w.user());
  w.revoke_user(w.user(), dead.handle);
  EXPECT_EQ(w.verdict_of(dead.id), revoked);
}

TEST(revoking, a_tenant_ends_all_its_sessions_by_its_generation) {
  world w;
  const auto a = w.create("alice"), b = w.create("bob"), other = w.create("alice", "other");
  w.apply(w.tenant_revocation("acme"));
  EXPECT_EQ(w.verdict_of(a.id), revoked);
  EXPECT_EQ(w.verdict_of(b.id), revoked);
  EXPECT_EQ(w.verdict_of(other.id), valid);
  EXPECT_EQ(w.state.counts().live, 1U);
  EXPECT_EQ(w.state.counts().revoked, 2U);
  EXPECT_EQ(w.verdict_of(w.create("alice").id), valid);
}

TEST(revoking, a_tenant_takes_along_what_was_decided_before_and_committed_after) {
  world w;
  auto decided = decide_create(w.input(), w.creation(), w.user(), w.random);
  w.apply(w.tenant_revocation("acme"));
  w.apply(decided.what);
  EXPECT_EQ(w.verdict_of(decided.id), revoked);
  EXPECT_EQ(w.state.counts().live, 0U);
  EXPECT_EQ(w.state.counts().created, 1U);
  EXPECT_EQ(w.state.counts().revoked, 1U);
}

TEST(revoking, a_user_after_the_tenant_counts_no_session_twice) {
  world w;
  w.create("alice");
  w.create("alice");
  // Both were decided while the sessions lived; the tenant's is applied first.
  session_revoked body;
  body.scope = revoke_scope::user;
  body.count = 2;
  body.tenant_generation = w.state.tenant(w.state.find_tenant("acme")).generation;
  event user_revocation;
  user_revocation.tenant_id = "acme";
  user_revocation.subject = w.state.user(w.user()).subject;
  user_revocation.body = body;
  w.apply(w.tenant_revocation("acme"));
  w.create("bob");
  w.apply(user_revocation);
  EXPECT_EQ(w.state.counts().live, 1U);
  EXPECT_EQ(w.state.tenant(w.state.find_tenant("acme")).live, 1U);
  EXPECT_EQ(w.state.counts().revoked, 2U);
}

TEST(revoking, late_events_cannot_revive_a_session) {
  world w;
  const auto s = w.create();
  const auto slot = w.state.find(s.handle);
  auto update =
      decide_update(w.input(), {s.id, w.home, "{}", std::nullopt}, w.judge(s.id), w.random);
  w.revoke(s.handle);
  w.now_ms += 1000;
  event touched;
  touched.body = session_touched{{{s.handle, w.now_ms + 1'000'000, 1}}};
  w.apply(touched);
  w.apply(*update);
  w.about_session(s.handle, session_successor_used{w.now_ms});
  w.about_session(s.handle, session_expired{});
  EXPECT_EQ(w.verdict_of(s.id), revoked);
  EXPECT_EQ(w.state.at(slot).last_seen_at_ms, world::start_ms);
  EXPECT_EQ(w.state.at(slot).version, 1U);
  EXPECT_EQ(w.state.counts().expired, 0U);
}

TEST(revoking, an_ended_session_keeps_no_data_and_no_context) {
  world w;
  auto command = w.creation();
  command.data = "{\"a\":1}";
  const auto s = w.create(command);
  w.revoke(s.handle);
  const auto& record = w.state.at(w.state.find(s.handle));
  EXPECT_TRUE(record.data().empty());
  EXPECT_EQ(record.hashes, kept_hashes{});
}

TEST(activity, never_goes_backwards) {
  world w;
  const auto s = w.create();
  const auto slot = w.state.find(s.handle);
  w.state.touch(slot, world::start_ms + 50'000);
  w.state.touch(slot, world::start_ms + 10'000);
  EXPECT_EQ(w.state.at(slot).last_seen_at_ms, world::start_ms + 50'000);
}

TEST(ttls, may_only_shorten_the_policy) {
  session_policy policy;
  create_session command;
  EXPECT_TRUE(check_ttls(command, policy));
  command.idle_ttl_s = 900;
  command.absolute_ttl_s = 43'200;
  EXPECT_TRUE(check_ttls(command, policy));
  command.idle_ttl_s = 1;
  command.absolute_ttl_s = 1;
  EXPECT_TRUE(check_ttls(command, policy));
  for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{901}}) {
    command.idle_ttl_s = bad;
    const auto refused = check_ttls(command, policy);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code, error_code::TTL_OUT_OF_RANGE);
    EXPECT_EQ(refused.error().field, "idle_ttl_s");
    EXPECT_EQ(refused.error().limit, 900);
  }
  command.idle_ttl_s = 1;
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{43'201}}) {
    command.absolute_ttl_s = bad;
    const auto refused = check_ttls(command, policy);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().field, "absolute_ttl_s");
    EXPECT_EQ(refused.error().limit, 43'200);
  }
}

TEST(ttls, are_fixed_at_creation) {
  world w;
  auto command = w.creation();
  command.idle_ttl_s = 60;
  command.absolute_ttl_s = 100;
  const auto s = w.create(command);
  w.policies.session.idle_ttl_s = 5;
  w.policies.session.absolute_ttl_s = 5;
  w.now_ms += 59'999;
  EXPECT_EQ(w.use(s.id).verdict, valid);
  w.now_ms = world::start_ms + 99'999;
  EXPECT_EQ(w.verdict_of(s.id), valid);
  w.now_ms += 1;
  EXPECT_EQ(w.verdict_of(s.id), expired);
}

TEST(ttls, the_reply_names_the_earlier_expiry) {
  world w;
  auto command = w.creation();
  command.idle_ttl_s = 60;
  const auto idle_first = w.create(command);
  auto made = made_reply(w.state.at(w.state.find(idle_first.handle)), idle_first.id);
  EXPECT_EQ(made.expires_at_ms, world::start_ms + 60'000);
  EXPECT_EQ(made.idle_expires_at_ms, world::start_ms + 60'000);
  EXPECT_EQ(made.absolute_expires_at_ms, world::start_ms + 43'200'000);
  EXPECT_EQ(std::get<session_created>(w.log.back().body).expires_at_ms, made.expires_at_ms);
  command.absolute_ttl_s = 30;
  const auto absolute_first = w.create(command);
  made = made_reply(w.state.at(w.state.find(absolute_first.handle)), absolute_first.id);
  EXPECT_EQ(made.expires_at_ms, world::start_ms + 30'000);
  EXPECT_EQ(made.version, 1U);
}

TEST(sweeping, keeps_a_live_session_until_it_expires) {
  world w;
  const auto s = w.create();
  const auto slot = w.state.find(s.handle);
  auto found = sweep(w.state, slot, w.now_ms);
  EXPECT_EQ(found.what, swept::action::keep);
  EXPECT_EQ(found.next_ms, world::start_ms + 900'000);
  w.state.touch(slot, world::start_ms + 100'000);
  EXPECT_EQ(sweep(w.state, slot, w.now_ms + 900'000).next_ms, world::start_ms + 1'000'000);
}

TEST(sweeping, says_which_expiry_it_was) {
  world w;
  const auto idle = w.create();
  auto command = w.creation();
  command.absolute_ttl_s = 10;
  command.idle_ttl_s = 10;
  const auto absolute = w.create(command);
  w.now_ms += 900'000;
  auto found = sweep(w.state, w.state.find(idle.handle), w.now_ms);
  EXPECT_EQ(found.what, swept::action::expire);
  EXPECT_EQ(found.kind, expiry_kind::idle);
  found = sweep(w.state, w.state.find(absolute.handle), w.now_ms);
  EXPECT_EQ(found.what, swept::action::expire);
  EXPECT_EQ(found.kind, expiry_kind::absolute);
}

TEST(sweeping, purges_a_tombstone_when_its_time_is_over_and_not_before) {
  world w;
  const auto s = w.create();
  const auto slot = w.state.find(s.handle);
  w.revoke(s.handle);
  const auto purge_at = world::start_ms + 43'200'000 + 900'000;
  auto found = sweep(w.state, slot, purge_at - 1);
  EXPECT_EQ(found.what, swept::action::keep);
  EXPECT_EQ(found.next_ms, purge_at);
  EXPECT_EQ(sweep(w.state, slot, purge_at).what, swept::action::purge);
}

TEST(sweeping, what_a_revocation_of_all_ended_waits_for_its_purge_only) {
  world w;
  const auto s = w.create();
  const auto slot = w.state.find(s.handle);
  w.revoke_user(w.user());
  EXPECT_EQ(sweep(w.state, slot, w.now_ms + 900'000).what, swept::action::keep);
  EXPECT_EQ(sweep(w.state, slot, world::start_ms + 44'100'000).what, swept::action::purge);
}

TEST(sweeping, what_nobody_swept_for_long_gets_its_event_before_it_is_purged) {
  world w;
  const auto s = w.create();
  const auto slot = w.state.find(s.handle);
  w.now_ms = world::start_ms + 100'000'000;
  const auto found = sweep(w.state, slot, w.now_ms);
  EXPECT_EQ(found.what, swept::action::expire);
  EXPECT_EQ(found.kind, expiry_kind::absolute);
  w.about_session(s.handle, session_expired{found.kind});
  EXPECT_EQ(sweep(w.state, slot, w.now_ms).what, swept::action::purge);
}

TEST(purging, forgets_every_id_and_the_handle) {
  world w;
  const auto s = w.create();
  const auto second = w.rotate(s.id);
  const auto third = w.rotate(second);
  const auto other = w.create();
  w.revoke(s.handle);
  w.state.purge(w.state.find(s.handle));
  for (const auto& id : {s.id, second, third}) EXPECT_EQ(w.verdict_of(id), unknown);
  EXPECT_EQ(w.state.find(s.handle), no_slot);
  EXPECT_EQ(w.verdict_of(other.id), valid);
  EXPECT_EQ(w.state.records(), 1U);
  EXPECT_EQ(w.state.user(w.user()).sessions, 1U);
  w.about_session(other.handle, session_updated{2, {}});
  EXPECT_EQ(w.verdict_of(w.create().id), valid);  // takes the slot that became free
  EXPECT_EQ(w.verdict_of(s.id), unknown);
}

TEST(purging, a_late_event_of_a_purged_session_changes_nothing) {
  world w;
  const auto s = w.create();
  auto late = about(w.state, w.state.find(s.handle), w.now_ms);
  late.body = session_revoked{};
  w.revoke(s.handle);
  w.state.purge(w.state.find(s.handle));
  const auto next = w.create();
  w.apply(late);
  EXPECT_EQ(w.verdict_of(next.id), valid);
}

TEST(caps, live_sessions_are_those_that_still_validate) {
  world w;
  const auto a = w.create(), b = w.create(), c = w.create(), d = w.create();
  w.revoke(a.handle);
  w.state.touch(w.state.find(c.handle), w.now_ms + 1000);
  w.now_ms += 900'000;
  EXPECT_FALSE(is_live(w.state, w.state.find(a.handle), w.now_ms));
  EXPECT_FALSE(is_live(w.state, w.state.find(b.handle), w.now_ms));
  EXPECT_TRUE(is_live(w.state, w.state.find(c.handle), w.now_ms));
  EXPECT_FALSE(is_live(w.state, w.state.find(d.handle), w.now_ms));
  EXPECT_EQ(over_because(w.state, w.state.find(a.handle), w.now_ms), revoked);
  EXPECT_EQ(over_because(w.state, w.state.find(b.handle), w.now_ms), expired);
}

TEST(directory, lists_a_users_sessions_by_creation) {
  world w;
  const auto a = w.create(), b = w.create(), c = w.create(), other = w.create("bob");
  const auto slot = [&](const world::made& s) { return w.state.find(s.handle); };
  EXPECT_EQ(w.directory.sessions(w.user()), (std::vector{slot(a), slot(b), slot(c)}));
  w.directory.remove(w.user(), slot(b));
  EXPECT_EQ(w.directory.sessions(w.user()), (std::vector{slot(a), slot(c)}));
  w.directory.remove(w.user(), slot(a));
  w.directory.add(w.user(), slot(b));
  EXPECT_EQ(w.directory.sessions(w.user()), (std::vector{slot(c), slot(b)}));
  w.directory.remove(w.user(), slot(c));
  w.directory.remove(w.user(), slot(b));
  EXPECT_TRUE(w.directory.sessions(w.user()).empty());
  EXPECT_EQ(w.directory.sessions(w.user("bob")), (std::vector{slot(other)}));
  EXPECT_TRUE(w.directory.sessions(12'345).empty());
}

}  // namespace
}  // namespace portcullis::core
