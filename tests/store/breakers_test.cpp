// Circuit breakers in the journal: what is loaded is what core's apply made of the same events.
#include <sqlite3.h>

#include <algorithm>
#include <random>
#include <set>

#include "core/breaker/stored.hpp"
#include "journal_fixture.hpp"
#include "store/schema.hpp"

namespace portcullis::store {
namespace {

using core::breaker_cause;
using core::breaker_record;
using core::breaker_source_record;
using core::breaker_state;
using core::event_body;
using core::millis;
using core::override_mode;

struct loaded_breakers final : breaker_visitor {
  std::vector<breaker_record> breakers;
  std::vector<breaker_source_record> sources;
  void on_breaker(breaker_record&& row) override { breakers.push_back(std::move(row)); }
  void on_source(breaker_source_record&& row) override { sources.push_back(std::move(row)); }
};

class breakers_test : public journal_test {
 protected:
  core::event at(millis now_ms, event_body body, std::string actor = {}) {
    auto out = make.about(std::move(body));
    out.tenant_id.clear();
    out.subject.reset();
    out.actor = std::move(actor);
    out.at_ms += now_ms;  // later than decided, as where it waited for the journal
    out.decided_at_ms = now_ms;
    return out;
  }
  loaded_breakers load_breakers() {
    loaded_breakers out;
    EXPECT_TRUE(log->load_breakers(out));
    return out;
  }
  void put(const std::vector<breaker_source_record>& sources) {
    ASSERT_TRUE(log->append({}, {}, {}, sources));
    ASSERT_TRUE(log->commit());
  }
  [[nodiscard]] std::string path() const { return folder.path() + "/data/portcullis.db"; }
  void run_sql(const std::string& sql) {
    if (log != nullptr) {
      ASSERT_TRUE(log->close());
    }
    log.reset();
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path().c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  std::vector<std::string> tables() {
    std::vector<std::string> all;
    sqlite3* db = nullptr;
    sqlite3_stmt* rows = nullptr;
    EXPECT_EQ(sqlite3_open(path().c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_prepare_v2(db, "SELECT sql FROM sqlite_master WHERE sql<>'' ORDER BY name",
                                 -1, &rows, nullptr),
              SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW)
      all.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(rows, 0)));
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return all;
  }
};

core::breaker_opened opened(std::string service, std::uint64_t epoch = 2) {
  core::breaker_opened body;
  body.service = std::move(service);
  body.breaker = "default";
  body.epoch = epoch;
  body.cause = breaker_cause::failure_rate;
  body.until_ms = 77'000;
  body.failed_rounds = 3;
  return body;
}

core::breaker_policy quick_policy() {
  core::breaker_policy policy;
  policy.min_calls = 3;
  policy.open_wait_ms = 2'000;
  policy.open_wait_max_ms = 9'000;
  policy.half_open_permits = 2;
  policy.max_half_open_ms = 5'000;
  policy.permit_ttl_ms = 3'000;
  return policy;
}

/// What a start makes of a row is what was there, but for counts, windows and permits.
void expect_same(const breaker_record& row, const core::hosted_breaker& lived,
                 const core::breaker_policy& policy, millis now_ms) {
  const auto was = lived.describe(policy, now_ms);
  const core::hosted_breaker again(row, policy, now_ms);
  const auto is = again.describe(policy, now_ms);
  EXPECT_EQ(row.kind, core::breaker_kind::hosted);
  EXPECT_EQ(is.service, was.service);
  EXPECT_EQ(is.breaker, was.breaker);
  EXPECT_EQ(is.state, was.state);
  EXPECT_EQ(is.base_state, was.base_state);
  EXPECT_EQ(is.epoch, was.epoch);
  EXPECT_EQ(is.since_ms, was.since_ms);
  EXPECT_EQ(is.cause, was.cause);
  EXPECT_EQ(is.retry_after_ms, was.retry_after_ms);
  ASSERT_EQ(is.override_.has_value(), was.override_.has_value());
  if (!was.override_) return;
  EXPECT_EQ(is.override_->mode, was.override_->mode);
  EXPECT_EQ(is.override_->scope, was.override_->scope);
  EXPECT_EQ(is.override_->actor, was.override_->actor);
  EXPECT_EQ(is.override_->reason, was.override_->reason);
  EXPECT_EQ(is.override_->expires_at_ms, was.override_->expires_at_ms);
}

/// One breaker under random calls, time and administrators; its events as its owner logs them.
class hosted_history {
 public:
  explicit hosted_history(std::uint32_t seed) : dice_(seed) {}

