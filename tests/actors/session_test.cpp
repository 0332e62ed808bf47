// A shard from the outside: who is held, when replies come, what is refused, what lists show.
#include "fixture.hpp"

namespace portcullis::actors {
namespace {

using core::event_type;
using core::invalid_reason;

TEST(creating, is_not_answered_before_the_commit) {
  shard_world w;
  w.start();
  const auto ticket = w.alone(w.create("alice"));
  EXPECT_FALSE(w.answered(ticket));
  ASSERT_EQ(w.logged.size(), 1U);
  EXPECT_TRUE(w.logged[0]->durable);
  EXPECT_EQ(w.logged[0]->users.size(), 1U);  // seen for the first time
  w.commit_all();
  const auto& made = w.reply<core::session_made>(ticket);
  EXPECT_EQ(made.created_at_ms, w.clock.at_ms);
  EXPECT_EQ(w.counts().live, 1U);
  const auto valid = w.alone(w.validate(made.id));
  EXPECT_TRUE(w.valid(valid));
  EXPECT_EQ(w.port.replies.at(valid).user_id, "alice");
}

TEST(creating, those_of_one_turn_go_to_the_log_as_one_batch) {
  shard_world w;
  w.start();
  const auto alice = w.create("alice"), bob = w.create("bob"), carol = w.create("carol");
  w.submit();
  ASSERT_EQ(w.logged.size(), 1U);
  EXPECT_EQ(w.logged[0]->events.size(), 3U);
  EXPECT_EQ(w.logged[0]->users.size(), 3U);
  w.commit_all();
  for (const auto ticket : {alice, bob, carol}) EXPECT_TRUE(w.answered(ticket)) << ticket;
}

TEST(stopping, hands_on_the_failures_that_wait_to_be_told_together) {
  shard_world w;
  w.start();
  core::session_id unknown;
  unknown.bytes.fill(7);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(w.reason(w.alone(w.validate(unknown))), invalid_reason::not_found);
  ASSERT_TRUE(w.events(event_type::validation_failed).empty());
  EXPECT_TRUE(w.ask<bool>(w.moved[0].session, stop_atom::value));
  const auto told = w.events(event_type::validation_failed);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(std::get<core::validation_failed>(told[0].body).count, 3U);
}

TEST(creating, writes_a_users_row_once) {
  shard_world w;
  w.start();
  w.made("alice");
  w.made("alice");
  EXPECT_EQ(w.saved_users.size(), 1U);
  w.made("bob");
  EXPECT_EQ(w.saved_users.size(), 2U);
}

TEST(creating, a_refused_user_row_is_written_with_the_next_create) {
  shard_world w;
  w.start();
  w.alone(w.create("alice"));
  w.refuse_one();
  EXPECT_TRUE(w.saved_users.empty());
  w.made("alice");
  EXPECT_EQ(w.saved_users.size(), 1U);
}

TEST(creating, holds_the_users_other_requests_and_releases_them_in_order) {
  shard_world w;
  w.start();
  const auto first = w.made("alice");
  const auto create = w.create("alice");
  const auto a = w.validate(first.id);
  const auto bob = w.create("bob");
  const auto b = w.list("alice");
  const auto c = w.validate(first.id, elsewhere);
  const auto d = w.validate(first.id);
  w.submit();
  for (const auto ticket : {create, a, bob, b, c, d}) EXPECT_FALSE(w.answered(ticket)) << ticket;
  w.port.order.clear();
  w.commit_all();
  EXPECT_EQ(w.reason(c), invalid_reason::ip_mismatch);
  std::vector<std::uint32_t> of_alice;
  for (const auto ticket : w.port.order)
    if (ticket != bob) of_alice.push_back(ticket);
  // The page is read from the store after the list was decided: its reply may come later, its rows
  // may not.
  std::erase(of_alice, b);
  EXPECT_EQ(of_alice, (std::vector{create, a, c, d}));
  EXPECT_EQ(w.reply<core::session_page>(b).rows.size(), 2U);
}

TEST(creating, another_users_requests_never_wait) {
  shard_world w;
  w.start();
  const auto bob = w.made("bob");
  const auto create = w.create("alice");
  const auto valid = w.validate(bob.id);
  w.submit();
  EXPECT_FALSE(w.answered(create));
  EXPECT_TRUE(w.valid(valid));
}

TEST(a_refused_batch, is_answered_store_full_and_changes_nothing) {
  shard_world w;
  w.start();
  const auto s = w.made("alice", "acme", "{\"a\":1}");
  const auto refused = [&](std::uint32_t ticket) {
    w.alone(ticket);
    w.refuse_one();
    EXPECT_EQ(w.error(ticket), core::error_code::STORE_FULL);
  };
  refused(w.create("alice"));
  refused(w.update(s.id, "{\"b\":2}"));
  refused(w.rotate(s.id));
  refused(w.rotate(s.id, false));
  refused(w.revoke(s.handle));
  refused(w.revoke_user("alice"));
  refused(w.revoke_tenant("acme"));
  EXPECT_EQ(w.counts().live, 1U);
  EXPECT_EQ(w.counts().created, 1U);
  EXPECT_EQ(w.counts().revoked, 0U);
  const auto still = w.alone(w.validate(s.id));
  ASSERT_TRUE(w.valid(still));
  EXPECT_EQ(w.reply<core::session_valid>(still).version, 1U);
  EXPECT_FALSE(w.reply<core::session_valid>(still).rotated);
  EXPECT_EQ(w.port.replies.at(still).data, "{\"a\":1}");
}

TEST(a_refused_batch, may_be_refused_before_an_earlier_plain_one_is_stored) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  // One turn leaves two batches: what is applied already, then what is durable. With a full disk
  // the journal keeps the first for later and refuses the second at once.
  w.clock.at_ms += 100'000;
  const auto touch = w.validate(s.id);
  const auto create = w.create("bob");
  w.submit();
  EXPECT_TRUE(w.valid(touch));
  ASSERT_EQ(w.logged.size(), 2U);
  EXPECT_FALSE(w.logged[0]->durable);
  std::swap(w.logged[0], w.logged[1]);
  w.refuse_one();
  EXPECT_EQ(w.error(create), core::error_code::STORE_FULL);
  w.commit_all();
  EXPECT_EQ(w.ask<shard_collected>(w.moved[0].session, collect_shard{}).tallies.sessions_live, 1U);
  w.made("bob");
  EXPECT_EQ(w.counts().live, 2U);
}

TEST(a_degraded_store, refuses_durable_commands_undecided_and_goes_on_validating) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  caf::anon_send(w.moved[0].session,
                 store_state_changed{true, core::fail(core::error_code::STORE_FULL)});
  w.settle();
  for (const auto ticket : {w.create("alice"), w.update(s.id, "{}"), w.rotate(s.id),
                            w.revoke(s.handle), w.revoke_user("alice"), w.revoke_tenant("acme")}) {
    w.submit();
    EXPECT_EQ(w.error(ticket), core::error_code::STORE_FULL);
  }
  EXPECT_TRUE(w.logged.empty());
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
  caf::anon_send(w.moved[0].session, store_state_changed{false, {}});
  w.settle();
  EXPECT_EQ(w.made("alice").version, 1U);
}

