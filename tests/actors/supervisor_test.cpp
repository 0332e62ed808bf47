// The supervisor: what fails is started again, with its state and with everybody told in the right
// order; what fails too often, or cannot be started again, ends the process.
#include "actors/supervisor.hpp"

#include <future>
#include <optional>

#include "fixture.hpp"

namespace portcullis::actors {
namespace {

/// The supervisor with scripted actors around it. `told` is what happened, in order.
class supervised_world : public virtual_loop {
 public:
  explicit supervised_world(std::uint32_t shards = 2, bool slow_session = false) {
    all.hub = caf::actor_cast<hub_actor>(scripted(
        {[this](load_shards& question) {
           told.push_back("load " + std::to_string(question.shards.at(0)));
           shards_loaded out;
           out.images.push_back(std::make_shared<shard_image>());
           if (load_fails) out.why = core::fail(core::error_code::STORE_INTEGRITY);
           return out;
         },
         [this](read_tenants&) {
           told.push_back("tenants");
           return tenants_read{{{"acme", 4}}, {}};
         },
         [this](interest_changed& change) { told.push_back(change.interested ? "yes" : "no"); },
         [this](log_events& order) { logged.push_back(order.batch); }}));
    all.journal = caf::actor_cast<journal_actor>(scripted({[this](back_up& order) {
      told.push_back("backup " + order.path);
      return backup_done{7, 8, {}};
    }}));
    all.log = caf::actor_cast<log_actor>(scripted({[](events_published&) {}}));
    all.sources = caf::actor_cast<sources_actor>(
        scripted({[this](policies_changed&) { told.push_back("policies"); }, [](node_peers&) {}}));
    all.metrics =
        caf::actor_cast<metrics_actor>(scripted({[](shard_moved&) {}, [](node_peers&) {}}));
    all.gateways = {caf::actor_cast<gateway_actor>(scripted(
        {[this](shard_down& down) { told.push_back("down " + std::to_string(down.shard)); },
         [this](shard_moved& moved) { told.push_back("open " + std::to_string(moved.shard)); },
         [this](subscriptions_moved&) { told.push_back("subscriptions moved"); },
         [this](metrics_moved&) { told.push_back("metrics moved"); },
         [this](callers_changed& change) { gone = change.gone; }}))};
    all.subscriptions = {subscribed()};
    for (std::uint32_t shard = 0; shard < shards; ++shard)
      all.shards.push_back(shard_of_now(shard));
    if (slow_session) all.shards.back().session = caf::actor_cast<session_actor>(slow());
    supervisor_options options;
    options.development = true;
    options.clock = &clock;
    options.random = counted_random();
    options.drain = [this] { told.emplace_back("drain"); };
    options.fatal = [this](std::string_view why) { fatal.emplace_back(why); };
    options.reload = [this]() -> core::result<reload_outcome> { return outcome; };
    options.spawn_shard = [this](std::uint32_t shard, std::uint64_t incarnation,
                                 const std::shared_ptr<shard_image>&) {
      told.push_back("spawn " + std::to_string(shard) + "/" + std::to_string(incarnation));
      return newest = shard_of_now(shard);
    };
    options.spawn_subscriptions = [this](std::uint32_t, const std::vector<shard_moved>&) {
      told.emplace_back("spawn subscriptions");
      return subscribed();
    };
    options.spawn_log = [this] {
      told.emplace_back("spawn log");
      return caf::actor_cast<log_actor>(scripted({[](events_published&) {}}));
    };
    options.spawn_sources = [this] {
      told.emplace_back("spawn sources");
      return caf::actor_cast<sources_actor>(scripted({[](node_peers&) {}}));
    };
    options.spawn_metrics = [this](const node_actors&) {
      told.emplace_back("spawn metrics");
      return caf::actor_cast<metrics_actor>(scripted({[](node_peers&) {}}));
    };
    supervisor = system.spawn(supervisor_behaviour, std::move(options), all);
    settle();
  }
  ~supervised_world() {
    caf::anon_send_exit(caf::actor_cast<caf::actor>(supervisor), caf::exit_reason::user_shutdown);
    settle();
    all = {};
    newest = {};
    for (const auto& each : std::exchange(spawned, {}))
      caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    settle();
  }
  caf::actor scripted(caf::behavior does) {
    spawned.push_back(system.spawn([does](caf::event_based_actor* self) {
      set_quiet(self);
      return does;
    }));
    return spawned.back();
  }
  static void set_quiet(caf::event_based_actor* self) { self->set_default_handler(caf::drop); }
  /// On a thread of its own: told to flush, it does so when `leave` says so.
  caf::actor slow() {
    spawned.push_back(system.spawn<caf::detached>([this](caf::event_based_actor* self) {
      set_quiet(self);
      return caf::behavior{[this, self](flush_atom) {
        entered.set_value();
        leave.get_future().wait();
        self->send(all.hub, log_events{std::make_shared<event_batch>()});
      }};
    }));
    witness.emplace(system);
    (*witness)->monitor(spawned.back());  // before the supervisor does: then told after it
    return spawned.back();
  }
  subscriptions_actor subscribed() {
    return caf::actor_cast<subscriptions_actor>(
        scripted({[this](crash_atom) { told.emplace_back("crash subscriptions"); }}));
  }
  shard_moved shard_of_now(std::uint32_t shard) {
    const auto name = std::to_string(shard);
    const auto crashes = [this, name](const char* what) {
      return
          [this, name, what](crash_atom) { told.push_back(std::string("crash ") + what + name); };
    };
    shard_moved made;
    made.shard = shard;
    made.session = caf::actor_cast<session_actor>(scripted(
        {[this, name](tenant_revoked& order) {
           told.push_back("generation " + name + "/" + std::to_string(order.generation));
           return tenant_answer{};
         },
         [this](policies_changed&) { told.emplace_back("policies"); }, crashes("session ")}));
    made.lockout = caf::actor_cast<lockout_actor>(scripted(
        {[this, name](count_locks&) {
           told.push_back("locks " + name);
           return locks_counted{};
         },
         [this](policies_changed&) { told.emplace_back("policies"); }, crashes("lockout ")}));
    made.directory = caf::actor_cast<directory_actor>(scripted({crashes("directory ")}));
    return made;
  }
  template <class Handle>
  void kill(const Handle& which) {
    caf::anon_send_exit(caf::actor_cast<caf::actor>(which), caf::exit_reason::kill);
    settle();
  }
  admin_answer order(core::request_params what) {
    admin_answer out;
    out.why = core::fail(core::error_code::REQUEST_TIMEOUT);
    system.spawn([&](caf::event_based_actor* self) {
      self->request(supervisor, caf::infinite, admin_request{std::move(what), {}, "root", "c-1"})
          .then([&out](admin_answer& got) { out = std::move(got); });
    });
    settle();
    return out;
  }
  std::vector<std::string> take() { return std::exchange(told, {}); }

