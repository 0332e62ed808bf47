// The journal actor with a real store under it, a scripted shard and a scripted hub.
#pragma once
#include <sqlite3.h>

#include "../store/fault_vfs.hpp"
#include "../store/journal_fixture.hpp"
#include "actors/journal.hpp"
#include "fixture.hpp"

namespace portcullis::actors {

class journal_world : public virtual_loop {
 public:
  /// `sql` is run on the store before it is opened.
  explicit journal_world(const char* vfs = "", const char* sql = nullptr,
                         const std::function<void(journal_actor_options&)>& configure = {}) {
    store::disarm();
    store::forget_history();
    auto options = store::options_for(folder.path() + "/data");
    options.vfs = vfs;
    if (sql != nullptr) {
      EXPECT_TRUE((*store::journal::open(options))->close());
      sqlite3* raw = nullptr;
      EXPECT_EQ(sqlite3_open((folder.path() + "/data/portcullis.db").c_str(), &raw), SQLITE_OK);
      EXPECT_EQ(sqlite3_exec(raw, sql, nullptr, nullptr, nullptr), SQLITE_OK);
      sqlite3_close(raw);
    }
    auto opened = store::journal::open(options);
    EXPECT_TRUE(opened);
    log = std::shared_ptr<store::journal>(std::move(*opened));
    journal_actor_options worker;
    worker.log = log;
    worker.random = counted_random();
    worker.fatal = [this](const core::error& why) { fatal.push_back(why); };
    worker.clock = &clock;
    if (configure) configure(worker);
    journal = system.spawn(journal_behaviour, std::move(worker));
    session = system.spawn([this]() -> session_actor::behavior_type {
      return {[](request_batch&) {},
              [this](events_committed& done) { committed.push_back(std::move(done)); },
              [](log_advanced&) {},
              [](decision_refused&) {},
              [](caught_up&) {},
              [](tenant_condemned&) {},
              [](attempt_answer&) {},
              [](user_looked_up&) {},
              [](lockout_answer&) {},
              [](lock_changed&) {},
              [](tenant_question&) { return tenant_answer{}; },
              [](tenant_revoked&) { return tenant_answer{}; },
              [](describe_sessions&) { return sessions_described{}; },
              [](find_subject&) { return subject_found{}; },
              [](name_subjects&) { return subjects_named{}; },
              [](count_sessions&) { return sessions_counted{}; },
              [](ring_key_question&) { return ring_key_answer{}; },
              [](collect_shard&) { return shard_collected{}; },
              [](stand_still&) { return stood_still{}; },
              [](take_digest&) { return digest_taken{}; },
              [](go_on&) {},
              [this](log_time& time) { log_times.push_back(time.at_ms); },
              [](source_limit_changed&) {},
              [](policies_changed&) {},
              [](keys_changed&) {},
              [this](store_state_changed& change) { states.push_back(std::move(change)); },
              [](wire_session&) {},
              [](flush_atom) {},
              [](slice_atom) {},
              [](crash_atom) {},
              [](tick_atom) {},
              [](stop_atom) { return true; }};
    });
    hub = system.spawn([this]() -> hub_actor::behavior_type {
      return {[](log_events&) {},
              [this](events_durable& done) {
                for (const auto& batch : done.batches)
                  for (const auto& each : batch->events) durable.push_back(each);
                ++durable_messages;
              },
              [](interest_changed&) {},
              [](load_shards&) { return shards_loaded{}; },
              [](count_mail) { return mail_counted{}; },
              [](read_tenants&) { return tenants_read{}; },
              [](load_breakers&) { return breakers_loaded{}; },
              [](await_commits&) { return commits_done{}; },
              [](node_peers&) {},
              [](stop_atom) { return true; }};
    });
    wire();
  }
  void wire() {
    node_peers peers;
    peers.hub = hub;
    peers.journal = journal;
    peers.sessions = {session};
    caf::anon_send(journal, peers);
    peers = {};
    settle();
  }
  ~journal_world() {
    store::disarm();
    for (const auto& each :
         {caf::actor_cast<caf::actor>(journal), caf::actor_cast<caf::actor>(session),
          caf::actor_cast<caf::actor>(hub)})
      caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    settle();
  }
  batch_ptr send(bool durable_batch, int events = 1) {
    auto batch = std::make_shared<event_batch>();
    batch->shard = 0;
    batch->number = ++number;
    batch->durable = durable_batch;
    for (int i = 0; i < events; ++i) {
      core::event what;
      what.decided_at_ms = clock.at_ms;
      what.body = core::node_stopped{};
      batch->events.push_back(what);
    }
    caf::anon_send(journal, log_events{batch});
    return batch;
  }
  /// `spares_log`: there is room in the write-ahead log still.
  void full_disk(bool spares_log = false) {
    store::fault_plan plan;
    plan.spares_log = spares_log;
    plan.fail_write = 1;
    plan.write_error = SQLITE_FULL;
    plan.lasting = true;
    store::arm(plan);
  }
  /// Of the store: all that were counted, or those of one operation.
  std::uint64_t failures(std::optional<monitoring::store_operation> of = {}) {
    journal_collected got;
    system.spawn([&](caf::event_based_actor* self) {
      self->request(journal, caf::infinite, collect_journal{})
          .then([&](const journal_collected& from) { got = from; });
    });
    settle();
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < got.tallies.errors.size(); ++i)
      if (!of || i == static_cast<std::size_t>(*of))
        for (const auto count : got.tallies.errors[i]) all += count;
    return all;
  }
  [[nodiscard]] std::vector<std::uint64_t> numbers(bool refused) const {
    std::vector<std::uint64_t> out;
    for (const auto& each : committed)
      if (each.refused == refused) out.push_back(each.batch->number);
    return out;
  }

  store::temporary_folder folder;
  std::shared_ptr<store::journal> log;
  journal_actor journal;
  session_actor session;
  hub_actor hub;
  std::vector<core::error> fatal;
  std::vector<events_committed> committed;
  std::vector<store_state_changed> states;
  std::vector<core::millis> log_times;  // that the shard was told
  std::vector<core::event> durable;
  int durable_messages = 0;
  std::uint64_t number = 0;
};

}  // namespace portcullis::actors
