#include <sqlite3.h>

#include "core/limits.hpp"
#include "journal_fixture.hpp"
#include "store/projection.hpp"
#include "store/schema.hpp"

namespace portcullis::store {
namespace {

using projection_test = journal_test;

core::session_rotated rotation(core::id_hash from, std::uint64_t to, bool grace = true) {
  core::session_rotated out;
  out.id = {numbered<32>(to)};
  out.predecessor = from;
  out.ring_key = 2;
  out.grace = grace;
  out.nonce = numbered<16>(to);
  out.grace_ends_at_ms = 2'000'000;
  out.data = "rotated data";
  return out;
}

TEST_F(projection_test, a_created_session_is_loaded_as_it_was_made) {
  const auto what = make.created();
  commit({what}, {event_maker::user(1)});
  const auto& body = std::get<core::session_created>(what.body);
  const auto s = session(what.seq);
  EXPECT_EQ(s.row.subject, *what.subject);
  EXPECT_EQ(s.tenant_id, "acme");
  EXPECT_EQ(s.row.handle, *what.handle);
  EXPECT_EQ(s.row.id, body.id);
  EXPECT_EQ(s.row.ring_key, body.ring_key);
  EXPECT_EQ(s.row.created_at_ms, what.at_ms);
  EXPECT_EQ(s.row.last_seen_at_ms, what.at_ms);
  EXPECT_EQ(s.row.absolute_expires_at_ms, body.absolute_expires_at_ms);
  EXPECT_EQ(s.row.idle_ttl_s, body.idle_ttl_s);
  EXPECT_EQ(s.row.version, 1U);
  EXPECT_EQ(s.row.state, session_state::live);
  EXPECT_EQ(s.row.tenant_generation, body.tenant_generation);
  EXPECT_EQ(s.row.fields, body.fields);
  ASSERT_TRUE(body.alias);
  EXPECT_EQ(s.row.alias, body.alias);
  EXPECT_EQ(s.ip, body.ip);
  EXPECT_EQ(s.sealed, what.sealed);
  EXPECT_EQ(s.data, body.data);
  EXPECT_FALSE(s.row.has_predecessor);
  EXPECT_TRUE(s.retired.empty());

  const auto users = load().users;
  ASSERT_EQ(users.size(), 1U);
  const auto given = event_maker::user(1);
  EXPECT_EQ(users[0].subject, given.subject);
  EXPECT_EQ(users[0].lookup, given.lookup);
  EXPECT_EQ(users[0].tenant_id, given.tenant_id);
  EXPECT_EQ(users[0].ring_key, given.ring_key);
  EXPECT_EQ(users[0].wrapped, given.wrapped);
}

TEST_F(projection_test, an_alias_stays_with_its_session_to_the_end_and_others_have_none) {
  const auto with = make.created(1), without = make.created(2);
  commit({with, without});
  ASSERT_FALSE(std::get<core::session_created>(without.body).alias);
  EXPECT_FALSE(session(without.seq).row.alias);
  commit({make.about(core::session_revoked{}, with.seq)});
  EXPECT_EQ(session(with.seq).row.state, session_state::revoked);
  EXPECT_EQ(session(with.seq).row.alias, std::get<core::session_created>(with.body).alias);
  commit({}, {}, {with.seq});
  EXPECT_EQ(load().sessions.count(with.seq), 0U);
}

TEST_F(projection_test, times_are_those_of_the_decision) {
  auto what = make.created();
  what.decided_at_ms = what.at_ms - 5;
  commit({what});
  EXPECT_EQ(session(what.seq).row.created_at_ms, what.at_ms - 5);
}

TEST_F(projection_test, a_touch_only_moves_forward) {
  const auto a = commit_session(), b = commit_session();
  core::session_touched touched;
  touched.touches = {{{}, 3'000'000, a}, {{}, 5, b}};
  const auto before = session(b).row.last_seen_at_ms;
  commit({make.about(touched)});
  EXPECT_EQ(session(a).row.last_seen_at_ms, 3'000'000);
  EXPECT_EQ(session(b).row.last_seen_at_ms, before);
}

TEST_F(projection_test, rotation_keeps_the_predecessor_and_then_retires_it) {
  const auto seq = commit_session();
  const auto first = session(seq).row.id;
  const auto rotated = make.about(rotation(first, 500), seq);
  commit({rotated});
  auto s = session(seq);
  EXPECT_EQ(s.row.id.bytes, numbered<32>(500));
  EXPECT_EQ(s.row.ring_key, 2U);
  ASSERT_TRUE(s.row.has_predecessor);
  EXPECT_EQ(s.row.predecessor, first);
  EXPECT_EQ(s.row.predecessor_ring_key, 1U);
  EXPECT_EQ(s.row.rotation_ring_key, 2U);
  EXPECT_EQ(s.row.nonce, numbered<16>(500));
  EXPECT_EQ(s.row.grace_ends_at_ms, 2'000'000);
  EXPECT_FALSE(s.row.successor_used);
  EXPECT_EQ(s.data, "rotated data");
  EXPECT_EQ(s.row.last_seen_at_ms, rotated.decided_at_ms);
  EXPECT_TRUE(s.retired.empty());

  commit({make.about(core::session_successor_used{1'500'000}, seq)});
  s = session(seq);
  EXPECT_TRUE(s.row.successor_used);
  EXPECT_EQ(s.row.grace_ends_at_ms, 1'500'000);

  const auto again = make.about(rotation(s.row.id, 600), seq);
  commit({again});
  s = session(seq);
  EXPECT_EQ(s.row.predecessor.bytes, numbered<32>(500));
  EXPECT_FALSE(s.row.successor_used);
  ASSERT_EQ(s.retired.size(), 1U);
  EXPECT_EQ(s.retired[0].id, first);
  EXPECT_EQ(s.retired[0].grace_ends_at_ms, 1'500'000);
}

TEST_F(projection_test, rotation_without_grace_retires_every_earlier_id) {
  const auto seq = commit_session(), other = commit_session();
  const auto first = session(seq).row.id;
  commit({make.about(rotation(first, 500), seq),
          make.about(rotation({numbered<32>(500)}, 600, false), seq)});
  const auto s = session(seq);
  EXPECT_EQ(s.row.id.bytes, numbered<32>(600));
  EXPECT_FALSE(s.row.has_predecessor);
  ASSERT_EQ(s.retired.size(), 2U);
  EXPECT_EQ(s.retired[0].id, first);
  EXPECT_EQ(s.retired[0].grace_ends_at_ms, 0);
  EXPECT_EQ(s.retired[1].id.bytes, numbered<32>(500));
  EXPECT_EQ(s.retired[1].grace_ends_at_ms, 0);
  EXPECT_TRUE(session(other).retired.empty());
}

TEST_F(projection_test, only_the_newest_retired_ids_are_kept) {
  const auto seq = commit_session();
  constexpr auto rotations = core::limits::old_ids_per_session_max + 5;
  for (std::uint64_t i = 0; i < rotations; ++i)
    ASSERT_TRUE(log->append(std::vector{make.about(rotation({}, 1'000 + i, false), seq)}));
  ASSERT_TRUE(log->commit());
  const auto s = session(seq);
  ASSERT_EQ(s.retired.size(), core::limits::old_ids_per_session_max);
  EXPECT_EQ(s.retired.back().id.bytes, numbered<32>(1'000 + rotations - 2));
  EXPECT_EQ(s.retired.front().id.bytes, numbered<32>(1'000 + 4));
}

TEST_F(projection_test, rekeying_changes_only_the_id_it_was_decided_on) {
  const auto seq = commit_session();
  const auto id = session(seq).row.id;
  commit({make.about(core::session_rekeyed{{numbered<32>(1234)}, {numbered<32>(700)}, 3}, seq)});
  EXPECT_EQ(session(seq).row.id, id);
  commit({make.about(core::session_rekeyed{id, {numbered<32>(700)}, 3}, seq)});
  EXPECT_EQ(session(seq).row.id.bytes, numbered<32>(700));
  EXPECT_EQ(session(seq).row.ring_key, 3U);
}

TEST_F(projection_test, an_update_replaces_data_and_version_and_touches) {
  const auto seq = commit_session();
  const auto updated = make.about(core::session_updated{2, "new data"}, seq);
  commit({updated});
  const auto s = session(seq);
  EXPECT_EQ(s.row.version, 2U);
  EXPECT_EQ(s.data, "new data");
  EXPECT_EQ(s.row.last_seen_at_ms, updated.decided_at_ms);
}

TEST_F(projection_test, each_end_is_kept_and_nothing_revives_it) {
  const std::pair<core::event_body, session_state> ends[] = {
      {core::session_revoked{}, session_state::revoked},
      {core::session_expired{}, session_state::expired},
      {core::session_evicted{}, session_state::evicted},
      {core::session_reuse_detected{}, session_state::revoked}};
  for (const auto& [body, state] : ends) {
    const auto seq = commit_session();
    const auto end = make.about(body, seq);
    commit({end});
    const auto id = session(seq).row.id;
    core::session_touched touched;
    touched.touches = {{{}, 9'000'000, seq}};
    commit({make.about(touched), make.about(core::session_updated{5, "late"}, seq),
            make.about(rotation(id, 900), seq), make.about(core::session_expired{}, seq),
            make.about(core::session_evicted{}, seq)});
    const auto s = session(seq);
    EXPECT_EQ(s.row.state, state);
    EXPECT_EQ(s.row.version, 1U);
    EXPECT_EQ(s.row.id, id);
    EXPECT_LT(s.row.last_seen_at_ms, 9'000'000);
    EXPECT_EQ(s.data + s.ip + s.sealed, "");
    EXPECT_EQ(s.row.fields.present, 0);
  }
}

TEST_F(projection_test, revoking_a_user_ends_the_sessions_it_names) {
  const auto a = commit_session(), b = commit_session(), spared = commit_session();
  core::session_revoked revoked;
  revoked.scope = core::revoke_scope::user;
  revoked.count = 2;
  revoked.session_seqs = {a, b};
  const auto what = make.about(revoked);
  commit({what});
  const auto all = load();
  EXPECT_EQ(all.sessions.at(a).row.state, session_state::revoked);
  EXPECT_EQ(all.sessions.at(b).row.state, session_state::revoked);
  EXPECT_EQ(all.sessions.at(spared).row.state, session_state::live);
}

TEST_F(projection_test, revoking_a_tenant_raises_its_generation_only) {
  const auto seq = commit_session();
  core::session_revoked revoked;
  revoked.scope = core::revoke_scope::tenant;
  revoked.tenant_generation = 5;
  commit({make.about(revoked)});
  revoked.tenant_generation = 4;
  commit({make.about(revoked)});
  const auto all = load();
  EXPECT_EQ(all.tenants, (std::map<std::string, std::uint64_t>{{"acme", 5}}));
  EXPECT_EQ(all.sessions.at(seq).row.state, session_state::live);
}

TEST_F(projection_test, counters_and_locks_of_a_user) {
  core::validation_failed failed;
  failed.reason = core::invalid_reason::ip_mismatch;
  failed.attempt = 1;
  failed.window_ends_at_ms = 5'000'000;
  commit({make.about(failed)});
  failed.attempt = 2;
  commit({make.about(failed)});
  auto locks = load().lockouts;
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks[0].subject, event_maker::subject(1));
  EXPECT_FALSE(locks[0].source);
  EXPECT_EQ(locks[0].failed_attempts, 2U);
  EXPECT_EQ(locks[0].window_ends_at_ms, 5'000'000);
  EXPECT_EQ(locks[0].locked_until_ms, 0);

  core::validation_failed uncounted;
  uncounted.reason = core::invalid_reason::locked_out;
  uncounted.count = 9;
  commit({make.about(core::lockout_started{6'000'000, 2, {}}), make.about(uncounted)});
  locks = load().lockouts;
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks[0].failed_attempts, 2U);
  EXPECT_EQ(locks[0].locked_until_ms, 6'000'000);

  commit({make.about(core::lockout_ended{})});
  EXPECT_TRUE(load().lockouts.empty());
}

TEST_F(projection_test, counters_of_a_source_count_for_the_user_too) {
  const core::short_hash source = numbered<16>(88), other = numbered<16>(89);
  core::validation_failed failed;
  failed.reason = core::invalid_reason::ip_mismatch;
  failed.counted_for_source = true;
  failed.source = source;
  failed.attempt = 3;
  failed.window_ends_at_ms = 5'000'000;
  failed.user_attempt = 4;
  failed.user_window_ends_at_ms = 4'000'000;
  commit({make.about(failed), make.about(core::lockout_started{7'000'000, 3, source})});
  failed.source = other;
  failed.attempt = 1;
  failed.user_attempt = 5;
  commit({make.about(failed)});
  std::map<std::string, lockout_record> rows;
  for (const auto& row : load().lockouts)
    rows[!row.source ? "user" : *row.source == source ? "source" : "other"] = row;
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows["user"].failed_attempts, 5U);
  EXPECT_EQ(rows["user"].window_ends_at_ms, 4'000'000);
  EXPECT_EQ(rows["user"].locked_until_ms, 0);
  EXPECT_EQ(rows["source"].failed_attempts, 3U);
  EXPECT_EQ(rows["source"].locked_until_ms, 7'000'000);
  EXPECT_EQ(rows["other"].failed_attempts, 1U);

  commit({make.about(core::lockout_ended{source})});
  EXPECT_EQ(load().lockouts.size(), 2U);
  commit({make.about(core::lockout_cleared{"asked"})});
  EXPECT_TRUE(load().lockouts.empty());
}

TEST_F(projection_test, counters_of_sources_that_are_over_go_with_the_users_next_failure) {
  core::validation_failed failed;
  failed.counted_for_source = true;
  failed.attempt = 1;
  for (std::uint8_t source = 1; source <= 50; ++source) {
    auto what = make.about(failed);
    auto& body = std::get<core::validation_failed>(what.body);
    body.source = numbered<16>(source);
    body.user_attempt = source;
    body.window_ends_at_ms = body.user_window_ends_at_ms = what.at_ms + 5;
    commit({what});
  }
  EXPECT_LE(load().lockouts.size(), 7U);
}

TEST_F(projection_test, a_start_drops_counters_whose_window_is_over_but_no_lock) {
  core::validation_failed failed;
  failed.attempt = 1;
  failed.window_ends_at_ms = 1'000'002;  // event 2 comes later
  auto counted = make.about(failed);
  auto locked = make.about(core::lockout_started{1'000'000, 1, {}});
  locked.subject = event_maker::subject(2);
  commit({counted, locked, make.about(core::node_stopped{})});
  EXPECT_EQ(load().lockouts.size(), 2U);
  open();
  const auto locks = load().lockouts;
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks[0].subject, event_maker::subject(2));
}

TEST_F(projection_test, a_purged_session_is_gone_with_its_old_ids) {
  const auto gone = commit_session(), stays = commit_session();
  commit({make.about(rotation(session(gone).row.id, 500, false), gone)});
  commit({}, {}, {gone});
  auto all = load();
  EXPECT_EQ(all.sessions.size(), 1U);
  EXPECT_EQ(all.sessions.count(stays), 1U);
  // A late event about it changes nothing and is no error.
  commit({make.about(core::session_expired{}, gone)});
}

TEST_F(projection_test, only_the_routing_bytes_asked_for_are_loaded) {
  commit({make.created(1, 3), make.created(2, 200)},
         {event_maker::user(1, 3), event_maker::user(2, 200)});
  core::validation_failed failed;
  failed.attempt = 1;
  failed.window_ends_at_ms = 9'000'000;
  auto counted = make.about(failed);
  counted.subject = event_maker::subject(2, 200);
  commit({counted});
  const auto part = load(routing_set().set(200));
  EXPECT_EQ(part.sessions.size(), 1U);
  EXPECT_EQ(part.sessions.begin()->second.row.subject, event_maker::subject(2, 200));
  EXPECT_EQ(part.users.size(), 1U);
  EXPECT_EQ(part.lockouts.size(), 1U);
  EXPECT_EQ(load(routing_set().set(3)).lockouts.size(), 0U);
}

/// The table has no index by subject: with a million users the journal stood still for 80 ms.
TEST(forgetting_a_user, reads_one_row_and_not_the_table) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
  ASSERT_TRUE(migrate(db));
  {
    projection rows;
    ASSERT_EQ(rows.prepare(db), SQLITE_OK);
    for (std::uint64_t i = 1; i <= 5'000; ++i)
      ASSERT_EQ(rows.add_user(event_maker::user(i)), SQLITE_OK);
    event_maker make;
    const auto forget = [&](std::uint64_t user) {
      auto what = make.about(core::user_forgotten{});
      what.subject = event_maker::subject(user);
      int hundreds = 0;  // of the database's steps
      sqlite3_progress_handler(
          db, 100, [](void* to) { return ++*static_cast<int*>(to), 0; }, &hundreds);
      EXPECT_EQ(rows.apply(what), SQLITE_OK);
      sqlite3_progress_handler(db, 0, nullptr, nullptr);
      return hundreds;
    };
    const auto left = [&] {
      statement count;
      EXPECT_EQ(count.prepare(db, "SELECT count(*) FROM users"), SQLITE_OK);
      EXPECT_EQ(count.step(), SQLITE_ROW);
      return count.integer(0);
    };
    EXPECT_LE(forget(4'900), 1);
    EXPECT_LE(forget(5'000), 1);
    EXPECT_EQ(left(), 4'998);
    EXPECT_GT(forget(9'999), 10) << "who is not there is looked for everywhere";
    // The last id is given again.
    ASSERT_EQ(rows.add_user(event_maker::user(6'000)), SQLITE_OK);
    EXPECT_LE(forget(6'000), 1);
    EXPECT_EQ(left(), 4'998);
    // Whoever reads the table tells a projection that did not write it.
    projection other;
    ASSERT_EQ(other.prepare(db), SQLITE_OK);
    other.note_user(17, event_maker::subject(17));
    other.note_user(1'000'000'000'000, event_maker::subject(18));
    for (const std::uint64_t user : {17, 18, 19}) {
      auto what = make.about(core::user_forgotten{});
      what.subject = event_maker::subject(user);
      EXPECT_EQ(other.apply(what), SQLITE_OK);
    }
    EXPECT_EQ(left(), 4'995) << "known or not, it is found";
  }
  sqlite3_close(db);
}

}  // namespace
}  // namespace portcullis::store
