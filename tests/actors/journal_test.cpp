// The journal actor with a real store under it: numbers and commits in groups, refuses durable
// batches while the disk is full and keeps the others, recovers by itself, and stops the process
// when the file fails.
#include "journal_world.hpp"

namespace portcullis::actors {
namespace {

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
  const auto before = w.failures();
  w.pass(2'000);
  EXPECT_EQ(w.failures() - before, 8U);
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

// Regression: the same of a shard: it had forgotten attempts, locks, expiries and purges that
// waited for space, and the log that came of it was not what the shard had in memory.
TEST(the_journal, with_a_full_disk_gives_a_shard_as_what_waits_leaves_it) {
  journal_world w(store::fault_vfs_name);
  store::event_maker make;
  std::vector<core::event> created = {make.created(1), make.created(1), make.created(2)};
  const auto first = w.send(true);
  first->events = created;
  first->users = {store::event_maker::user(1), store::event_maker::user(2)};
  w.settle();
  w.full_disk();
  w.send(false);
  w.settle();
  ASSERT_EQ(w.states.size(), 1U);
  const auto about = [&](core::event_body body) {
    core::event what;
    what.decided_at_ms = w.clock.at_ms;
    what.subject = store::event_maker::subject(1);
    what.body = std::move(body);
    return what;
  };
  core::validation_failed attempt;
  attempt.attempt = 3;
  attempt.window_ends_at_ms = w.clock.at_ms + 900'000;
  auto expired = about(core::session_expired{});
  expired.handle = first->events[0].handle;
  expired.session_seq = 1;
  const core::lockout_started lock{w.clock.at_ms + 800'000, 3, std::nullopt};
  w.send(false)->events = {about(attempt), expired};
  const auto last = w.send(false);
  last->events = {about(lock)};
  last->purges = {2};
  const auto others = w.send(false);
  others->shard = 1;
  others->purges = {3};
  w.settle();
  std::optional<shards_loaded> loaded;
  w.system.spawn([&](caf::event_based_actor* self) {
    self->request(w.journal, caf::infinite, load_shards{{0}}).then([&](shards_loaded& got) {
      loaded = std::move(got);
    });
  });
  w.settle();
  ASSERT_TRUE(loaded && !loaded->why);
  auto& image = *loaded->images.at(0);
  const auto* counted = image.lockouts->find(store::event_maker::subject(1));
  ASSERT_NE(counted, nullptr);
  EXPECT_EQ(counted->whole.failed_attempts, 3U);
  EXPECT_EQ(counted->whole.locked_until_ms, lock.locked_until_ms);
  const auto user = image.sessions->find_user(store::event_maker::subject(1));
  ASSERT_NE(user, core::no_slot);
  EXPECT_EQ(image.sessions->user(user).locked_until_ms, lock.locked_until_ms);
  const auto slot = image.sessions->find(*first->events[0].handle);
  ASSERT_NE(slot, core::no_slot);
  EXPECT_EQ(image.sessions->at(slot).status, core::session_status::expired);
  EXPECT_EQ(image.sessions->find(*first->events[1].handle), core::no_slot);
  EXPECT_EQ(image.directory->sessions(user).size(), 1U);
  EXPECT_NE(image.sessions->find(*first->events[2].handle), core::no_slot);
}

// Regression: forgetting was acknowledged although the write-ahead log had the row still.
TEST(the_journal, acknowledges_forgetting_when_the_write_ahead_log_is_empty) {
  journal_world w(store::fault_vfs_name);
  const auto first = w.send(true);
  first->users = {store::event_maker::user(1)};
  w.settle();
  w.full_disk(true);
  core::event what;
  what.decided_at_ms = w.clock.at_ms;
  what.subject = store::event_maker::subject(1);
  what.body = core::user_forgotten{};
  w.send(true)->events = {what};
  w.send(true);
  w.settle();
  const auto log_bytes = [&] {
    return std::filesystem::file_size(w.folder.path() + "/data/portcullis.db-wal");
  };
  EXPECT_EQ(w.log->committed_seq(), 3U);
  EXPECT_GT(log_bytes(), 0U);
  EXPECT_EQ(w.numbers(false), (std::vector<std::uint64_t>{1, 3})) << "others do not wait for it";
  EXPECT_EQ(w.durable.size(), 3U) << "who reads the log has it in its order";
  w.pass(2'000);
  EXPECT_EQ(w.numbers(false).size(), 2U);
  store::disarm();
  w.pass(300);
  EXPECT_EQ(w.numbers(false), (std::vector<std::uint64_t>{1, 3, 2}));
  EXPECT_EQ(log_bytes(), 0U);
  EXPECT_TRUE(w.numbers(true).empty());
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
