// Each rule about sessions and lockouts agrees with what was decided, and with nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "an_explanation.hpp"

namespace portcullis::core {
namespace {

using testing::HasSubstr;

TEST_F(an_explanation, of_a_create_knows_ttls_generation_handle_and_cap) {
  auto command = w.creation();
  command.idle_ttl_s = 60;
  w.create(command);
  const auto at = last(event_type::session_created);
  altered<session_created>(at, "longer than the policy", [](auto& body) {
    body.idle_ttl_s = 901;
    body.expires_at_ms += 841'000;
  });
  altered<session_created>(at, "an absolute end past the policy",
                           [](auto& body) { body.absolute_expires_at_ms += 1'000; });
  altered<session_created>(at, "another end", [](auto& body) { body.expires_at_ms += 1; });
  altered<session_created>(at, "a generation to come",
                           [](auto& body) { body.tenant_generation = 1; });
  w.policies.session.max_sessions_per_user = 1;
  all.reload();
  w.now_ms += 20'000;
  w.create();  // nobody looked at the cap
  const auto found = of(last(event_type::session_created));
  EXPECT_EQ(found.agrees, agreement::no);
  EXPECT_THAT(found.why, HasSubstr("SESSION_CAP_REACHED"));
}

TEST_F(an_explanation, of_an_eviction_knows_who_is_oldest_and_whether_there_is_room) {
  w.policies.session.max_sessions_per_user = 2;
  w.policies.session.on_cap = cap_action::evict_oldest;
  all.reload();
  w.now_ms += 20'000;
  for (int i = 0; i < 3; ++i) all.create_capped("alice");
  const auto at = last(event_type::session_evicted);
  EXPECT_EQ(of(at).agrees, agreement::yes) << of(at).why;
  EXPECT_EQ(value(of(at), "live_sessions"), "2");
  const auto newer = *w.log[at - 1].handle;
  EXPECT_EQ(of(at, [&](event& what) { what.handle = newer; }).agrees, agreement::no);
  EXPECT_EQ(of(at + 1, [](event& what) { what.body = session_evicted{}; }).agrees, agreement::no)
      << "no session of this handle yet";
  w.about_session(newer, session_evicted{});
  w.about_session(*w.log[last(event_type::session_created)].handle, session_evicted{});
  EXPECT_EQ(of(last(event_type::session_evicted)).agrees, agreement::no) << "there is room";
}

TEST_F(an_explanation, of_an_expiry_knows_when_and_which) {
  const auto s = w.create();
  w.now_ms += 100'000;
  (void)w.use(s.id);
  w.now_ms += 900'000;
  w.about_session(s.handle, session_expired{expiry_kind::idle});
  const auto at = last(event_type::session_expired);
  altered<session_expired>(at, "of the other kind",
                           [](auto& body) { body.kind = expiry_kind::absolute; });
  const auto early = of(at, [](event& what) { --what.decided_at_ms; });
  EXPECT_EQ(early.agrees, agreement::no) << "it lived a millisecond before";
  EXPECT_THAT(early.why, HasSubstr("lives until"));
  EXPECT_EQ(types(of(at)), (std::vector{event_type::session_created, event_type::session_touched}));
  altered<session_touched>(at - 1, "activity that is hardly newer",
                           [&](auto& body) { body.touches[0].last_seen_at_ms -= 41'000; });
}

TEST_F(an_explanation, of_a_rotation_knows_ids_and_graces) {
  const auto s = w.create();
  const auto next = w.rotate(s.id);
  const auto rotated = last(event_type::session_rotated);
  altered<session_rotated>(rotated, "another id", [](auto& body) { ++body.predecessor.bytes[5]; });
  altered<session_rotated>(rotated, "another grace",
                           [](auto& body) { body.grace_ends_at_ms += 1; });
  w.now_ms += 1'000;
  (void)w.use(next);
  const auto used = last(event_type::session_successor_used);
  altered<session_successor_used>(used, "a longer grace",
                                  [](auto& body) { body.grace_ends_at_ms += 1; });
  w.now_ms += 11'000;
  EXPECT_TRUE(all.reuse(s.id));
  const auto reused = last(event_type::session_reuse_detected);
  EXPECT_EQ(of(reused).agrees, agreement::yes) << of(reused).why;
  EXPECT_EQ(of(reused, [](event& what) { what.decided_at_ms -= 11'000; }).agrees, agreement::no)
      << "in grace it is no theft";
}

TEST_F(an_explanation, of_an_update_and_a_rekeying_knows_what_was_before) {
  const auto s = w.create();
  w.update(s.id, "{}");
  altered<session_updated>(last(event_type::session_updated), "a version left out",
                           [](auto& body) { ++body.version; });
  w.rotate_keys();
  (void)w.use(s.id);
  const auto rekeyed = last(event_type::session_rekeyed);
  altered<session_rekeyed>(rekeyed, "another id", [](auto& body) { ++body.before.bytes[5]; });
  altered<session_rekeyed>(rekeyed, "an older key", [](auto& body) { body.ring_key = 1; });
}

TEST_F(an_explanation, of_revocations_counts_again) {
  const auto a = w.create();
  (void)w.create();
  (void)w.create();
  w.revoke(a.handle);
  const auto one = last(event_type::session_revoked);
  EXPECT_EQ(of(one).agrees, agreement::yes) << of(one).why;
  w.revoke(a.handle);
  EXPECT_EQ(of(last(event_type::session_revoked)).agrees, agreement::no) << "it was over";
  w.now_ms += 30'000;
  w.revoke_user(w.user(), *w.log[3].handle);
  const auto of_user = last(event_type::session_revoked);
  EXPECT_EQ(value(of(of_user), "count"), "1");
  altered<session_revoked>(of_user, "another count", [](auto& body) { ++body.count; });
  altered<session_revoked>(of_user, "another generation",
                           [](auto& body) { ++body.tenant_generation; });
  w.now_ms += 30'000;
  w.apply(w.tenant_revocation("acme"));
  const auto of_tenant = last(event_type::session_revoked);
  altered<session_revoked>(of_tenant, "another count", [](auto& body) { body.count += 1; });
  altered<session_revoked>(of_tenant, "a generation left out",
                           [](auto& body) { ++body.tenant_generation; });
  w.now_ms += 30'000;
  (void)w.create();
  w.forget_user(w.user());
  altered<user_forgotten>(last(event_type::user_forgotten), "another count",
                          [](auto& body) { body.count = 3; });
}

TEST_F(an_explanation, of_a_failed_attempt_judges_the_recorded_context_and_counts_again) {
  const auto s = w.create();
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  const auto from_elsewhere = last(event_type::validation_failed);
  auto found = of(from_elsewhere);
  EXPECT_EQ(value(found, "presented_ip"), "198.51.100.7");
  EXPECT_EQ(value(found, "session_ip"), "192.0.2.7");
  altered<validation_failed>(from_elsewhere, "another reason", [](auto& body) {
    body.reason = invalid_reason::fingerprint_mismatch;
  });
  altered<validation_failed>(from_elsewhere, "another source",
                             [](auto& body) { ++(*body.source)[0]; });
  altered<validation_failed>(from_elsewhere, "a window that begins elsewhere",
                             [](auto& body) { body.window_ends_at_ms += 60'000; });
  w.now_ms += 5'000;
  EXPECT_TRUE(all.attempt_from(s.id, with_field(w.home, context_field::user_agent, "other")));
  const auto other_device = last(event_type::validation_failed);
  found = of(other_device);
  EXPECT_EQ(value(found, "differing_fields"), "user_agent");
  EXPECT_EQ(value(found, "attempt"), "2");
  EXPECT_EQ(types(found), (std::vector{event_type::node_started, event_type::session_created,
                                       event_type::validation_failed}));
  altered<validation_failed>(other_device, "a number left out",
                             [](auto& body) { ++*body.attempt; });
  altered<validation_failed>(other_device, "the same device", [&](auto& body) {
    body.fields = hash_fields(*w.state.user(w.user()).who, w.home);
  });
  altered<validation_failed>(other_device, "another window",
                             [](auto& body) { body.window_ends_at_ms += 1; });
  EXPECT_EQ(of(other_device, [](event& what) { what.decided_at_ms += 10'000'000; }).agrees,
            agreement::no)
      << "the session was over by then";
}

TEST_F(an_explanation, goes_by_the_policy_of_that_time) {
  const auto s = w.create();
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  w.now_ms += 20'000;
  w.policies.session.ip_binding = ip_binding::off;
  all.reload();
  w.now_ms += 20'000;
  const auto before = last(event_type::validation_failed);
  EXPECT_EQ(of(before).agrees, agreement::yes);
  auto copy = w.log[before];
  copy.decided_at_ms = w.now_ms;
  std::get<validation_failed>(copy.body).attempt = 2;
  all.apply(copy);
  EXPECT_EQ(of(last(event_type::validation_failed)).agrees, agreement::no)
      << "by then the address was not compared";
}

TEST_F(an_explanation, of_a_forgotten_user_says_what_cannot_be_checked) {
  const auto s = w.create();
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  const auto at = last(event_type::validation_failed);
  w.forget_user(w.user());
  const auto found = of(at);
  EXPECT_EQ(found.agrees, agreement::not_checkable);
  EXPECT_THAT(found.why, HasSubstr("forgotten"));
  EXPECT_EQ(of(at, [](event& what) { std::get<validation_failed>(what.body).attempt = 3; }).agrees,
            agreement::no)
      << "the count needs no key";
}

TEST_F(an_explanation, of_a_lock_runs_its_last_attempt_again_and_lists_those_that_led_to_it) {
  w.policies.lockout.threshold = 3;
  all.reload();
  w.now_ms += 20'000;
  const auto s = w.create();
  for (int i = 0; i < 3; ++i) {
    w.now_ms += 1'000;
    EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  }
  const auto at = last(event_type::lockout_started);
  const auto found = of(at);
  EXPECT_EQ(types(found),
            (std::vector{event_type::config_reloaded, event_type::validation_failed,
                         event_type::validation_failed, event_type::validation_failed}));
  altered<lockout_started>(at, "a longer lock", [](auto& body) { ++body.locked_until_ms; });
  altered<lockout_started>(at, "other attempts", [](auto& body) { ++body.attempts; });
  altered<lockout_started>(at, "of a source", [](auto& body) { body.source = short_hash{}; });
  EXPECT_EQ(of(at - 1, [&](event& what) { what.body = w.log[at].body; }).agrees, agreement::no)
      << "an attempt earlier there was none";

  w.now_ms += 920'000;
  all.apply(w.tenant_revocation("other"));  // replay forgets what is over; not the lock, yet
  all.end_locks(w.user());
  const auto ended = last(event_type::lockout_ended);
  EXPECT_EQ(of(ended).agrees, agreement::yes) << of(ended).why;
  EXPECT_EQ(of(ended, [](event& what) { what.decided_at_ms -= 21'000; }).agrees, agreement::no);
  EXPECT_EQ(of(ended, [](event& what) { std::get<lockout_ended>(what.body).source = short_hash{}; })
                .agrees,
            agreement::no);
}

TEST_F(an_explanation, of_a_source_counts_for_the_source_and_for_the_user) {
  w.policies.lockout.scope = lockout_scope::user_source;
  w.policies.lockout.threshold = 2;
  w.policies.lockout.user_threshold = 3;
  all.reload();
  w.now_ms += 20'000;
  const auto s = w.create();
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  const auto of_source = last(event_type::lockout_started);
  EXPECT_EQ(value(of(of_source), "of_one_source"), "true");
  altered<lockout_started>(of_source, "of the user", [](auto& body) { body.source.reset(); });
  EXPECT_TRUE(all.attempt_from(s.id, context_of("203.0.113.9")));
  const auto attempt = last(event_type::validation_failed);
  altered<validation_failed>(attempt, "another number of the user",
                             [](auto& body) { ++body.user_attempt; });
  altered<validation_failed>(attempt, "another scope",
                             [](auto& body) { body.counted_for_source = false; });
  const auto of_user = last(event_type::lockout_started);
  EXPECT_EQ(value(of(of_user), "attempts"), "3");
  altered<lockout_started>(of_user, "fewer attempts", [](auto& body) { body.attempts = 1; });
}

TEST_F(an_explanation, of_failures_that_were_counted_together_knows_locks_and_ends) {
  w.policies.lockout.threshold = 1;
  all.reload();
  w.now_ms += 20'000;
  const auto s = w.create();
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  w.now_ms += 12'000;
  validation_failed body;
  body.reason = invalid_reason::locked_out;
  body.count = 3;
  body.first_at_ms = w.now_ms - 800;
  body.last_at_ms = w.now_ms - 100;
  body.source = w.keys.source(elsewhere.ip);
  all.apply(all.about_user(w.user(), body));
  const auto at = last(event_type::validation_failed);
  altered<validation_failed>(at, "before there was a lock",
                             [&](auto& told) { *told.first_at_ms -= 30'000; });
  altered<validation_failed>(at, "a repeat, where each counts",
                             [&](auto& told) { told.reason = invalid_reason::ip_mismatch; });
  altered<validation_failed>(at, "nobody's id, of a user",
                             [&](auto& told) { told.reason = invalid_reason::not_found; });
  EXPECT_EQ(of(at,
               [](event& what) {
                 std::get<validation_failed>(what.body).reason = invalid_reason::expired;
               })
                .agrees,
            agreement::not_checkable)
      << "which session it was is not in the log";
  all.clear(w.user());
  const auto cleared = last(event_type::lockout_cleared);
  EXPECT_EQ(of(cleared).agrees, agreement::yes) << of(cleared).why;
  EXPECT_EQ(value(of(cleared), "actor"), "root");
  all.apply(all.about_user(w.user(), lockout_cleared{"again"}));
  EXPECT_EQ(of(last(event_type::lockout_cleared)).agrees, agreement::no);
}

TEST_F(an_explanation, of_what_depends_on_activity_that_was_dropped_is_left_open) {
  const auto s = w.create();
  w.now_ms += 600'000;
  (void)w.use(s.id);
  w.now_ms += 600'000;
  w.update(s.id, "{}");
  w.now_ms += 1;
  w.revoke_user(w.user());
  const auto updated = last(event_type::session_updated);
  EXPECT_EQ(of(updated).agrees, agreement::yes) << of(updated).why;
  std::get<session_touched>(w.log[last(event_type::session_touched)].body).touches.clear();
  EXPECT_EQ(of(updated).agrees, agreement::not_checkable);
  EXPECT_EQ(of(last(event_type::session_revoked)).agrees, agreement::yes) << "the update is kept";
  w.log[updated].body = session_touched{};
  const auto found = of(last(event_type::session_revoked));
  EXPECT_EQ(found.agrees, agreement::not_checkable) << found.why;
  altered_to_no(last(event_type::session_revoked));
}

TEST_F(an_explanation, of_a_signal_knows_which_fields_are_listened_to) {
  auto command = w.creation();
  command.context = with_field(w.home, context_field::ja4, "t13d");
  const auto s = w.create(command);
  w.about_session(s.handle, validation_signalled{bit(context_field::ja4), signal_action::observe,
                                                 short_hash{}, 1});
  const auto at = last(event_type::validation_signalled);
  altered<validation_signalled>(at, "enforced, not observed",
                                [](auto& body) { body.fields = bit(context_field::user_agent); });
  altered<validation_signalled>(at, "challenged",
                                [](auto& body) { body.action = signal_action::challenge; });
}

TEST_F(an_explanation, of_a_source_over_its_threshold_needs_a_threshold) {
  event what;
  what.decided_at_ms = w.now_ms;
  what.body = source_limited{short_hash{}, w.now_ms + 900'000};
  all.apply(what);
  EXPECT_EQ(of(last(event_type::source_limited)).agrees, agreement::no) << "it is off";
}

TEST_F(an_explanation, of_a_checkpoint_verifies_who_signed_what) {
  place = log_place{w.seq, w.now_ms, sha256(as_bytes("mac"))};
  event what;
  what.decided_at_ms = w.now_ms;
  what.body = make_checkpoint(*place, w.keys.checkpoints());
  all.apply(what);
  const auto at = last(event_type::checkpoint);
  altered<checkpoint>(at, "another mac", [](auto& body) { ++body.mac[0]; });
  altered<checkpoint>(at, "another signature", [](auto& body) { ++body.signature[0]; });
  const signing_key other(digest{});
  altered<checkpoint>(at, "another key",
                      [&](auto& body) { body = make_checkpoint(*place, other); });
  place.reset();
  EXPECT_EQ(of(at).agrees, agreement::not_checkable);
}

class a_validation_of_then : public an_explanation {
 protected:
  answered_validation asked(const session_handle& handle, millis at_ms) {
    topic whose{"acme", w.state.user(w.user()).subject, handle, {}, {}};
    past_events past(whose);
    replayed_state then;
    for (const auto& each : w.log) {
      const auto what = from_disk(each);
      if (what.at_ms > at_ms) break;
      then.apply(what);
      past.note(what);
    }
    const auto open = all.opener();
    return explain_validation({handle, at_ms, then, w.policies, open, past});
  }
};

TEST_F(a_validation_of_then, is_answered_in_the_order_of_the_contract) {
  w.policies.lockout.threshold = 2;
  all.reload();
  const auto s = w.create();
  const auto made_ms = w.now_ms;
  w.now_ms += 1'000;
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  w.now_ms += 1'000;
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  w.now_ms += 1'000;
  w.revoke(s.handle);

  EXPECT_FALSE(asked(s.handle, made_ms - 1).known);
  auto then = asked(s.handle, made_ms + 1'500);
  EXPECT_FALSE(then.reason);
  EXPECT_EQ(value(then.how, "session_ip"), "192.0.2.7");
  EXPECT_THAT(value(then.how, "bound_to"), HasSubstr("user_agent"));
  then = asked(s.handle, made_ms + 2'500);
  EXPECT_EQ(then.reason, invalid_reason::locked_out);
  EXPECT_EQ(then.retry_after_ms, 900'000 - 500);
  EXPECT_EQ(types(then.how),
            (std::vector{event_type::session_created, event_type::validation_failed,
                         event_type::validation_failed, event_type::lockout_started}));
  then = asked(s.handle, w.now_ms);
  EXPECT_EQ(then.reason, invalid_reason::revoked) << "before the lock is looked at";
  EXPECT_EQ(types(then.how).back(), event_type::session_revoked);
}

TEST_F(a_validation_of_then, names_no_revocation_that_did_not_end_it) {
  const auto a = w.create();
  w.now_ms += 1'000;
  w.revoke_user(w.user(), a.handle);
  w.now_ms += 1'000;
  EXPECT_EQ(types(asked(a.handle, w.now_ms).how), (std::vector{event_type::session_created}))
      << "it was excepted";
  w.revoke(a.handle);
  w.now_ms += 1'000;
  w.revoke_user(w.user());
  w.apply(w.tenant_revocation("acme"));
  const auto then = asked(a.handle, w.now_ms);
  EXPECT_EQ(then.reason, invalid_reason::revoked);
  EXPECT_EQ(types(then.how),
            (std::vector{event_type::session_created, event_type::session_revoked}));
  EXPECT_EQ(then.how.because.back().handle, a.handle) << "what came later ended nothing";
  w.now_ms += 1'000;
  const auto b = w.create();
  EXPECT_EQ(types(asked(b.handle, w.now_ms).how), (std::vector{event_type::session_created}))
      << "it was made later";
}

TEST_F(a_validation_of_then, is_answered_by_time_and_by_what_ended_all) {
  const auto s = w.create();
  const auto ends_ms = w.state.at(w.state.find(s.handle)).absolute_expires_at_ms;
  EXPECT_EQ(asked(s.handle, w.now_ms + 900'000).reason, invalid_reason::expired);
  EXPECT_FALSE(asked(s.handle, w.now_ms + 899'999).reason);
  EXPECT_EQ(asked(s.handle, ends_ms + limits::tombstone_keep_ms).reason, invalid_reason::not_found);
  EXPECT_TRUE(asked(s.handle, ends_ms + limits::tombstone_keep_ms).known);
  w.now_ms += 10;
  w.apply(w.tenant_revocation("acme"));
  const auto then = asked(s.handle, w.now_ms);
  EXPECT_EQ(then.reason, invalid_reason::revoked);
  EXPECT_EQ(types(then.how).back(), event_type::session_revoked);
}

}  // namespace
}  // namespace portcullis::core