  node_actors all;
  shard_moved newest;
  supervisor_actor supervisor;
  reload_outcome outcome;
  bool load_fails = false;
  std::promise<void> entered, leave;
  std::optional<caf::scoped_actor> witness;
  std::vector<caf::actor> spawned;
  std::vector<std::string> told, fatal;
  std::vector<batch_ptr> logged;
  std::vector<const core::caller*> gone;
};

using list = std::vector<std::string>;

// Regression: whoever missed a revocation of a tenant around a restart never heard of it; and
// requests came before the new session actor knew of its locks.
TEST(the_supervisor, starts_a_shard_again_and_opens_it_when_it_knows_what_it_must) {
  for (int which = 0; which < 3; ++which) {
    supervised_world w;
    if (which == 0) w.kill(w.all.shards[1].session);
    if (which == 1) w.kill(w.all.shards[1].lockout);
    if (which == 2) w.kill(w.all.shards[1].directory);
    EXPECT_EQ(w.take(), (list{"down 1", "load 1", "spawn 1/2", "tenants", "generation 0/4",
                              "generation 1/4", "locks 1", "open 1"}));
    w.kill(w.newest.session);
    EXPECT_EQ(w.take().at(2), "spawn 1/3");
    EXPECT_TRUE(w.fatal.empty());
  }
}

// Regression: what a session actor still handed on when another of its shard had failed was missing
// in its successor.
TEST(the_supervisor, reads_the_journal_when_all_of_the_old_shard_have_handed_on_what_they_had) {
  supervised_world w(1, true);
  caf::anon_send(w.all.shards[0].session, flush_atom::value);
  w.entered.get_future().wait();
  w.kill(w.all.shards[0].lockout);
  EXPECT_EQ(w.take(), list{"down 0"});
  w.leave.set_value();
  // That it is down is the last that its thread tells: this scheduler is not made for two threads.
  (*w.witness)->receive([](const caf::down_msg&) {});
  w.settle();
  const auto told = w.take();
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0], "load 0");
  EXPECT_EQ(w.logged.size(), 1U);
}