TEST(a_full_outbox, fails_closed) {
  shard_world w;
  w.events_in_flight_max = 3;
  w.start();
  const auto s = w.made("alice");
  for (int i = 0; i < 4; ++i) w.alone(w.create("user-" + std::to_string(i)));
  const auto ticket = w.alone(w.validate(s.id));
  EXPECT_EQ(w.error(ticket), core::error_code::STORE_UNAVAILABLE);
  EXPECT_EQ(w.error(w.alone(w.create("late"))), core::error_code::STORE_UNAVAILABLE);
  w.commit_all();
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
}

TEST(touches, are_one_record_a_batch_and_tenant) {
  shard_world w;
  w.start();
  const auto a = w.made("alice"), b = w.made("bob"), c = w.made("carol", "other");
  w.clock.at_ms += 60'000;
  for (const auto& s : {a, b, c}) w.validate(s.id);
  w.validate(a.id);  // already recorded
  w.submit();
  const auto touched = w.events(event_type::session_touched);
  ASSERT_EQ(touched.size(), 2U);
  std::map<std::string, std::size_t> sizes;
  for (const auto& each : touched) {
    const auto& touches = std::get<core::session_touched>(each.body).touches;
    sizes[each.tenant_id] = touches.size();
    for (const auto& touch : touches) EXPECT_GT(touch.session_seq, 0U);
  }
  EXPECT_EQ(sizes["acme"], 2U);
  EXPECT_EQ(sizes["other"], 1U);
}

