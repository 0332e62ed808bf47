// A shard of a node that shares its log with others: what it decides while its own decisions, and
// what others did, have not been read yet.
#include "fixture.hpp"

namespace portcullis::actors {
namespace {

using core::event_type;

struct a_shared_log : testing::Test, shard_world {
  a_shared_log() {
    shared = true;
    policy().lockout.threshold = 2;
    policy().session.idle_ttl_s = 43'200;
    start();
    read();
    alice = made("alice");
  }
  void fail_once() {
    (void)alone(validate(alice.id, elsewhere));
    commit_all();
  }
  void lock() {
    fail_once();
    fail_once();
    EXPECT_EQ(events(event_type::lockout_started).size(), 1U);
  }
  /// A lock's time is over, and no tick has come since.
  void outlast_lock() { clock.at_ms += policy().lockout.duration_s * 1000; }
  std::uint32_t failures() {
    const auto ticket = status("alice");
    submit();
    if (!answered(ticket)) {  // "not locked" is not believed before the log was read to its end
      caf::anon_send(moved[0].session, caught_up{std::nullopt, 1});
      settle();
    }
    return reply<core::lockout_state_reply>(ticket).failed_attempts;
  }
  core::session_made alice;
};

// Regression: the tick proposed the end that was on its way with the attempt, and the second end
// took the new count along.
TEST_F(a_shared_log, keeps_the_attempt_that_ended_a_lock_though_a_tick_comes_before_it_is_read) {
  lock();
  outlast_lock();
  (void)alone(validate(alice.id, elsewhere));
  ASSERT_EQ(logged.size(), 1U);
  pass(600);
  commit_all();
  pass(600);
  commit_all();
  EXPECT_EQ(failures(), 1U);
  EXPECT_EQ(events(event_type::lockout_ended).size(), 1U);
}

// The same where the tick comes when the session actor has read it and the lockout actor has not.
TEST_F(a_shared_log, keeps_the_attempt_that_ended_a_lock_though_a_tick_comes_as_it_is_read) {
  lock();
  outlast_lock();
  (void)alone(validate(alice.id, elsewhere));
  ASSERT_EQ(logged.size(), 1U);
  caf::anon_send(moved[0].lockout, tick_atom::value);
  commit_all();
  pass(600);
  commit_all();
  EXPECT_EQ(failures(), 1U);
  EXPECT_EQ(events(event_type::lockout_ended).size(), 1U);
}

TEST_F(a_shared_log, is_told_of_the_end_of_a_lock_by_a_node_that_was_not_the_one_to_tell_before) {
  sweeps = false;
  lock();
  outlast_lock();
  caf::anon_send(moved[0].lockout, log_time{clock.at_ms});
  pass(1'000);
  EXPECT_TRUE(events(event_type::lockout_ended).empty());
  sweeps = true;
  read();
  pass(core::limits::fleet_propose_again_ms + 1'000);
  ASSERT_EQ(events(event_type::lockout_ended).size(), 1U)
      << "before, it is not forgotten, or nobody would take it out of the store";
  commit_all();
  EXPECT_EQ(failures(), 0U);
}

TEST_F(a_shared_log, gets_what_a_use_brings_once_until_it_is_read_or_refused) {
  const auto rotated = alone(rotate(alice.id));
  commit_all();
  const auto next = reply<core::session_made>(rotated).id;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(valid(alone(validate(next))));
  ASSERT_EQ(logged.size(), 1U);
  EXPECT_TRUE(logged[0]->durable && !logged[0]->tags.writes.empty()) << "others may be faster";
  overtake_one();
  EXPECT_TRUE(events(event_type::session_successor_used).empty());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(valid(alone(validate(next))));
  ASSERT_EQ(logged.size(), 1U);
  commit_all();
  EXPECT_TRUE(valid(alone(validate(next))));
  EXPECT_TRUE(logged.empty());
  EXPECT_EQ(events(event_type::session_successor_used).size(), 1U);
}

TEST_F(a_shared_log, is_read_to_its_end_before_a_known_user_has_nothing_to_revoke) {
  (void)alone(revoke(alice.handle));
  commit_all();
  const auto before = ends_asked;
  const auto first = revoke_user("alice"), second = create("alice");
  submit();
  EXPECT_FALSE(answered(first));
  EXPECT_EQ(ends_asked, before + 1);
  EXPECT_TRUE(logged.empty()) << "in the order sent";
  caf::anon_send(moved[0].session, caught_up{std::nullopt, 1});
  settle();
  EXPECT_EQ(reply<core::sessions_revoked>(first).count, 0U);
  commit_all();
  EXPECT_TRUE(valid(alone(validate(reply<core::session_made>(second).id))));
}

}  // namespace
}  // namespace portcullis::actors
