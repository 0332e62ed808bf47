// The hub: what comes leaves in its order; only loops with subscribers are told; what must come
// after all that was handed over does. And the log actor at its other end.
#include "actors/hub.hpp"

#include "actors/log.hpp"
#include "fixture.hpp"
#include "monitoring/log.hpp"

namespace portcullis::actors {
namespace {

class hub_world : public virtual_loop {
 public:
  hub_world() {
    hub = system.spawn(hub_behaviour);
    journal = scripted({[this](log_events& order) { seen.push_back(order.batch->number); },
                        [this](await_commits&) {
                          seen.push_back(awaited);
                          return commits_done{};
                        },
                        [this](load_shards&) {
                          seen.push_back(awaited);
                          return shards_loaded{};
                        },
                        [this](read_tenants&) {
                          seen.push_back(awaited);
                          return tenants_read{};
                        },
                        [this](stop_atom) {
                          seen.push_back(awaited);
                          return true;
                        }});
    node_peers peers;
    peers.hub = hub;
    peers.journal = caf::actor_cast<journal_actor>(journal);
    log = scripted({[this](events_published& what) { logged += what.batches.size(); }});
    peers.log = caf::actor_cast<log_actor>(log);
    for (std::size_t loop = 0; loop < 2; ++loop) {
      loops.push_back(scripted({[this, loop](events_published& what) {
        for (const auto& batch : what.batches) published[loop].push_back(batch->number);
      }}));
      peers.subscriptions.push_back(caf::actor_cast<subscriptions_actor>(loops.back()));
    }
    caf::anon_send(hub, peers);
    settle();
  }
  ~hub_world() {
    for (const auto& each : {caf::actor_cast<caf::actor>(hub), journal, log, loops[0], loops[1]})
      caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    settle();
  }
  caf::actor scripted(caf::behavior does) {
    return system.spawn([does](caf::event_based_actor* self) {
      self->set_default_handler(caf::drop);
      return does;
    });
  }
  static batch_ptr numbered(std::uint64_t number) {
    auto batch = std::make_shared<event_batch>();
    batch->number = number;
    return batch;
  }

  static constexpr std::uint64_t awaited = 1'000;
  hub_actor hub;
  caf::actor journal, log;
  std::vector<caf::actor> loops;
  std::vector<std::uint64_t> seen;  // by the journal
  std::map<std::size_t, std::vector<std::uint64_t>> published;
  std::size_t logged = 0;
};

TEST(the_hub, hands_batches_on_in_their_order_and_questions_behind_them) {
  hub_world w;
  caf::anon_send(w.hub, log_events{hub_world::numbered(1)});
  caf::anon_send(w.hub, log_events{hub_world::numbered(2)});
  caf::anon_send(w.hub, await_commits{});
  caf::anon_send(w.hub, log_events{hub_world::numbered(3)});
  caf::anon_send(w.hub, load_shards{{0}});
  caf::anon_send(w.hub, read_tenants{});
  caf::anon_send(w.hub, log_events{hub_world::numbered(4)});
  caf::anon_send(w.hub, stop_atom::value);
  w.settle();
  constexpr auto awaited = hub_world::awaited;
  EXPECT_EQ(w.seen, (std::vector<std::uint64_t>{1, 2, awaited, 3, awaited, awaited, 4, awaited}));
}

TEST(the_hub, tells_the_log_of_everything_and_loops_of_what_they_want) {
  hub_world w;
  const auto publish = [&w](std::uint64_t number) {
    caf::anon_send(w.hub, events_durable{{hub_world::numbered(number)}});
  };
  publish(1);
  caf::anon_send(w.hub, interest_changed{1, true});
  publish(2);
  caf::anon_send(w.hub, interest_changed{0, true});
  publish(3);
  caf::anon_send(w.hub, interest_changed{1, false});
  publish(4);
  w.settle();
  EXPECT_EQ(w.published[0], (std::vector<std::uint64_t>{3, 4}));
  EXPECT_EQ(w.published[1], (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(w.logged, 4U);
}

TEST(the_hub, keeps_who_is_interested_when_the_actors_are_wired_anew) {
  hub_world w;
  caf::anon_send(w.hub, interest_changed{0, true});
  node_peers peers;
  peers.journal = caf::actor_cast<journal_actor>(w.journal);
  for (const auto& each : w.loops)
    peers.subscriptions.push_back(caf::actor_cast<subscriptions_actor>(each));
  caf::anon_send(w.hub, std::move(peers));
  caf::anon_send(w.hub, events_durable{{hub_world::numbered(9)}});
  w.settle();
  EXPECT_EQ(w.published[0], std::vector<std::uint64_t>{9});
  EXPECT_TRUE(w.published[1].empty());
}

TEST(the_log_actor, writes_each_event_but_touches_once_and_what_becomes_of_the_store) {
  virtual_loop w;
  auto& log = monitoring::process_log();
  (void)log.flush();
  const auto lines = [&log] {
    (void)log.flush();
    return log.tallies().messages;
  };
  const auto total = [&lines] {
    std::uint64_t sum = 0;
    for (const auto& each : lines()) sum += each;
    return sum;
  };
  const auto before = total();
  const auto actor = w.system.spawn(log_behaviour);
  auto batch = std::make_shared<event_batch>();
  for (const core::event_body& body :
       {core::event_body(core::node_stopped{}), core::event_body(core::session_touched{}),
        core::event_body(core::session_evicted{})}) {
    core::event what;
    what.at_ms = w.clock.at_ms;
    what.body = body;
    batch->events.push_back(std::move(what));
  }
  caf::anon_send(actor, events_published{{batch, batch}});
  caf::anon_send(actor, store_state_changed{true, core::fail(core::error_code::STORE_FULL)});
  caf::anon_send(actor, store_state_changed{false, {}});
  w.settle();
  EXPECT_EQ(total() - before, 6U);
  caf::anon_send_exit(caf::actor_cast<caf::actor>(actor), caf::exit_reason::user_shutdown);
  w.settle();
}

}  // namespace
}  // namespace portcullis::actors