TEST(the_supervisor, ends_the_process_when_a_shard_cannot_be_rebuilt) {
  supervised_world w;
  w.load_fails = true;
  w.kill(w.all.shards[0].session);
  EXPECT_EQ(w.fatal, list{"A shard could not be rebuilt."});
}

TEST(the_supervisor,
     ends_the_process_when_actors_fail_too_often_but_not_when_they_fail_now_and_then) {
  supervised_world w;
  w.kill(w.all.shards[0].session);
  for (int i = 0; i < 19; ++i) w.kill(w.newest.session);
  EXPECT_TRUE(w.fatal.empty());
  w.clock.at_ms += 60'000;
  for (int i = 0; i < 20; ++i) w.kill(w.newest.session);
  EXPECT_TRUE(w.fatal.empty());
  w.kill(w.newest.session);
  EXPECT_EQ(w.fatal, list{"Actors fail too often."});
}

TEST(the_supervisor, starts_subscriptions_again_and_nobody_is_interested_until_they_say_so) {
  supervised_world w;
  w.kill(w.all.subscriptions[0]);
  EXPECT_EQ(w.take(), (list{"spawn subscriptions", "no", "subscriptions moved"}));
}

// Regression: these died silently.
TEST(the_supervisor, starts_log_sources_and_metrics_again) {
  supervised_world w;
  w.kill(w.all.log);
  EXPECT_EQ(w.take(), list{"spawn log"});
  w.kill(w.all.sources);
  EXPECT_EQ(w.take(), list{"spawn sources"});
  w.kill(w.all.metrics);
  EXPECT_EQ(w.take(), (list{"spawn metrics", "metrics moved"}));
  EXPECT_TRUE(w.fatal.empty());
}

TEST(the_supervisor, ends_the_process_when_hub_journal_or_a_gateway_fail) {
  for (int which = 0; which < 3; ++which) {
    supervised_world w;
    if (which == 0) w.kill(w.all.hub);
    if (which == 1) w.kill(w.all.journal);
    if (which == 2) w.kill(w.all.gateways[0]);
    EXPECT_EQ(w.fatal, list{which == 2 ? "A gateway has failed." : "The log has failed."});
  }
}

TEST(the_supervisor, lets_actors_go_that_end_with_the_node) {
  supervised_world w;
  for (const auto& each :
       {caf::actor_cast<caf::actor>(w.all.hub), caf::actor_cast<caf::actor>(w.all.metrics),
        caf::actor_cast<caf::actor>(w.all.shards[0].session)})
    caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
  w.settle();
  EXPECT_TRUE(w.fatal.empty());
  EXPECT_TRUE(w.told.empty());
}

TEST(the_supervisor, carries_out_what_administrators_ask) {
  supervised_world w;
  for (const auto* actor : {"session", "lockout", "directory"}) {
    EXPECT_FALSE(w.order(core::crash_actor{actor}).why);
    EXPECT_EQ(w.take(), list{std::string("crash ") + actor + " 0"});
  }
  EXPECT_FALSE(w.order(core::crash_actor{"subscriptions"}).why);
  EXPECT_EQ(w.take(), list{"crash subscriptions"});
  EXPECT_EQ(w.order(core::crash_actor{"hub"}).why->code, core::error_code::INVALID_PARAMS);
  EXPECT_FALSE(w.order(core::drain{}).why);
  EXPECT_EQ(w.take(), list{"drain"});
  const auto saved = w.order(core::backup{"/backups/1"});
  EXPECT_FALSE(saved.why);
  EXPECT_EQ(saved.number, 7U);
  EXPECT_EQ(saved.bytes, 8U);
  EXPECT_EQ(w.take(), list{"backup /backups/1"});
}

TEST(the_supervisor, tells_everybody_of_a_reload_and_logs_it_once) {
  supervised_world w(1);
  EXPECT_FALSE(w.order(core::reload_config{}).why);
  EXPECT_TRUE(w.told.empty());  // nothing has changed
  w.outcome.changed = {"lockout.threshold"};
  w.outcome.policies = std::make_shared<core::policy_book>();
  const auto done = w.order(core::reload_config{});
  EXPECT_EQ(done.changed, list{"lockout.threshold"});
  EXPECT_EQ(w.take(), (list{"policies", "policies", "policies"}));
  ASSERT_EQ(w.logged.size(), 1U);
  EXPECT_EQ(w.logged[0]->events.at(0).type(), core::event_type::config_reloaded);
  EXPECT_EQ(w.logged[0]->events.at(0).actor, "root");
}

}  // namespace
}  // namespace portcullis::actors