TEST(updating, concurrently_is_done_in_order) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  const auto a = w.update(s.id, "{\"n\":1}"), b = w.update(s.id, "{\"n\":2}"), c = w.validate(s.id);
  w.submit();
  while (w.commit_all() > 0) {
  }
  EXPECT_EQ(w.reply<core::session_changed>(a).version, 2U);
  EXPECT_EQ(w.reply<core::session_changed>(b).version, 3U);
  EXPECT_EQ(w.port.replies.at(c).data, "{\"n\":2}");
}

TEST(callers, of_other_tenants_do_not_learn_that_a_session_exists) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  core::caller stranger;
  stranger.role = core::role::app;
  stranger.tenants = {"other"};
  EXPECT_EQ(w.reason(w.alone(w.validate_as(stranger, s.id))), invalid_reason::not_found);
  stranger.tenants = {"acme", "other"};
  EXPECT_TRUE(w.valid(w.alone(w.validate_as(stranger, s.id))));
}

TEST(messages, of_an_earlier_life_of_the_shard_are_ignored) {
  shard_world w;
  w.start();
  const auto ticket = w.alone(w.create("alice"));
  auto stale = std::make_shared<event_batch>(*w.logged.front());
  stale->incarnation = 7;
  caf::anon_send(w.moved[0].session, events_committed{stale, false, {}});
  w.settle();
  EXPECT_FALSE(w.answered(ticket));
  EXPECT_EQ(w.counts().created, 0U);
  w.commit_all();
  EXPECT_EQ(w.reply<core::session_made>(ticket).version, 1U);
  EXPECT_EQ(w.counts().created, 1U);
}

TEST(messages, that_nobody_waits_for_any_more_change_nothing) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  caf::anon_send(w.moved[0].session, user_looked_up{0, nullptr, std::nullopt, {}});
  caf::anon_send(w.moved[0].session, attempt_answer{0, {}, {}});
  caf::anon_send(w.moved[0].session, lockout_answer{0, {}});
  w.settle();
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
  EXPECT_TRUE(w.logged.empty());
}

TEST(lists, page_by_creation_and_name_no_row_twice) {
  shard_world w;
  w.start();
  std::vector<core::session_handle> made;
  for (int i = 0; i < 7; ++i) made.push_back(w.made("alice").handle);
  w.made("bob");
  std::vector<core::session_handle> seen;
  std::string cursor;
  int pages = 0;
  do {
    const auto& page = w.reply<core::session_page>(w.alone(w.list("alice", "acme", 3, cursor)));
    for (const auto& row : page.rows) {
      seen.push_back(row.handle);
      EXPECT_EQ(row.ip, shard_world::home);
      EXPECT_EQ(row.user_agent, "browser/1");
    }
    cursor = page.cursor;
  } while (!cursor.empty() && ++pages < 10);
  EXPECT_EQ(seen, made);
  EXPECT_EQ(w.error(w.alone(w.list("alice", "acme", 3, "f1"))), core::error_code::CURSOR_INVALID);
  EXPECT_EQ(w.error(w.alone(w.list("alice", "acme", 3, "s01"))), core::error_code::CURSOR_INVALID);
}