  /// The events of one step, with their actors.
  std::vector<std::pair<event_body, std::string>> step() {
    now_ms_ += static_cast<millis>(roll(2'500));
    core::hosted_breaker::changes changes;
    breaker.advance(policy, now_ms_, random_, changes);
    std::vector<std::pair<event_body, std::string>> out;
    switch (roll(8)) {
      case 0:
        order(out);
        break;
      case 1:
        if (roll(4) == 0) {
          if (auto body = breaker.decide_reset("over")) commit(std::move(*body), out);
          break;
        }
        [[fallthrough]];
      default:
        call(changes);
    }
    std::vector<std::pair<event_body, std::string>> all;
    for (auto& body : changes) all.emplace_back(std::move(body), "");
    for (auto& each : out) all.push_back(std::move(each));
    return all;
  }
  [[nodiscard]] millis now_ms() const noexcept { return now_ms_; }

  core::breaker_policy policy = quick_policy();
  core::hosted_breaker breaker{"pay", "eu", policy, 1'000'000};

 private:
  std::uint32_t roll(std::uint32_t sides) { return static_cast<std::uint32_t>(dice_()) % sides; }

  void call(core::hosted_breaker::changes& changes) {
    const auto allowed = breaker.acquire(policy, now_ms_, random_, changes);
    if (!allowed.allowed || roll(6) == 0) return;
    core::report_call report;
    report.name = {"pay", "eu"};
    report.outcome = roll(2) == 0 ? core::call_outcome::failure : core::call_outcome::success;
    report.permit = allowed.permit;
    report.epoch = breaker.epoch();
    EXPECT_TRUE(breaker.report(report, policy, now_ms_, random_, changes));
  }
  void order(std::vector<std::pair<event_body, std::string>>& out) {
    core::override_breaker order;
    order.mode = static_cast<override_mode>(roll(4));
    if (roll(2) == 0) order.ttl_s = 1 + roll(6);
    order.reason = roll(2) == 0 ? "maintenance" : "";
    const std::string actor = roll(2) == 0 ? "ops" : "ann";
    if (auto body = breaker.decide_override(order, actor, core::override_scope::node, now_ms_))
      commit(std::move(*body), out, actor);
  }
  void commit(event_body body, std::vector<std::pair<event_body, std::string>>& out,
              std::string actor = "ops") {
    breaker.apply(body, actor, policy, now_ms_);
    out.emplace_back(std::move(body), std::move(actor));
  }

  std::mt19937 dice_;
  core::random_source random_ = [this](std::span<std::uint8_t> to) {
    for (auto& each : to) each = static_cast<std::uint8_t>(dice_());
  };
  millis now_ms_ = 1'000'000;
};

TEST_F(breakers_test, a_hosted_breaker_is_loaded_as_apply_left_it_whatever_happened) {
  std::set<std::size_t> seen;
  for (std::uint32_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    hosted_history history(seed);
    core::stored_breakers folded;  // the same without a store
    bool stored = false;
    for (int i = 0; i < 150; ++i) {
      std::vector<core::event> events;
      for (auto& [body, actor] : history.step()) {
        seen.insert(body.index());
        stored = stored || !std::holds_alternative<core::breaker_would_open>(body);
        events.push_back(at(history.now_ms(), std::move(body), std::move(actor)));
        events.back().at_ms = std::max(events.back().at_ms, log->last_at_ms());
      }
      if (events.empty()) continue;
      ASSERT_TRUE(log->append(events));
      ASSERT_TRUE(log->commit());
      const auto all = load_breakers();
      ASSERT_EQ(all.breakers.size(), stored ? 1U : 0U);
      if (stored) expect_same(all.breakers[0], history.breaker, history.policy, history.now_ms());
      for (const auto& each : events) folded.apply(each);
      auto so_far = folded;
      const auto records = so_far.take();
      ASSERT_EQ(records.size(), all.breakers.size());
      if (stored) expect_same(records[0].record, history.breaker, history.policy, history.now_ms());
      if (HasFailure()) return;
    }
    core::breaker_retired retired;
    retired.service = "pay";
    retired.breaker = "eu";
    auto end = at(history.now_ms(), retired);
    end.at_ms = std::max(end.at_ms, log->last_at_ms());
    commit({end});
    ASSERT_TRUE(load_breakers().breakers.empty());
    folded.apply(end);
    ASSERT_TRUE(folded.take().empty());
  }
  EXPECT_EQ(seen.size(), 6U) << "each kind of change happened";
}

TEST_F(breakers_test, the_back_off_is_loaded_as_it_was_decided) {
  commit({at(5'000, opened("pay"))});
  auto row = load_breakers().breakers.at(0);
  EXPECT_EQ(row.state, breaker_state::open);
  EXPECT_EQ(row.since_ms, 5'000) << "when it was decided, not when it was logged";
  EXPECT_EQ(row.until_ms, 77'000);
  EXPECT_EQ(row.failed_rounds, 3U);
  core::breaker_half_opened tried;
  static_cast<core::breaker_transition&>(tried) = opened("pay", 3);
  tried.until_ms = 88'000;
  tried.failed_rounds = 3;
  commit({at(77'000, tried)});
  row = load_breakers().breakers.at(0);
  EXPECT_EQ(row.state, breaker_state::half_open);
  EXPECT_EQ(row.until_ms, 88'000);
  EXPECT_EQ(row.failed_rounds, 3U);
  core::breaker_closed closed;
  static_cast<core::breaker_transition&>(closed) = opened("pay", 4);
  commit({at(80'000, closed)});
  row = load_breakers().breakers.at(0);
  EXPECT_EQ(row.state, breaker_state::closed);
  EXPECT_EQ(row.until_ms, 0);
  EXPECT_EQ(row.failed_rounds, 0U);
}

TEST_F(breakers_test, breakers_are_loaded_by_creation_and_survive_the_process) {
  commit({at(1, opened("c")), at(2, opened("a")), at(3, opened("b")), at(4, opened("c", 3))});
  open();
  std::vector<std::string> names;
  for (const auto& row : load_breakers().breakers) names.push_back(row.service);
  EXPECT_EQ(names, (std::vector<std::string>{"c", "a", "b"}));
}

breaker_source_record source_of(std::string service, std::string name, std::uint64_t seed) {
  breaker_source_record row{std::move(service), "default", std::move(name), {}, false};
  row.what.source_epoch = seed;
  row.what.seen = {seed + 70, UINT64_MAX - seed};
  row.what.state = breaker_state::half_open;
  row.what.last_report_at_ms = 1'000 + static_cast<millis>(seed);
  row.what.open_since_ms = static_cast<millis>(seed);
  for (std::size_t i = 0; i < core::call_result_count; ++i)
    row.what.counts.by_result[i] = seed << (4 * i);
  for (std::size_t i = 0; i < core::duration_bucket_count; ++i) row.what.durations[i] = seed + i;
  for (std::uint64_t i = 0; i < seed % 3; ++i)
    row.what.gaps.push_back(
        {seed + i, seed + 9 + i, breaker_state::open, breaker_state::half_open});
  return row;
}

void expect_same(const breaker_source_record& is, const breaker_source_record& was) {
  EXPECT_EQ(is.service, was.service);
  EXPECT_EQ(is.breaker, was.breaker);
  EXPECT_EQ(is.source, was.source);
  EXPECT_EQ(is.what.source_epoch, was.what.source_epoch);
  EXPECT_EQ(is.what.seen.highest(), was.what.seen.highest());
  EXPECT_EQ(is.what.seen.bits(), was.what.seen.bits());
  EXPECT_EQ(is.what.state, was.what.state);
  EXPECT_EQ(is.what.last_report_at_ms, was.what.last_report_at_ms);
  EXPECT_EQ(is.what.open_since_ms, was.what.open_since_ms);
  EXPECT_EQ(is.what.counts, was.what.counts);
  EXPECT_EQ(is.what.durations, was.what.durations);
  ASSERT_EQ(is.what.gaps.size(), was.what.gaps.size());
  for (std::size_t i = 0; i < is.what.gaps.size(); ++i) {
    EXPECT_EQ(is.what.gaps[i].after, was.what.gaps[i].after);
    EXPECT_EQ(is.what.gaps[i].before, was.what.gaps[i].before);
    EXPECT_EQ(is.what.gaps[i].from, was.what.gaps[i].from);
    EXPECT_EQ(is.what.gaps[i].to, was.what.gaps[i].to);
  }
}

TEST_F(breakers_test, sources_are_loaded_as_they_were_put_the_newest_alone) {
  put({source_of("pay", "web-1", 5), source_of("pay", "web-2", 6)});
  put({source_of("pay", "web-1", 1'000'000'007)});
  open();
  const auto all = load_breakers();
  ASSERT_EQ(all.sources.size(), 2U);
  expect_same(all.sources[0], source_of("pay", "web-1", 1'000'000'007));
  expect_same(all.sources[1], source_of("pay", "web-2", 6));
}

TEST_F(breakers_test, a_source_that_made_room_is_gone_and_others_stay) {
  put({source_of("pay", "web-1", 5), source_of("pay", "web-2", 6), source_of("ship", "web-1", 7)});
  auto gone = source_of("pay", "web-1", 5);
  gone.gone = true;
  put({gone});
  put({gone});  // no error twice
  EXPECT_EQ(load_breakers().sources.size(), 2U);
}

TEST_F(breakers_test, a_retired_breaker_takes_its_sources_with_it) {
  commit({at(1, opened("pay")), at(2, opened("ship"))});
  put({source_of("pay", "web-1", 5), source_of("ship", "web-1", 7)});
  core::breaker_retired retired;
  retired.service = "pay";
  retired.breaker = "default";
  commit({at(3, retired)});
  const auto all = load_breakers();
  ASSERT_EQ(all.breakers.size(), 1U);
  EXPECT_EQ(all.breakers[0].service, "ship");
  ASSERT_EQ(all.sources.size(), 1U);
  EXPECT_EQ(all.sources[0].service, "ship");
}

TEST_F(breakers_test, an_observed_breaker_counts_on_after_a_start_where_it_stopped) {
  core::observed_breaker lived("pay", "default", 1'000);
  core::observed_breaker::changes changes;
  const auto report = [&](core::observed_breaker& to, std::uint64_t seq, std::uint64_t failures) {
    core::reported_calls calls;
    calls.counts[core::call_result::failure] = failures;
    core::observe_breaker what;
    what.name = {"pay", "default"};
    what.source = "web-1";
    what.source_epoch = 1;
    what.seq = seq;
    what.state = breaker_state::open;
    what.calls = std::make_shared<const core::reported_calls>(calls);
    return to.observe(what, 2'000 + static_cast<millis>(seq), changes);
  };
  ASSERT_TRUE(report(lived, 1, 10));
  ASSERT_TRUE(report(lived, 3, 30));
  ASSERT_EQ(changes.size(), 1U);
  const auto sources = lived.take_unsaved();
  ASSERT_TRUE(log->append(std::vector{at(2'001, changes[0])}, {}, {}, sources));
  ASSERT_TRUE(log->commit());
  open();
  const auto all = load_breakers();
  ASSERT_EQ(all.breakers.size(), 1U);
  EXPECT_EQ(all.breakers[0].kind, core::breaker_kind::observed);
  core::observed_breaker again(all.breakers[0], 9'000);
  for (const auto& each : all.sources) again.restore(each.source, each.what);
  EXPECT_EQ(again.state(), lived.state());
  EXPECT_EQ(again.epoch(), lived.epoch());
  const auto twice = report(again, 3, 30);
  ASSERT_TRUE(twice);
  EXPECT_TRUE(twice->duplicate);
  ASSERT_TRUE(report(again, 4, 35));
  EXPECT_EQ(again.tallies().calls[core::call_result::failure], 5U) << "the difference alone";
}

TEST_F(breakers_test, damaged_rows_are_told_and_not_taken) {
  commit({at(1, opened("pay"))});
  put({source_of("pay", "web-1", 5)});
  const auto damage = [&](const std::string& set, const std::string& repair,
                          std::string_view table) {
    SCOPED_TRACE(set);
    run_sql("UPDATE " + std::string(table) + " SET " + set);
    open();
    loaded_breakers out;
    const auto done = log->load_breakers(out);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, core::error_code::STORE_INTEGRITY);
    EXPECT_EQ(done.error().rule, table);
    run_sql("UPDATE " + std::string(table) + " SET " + repair);
    open();
    EXPECT_TRUE(log->load_breakers(out));
  };
  for (const std::string column : {"kind", "state", "cause", "mode", "scope"})
    for (const std::string value : {"-1", "99"})
      damage(column + "=" + value, column + "=0", "breakers");
  damage("state=3", "state=0", "breakers");  // no base state
  for (const std::string value : {"-1", "99"})
    damage("state=" + value, "state=0", "breaker_sources");
  damage("counts=zeroblob(10)", "counts=zeroblob(152)", "breaker_sources");
  damage("gaps=zeroblob(17)", "gaps=NULL", "breaker_sources");
  damage("gaps=zeroblob(18*65)", "gaps=zeroblob(18*64)", "breaker_sources");
  damage("gaps=x'0000000000000000000000000000000000ff'", "gaps=NULL", "breaker_sources");
}

TEST_F(breakers_test, a_journal_of_version_1_gets_the_tables_and_keeps_what_it_had) {
  ASSERT_EQ(schema_version(), 4);
  const auto session_seq = commit_session();
  ASSERT_TRUE(log->close());
  log.reset();
  const auto fresh = tables();
  // What later versions added, taken away: what is left is what version 1 wrote.
  run_sql(
      "DROP TABLE breakers; DROP TABLE breaker_sources; DROP TABLE snapshot; "
      "ALTER TABLE sessions DROP COLUMN alias; PRAGMA user_version=1;");
  ASSERT_EQ(tables().size() + 3, fresh.size());
  open();
  EXPECT_EQ(load().sessions.count(session_seq), 1U);
  EXPECT_FALSE(session(session_seq).row.alias);
  EXPECT_TRUE(load_breakers().breakers.empty());
  commit({at(1, opened("pay"))});
  put({source_of("pay", "web-1", 5)});
  EXPECT_EQ(load_breakers().breakers.size(), 1U);
  EXPECT_EQ(load_breakers().sources.size(), 1U);
  ASSERT_TRUE(log->close());
  log.reset();
  EXPECT_EQ(tables(), fresh);
  EXPECT_EQ(first_broken_link(path()), 0U);
}

}  // namespace
}  // namespace portcullis::store
