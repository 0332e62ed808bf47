// The breaker actor where several nodes share a log, in orders that a fleet comes to by chance
// only.
#include "breaker_world.hpp"

namespace portcullis::actors {
namespace {

using core::breaker_state;

constexpr std::uint64_t other = 77;  // a writer

std::function<void(breaker_options&)> of_node(std::shared_ptr<known_probers> probers = {}) {
  return [probers](breaker_options& options) {
    options.node_id = "node-0";
    options.fleet = std::make_shared<const core::fleet_keys>(
        core::key_material(core::generate_keyring(counted_random(77), 1)));
    options.probers = probers;
  };
}

/// One node's, and the log as the test has it.
class breakers_of_node : public breaker_world {
 public:
  explicit breakers_of_node(std::vector<core::stored_breaker> stored = {},
                            const std::shared_ptr<known_probers>& probers = {})
      : breaker_world(1'000, std::move(stored), of_node(probers)) {
    meet({0, other});
  }
  /// Writers that live; 0 is this node.
  void meet(const std::vector<std::uint64_t>& writers) {
    auto live = std::make_shared<fleet_members>();
    for (const auto each : writers) live->all.push_back({each, 1});
    log_advanced news;
    news.members = std::move(live);
    tell(std::move(news));
    pass(600);  // all would have told of their calls
  }
  /// It comes to stand in the log, and is read.
  std::uint64_t land(const batch_ptr& batch) {
    for (auto& each : batch->events) {
      each.seq = ++seq;
      each.at_ms = clock.at_ms;
    }
    log_advanced news;
    news.batches.push_back(batch);
    news.position = seq;
    tell(std::move(news));
    return seq;
  }
  void land_all() {
    while (!logged.empty())
      for (const auto& each : take())
        if (!each->events.empty()) land(each);
  }
  std::uint64_t another(core::event_body body, std::string node = "node-1") {
    auto batch = std::make_shared<event_batch>();
    batch->writer = other;
    auto& what = batch->events.emplace_back();
    what.decided_at_ms = clock.at_ms;
    what.node = std::move(node);
    what.body = std::move(body);
    return land(batch);
  }
  void others_call(std::uint64_t successes, std::uint64_t failures = 0, std::uint64_t epoch = 1) {
    core::calls_tallied body;
    auto& one = body.tallies.emplace_back();
    one.service = pay.service;
    one.breaker = pay.breaker;
    one.counts[core::call_result::success] = successes;
    one.counts[core::call_result::failure] = failures;
    one.judged = core::epoch_calls{epoch, one.counts};
    another(std::move(body));
  }
  /// Twenty failures, of which the last opens it, when others had time to tell of their calls.
  std::uint32_t trip_slowly() {
    fail();
    pass(600);
    for (int i = 0; i < 18; ++i) fail();
    return fail();
  }
  void overtake(const batch_ptr& batch) {
    decision_refused word{batch, true, seq, {}};
    caf::anon_send(breakers, std::move(word));
    settle();
  }
  void store_is_away(bool away) {
    store_state_changed change;
    change.degraded = away;
    if (away) change.why = core::fail(core::error_code::STORE_UNAVAILABLE);
    caf::anon_send(breakers, change);
    settle();
  }
  void catch_up_with_log() {
    caf::anon_send(breakers, caught_up{std::nullopt, 1});
    settle();
  }
  /// The decision that waits for the log, taken out with all else.
  batch_ptr take_decision() {
    batch_ptr found;
    for (const auto& each : take())
      if (each->durable) found = each;
    EXPECT_TRUE(found) << "nothing was decided";
    return found;
  }
  [[nodiscard]] std::vector<core::event_type> waiting_types() const {
    std::vector<core::event_type> types;
    for (const auto& batch : logged)
      for (const auto& each : batch->events)
        if (each.type() != core::event_type::calls_tallied) types.push_back(each.type());
    return types;
  }
  bool is_known(core::breaker_name of) {
    const auto ticket = status(of);
    if (!answered(ticket)) return true;
    return !std::holds_alternative<core::failed>(port.replies.at(ticket).reply);
  }
  std::uint32_t acquire(core::breaker_name of = pay) {
    return ask(core::method::breaker_acquire, core::acquire_permit{}, of);
  }
  [[nodiscard]] bool has_permit(std::uint32_t ticket) const {
    const auto* granted = std::get_if<core::permit_granted>(&port.replies.at(ticket).reply);
    return granted != nullptr && granted->permit;
  }
  std::uint64_t seq = 0;