// Regression: the user was let go before the store had read the rows.
TEST(lists, are_answered_before_what_the_same_user_asked_for_later) {
  shard_world w;
  w.start();
  w.made("alice");
  w.store_waits = true;
  const auto list = w.list("alice");
  const auto revoke = w.revoke_user("alice");
  w.submit();
  w.commit_all();
  EXPECT_FALSE(w.answered(list));
  EXPECT_FALSE(w.answered(revoke));
  w.store_answers();
  w.commit_all();
  EXPECT_EQ(w.reply<core::session_page>(list).rows.size(), 1U);
  EXPECT_EQ(w.reply<core::sessions_revoked>(revoke).count, 1U);
}

TEST(rows_that_the_store_found, are_completed_and_dropped_when_not_live) {
  shard_world w;
  w.start();
  const auto a = w.made("alice"), b = w.made("bob");
  w.alone(w.revoke(b.handle));
  w.commit_all();
  describe_sessions question;
  for (const auto& [seq, row] : w.stored) question.rows.push_back(row);
  const auto described = w.ask<sessions_described>(w.moved[0].session, question);
  ASSERT_EQ(described.rows.size(), 1U);
  EXPECT_EQ(described.rows[0].handle, a.handle);
  EXPECT_EQ(described.rows[0].user_id, "alice");
  EXPECT_EQ(described.rows[0].ip, shard_world::home);
  EXPECT_TRUE(w.ask<subject_found>(w.moved[0].session, find_subject{"acme", "alice", {}}).subject);
  EXPECT_FALSE(w.ask<subject_found>(w.moved[0].session, find_subject{"acme", "zoe", {}}).subject);
}

TEST(policies, that_change_are_in_force_for_remembered_contexts) {
  shard_world w;
  w.policy().session.ip_binding = core::ip_binding::off;
  w.start();
  const auto s = w.made("alice");
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id, elsewhere))));
  auto strict = std::make_shared<core::policy_book>(w.policy());
  strict->session.ip_binding = core::ip_binding::enforce;
  caf::anon_send(w.moved[0].session, policies_changed{strict});
  w.settle();
  EXPECT_EQ(w.reason(w.alone(w.validate(s.id, elsewhere))), invalid_reason::ip_mismatch);
}

/// A shard with one session, whose ring has turned since.
struct turned_world : shard_world {
  turned_world() {
    start();
    made_before = made("alice");
    const auto next = *core::rotate_keyring(ring, false, counted_random(5), 2);
    const auto material = std::make_shared<const core::key_material>(next);
    caf::anon_send(moved[0].session, keys_changed{material});
    caf::anon_send(moved[0].directory, keys_changed{material});
    settle();
  }
  bool in_use(std::uint32_t key) {
    return ask<ring_key_answer>(moved[0].session, ring_key_question{key}).in_use;
  }
  core::session_made made_before;
};

TEST(key_rings, that_change_rekey_sessions_when_they_are_used) {
  turned_world w;
  EXPECT_TRUE(w.in_use(1));
  EXPECT_FALSE(w.in_use(2));
  EXPECT_TRUE(w.valid(w.alone(w.validate(w.made_before.id))));
  EXPECT_EQ(w.events(event_type::session_rekeyed).size(), 1U);
  EXPECT_FALSE(w.in_use(1));
  EXPECT_TRUE(w.in_use(2));
}

