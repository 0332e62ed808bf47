// The breaker actor: who waits for which commit, and the server's own store, in the orders that a
// client over a socket cannot bring about.
#include "breaker_world.hpp"

namespace portcullis::actors {
namespace {

using core::breaker_state;

TEST(the_breaker_actor, tells_a_change_when_it_is_durable) {
  breaker_world w;
  const auto last = w.trip();
  const auto behind = w.status(w.pay);
  EXPECT_FALSE(w.answered(last));
  EXPECT_FALSE(w.answered(behind));
  const auto other = w.fail({"mail", "default"});
  EXPECT_TRUE(w.answered(other)) << "nobody else waits";
  w.commit_all();
  EXPECT_EQ(w.position(last).state, breaker_state::open);
  EXPECT_TRUE(w.answered(behind));
}

// Regression: breaker.list told of an opening that a kill -9 would have forgotten.
TEST(the_breaker_actor, lists_a_change_when_it_is_durable) {
  breaker_world w;
  w.trip();
  const auto told = w.list();
  EXPECT_FALSE(*told);
  w.commit_all();
  ASSERT_TRUE(*told);
  EXPECT_EQ(w.row(w.pay).state, breaker_state::open);
}

TEST(the_breaker_actor, lists_what_was_asked_for_without_waiting_for_later_changes) {
  breaker_world w;
  w.trip();
  const auto told = w.list();
  const auto first = w.take();
  w.trip({"mail", "default"});
  for (const auto& each : first) w.done(each);
  EXPECT_TRUE(*told);
}

TEST(the_breaker_actor, with_a_full_disk_holds_nothing_and_refuses_overrides) {
  breaker_world w;
  const auto last = w.trip();
  w.store_is(true);
  EXPECT_EQ(w.position(last).state, breaker_state::open) << "also what was held before";
  EXPECT_TRUE(w.answered(w.trip({"mail", "default"})));
  const auto refused = w.overrule(core::override_mode::disabled, {}, w.pay);
  ASSERT_TRUE(w.answered(refused));
  EXPECT_TRUE(std::holds_alternative<core::failed>(w.port.replies.at(refused).reply));
}

TEST(the_breaker_actor, with_a_full_disk_holds_nothing_behind_a_refused_reset) {
  breaker_world w;
  w.trip();
  w.commit_all();
  w.clock.at_ms += 1'000;  // no tick yet: it is half-open by the reset's own look
  core::reset_breaker order;
  order.reason = "mended";
  const auto ticket = w.ask(core::method::breaker_reset, order, w.pay);
  const auto batches = w.take();
  ASSERT_EQ(batches.size(), 2U) << "what had changed, and what was decided";
  w.store_is(true);
  EXPECT_FALSE(w.answered(ticket));
  w.done(batches[1], true);
  ASSERT_TRUE(w.answered(ticket));
  const auto next = w.status(w.pay);
  ASSERT_TRUE(w.answered(next));
  EXPECT_EQ(w.row(w.pay).state, breaker_state::half_open);
  EXPECT_EQ(w.row(w.pay).epoch, 3U);
}

// Regression: the rates of a breaker that nobody calls any more stood still in list and metrics.
TEST(the_breaker_actor, shows_no_rate_of_calls_that_are_too_old) {
  breaker_world w;
  core::report_call call;
  for (int i = 0; i < 30; ++i) w.ask(core::method::breaker_report, call, w.pay);
  w.fail();
  const auto collected = [&] {
    std::optional<double> shown;
    w.system.spawn([&](caf::event_based_actor* self) {
      self->request(w.breakers, caf::infinite, collect_breakers{})
          .then([&](breakers_collected& told) {
            for (const auto& each : told.tallies.breakers)
              if (each.service == "pay") shown = each.failure_ratio;
          });
    });
    w.settle();
    return shown;
  };
  EXPECT_TRUE(collected());
  EXPECT_TRUE(w.row(w.pay).failure_ratio);
  w.leap(70'000);
  EXPECT_FALSE(collected());
  EXPECT_FALSE(w.row(w.pay).failure_ratio);
}

// Regression: rows of sources are no events, so that nothing bounded what of them waited for space.
TEST(the_breaker_actor, with_a_full_disk_keeps_sources_instead_of_queueing_them) {
  breaker_world w;
  w.observe(1);
  w.leap(2'000);
  EXPECT_EQ(w.rows_of_sources(), 1U);
  w.commit_all();
  w.store_is(true);
  for (std::uint64_t seq = 2; seq < 12; ++seq) {
    w.observe(seq);
    w.leap(2'000);
  }
  EXPECT_EQ(w.rows_of_sources(), 0U);
  w.store_is(false);
  w.leap(2'000);
  EXPECT_EQ(w.rows_of_sources(), 1U);
}

// Regression: with a full disk open breakers went on changing by time, two events a round, for
// ever.
TEST(the_breaker_actor, past_the_bound_of_events_lets_nothing_change_by_time) {
  breaker_world w(4);
  w.store_is(true);
  w.trip();
  for (int i = 0; i < 60; ++i) w.leap(60'000);
  const auto waiting = w.take();
  EXPECT_LE(waiting.size(), 6U);
  EXPECT_FALSE(w.port.replies.empty());
  const auto refused = w.fail();
  EXPECT_TRUE(std::holds_alternative<core::failed>(w.port.replies.at(refused).reply));
  ASSERT_FALSE(w.gates.empty());
  EXPECT_TRUE(w.gates.back().open) << "the journal tries it by itself";
  EXPECT_FALSE(w.gates.back().permit);
  w.store_is(false);
  for (const auto& each : waiting) w.done(each);
  w.leap(1'000);
  EXPECT_FALSE(w.logged.empty()) << "time goes on";
}

// --- the server's own store

TEST(the_breaker_of_the_store, lets_the_journal_try_once_and_closes) {
  breaker_world w;
  EXPECT_TRUE(w.gates.back().open);
  w.attempts({false, false, false});
  w.store_is(true);
  EXPECT_FALSE(w.gates.back().open);
  w.pass(1'000);
  ASSERT_TRUE(w.gates.back().permit);
  w.attempts({true}, w.gates.back().permit);
  w.store_is(false);
  EXPECT_TRUE(w.gates.back().open);
  EXPECT_EQ(w.row(w.store).state, breaker_state::closed);
}

// Regression: each word to the journal asked for another permit, and took the one back that it had.
TEST(the_breaker_of_the_store, tells_the_same_permit_until_it_is_used) {
  breaker_world w;
  w.attempts({false, false, false});
  w.store_is(true);
  w.pass(1'000);
  const auto permit = w.gates.back().permit;
  ASSERT_TRUE(permit);
  w.wire();  // as when another shard was started again
  EXPECT_TRUE(w.gates.back().open);
  EXPECT_EQ(w.gates.back().permit, permit);
}

// Regression: a shard that was started again while a digest was taken half-opened it under the
// digest.
TEST(the_breaker_of_the_store, stands_still_when_another_shard_is_started_again) {
  breaker_world w;
  w.attempts({false, false, false});
  w.commit_all();
  bool still = false;
  w.system.spawn([&](caf::event_based_actor* self) {
    self->request(w.breakers, caf::infinite, stand_still{1}).then([&](const stood_still& answer) {
      still = !answer.why;
    });
  });
  w.settle();
  ASSERT_TRUE(still);
  const auto digested = [&] {
    std::string bytes;
    w.system.spawn([&](caf::event_based_actor* self) {
      self->request(w.breakers, caf::infinite, take_digest{1, 0})
          .then([&](const breakers_digested& from) {
            for (const auto& each : from.breakers) bytes += each.bytes;
          });
    });
    w.settle();
    return bytes;
  };
  const auto before = digested();
  EXPECT_FALSE(before.empty());
  w.pass(5'000);
  w.wire();
  EXPECT_EQ(digested(), before);
  EXPECT_TRUE(w.logged.empty());
  caf::anon_send(w.breakers, go_on{1});
  w.settle();
  EXPECT_FALSE(w.logged.empty());
  EXPECT_TRUE(w.gates.back().permit);
}

// Regression: what the journal told while an override was being written changed the state under it:
// an epoch was used twice, the override neither applied nor answered, the breaker busy for ever.
TEST(the_breaker_of_the_store, is_overruled_before_it_hears_what_came_meanwhile) {
  breaker_world w;
  const auto ticket = w.overrule(core::override_mode::disabled);
  const auto order = w.take();
  ASSERT_EQ(order.size(), 1U);
  w.attempts({false, false, false, false, false});
  EXPECT_TRUE(w.logged.empty());
  w.done(order[0]);
  EXPECT_EQ(w.position(ticket).state, breaker_state::disabled);
  EXPECT_EQ(w.position(ticket).epoch, 2U);
  w.commit_all();
  EXPECT_EQ(w.position(w.overrule(core::override_mode::disabled)).epoch, 2U) << "it is not busy";
}

TEST(the_breaker_of_the_store, refused_an_override_hears_what_came_meanwhile) {
  breaker_world w;
  const auto ticket = w.overrule(core::override_mode::disabled);
  const auto order = w.take();
  w.attempts({false, false, false});
  w.store_is(true);
  w.done(order.at(0), true);
  ASSERT_TRUE(w.answered(ticket));
  EXPECT_TRUE(std::holds_alternative<core::failed>(w.port.replies.at(ticket).reply));
  EXPECT_FALSE(w.gates.back().open) << "three failures in a row";
  EXPECT_EQ(w.row(w.store).state, breaker_state::open);
  EXPECT_EQ(w.row(w.store).epoch, 2U);
  w.pass(1'000);
  EXPECT_TRUE(w.gates.back().permit);
}

// Regression: an actor that was started again during trouble opened, waited for a commit that only
// it could let through, and so for ever.
TEST(the_breaker_of_the_store, does_not_wait_for_the_commit_that_waits_for_it) {
  breaker_world w;
  w.attempts({false, false, false});  // before it knows of the trouble
  EXPECT_FALSE(w.gates.back().open);
  w.pass(1'000);
  EXPECT_FALSE(w.gates.back().open) << "its opening is not durable yet";
  w.store_is(true);  // what the journal tells whoever is new
  w.pass(1'000);
  EXPECT_TRUE(w.gates.back().permit);
}

}  // namespace
}  // namespace portcullis::actors
