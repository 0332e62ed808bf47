// Failed attempts from the outside of a shard: counted exactly, locked out, coalesced, signalled.
#include <fmt/format.h>

#include "fixture.hpp"

#include <set>

namespace portcullis::actors {
namespace {

using core::event_type;
using core::invalid_reason;

TEST(failed_attempts, of_one_user_are_counted_exactly_from_many_requests_at_once) {
  shard_world w;
  w.start();
  const auto a = w.made("alice"), b = w.made("alice");
  std::vector<std::uint32_t> tickets;
  for (int i = 0; i < 40; ++i) tickets.push_back(w.validate(i % 2 == 0 ? a.id : b.id, elsewhere));
  w.submit();
  std::size_t mismatches = 0, locked = 0;
  for (const auto ticket : tickets) {
    mismatches += w.reason(ticket) == invalid_reason::ip_mismatch;
    locked += w.reason(ticket) == invalid_reason::locked_out;
  }
  EXPECT_EQ(mismatches, 10U);
  EXPECT_EQ(locked, 30U);
  const auto failed = w.events(event_type::validation_failed);
  ASSERT_EQ(failed.size(), 10U);
  for (std::size_t i = 0; i < failed.size(); ++i)
    EXPECT_EQ(std::get<core::validation_failed>(failed[i].body).attempt, i + 1);
  ASSERT_EQ(w.events(event_type::lockout_started).size(), 1U);
  EXPECT_EQ(std::get<core::lockout_started>(w.events(event_type::lockout_started)[0].body).attempts,
            10U);
  // The right context is locked out too, and is told for how long.
  const auto right = w.alone(w.validate(a.id));
  EXPECT_EQ(w.reason(right), invalid_reason::locked_out);
  EXPECT_EQ(w.reply<core::session_invalid>(right).retry_after_ms, 900'000);
  const auto& status = w.reply<core::lockout_state_reply>(w.alone(w.status("alice")));
  EXPECT_TRUE(status.locked);
  EXPECT_EQ(status.failed_attempts, 10U);
  EXPECT_TRUE(w.valid(w.alone(w.validate(w.made("bob").id))));
}

TEST(failed_attempts, while_one_is_counted_the_users_valid_requests_wait_their_turn) {
  shard_world w;
  w.policy().lockout.threshold = 1;
  w.start();
  const auto s = w.made("alice");
  const auto before = w.validate(s.id);
  const auto bad = w.validate(s.id, elsewhere);
  const auto after = w.validate(s.id);
  w.submit();
  EXPECT_TRUE(w.valid(before));
  EXPECT_EQ(w.reason(bad), invalid_reason::ip_mismatch);
  EXPECT_EQ(w.reason(after), invalid_reason::locked_out);
}

TEST(failed_attempts, of_update_and_rotate_count_and_are_errors) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  w.port.replies.clear();
  core::context wrong;
  wrong.ip = *core::parse_ip(elsewhere);
  inbound update;
  update.to = {1000, 1};
  update.who = &w.admin;
  update.what.method = core::method::session_update;
  update.what.params = core::update_session{s.id, wrong, "{}", std::nullopt};
  inbound rotate = update;
  rotate.to = {1001, 1};
  rotate.what.method = core::method::session_rotate;
  rotate.what.params = core::rotate_session{s.id, wrong, true};
  request_batch batch;
  batch.now_ms = w.clock.at_ms;
  batch.requests = {update, rotate};
  caf::anon_send(w.moved[0].session, batch);
  w.settle();
  EXPECT_EQ(w.error(1000), core::error_code::SESSION_IP_MISMATCH);
  EXPECT_EQ(w.error(1001), core::error_code::SESSION_IP_MISMATCH);
  EXPECT_EQ(w.reply<core::lockout_state_reply>(w.alone(w.status("alice"))).failed_attempts, 2U);
}

TEST(failed_attempts, an_unknown_id_touches_no_users_counter) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  auto unknown = s.id;
  unknown.bytes[9] ^= 1;
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(w.reason(w.alone(w.validate(unknown, elsewhere))), invalid_reason::not_found);
  EXPECT_EQ(w.reply<core::lockout_state_reply>(w.alone(w.status("alice"))).failed_attempts, 0U);
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
}

TEST(a_lock, ends_by_itself_and_is_told) {
  shard_world w;
  w.policy().lockout.threshold = 2;
  w.policy().session.idle_ttl_s = 43'200;
  w.start();
  const auto s = w.made("alice");
  w.alone(w.validate(s.id, elsewhere));
  w.alone(w.validate(s.id, elsewhere));
  EXPECT_EQ(w.reason(w.alone(w.validate(s.id))), invalid_reason::locked_out);
  w.leap(899'000);
  EXPECT_EQ(w.reason(w.alone(w.validate(s.id))), invalid_reason::locked_out);
  w.pass(1'500);
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
  const auto ended = w.events(event_type::lockout_ended);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended[0].tenant_id, "acme");
  EXPECT_EQ(ended[0].user_id, "alice");
}

// Regression: an attempt between a lock's end and the next tick took the place of the counter, and
// nobody was ever told of the end.
TEST(a_lock, that_is_over_is_told_before_a_new_attempt_counts) {
  for (const auto scope : {core::lockout_scope::user, core::lockout_scope::user_source}) {
    shard_world w;
    w.policy().lockout.threshold = 2;
    w.policy().lockout.scope = scope;
    w.policy().session.idle_ttl_s = 43'200;
    w.start();
    const auto s = w.made("alice");
    w.alone(w.validate(s.id, elsewhere));
    w.alone(w.validate(s.id, elsewhere));
    w.clock.at_ms += 900'000;  // and nothing ticks
    EXPECT_EQ(w.reason(w.alone(w.validate(s.id, elsewhere))), invalid_reason::ip_mismatch);
    const auto ended = w.events(event_type::lockout_ended);
    ASSERT_EQ(ended.size(), 1U);
    EXPECT_EQ(std::get<core::lockout_ended>(ended[0].body).source.has_value(),
              scope == core::lockout_scope::user_source);
    EXPECT_EQ(ended[0].user_id, "alice");
    const auto failed = w.events(event_type::validation_failed);
    ASSERT_EQ(failed.size(), 3U);
    EXPECT_EQ(std::get<core::validation_failed>(failed[2].body).attempt, 1U);
    w.pass(1'000);
    EXPECT_EQ(w.events(event_type::lockout_ended).size(), 1U);
    EXPECT_EQ(w.reason(w.alone(w.validate(s.id, elsewhere))), invalid_reason::ip_mismatch);
    EXPECT_EQ(w.reason(w.alone(w.validate(s.id, elsewhere))), invalid_reason::locked_out);
  }
}

TEST(a_lock, is_cleared_by_an_administrator_after_the_commit) {
  shard_world w;
  w.policy().lockout.threshold = 1;
  w.start();
  const auto s = w.made("alice");
  w.alone(w.validate(s.id, elsewhere));
  w.commit_all();
  const auto clear = w.alone(w.clear("alice"));
  EXPECT_FALSE(w.answered(clear));
  w.commit_all();
  EXPECT_TRUE(w.reply<core::lockout_was_cleared>(clear).cleared);
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
  EXPECT_FALSE(w.reply<core::lockout_state_reply>(w.alone(w.status("alice"))).locked);
  const auto cleared = w.events(event_type::lockout_cleared);
  ASSERT_EQ(cleared.size(), 1U);
  EXPECT_EQ(cleared[0].actor, "root");
  const auto again = w.alone(w.clear("alice"));
  EXPECT_FALSE(w.reply<core::lockout_was_cleared>(again).cleared);
  EXPECT_FALSE(w.reply<core::lockout_was_cleared>(w.alone(w.clear("nobody"))).cleared);
}

TEST(a_lock, of_a_source_leaves_the_users_other_sources_alone) {
  shard_world w;
  w.policy().lockout.threshold = 2;
  w.policy().lockout.scope = core::lockout_scope::user_source;
  w.start();
  const auto s = w.made("alice");
  for (int i = 0; i < 3; ++i) w.alone(w.validate(s.id, elsewhere));
  EXPECT_EQ(w.reason(w.alone(w.validate(s.id, elsewhere))), invalid_reason::locked_out);
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
  EXPECT_EQ(w.reason(w.alone(w.validate(s.id, "203.0.113.4"))), invalid_reason::ip_mismatch);
}

TEST(a_lock, revokes_the_session_that_took_the_failures_when_the_policy_says_so) {
  shard_world w;
  w.policy().lockout.threshold = 3;
  w.policy().lockout.revoke_offending = true;
  w.start();
  const auto s = w.made("alice"), other = w.made("alice");
  for (int i = 0; i < 3; ++i) w.alone(w.validate(s.id, elsewhere));
  EXPECT_EQ(w.reason(w.alone(w.validate(s.id))), invalid_reason::revoked);
  EXPECT_EQ(w.reason(w.alone(w.validate(other.id))), invalid_reason::locked_out);
  EXPECT_EQ(w.counts().revoked, 1U);
}

TEST(failures_that_are_not_counted, are_one_event_a_second_with_exact_counts) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  w.alone(w.revoke(s.handle));
  w.commit_all();
  auto unknown = s.id;
  unknown.bytes[9] ^= 1;
  for (int i = 0; i < 7; ++i) w.alone(w.validate(s.id));
  for (int i = 0; i < 5; ++i) w.alone(w.validate(unknown));
  for (int i = 0; i < 3; ++i) w.alone(w.validate(unknown, elsewhere));
  EXPECT_TRUE(w.events(event_type::validation_failed).empty());
  w.pass(1'200);
  const auto events = w.events(event_type::validation_failed);
  ASSERT_EQ(events.size(), 3U);
  std::multiset<std::uint64_t> counts;
  for (const auto& each : events) {
    const auto& body = std::get<core::validation_failed>(each.body);
    EXPECT_FALSE(body.attempt);
    EXPECT_TRUE(body.source);
    counts.insert(*body.count);
    EXPECT_EQ(each.subject.has_value(), body.reason == invalid_reason::revoked);
    EXPECT_EQ(each.correlation_id.size(), 16U) << "made up, as none came";
  }
  EXPECT_EQ(counts, (std::multiset<std::uint64_t>{3, 5, 7}));
  w.pass(3'000);
  EXPECT_EQ(w.events(event_type::validation_failed).size(), 3U);
}

TEST(failures_that_are_not_counted, of_many_sources_become_events_in_slices) {
  constexpr auto slice = core::limits::coalesce_slice_events;
  shard_world w;
  w.start();
  auto unknown = w.made("alice").id;
  unknown.bytes[9] ^= 1;
  for (unsigned i = 0; i < 5 * slice; ++i)
    w.alone(w.validate(unknown, fmt::format("198.51.{}.{}", i / 200, i % 200 + 1).c_str()));
  std::size_t batches = 0, events = 0, most = 0;
  for (int i = 0; i < 40; ++i) {
    w.pass(50);
    const auto all = w.events(event_type::validation_failed).size();
    most = std::max(most, all - events);
    batches += all > events;
    events = all;
  }
  EXPECT_EQ(events, 5 * slice);
  EXPECT_EQ(most, slice) << "50 ms are one slice when time goes on in steps of 50 ms";
  EXPECT_EQ(batches, 5U);
}

TEST(failures_that_are_not_counted, past_the_bound_share_one_bucket_without_a_source) {
  coalescer c;
  core::short_hash source{};
  for (std::uint32_t i = 0; i < core::limits::coalesce_entries_max + 10; ++i) {
    std::memcpy(source.data(), &i, sizeof i);
    c.add(core::no_slot, source, invalid_reason::not_found, 1000 + i, [] { return "first"; });
    c.add(core::no_slot, source, invalid_reason::not_found, 1000 + i, [] { return "second"; });
  }
  std::uint64_t all = 0, overflow = 0, entries = 0;
  const auto seen_one = [&](core::user_slot, const std::optional<core::short_hash>& from,
                            invalid_reason, const coalescer::tally& seen) {
    ++entries;
    all += seen.count;
    if (!from) overflow += seen.count;
    EXPECT_EQ(seen.correlation_id, "first");
    EXPECT_LE(seen.first_at_ms, seen.last_at_ms);
  };
  c.emit(1, seen_one);
  EXPECT_EQ(entries, 0U) << "its window is not over";
  c.close_window();
  c.emit(1, seen_one);
  EXPECT_EQ(entries, 1U);
  c.add(core::no_slot, source, invalid_reason::not_found, 9000, [] { return "of the next"; });
  c.emit(2 * core::limits::coalesce_entries_max, seen_one);
  EXPECT_EQ(all, 2 * (core::limits::coalesce_entries_max + 10));
  EXPECT_EQ(overflow, 20U);
  EXPECT_EQ(entries, core::limits::coalesce_entries_max + 1);
  EXPECT_FALSE(c.has_closed());
}

TEST(unknown_ids, are_told_to_the_sources_only_when_their_threshold_is_on) {
  for (const std::uint32_t threshold : {0U, 5U}) {
    shard_world w;
    w.policy().lockout.source_threshold = threshold;
    w.start();
    core::session_id id;
    w.alone(w.validate(id, elsewhere));
    EXPECT_EQ(w.unknown_ids.size(), threshold > 0 ? 1U : 0U);
  }
}

TEST(unknown_ids, of_a_limited_source_are_rate_limited_while_known_sessions_go_on) {
  shard_world w;
  w.policy().lockout.source_threshold = 5;
  w.start();
  const auto s = w.made("alice");
  const auto source = w.keys->source(*core::parse_ip(shard_world::home));
  caf::anon_send(w.moved[0].session, source_limit_changed{source, w.clock.at_ms + 10'000});
  w.settle();
  core::session_id id;
  const auto limited = w.alone(w.validate(id));
  EXPECT_EQ(w.error(limited), core::error_code::RATE_LIMITED);
  EXPECT_EQ(w.reply<core::failed>(limited).why.retry_after_ms, 10'000);
  EXPECT_EQ(w.reason(w.alone(w.validate(id, elsewhere))), invalid_reason::not_found);
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
  w.pass(11'000);
  EXPECT_EQ(w.reason(w.alone(w.validate(id))), invalid_reason::not_found);
}

TEST(signals, are_one_event_a_session_and_granularity) {
  shard_world w;
  w.policy().session.ip_binding = core::ip_binding::observe;
  w.start();
  const auto s = w.made("alice");
  for (int i = 0; i < 5; ++i) {
    const auto ticket = w.alone(w.validate(s.id, elsewhere));
    EXPECT_EQ(w.reply<core::session_valid>(ticket).observed, core::ip_bit);
  }
  EXPECT_EQ(w.events(event_type::validation_signalled).size(), 1U);
  w.clock.at_ms += 60'000;
  w.alone(w.validate(s.id, elsewhere));
  EXPECT_EQ(w.events(event_type::validation_signalled).size(), 2U);
}

}  // namespace
}  // namespace portcullis::actors