TEST(key_rings, keep_the_key_of_an_id_that_is_in_grace) {
  turned_world w;
  w.alone(w.rotate(w.made_before.id));
  w.commit_all();
  EXPECT_TRUE(w.in_use(1));  // the old id's hash is under it
  w.leap(301'000);
  EXPECT_FALSE(w.in_use(1));
}

TEST(requests_of_other_loops, are_answered_encoded_through_their_gateway) {
  shard_world w;
  w.start();
  const auto s = w.made("alice");
  std::vector<reply_batch> got;
  auto gateway = w.system.spawn([&got]() -> gateway_actor::behavior_type {
    return {[&got](reply_batch& replies) { got.push_back(std::move(replies)); },
            [](cold_request&) {},
            [](http_scrape&) {},
            [](collect_loop&) { return loop_collected{}; },
            [](list_loop&) { return loop_listed{}; },
            [](shard_down&) {},
            [](shard_moved&) {},
            [](breakers_down&) {},
            [](breakers_moved&) {},
            [](subscriptions_moved&) {},
            [](metrics_moved&) {},
            [](caught_up&) {},
            [](callers_changed&) {},
            [](keys_changed&) {},
            [](store_state_changed&) {},
            [](stop_atom) {}};
  });
  wire_session peers;
  peers.lockout = w.moved[0].lockout;
  peers.directory = w.moved[0].directory;
  peers.hub = w.hub;
  peers.journal = w.journal;
  peers.sources = w.sources;
  peers.sessions = {w.moved[0].session};
  peers.gateways = {gateway_actor{}, gateway};
  caf::anon_send(w.moved[0].session, peers);
  peers = {};
  inbound request;
  request.who = &w.admin;
  request.loop = 1;
  request.what.method = core::method::session_validate;
  core::session_id unknown;
  request_batch batch;
  batch.loop = 1;
  batch.now_ms = w.clock.at_ms;
  for (std::uint32_t i = 0; i < 3; ++i) {
    request.to = {500 + i, 1};
    request.what.params = core::validate_session{unknown, {}, true};
    batch.requests.push_back(request);
  }
  caf::anon_send(w.moved[0].session, batch);
  w.settle();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_EQ(got[0].entries.size(), 3U);
  EXPECT_EQ(got[0].entries[2].to.slot, 502U);
  std::size_t bytes = 0;
  for (const auto& each : got[0].entries) bytes += each.size;
  EXPECT_EQ(bytes, got[0].outcomes.size());
  EXPECT_TRUE(w.valid(w.alone(w.validate(s.id))));
  caf::anon_send_exit(caf::actor_cast<caf::actor>(gateway), caf::exit_reason::user_shutdown);
  gateway = gateway_actor{};
  w.settle();
}

class digest_of_a_shard : public testing::Test {
 protected:
  digest_of_a_shard() {
    w.start();
    (void)w.made("alice");
  }
  /// Asked for, and what is to come right behind the question.
  template <class Behind>
  std::shared_ptr<const core::shard_digests> take(std::uint64_t number, Behind behind) {
    std::shared_ptr<const core::shard_digests> out;
    w.system.spawn([&](caf::event_based_actor* self) {
      self->request(w.moved[0].session, caf::infinite, take_digest{number, w.clock.at_ms})
          .then([&](const digest_taken& from) { out = from.digests; });
      behind(self);
    });
    w.settle();
    return out;
  }
  void stand_still_for(std::uint64_t number) {
    EXPECT_FALSE(w.ask<stood_still>(w.moved[0].session, stand_still{number}).why);
  }

  shard_world w;
};

// Regression: a shard that went on between two of the answers gave a digest of two moments.
TEST_F(digest_of_a_shard, is_not_given_when_it_goes_on_before_all_is_told) {
  stand_still_for(7);
  EXPECT_EQ(take(7, [&](auto* self) { self->send(w.moved[0].session, go_on{7}); }), nullptr);
  stand_still_for(8);
  EXPECT_NE(take(8, [](auto*) {}), nullptr);
}

// Regression: the lockout actor stood still for any digest.
TEST_F(digest_of_a_shard, is_of_counters_that_stood_still_for_it) {
  stand_still_for(7);
  EXPECT_EQ(w.ask<lockouts_digested>(w.moved[0].lockout, take_digest{6, 0}).digests, nullptr);
  EXPECT_NE(w.ask<lockouts_digested>(w.moved[0].lockout, take_digest{7, 0}).digests, nullptr);
  caf::anon_send(w.moved[0].lockout, go_on{6});
  EXPECT_NE(w.ask<lockouts_digested>(w.moved[0].lockout, take_digest{7, 0}).digests, nullptr);
  caf::anon_send(w.moved[0].session, go_on{7});
  w.settle();
  EXPECT_EQ(w.ask<lockouts_digested>(w.moved[0].lockout, take_digest{7, 0}).digests, nullptr);
}

}  // namespace
}  // namespace portcullis::actors