 private:
  void tell(log_advanced news) {
    news.at_ms = clock.at_ms;
    caf::anon_send(breakers, std::move(news));
    settle();
  }
};

core::breaker_opened opened(core::breaker_name whose, std::uint64_t epoch, core::millis until_ms) {
  core::breaker_opened body;
  body.service = whose.service;
  body.breaker = whose.breaker;
  body.epoch = epoch;
  body.until_ms = until_ms;
  body.cause = core::breaker_cause::failure_rate;
  return body;
}

core::stored_breaker half_open(core::breaker_name whose, std::uint64_t epoch = 3) {
  core::stored_breaker stored;
  stored.record.service = whose.service;
  stored.record.breaker = whose.breaker;
  stored.record.state = breaker_state::half_open;
  stored.record.epoch = epoch;
  stored.record.since_ms = fake_clock().at_ms;
  return stored;
}

TEST(breakers_of_a_node, tell_a_change_when_it_stands_in_the_log) {
  breakers_of_node w;
  const auto last = w.trip_slowly();
  EXPECT_FALSE(w.answered(last));
  w.land_all();
  EXPECT_EQ(w.position(last).state, breaker_state::open);
  EXPECT_EQ(w.position(last).epoch, 2U);
}

// Regression: what came to stand in the log after it had been given up was in force on all nodes
// but this one, which then used its epoch once more.
TEST(breakers_of_a_node, are_what_the_log_says_also_when_that_is_their_own_and_late) {
  breakers_of_node w;
  const auto last = w.trip_slowly();
  const auto decision = w.take_decision();
  w.store_is_away(true);
  EXPECT_TRUE(w.answered(last));
  w.store_is_away(false);
  EXPECT_EQ(w.asked_for_end, 1U);
  w.catch_up_with_log();
  EXPECT_EQ(w.row(w.pay).state, breaker_state::closed) << "it is not in the log";
  w.land(decision);
  EXPECT_EQ(w.row(w.pay).state, breaker_state::open) << "now it is";
  EXPECT_EQ(w.row(w.pay).epoch, 2U);
}

TEST(breakers_of_a_node, are_given_up_also_when_that_stands_in_the_log_late) {
  breakers_of_node w;
  w.fail();
  w.leap(w.book->breakers.fallback.retire_after_ms + 1'000);
  const auto decision = w.take_decision();
  EXPECT_EQ(decision->events[0].type(), core::event_type::breaker_retired);
  w.store_is_away(true);
  w.store_is_away(false);
  w.catch_up_with_log();
  EXPECT_TRUE(w.is_known(w.pay));
  w.land(decision);
  EXPECT_FALSE(w.is_known(w.pay));
}

// Regression: the one that was slower gave it up a second time.
TEST(breakers_of_a_node, are_given_up_once) {
  breakers_of_node w;
  w.fail();
  w.leap(w.book->breakers.fallback.retire_after_ms + 1'000);
  const auto decision = w.take_decision();
  w.another(core::breaker_retired{"pay", "default", 1});
  w.overtake(decision);
  w.pass(1'000);
  EXPECT_TRUE(w.waiting_types().empty());
  EXPECT_FALSE(w.is_known(w.pay));
}

// Regression: nothing was due when one had opened on this node alone, until the next call.
TEST(breakers_of_a_node, that_are_open_on_it_alone_are_so_until_the_wait_is_over) {
  breakers_of_node w;
  w.fail();
  w.others_call(10);
  for (int i = 0; i < 30; ++i) w.fail();
  EXPECT_EQ(w.row(w.pay).state, breaker_state::open);
  EXPECT_EQ(w.row(w.pay).base_state, breaker_state::closed);
  w.pass(1'500);
  EXPECT_EQ(w.row(w.pay).state, breaker_state::closed);
  EXPECT_TRUE(w.waiting_types().empty());
}

TEST(breakers_of_a_node, tell_of_what_they_judged_in_which_epoch) {
  breakers_of_node w;
  for (int i = 0; i < 3; ++i) w.fail();
  core::report_call stale;
  stale.outcome = core::call_outcome::failure;
  stale.epoch = 9;
  for (int i = 0; i < 30; ++i) w.ask(core::method::breaker_report, stale, w.pay);
  w.pass(1'000);
  const auto batches = w.take();
  ASSERT_EQ(batches.size(), 1U);
  const auto& one = std::get<core::calls_tallied>(batches[0]->events.at(0).body).tallies.at(0);
  EXPECT_EQ(one.counts[core::call_result::failure], 33U);
  ASSERT_TRUE(one.judged);
  EXPECT_EQ(one.judged->epoch, 1U);
  EXPECT_EQ(one.judged->calls[core::call_result::failure], 3U);
}

TEST(breakers_of_a_node, are_judged_by_what_others_judged_in_the_same_epoch) {
  breakers_of_node w;
  w.fail();
  w.others_call(0, 60, 9);
  EXPECT_TRUE(w.waiting_types().empty());
  EXPECT_EQ(w.row(w.pay).counts[core::call_result::failure], 61U) << "and yet it is shown";
  w.others_call(0, 19, 1);
  EXPECT_EQ(w.waiting_types(), std::vector{core::event_type::breaker_opened});
}

// Regression: each node told of the same breach.
TEST(breakers_of_a_node, do_not_tell_of_a_breach_that_is_told) {
  breakers_of_node w;
  core::breaker_override_set set;
  set.service = set.breaker = "pay";
  set.breaker = "default";
  set.epoch = 2;
  set.mode = core::override_mode::metrics_only;
  set.scope = core::override_scope::fleet;
  w.another(set);
  w.pass(600);
  for (int i = 0; i < 10; ++i) w.fail();
  core::breaker_would_open breach;
  breach.service = "pay";
  breach.breaker = "default";
  breach.epoch = 2;
  breach.cause = core::breaker_cause::failure_rate;
  auto batch = std::make_shared<event_batch>();
  batch->writer = other;
  core::calls_tallied calls;
  auto& one = calls.tallies.emplace_back();
  one.service = "pay";
  one.breaker = "default";
  one.counts[core::call_result::failure] = 30;
  one.judged = core::epoch_calls{2, one.counts};
  batch->events.resize(2);
  batch->events[0].body = std::move(calls);
  batch->events[1].body = std::move(breach);
  w.land(batch);
  for (int i = 0; i < 30; ++i) w.fail();
  EXPECT_TRUE(w.waiting_types().empty());
}

// Regression: whoever looked at another node's store half-opened it.
TEST(breakers_of_a_node, leave_another_nodes_store_to_that) {
  breakers_of_node w;
  const core::breaker_name theirs{core::own_service, "node-1"};
  w.another(opened(theirs, 2, w.clock.at_ms + 500));
  w.pass(10'000);
  w.status(theirs);
  EXPECT_EQ(w.row(theirs).state, breaker_state::open);
  EXPECT_TRUE(w.waiting_types().empty());
}

// Regression: after a restart a node had the breakers that applications had reported to others, and
// gave them up when nobody reported to it.
TEST(breakers_of_a_node, are_not_those_that_report_to_another) {
  core::stored_breaker theirs, stand_in, ours;
  for (auto* each : {&theirs, &stand_in, &ours}) {
    each->record.kind = core::breaker_kind::observed;
    each->record.breaker = "default";
    each->record.epoch = 2;
  }
  theirs.record.service = "theirs";
  stand_in.record.service = "joined";
  stand_in.sources.push_back({"joined", "default", "web", {}, false});
  ours.record.service = "ours";
  ours.sources.push_back({"ours", "default", "web", {}, false});
  ours.sources[0].what.seen.add(1);
  breakers_of_node w({theirs, stand_in, ours});
  EXPECT_FALSE(w.is_known({"theirs", "default"}));
  EXPECT_FALSE(w.is_known({"joined", "default"}));
  EXPECT_TRUE(w.is_known({"ours", "default"}));
  w.leap(w.book->breakers.fallback.retire_after_ms + 1'000);
  EXPECT_EQ(w.waiting_types(), std::vector{core::event_type::breaker_retired}) << "its own";
}

// Regression: when the actor of the node that tried a breaker had failed, nobody tried it.
TEST(breakers_of_a_node, are_tried_on_by_the_node_that_tried_them_before_its_actor_failed) {
  const auto probers = std::make_shared<known_probers>();
  {
    breakers_of_node w({}, probers);
    w.trip_slowly();
    w.land_all();
    w.pass(1'000);
    w.acquire();
    w.land_all();
    EXPECT_EQ(w.row(w.pay).state, breaker_state::half_open);
    EXPECT_EQ(w.row(w.pay).epoch, 3U);
  }
  breakers_of_node again({half_open(breaker_world::pay)}, probers);
  EXPECT_TRUE(again.has_permit(again.acquire()));
  breakers_of_node later({half_open(breaker_world::pay, 5)}, probers);
  EXPECT_FALSE(later.has_permit(later.acquire())) << "of another phase nothing is known";
}

TEST(breakers_of_a_node, learn_who_tries_them_from_what_was_read_before_they_were_loaded) {
  const auto probers = std::make_shared<known_probers>();
  breakers_of_node w({half_open(breaker_world::pay)}, probers);
  core::breaker_half_opened begun;
  begun.service = "pay";
  begun.breaker = "default";
  begun.epoch = 3;
  EXPECT_FALSE(w.has_permit(w.acquire()));
  auto batch = std::make_shared<event_batch>();
  batch->shard = 0;
  batch->of_breakers = true;
  batch->durable = true;
  batch->events.emplace_back().body = std::move(begun);  // seq 0: it is loaded
  log_advanced news;
  news.batches.push_back(std::move(batch));
  caf::anon_send(w.breakers, std::move(news));
  w.settle();
  EXPECT_TRUE(w.has_permit(w.acquire()));
}

TEST(breakers_of_a_node, that_stand_before_its_own_store_wait_for_no_other_node) {
  breaker_world w(1'000, {}, of_node());
  EXPECT_TRUE(w.gates.back().open);
  w.attempts({false, false, false});
  w.store_is(true);
  EXPECT_FALSE(w.gates.back().open);
  EXPECT_EQ(w.row({core::own_service, "node-0"}).base_state, breaker_state::open);
}

// Regression: the gate of a node that was started again while it was half-open stayed shut for half
// a minute.
TEST(breakers_of_a_node, that_stand_before_its_own_store_are_tried_at_once) {
  breakers_of_node w({half_open({core::own_service, "node-0"})});
  ASSERT_FALSE(w.gates.empty());
  EXPECT_TRUE(w.gates.back().permit);
}

}  // namespace
}  // namespace portcullis::actors
