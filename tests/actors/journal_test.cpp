// The journal actor with a real store under it: numbers and commits in groups, refuses durable
// batches while the disk is full and keeps the others, recovers by itself, and stops the process
// when the file fails.
#include "actors/journal.hpp"

#include <sqlite3.h>

#include "../store/fault_vfs.hpp"
#include "../store/journal_fixture.hpp"
#include "fixture.hpp"

namespace portcullis::actors {
namespace {

class journal_world : public virtual_loop {
 public:
  /// `sql` is run on the store before it is opened.
  explicit journal_world(const char* vfs = "", const char* sql = nullptr) {
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
    journal = system.spawn(journal_behaviour, std::move(worker));
    session = system.spawn([this]() -> session_actor::behavior_type {
      return {[](request_batch&) {},
              [this](events_committed& done) { committed.push_back(std::move(done)); },
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
  void full_disk() {
    store::fault_plan plan;
    plan.fail_write = 1;
    plan.write_error = SQLITE_FULL;
    plan.lasting = true;
    store::arm(plan);
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
  std::vector<core::event> durable;
  int durable_messages = 0;
  std::uint64_t number = 0;
};

TEST(the_journal, commits_what_has_gathered_as_one_group_and_tells_shard_and_hub) {
  journal_world w;
  for (int i = 0; i < 5; ++i) w.send(i % 2 == 0, 3);
  EXPECT_TRUE(w.committed.empty());
  w.settle();
  EXPECT_EQ(w.numbers(false), (std::vector<std::uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(w.durable_messages, 1);
  ASSERT_EQ(w.durable.size(), 15U);
  for (std::size_t i = 0; i < w.durable.size(); ++i) EXPECT_EQ(w.durable[i].seq, i + 1);
  EXPECT_EQ(w.log->committed_seq(), 15U);
}

TEST(the_journal, gives_times_that_never_decrease) {
  journal_world w;
  w.send(true);
  w.clock.at_ms -= 60'000;
  w.send(true);
  w.settle();
  ASSERT_EQ(w.durable.size(), 2U);
  EXPECT_GE(w.durable[1].at_ms, w.durable[0].at_ms);
  EXPECT_LT(w.durable[1].decided_at_ms, w.durable[0].decided_at_ms);
}

TEST(the_journal, with_a_full_disk_refuses_durable_batches_keeps_the_others_and_recovers) {
  journal_world w(store::fault_vfs_name);
  w.send(true);
  w.settle();
  w.full_disk();
  w.send(false);
  w.send(true);
  w.send(false);
  w.send(true);
  w.settle();
  EXPECT_EQ(w.numbers(true), (std::vector<std::uint64_t>{3, 5}));
  for (const auto& each : w.committed)
    EXPECT_EQ(each.refused ? each.why.code : core::error_code::STORE_FULL,
              core::error_code::STORE_FULL);
  ASSERT_EQ(w.states.size(), 1U);
  EXPECT_TRUE(w.states[0].degraded);
  w.send(true);  // refused at once
  w.settle();
  EXPECT_EQ(w.numbers(true), (std::vector<std::uint64_t>{3, 5, 6}));
  EXPECT_EQ(w.numbers(false), (std::vector<std::uint64_t>{1}));
  EXPECT_TRUE(w.fatal.empty());

  store::disarm();
  w.pass(5'000);
  EXPECT_EQ(w.numbers(false), (std::vector<std::uint64_t>{1, 2, 4}));
  ASSERT_EQ(w.states.size(), 2U);
  EXPECT_FALSE(w.states[1].degraded);
  w.send(true);
  w.settle();
  EXPECT_EQ(w.numbers(false), (std::vector<std::uint64_t>{1, 2, 4, 7}));
  // Nothing is missing or twice in the log, and what happened to the store is in it.
  std::vector<std::uint64_t> seqs;
  int degraded = 0, recovered = 0;
  for (const auto& each : w.durable) {
    seqs.push_back(each.seq);
    degraded += each.type() == core::event_type::store_degraded;
    recovered += each.type() == core::event_type::store_recovered;
  }
  for (std::size_t i = 0; i < seqs.size(); ++i) EXPECT_EQ(seqs[i], i + 1);
  EXPECT_EQ(degraded, 1);
  EXPECT_EQ(recovered, 1);
}

// Regression: each question that wants a commit began one more chain of retries that never ended.
TEST(the_journal, with_a_full_disk_tries_again_four_times_a_second_whoever_asks) {
  journal_world w(store::fault_vfs_name);
  w.full_disk();
  w.send(true);
  w.settle();
  w.system.spawn([&](caf::event_based_actor* self) {
    for (int i = 0; i < 20; ++i) {
      self->request(w.journal, caf::infinite, await_commits{}).then([](const commits_done&) {});
      self->request(w.journal, caf::infinite, read_tenants{}).then([](const tenants_read&) {});
      self->request(w.journal, caf::infinite, load_shards{{0}}).then([](const shards_loaded&) {});
    }
  });
  w.settle();
  const auto failures = [&] {
    journal_collected got;
    w.system.spawn([&](caf::event_based_actor* self) {
      self->request(w.journal, caf::infinite, collect_journal{})
          .then([&](const journal_collected& from) { got = from; });
    });
    w.settle();
    std::uint64_t all = 0;
    for (const auto& operation : got.tallies.errors)
      for (const auto count : operation) all += count;
    return all;
  };
  const auto before = failures();
  w.pass(2'000);
  EXPECT_EQ(failures() - before, 8U);
}

// Regression: a breaker actor that was started again while the disk was full had what was committed
// before: what it had opened since was closed again, and the next opening had the same epoch.
TEST(the_journal, with_a_full_disk_gives_breakers_as_what_waits_leaves_them) {
  journal_world w(store::fault_vfs_name);
  w.full_disk();
  w.send(false);
  w.settle();
  auto batch = w.send(false);
  batch->of_breakers = true;
  core::event what;
  what.decided_at_ms = w.clock.at_ms;
  core::breaker_opened opened;
  opened.service = "pay";
  opened.breaker = "default";
  opened.epoch = 2;
  opened.cause = core::breaker_cause::failure_rate;
  opened.until_ms = w.clock.at_ms + 60'000;
  what.body = opened;
  batch->events = {what};
  w.settle();
  std::vector<core::stored_breaker> loaded;
  w.system.spawn([&](caf::event_based_actor* self) {
    self->request(w.journal, caf::infinite, load_breakers{0}).then([&](breakers_loaded& from) {
      loaded = std::move(from.breakers);
    });
  });
  w.settle();
  ASSERT_EQ(loaded.size(), 1U);
  EXPECT_EQ(loaded[0].record.state, core::breaker_state::open);
  EXPECT_EQ(loaded[0].record.epoch, 2U);
  EXPECT_EQ(loaded[0].record.until_ms, opened.until_ms);
}

TEST(the_journal, with_a_full_disk_tells_whoever_is_new) {
  journal_world w(store::fault_vfs_name);
  w.full_disk();
  w.send(false);
  w.settle();
  ASSERT_EQ(w.states.size(), 1U);
  w.wire();
  ASSERT_EQ(w.states.size(), 2U);
  EXPECT_TRUE(w.states[1].degraded);
}

// Regression: the transaction that a refused batch had begun stayed open, and a shard's load within
// one is a bug that ends the process.
TEST(the_journal, leaves_no_transaction_open_behind_a_refused_batch) {
  journal_world w("",
                  "CREATE INDEX refusing ON events(abs(CASE type WHEN 'node_stopped' THEN "
                  "-9223372036854775808 END))");  // which has no absolute value
  w.send(true);
  w.settle();
  EXPECT_EQ(w.numbers(true), (std::vector<std::uint64_t>{1}));
  EXPECT_FALSE(w.log->in_transaction());
}

TEST(the_journal, stops_the_process_when_a_sync_fails_and_acknowledges_nothing_more) {
  journal_world w(store::fault_vfs_name);
  w.send(true);
  w.settle();
  store::fault_plan plan;
  plan.fail_sync = 1;
  plan.lasting = true;
  store::arm(plan);
  w.send(true);
  w.settle();
  ASSERT_EQ(w.fatal.size(), 1U);
  EXPECT_EQ(w.fatal[0].code, core::error_code::STORE_UNAVAILABLE);
  store::disarm();
  w.send(true);
  w.pass(5'000);
  EXPECT_EQ(w.numbers(false), (std::vector<std::uint64_t>{1}));
  EXPECT_EQ(w.fatal.size(), 1U);
}

// Regression: what had been appended before was acknowledged, though it was gone.
TEST(the_journal, appends_anew_what_a_damaged_page_took_along) {
  journal_world w(store::fault_vfs_name);
  store::fault_plan plan;
  plan.fail_write = 1;
  plan.write_error = SQLITE_CORRUPT;
  store::arm(plan);
  w.send(true);
  // Larger than the page cache: its pages go to the write-ahead log while it is appended.
  const auto large = w.send(true, 400);
  for (auto& each : large->events) each.sealed.assign(65'536, 's');
  w.send(true, 2);
  w.settle();
  EXPECT_EQ(w.numbers(true), (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(w.numbers(false), (std::vector<std::uint64_t>{1, 3}));
  EXPECT_EQ(w.log->committed_seq(), 3U);
  ASSERT_EQ(w.durable.size(), 3U);
  EXPECT_EQ(w.durable.back().seq, 3U);
  EXPECT_TRUE(w.fatal.empty());
}

// Regression: the first request after a restart came before the lockout actor had told its locks.
TEST(the_journal, gives_a_shard_that_knows_of_locks_and_the_generations_of_tenants) {
  journal_world w;
  store::event_maker make;
  core::validation_failed attempt;
  attempt.attempt = 1;
  attempt.window_ends_at_ms = 2'000'000;
  auto started = make.about(core::lockout_started{});
  started.subject = store::event_maker::subject(1);
  std::get<core::lockout_started>(started.body).locked_until_ms = 3'000'000;
  auto failed = started;
  failed.body = attempt;
  auto revoked = make.about(core::session_revoked{});
  revoked.subject.reset();
  auto& body = std::get<core::session_revoked>(revoked.body);
  body.scope = core::revoke_scope::tenant;
  body.tenant_generation = 4;
  auto batch = std::make_shared<event_batch>();
  batch->number = ++w.number;
  batch->events = {failed, started, revoked};
  batch->users = {store::event_maker::user(1)};
  caf::anon_send(w.journal, log_events{batch});
  std::optional<shards_loaded> loaded;
  std::optional<tenants_read> tenants;
  bool committed = false;
  w.system.spawn([&](caf::event_based_actor* self) {
    self->request(w.journal, caf::infinite, await_commits{}).then([&](const commits_done&) {
      committed = w.log->committed_seq() == 3;
    });
    self->request(w.journal, caf::infinite, load_shards{{0}}).then([&](shards_loaded& got) {
      loaded = std::move(got);
    });
    self->request(w.journal, caf::infinite, read_tenants{}).then([&](tenants_read& got) {
      tenants = std::move(got);
    });
  });
  w.settle();
  EXPECT_TRUE(committed);
  ASSERT_TRUE(loaded && !loaded->why);
  const auto& sessions = *loaded->images.at(0)->sessions;
  const auto user = sessions.find_user(store::event_maker::subject(1));
  ASSERT_NE(user, core::no_slot);
  EXPECT_EQ(sessions.user(user).locked_until_ms, 3'000'000);
  ASSERT_TRUE(tenants && !tenants->why);
  ASSERT_EQ(tenants->tenants.size(), 1U);
  EXPECT_EQ(tenants->tenants[0].tenant_id, "acme");
  EXPECT_EQ(tenants->tenants[0].generation, 4U);
}

}  // namespace
}  // namespace portcullis::actors
