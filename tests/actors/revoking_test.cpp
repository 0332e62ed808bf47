// How sessions of a shard end: revocation of one, a user or a tenant, rotation and reuse, caps,
// expiry by ticks.
#include "fixture.hpp"

namespace portcullis::actors {
namespace {

using core::event_type;
using core::invalid_reason;

TEST(sessions, expire_by_ticks_with_one_event_and_are_purged_when_their_time_is_over) {
  shard_world w;
  w.policy().session.absolute_ttl_s = 1'000;
  w.start();
  const auto s = w.made("alice");
  w.leap(899'000);
  EXPECT_TRUE(w.events(event_type::session_expired).empty());
  w.pass(2'100);
  ASSERT_EQ(w.events(event_type::session_expired).size(), 1U);
  EXPECT_EQ(std::get<core::session_expired>(w.events(event_type::session_expired)[0].body).kind,
            core::expiry_kind::idle);
  EXPECT_EQ(w.counts().expired, 1U);
  EXPECT_EQ(w.reason(w.alone(w.validate(s.id))), invalid_reason::expired);
  w.leap(1'000'000);
  w.pass(2'000);
  w.commit_all();
  EXPECT_TRUE(w.purged.empty()) << "the log's time has not come so far: a digest has it still";
  ASSERT_FALSE(w.log_times.empty()) << "but somebody asked for it";
  EXPECT_LE(w.log_times[0], w.clock.at_ms);
  // Regression: only an event of its own told the shard; on a quiet one it was never purged.
  caf::anon_send(w.moved[0].session, log_time{w.log_times[0]});
  w.pass(31'000);
  w.commit_all();
  ASSERT_EQ(w.purged.size(), 1U);
  EXPECT_EQ(w.log_times.size(), 1U) << "and asks no more";
  EXPECT_EQ(w.ask<sessions_counted>(w.moved[0].session, count_sessions{}).records, 0U);
  EXPECT_EQ(w.reason(w.alone(w.validate(s.id))), invalid_reason::not_found);
  EXPECT_TRUE(w.reply<core::session_page>(w.alone(w.list("alice"))).rows.empty());
  EXPECT_EQ(w.events(event_type::session_expired).size(), 1U);
}

TEST(caps, deny_the_session_past_the_cap_also_when_all_are_asked_for_at_once) {
  shard_world w;
  w.policy().session.max_sessions_per_user = 3;
  w.start();
  std::vector<std::uint32_t> tickets;
  for (int i = 0; i < 8; ++i) tickets.push_back(w.create("alice"));
  w.submit();
  while (w.commit_all() > 0) {
  }
  std::size_t made = 0, refused = 0;
  for (const auto ticket : tickets) {
    const auto& reply = w.port.replies.at(ticket).reply;
    made += std::holds_alternative<core::session_made>(reply);
    if (const auto* failed = std::get_if<core::failed>(&reply)) {
      EXPECT_EQ(failed->why.code, core::error_code::SESSION_CAP_REACHED);
      EXPECT_EQ(failed->why.limit, 3);
      ++refused;
    }
  }
  EXPECT_EQ(made, 3U);
  EXPECT_EQ(refused, 5U);
}

TEST(caps, evict_the_oldest_when_the_policy_says_so) {
  shard_world w;
  w.policy().session.max_sessions_per_user = 2;
  w.policy().session.on_cap = core::cap_action::evict_oldest;
  w.start();
  std::vector<core::session_made> made;
  for (int i = 0; i < 5; ++i) made.push_back(w.made("alice"));
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(w.reason(w.alone(w.validate(made[static_cast<std::size_t>(i)].id))),
              invalid_reason::revoked);
  EXPECT_TRUE(w.valid(w.alone(w.validate(made[3].id))));
  EXPECT_TRUE(w.valid(w.alone(w.validate(made[4].id))));
  EXPECT_EQ(w.counts().evicted, 3U);
  EXPECT_EQ(w.counts().live, 2U);
}

TEST(revoking_a_user, ends_also_what_was_being_created_at_that_moment) {
  shard_world w;
  w.start();
  const auto first = w.made("alice");
  const auto create = w.create("alice");
  const auto revoke = w.revoke_user("alice");
  const auto after = w.create("alice");
  w.submit();
  while (w.commit_all() > 0) {
  }
  EXPECT_EQ(w.reply<core::sessions_revoked>(revoke).count, 2U);
  EXPECT_EQ(w.reason(w.alone(w.validate(first.id))), invalid_reason::revoked);
  EXPECT_EQ(w.reason(w.alone(w.validate(w.reply<core::session_made>(create).id))),
            invalid_reason::revoked);
  EXPECT_TRUE(w.valid(w.alone(w.validate(w.reply<core::session_made>(after).id))));
}

TEST(revoking_a_user, spares_the_excepted_session_by_either_id_in_grace) {
  shard_world w;
  w.start();
  const auto a = w.made("alice"), b = w.made("alice");
  const auto rotated = w.alone(w.rotate(b.id));
  w.commit_all();
  const auto revoke = w.alone(w.revoke_user("alice", "acme", b.id));
  w.commit_all();
  EXPECT_EQ(w.reply<core::sessions_revoked>(revoke).count, 1U);
  EXPECT_EQ(w.reason(w.alone(w.validate(a.id))), invalid_reason::revoked);
  EXPECT_TRUE(w.valid(w.alone(w.validate(w.reply<core::session_made>(rotated).id))));
  const auto none = w.alone(w.revoke_user("alice", "acme", b.id));
  EXPECT_EQ(w.reply<core::sessions_revoked>(none).count, 0U);
  EXPECT_EQ(w.reply<core::sessions_revoked>(w.alone(w.revoke_user("nobody"))).count, 0U);
}

TEST(revoking_a_user, leaves_what_has_run_out_expired_though_no_sweep_has_come) {
  shard_world w;
  w.start();
  const auto old = w.made("alice");
  w.clock.at_ms += 500'000;
  const auto young = w.made("alice");
  w.clock.at_ms += 450'000;
  const auto revoke = w.alone(w.revoke_user("alice"));
  w.commit_all();
  EXPECT_EQ(w.reply<core::sessions_revoked>(revoke).count, 1U);
  EXPECT_EQ(w.reason(w.alone(w.validate(old.id))), invalid_reason::expired);
  EXPECT_EQ(w.reason(w.alone(w.validate(young.id))), invalid_reason::revoked);
  EXPECT_EQ(w.counts().live, 0U);
  EXPECT_EQ(w.counts().expired, 1U);
  EXPECT_EQ(w.counts().revoked, 1U);
}

TEST(revoking_a_session, twice_is_no_error) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  const auto first = w.revoke(s.handle), second = w.revoke(s.handle);
  w.submit();
  EXPECT_FALSE(w.answered(first));
  EXPECT_FALSE(w.answered(second));
  w.commit_all();
  EXPECT_EQ(w.reply<core::sessions_revoked>(first).count, 1U);
  EXPECT_EQ(w.reply<core::sessions_revoked>(second).count, 0U);
}

TEST(revoking_a_tenant, reaches_every_shard) {
  shard_world w(2);
  w.start();
  std::vector<core::session_made> all;
  for (int i = 0; i < 12; ++i) all.push_back(w.made("user-" + std::to_string(i)));
  const auto other = w.made("user-0", "other");
  ASSERT_GT(w.counts(0).live, 0U);
  ASSERT_GT(w.counts(1).live, 0U);
  const auto revoke = w.alone(w.revoke_tenant("acme"));
  EXPECT_FALSE(w.answered(revoke));
  w.commit_all();
  EXPECT_EQ(w.reply<core::sessions_revoked>(revoke).count, 12U);
  for (const auto& s : all) EXPECT_EQ(w.reason(w.alone(w.validate(s.id))), invalid_reason::revoked);
  EXPECT_TRUE(w.valid(w.alone(w.validate(other.id))));
  EXPECT_EQ(w.counts(0).live + w.counts(1).live, 1U);
  EXPECT_EQ(w.events(event_type::session_revoked).size(), 1U);
  EXPECT_TRUE(w.valid(w.alone(w.validate(w.made("user-3").id))));
}

TEST(revoking_a_tenant, takes_along_sessions_that_are_being_created_on_any_shard) {
  shard_world w(2);
  w.start();
  for (int i = 0; i < 8; ++i) w.made("user-" + std::to_string(i));
  std::vector<std::uint32_t> creates;
  const auto revoke = w.revoke_tenant("acme");
  for (int i = 0; i < 8; ++i) creates.push_back(w.create("user-" + std::to_string(i)));
  w.submit();
  while (w.commit_all() > 0) {
  }
  EXPECT_TRUE(w.answered(revoke));
  for (const auto ticket : creates)
    EXPECT_EQ(w.reason(w.alone(w.validate(w.reply<core::session_made>(ticket).id))),
              invalid_reason::revoked);
  EXPECT_EQ(w.counts(0).live + w.counts(1).live, 0U);
}

TEST(revoking_a_tenant, and_one_of_its_users_at_once_counts_no_session_twice) {
  shard_world w;
  w.start();
  w.made("alice");
  w.made("alice");
  w.made("bob");
  w.revoke_tenant("acme");
  w.revoke_user("alice");
  w.submit();
  while (w.commit_all() > 0) {
  }
  EXPECT_EQ(w.counts().live, 0U);
  EXPECT_EQ(w.counts().revoked, 3U);
  w.made("carol");
  EXPECT_EQ(w.counts().live, 1U);
}

TEST(revoking_a_tenant, several_times_at_once_is_done_one_after_the_other) {
  shard_world w(2);
  w.start();
  w.made("alice");
  const auto a = w.revoke_tenant("acme"), b = w.revoke_tenant("acme"),
             c = w.revoke_tenant("unheard-of");
  w.submit();
  while (w.commit_all() > 0) {
  }
  EXPECT_EQ(w.reply<core::sessions_revoked>(a).count, 1U);
  EXPECT_EQ(w.reply<core::sessions_revoked>(b).count, 0U);
  EXPECT_EQ(w.reply<core::sessions_revoked>(c).count, 0U);
}

// Regression: told again after a restart, a shard ended its new sessions too.
TEST(revoking_a_tenant, is_heard_once_by_each_shard_however_often_it_is_told) {
  shard_world w;
  w.start();
  const auto before = w.made("alice");
  (void)w.ask<tenant_answer>(w.moved[0].session, tenant_revoked{"acme", 3});
  EXPECT_EQ(w.reason(w.alone(w.validate(before.id))), invalid_reason::revoked);
  const auto after = w.made("alice");
  for (const std::uint32_t generation : {3U, 2U, 0U})
    (void)w.ask<tenant_answer>(w.moved[0].session, tenant_revoked{"acme", generation});
  EXPECT_TRUE(w.valid(w.alone(w.validate(after.id))));
  EXPECT_EQ(w.counts().live, 1U);
  EXPECT_EQ(w.counts().revoked, 1U);
}

TEST(rotating, in_parallel_gives_one_successor) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  const auto a = w.rotate(s.id), b = w.rotate(s.id), c = w.validate(s.id);
  w.submit();
  EXPECT_FALSE(w.answered(a));
  w.commit_all();
  EXPECT_EQ(w.reply<core::session_made>(a).id, w.reply<core::session_made>(b).id);
  EXPECT_TRUE(w.reply<core::session_valid>(c).rotated);
}

TEST(rotating, reuse_of_an_old_id_revokes_the_session_after_the_commit) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  const auto rotated = w.alone(w.rotate(s.id, false));
  w.commit_all();
  const auto reuse = w.validate(s.id);
  const auto victim = w.validate(w.reply<core::session_made>(rotated).id);
  w.submit();
  EXPECT_FALSE(w.answered(reuse));
  EXPECT_FALSE(w.answered(victim));
  w.commit_all();
  EXPECT_EQ(w.reason(reuse), invalid_reason::revoked);
  EXPECT_EQ(w.reason(victim), invalid_reason::revoked);
  EXPECT_EQ(w.events(event_type::session_reuse_detected).size(), 1U);
}

TEST(rotating, revoking_with_a_replaced_id_is_reuse) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  w.alone(w.rotate(s.id, false));
  w.commit_all();
  const auto revoked = w.alone(w.revoke(s.id));
  w.commit_all();
  EXPECT_EQ(w.reply<core::sessions_revoked>(revoked).count, 1U);
  EXPECT_EQ(w.events(event_type::session_reuse_detected).size(), 1U);
  EXPECT_TRUE(w.events(event_type::session_revoked).empty());
}

TEST(rotating, the_successors_first_use_is_one_event) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  const auto rotated = w.alone(w.rotate(s.id));
  w.commit_all();
  const auto next = w.reply<core::session_made>(rotated).id;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(w.valid(w.alone(w.validate(next))));
  EXPECT_EQ(w.events(event_type::session_successor_used).size(), 1U);
}

}  // namespace
}  // namespace portcullis::actors
