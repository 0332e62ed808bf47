// The digest of what lived is the digest of what its log gives, whatever happened; and it changes
// with everything that it is of.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "../session/history.hpp"
#include "core/event/codec.hpp"
#include "core/replay/state.hpp"

namespace portcullis::core {
namespace {

/// What the actors of one shard hold.
digest digest_of(const world& w, millis at_ms) {
  const lockout_state none;
  const shard_digests whole{digest_sessions(w.state, at_ms),
                            digest_directory(w.state, list_directory(w.directory), at_ms),
                            digest_lockouts(none, at_ms), digest_tenants(w.state)};
  return digest_of_all({&whole, 1}, {}, digest_breakers({}));
}

/// An event as it comes back from the disk.
event stored(const event& what) {
  byte_buffer body;
  append_body(body, what, "node-1");
  return *decode_body(what.seq, what.at_ms, to_string(what.type()),
                      what.subject ? byte_view(what.subject->bytes) : byte_view(), body.view(),
                      what.sealed);
}

replayed_state replay(const std::vector<event>& log) {
  replayed_state out;
  for (const auto& each : log) out.apply(stored(each));
  return out;
}

RC_GTEST_PROP(digest, invariant_12_replay_gives_the_digest_of_what_lived, ()) {
  history lived;
  std::size_t done = 0;
  replayed_state replayed;
  const auto steps = *rc::gen::inRange(1, 80);
  for (int i = 0; i < steps; ++i) {
    lived.step();
    for (; done < lived.w.log.size(); ++done) replayed.apply(stored(lived.w.log[done]));
    if (lived.w.log.empty()) continue;
    RC_ASSERT(replayed.seq() == lived.w.log.back().seq);
    RC_ASSERT(replayed.digest() == digest_of(lived.w, lived.w.log.back().at_ms));
  }
}

TEST(digest, what_has_ended_is_forgotten_by_the_logs_time_and_not_before) {
  world w;
  const auto s = w.create();
  w.revoke(s.handle);
  const auto ends_ms = w.state.at(w.state.find(s.handle)).absolute_expires_at_ms + 900'000;
  w.now_ms = ends_ms - 1;
  w.apply(w.tenant_revocation("other"));
  auto replayed = replay(w.log);
  EXPECT_EQ(replayed.sessions().records(), 1U);
  EXPECT_EQ(replayed.digest(), digest_of(w, w.now_ms));
  const auto before = digest_of(w, ends_ms - 1), after = digest_of(w, ends_ms);
  EXPECT_NE(before, after) << "at its end it is not in it any more";
  w.now_ms = ends_ms + 100'000;
  w.apply(w.tenant_revocation("other"));
  replayed = replay(w.log);
  EXPECT_EQ(replayed.sessions().records(), 0U) << "and its memory is given back";
  EXPECT_EQ(replayed.digest(), digest_of(w, w.now_ms));
}

TEST(digest, activity_is_not_in_it) {
  world w;
  const auto s = w.create();
  const auto before = digest_of(w, w.now_ms);
  w.now_ms += 120'000;
  EXPECT_TRUE(w.use(s.id).touch_due);
  EXPECT_EQ(digest_of(w, w.now_ms), before);
}

TEST(digest, everything_else_of_a_session_is) {
  world w;
  auto command = w.creation();
  command.data = "{\"n\":1}";
  const auto s = w.create(command);
  std::vector<digest> seen{digest_of(w, w.now_ms)};
  const auto changed = [&](const char* what) {
    seen.push_back(digest_of(w, w.now_ms));
    for (std::size_t i = 0; i + 1 < seen.size(); ++i) EXPECT_NE(seen[i], seen.back()) << what;
  };
  w.update(s.id, "{\"n\":2}");
  changed("update");
  const auto next = w.rotate(s.id);
  changed("rotate");
  (void)w.use(next);
  changed("the successor's first use");
  (void)w.rotate(next, false);
  changed("rotate without grace");
  (void)w.create();
  changed("another session");
  (void)w.create("bob");
  changed("another user");
  w.apply(w.tenant_revocation("other"));
  changed("a tenant's generation");
  w.revoke(s.handle);
  changed("revoke");
}

TEST(digest, it_does_not_depend_on_how_the_state_is_spread_over_shards) {
  world w;
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h"}) (void)w.create(name);
  w.apply(w.tenant_revocation("other"));
  const auto at_ms = w.now_ms;
  std::array<std::uint32_t, 256> owner{};
  for (std::size_t byte = 0; byte < 256; ++byte) owner[byte] = byte < 100 ? 0 : 1;
  // Two shards, each with the users of its routing bytes.
  std::vector<shard_digests> shards;
  for (std::uint32_t shard = 0; shard < 2; ++shard) {
    replayed_state part;
    for (const auto& each : w.log)
      if (!each.subject || owner[each.subject->bytes[0]] == shard) part.apply(stored(each));
    const lockout_state none;
    directory_state directory;
    for (session_slot slot = 0; slot < part.sessions().slots_used(); ++slot)
      directory.add(part.sessions().at(slot).user, slot);
    shards.push_back({digest_sessions(part.sessions(), at_ms),
                      digest_directory(part.sessions(), list_directory(directory), at_ms),
                      digest_lockouts(none, at_ms), digest_tenants(part.sessions())});
  }
  EXPECT_EQ(digest_of_all(shards, owner, digest_breakers({})), digest_of(w, at_ms));
}

TEST(digest, a_users_revocation_counts_as_each_sessions_own) {
  world w, same;  // made of the same random bytes
  (void)w.create();
  (void)w.create();
  const auto a = same.create(), b = same.create();
  EXPECT_EQ(w.revoke_user(w.user()), 2U);
  same.revoke(a.handle);
  same.revoke(b.handle);
  EXPECT_EQ(digest_of(w, w.now_ms), digest_of(same, w.now_ms));
}

class counters : public testing::Test {
 protected:
  static event about(event_body body, millis at_ms) {
    event what;
    what.at_ms = what.decided_at_ms = at_ms;
    what.subject = subject_id{};
    what.subject->bytes[0] = 7;
    what.body = std::move(body);
    return what;
  }
  static validation_failed failure(std::uint32_t attempt, millis ends_ms) {
    validation_failed body;
    body.reason = invalid_reason::ip_mismatch;
    body.attempt = attempt;
    body.window_ends_at_ms = ends_ms;
    return body;
  }
};

TEST_F(counters, a_counter_is_in_it_until_its_window_ends) {
  lockout_state state;
  const auto empty = digest_lockouts(state, 0);
  state.apply(about(failure(1, 5'000), 1'000));
  EXPECT_NE(digest_lockouts(state, 4'999), empty);
  EXPECT_EQ(digest_lockouts(state, 5'000), empty);
}

TEST_F(counters, a_lock_is_in_it_until_it_ends_or_is_cleared) {
  lockout_state state;
  const auto empty = digest_lockouts(state, 0);
  state.apply(about(failure(10, 5'000), 1'000));
  state.apply(about(lockout_started{9'000, 10, std::nullopt}, 1'000));
  EXPECT_NE(digest_lockouts(state, 8'999), empty);
  EXPECT_EQ(digest_lockouts(state, 9'000), empty);
  state.apply(about(lockout_cleared{"why"}, 2'000));
  EXPECT_EQ(digest_lockouts(state, 2'000), empty);
}

TEST_F(counters, a_forgotten_users_counters_are_not) {
  lockout_state state;
  const auto empty = digest_lockouts(state, 0);
  state.apply(about(failure(3, 5'000), 1'000));
  state.apply(about(user_forgotten{}, 1'500));
  EXPECT_EQ(digest_lockouts(state, 1'500), empty);
}

}  // namespace
}  // namespace portcullis::core
