// What two actors decide at the same time is logged in either order: neither disagrees.
#include "an_explanation.hpp"

namespace portcullis::core {
namespace {

TEST_F(an_explanation, of_what_was_decided_while_a_reload_was_on_its_way_goes_by_either_policy) {
  const auto s = w.create();
  w.now_ms += 20'000;
  w.policies.session.ip_binding = ip_binding::off;
  all.reload();
  w.policies.session.ip_binding = ip_binding::enforce;  // who decides has not heard of it
  w.now_ms += 5;
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  EXPECT_EQ(of(last(event_type::validation_failed)).agrees, agreement::yes);
}

TEST_F(an_explanation, of_an_attempt_may_be_compared_by_one_policy_and_counted_by_another) {
  const auto s = w.create();
  EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
  w.now_ms += 20'000;
  const auto old = w.policies;
  w.policies.session.ip_binding = ip_binding::observe;
  w.policies.session.enforced = bit(context_field::user_agent);
  w.policies.lockout.scope = lockout_scope::user_source;
  all.reload();
  w.policies.lockout = old.lockout;  // who counts has not heard of it
  w.now_ms += 5;
  const auto device = with_field(w.home, context_field::user_agent, "other");
  auto from_there = device;
  from_there.ip = elsewhere.ip;  // under the old policy an ip_mismatch
  EXPECT_TRUE(all.attempt_from(s.id, from_there));
  const auto at = last(event_type::validation_failed);
  const auto found = of(at);
  EXPECT_EQ(found.agrees, agreement::yes) << found.why;
  EXPECT_EQ(value(found, "lockout_policy_of_seq"), "1");
  altered<validation_failed>(at, "a number of neither", [](auto& body) { ++*body.attempt; });
}

TEST_F(an_explanation, of_a_refusal_knows_that_a_clear_is_heard_of_a_little_later) {
  w.policies.lockout.threshold = 1;
  all.reload();
  w.now_ms += 20'000;
  for (const auto late_ms : {0, 3}) {
    const auto s = w.create();
    EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
    w.now_ms += 12'000;
    all.clear(w.user());
    validation_failed body;
    body.reason = invalid_reason::locked_out;
    body.count = 2;
    body.first_at_ms = body.last_at_ms = w.now_ms + late_ms;
    body.source = w.keys.source(elsewhere.ip);
    w.now_ms += 900;
    all.apply(all.about_user(w.user(), body));
    altered<validation_failed>(last(event_type::validation_failed), "long after", [&](auto& told) {
      told.first_at_ms = *told.first_at_ms - 30'000;  // before the lock
    });
    w.now_ms += 60'000;
  }
}

TEST_F(an_explanation, of_what_is_cleared_while_its_lock_ends_agrees_in_either_order) {
  w.policies.lockout.threshold = 1;
  w.policies.lockout.duration_s = 60;
  all.reload();
  w.now_ms += 20'000;
  const auto ends = [&](event_body first, event_body second) {
    const auto s = w.create();
    EXPECT_TRUE(all.attempt_from(s.id, elsewhere));
    w.now_ms += 60'010;
    const auto whose = w.user();
    for (auto* each : {&first, &second}) {
      auto what = all.about_user(whose, std::move(*each));
      if (what.type() != event_type::lockout_ended) what.decided_at_ms -= 20;
      all.apply(std::move(what));
      const auto found = of(w.log.size() - 1);
      EXPECT_EQ(found.agrees, agreement::yes) << found.why;
    }
  };
  ends(lockout_ended{}, lockout_cleared{"asked"});
  EXPECT_EQ(of(w.log.size() - 1, [](event& what) { what.decided_at_ms += 60'000; }).agrees,
            agreement::no)
      << "a minute later nobody had still to hear of it";
  w.now_ms += 30'000;
  ends(lockout_cleared{"asked"}, lockout_ended{});
  EXPECT_EQ(of(w.log.size() - 1,
               [](event& what) { std::get<lockout_ended>(what.body).source = short_hash{}; })
                .agrees,
            agreement::no)
      << "no source was locked out";
  w.now_ms += 30'000;
  user_forgotten gone;
  gone.count = 3;
  ends(gone, lockout_ended{});
}

TEST_F(an_explanation, of_a_lock_knows_its_attempt_at_a_threshold_of_one) {
  w.policies.lockout.threshold = 1;
  all.reload();
  for (int i = 0; i < 3; ++i) {
    w.now_ms += 1'000'000;  // what is old is forgotten with the attempt
    EXPECT_TRUE(all.attempt_from(w.create().id, elsewhere));
    const auto found = of(last(event_type::lockout_started));
    EXPECT_EQ(found.agrees, agreement::yes) << found.why;
  }
}

}  // namespace
}  // namespace portcullis::core
