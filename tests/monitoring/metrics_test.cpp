// The registry as a scraper sees it.
#include "monitoring/metrics.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>

#include "monitoring/metrics_table.hpp"
#include "page.hpp"

namespace portcullis::monitoring {
namespace {

using testing::HasSubstr;
using testing::Not;

std::unique_ptr<metrics> make(std::map<std::string, std::string, std::less<>> labels = {}) {
  auto made = metrics::create({"1.2.3", "abc", std::move(labels)});
  EXPECT_TRUE(made);
  return std::move(*made);
}

TEST(metrics, every_metric_and_every_known_label_value_exists_before_anything_happened) {
  const auto page = make()->render();
  const auto all = samples(page);
  for (const auto& row : metrics_table()) {
    EXPECT_THAT(page, HasSubstr("# HELP " + std::string(row.name) + ' ' + std::string(row.help)));
    EXPECT_THAT(page, HasSubstr("# TYPE " + std::string(row.name) + ' ' +
                                std::string(to_string(row.type)) + '\n'));
    if (row.from_start != nullptr || row.per_breaker()) continue;
    for (const auto& label : row.labels)
      for (const auto value : label.values)
        EXPECT_THAT(page, HasSubstr(std::string(label.name) + "=\"" + std::string(value) + '"'));
  }
  EXPECT_EQ(all.at(R"(portcullis_validations_total{result="fingerprint_mismatch"})"), 0);
  EXPECT_EQ(all.at(R"(portcullis_sessions_ended_total{reason="evicted"})"), 0);
  EXPECT_EQ(
      all.at(R"(portcullis_connection_rejections_total{listener="rpc_tls",reason="slow_reader"})"),
      0);
  EXPECT_EQ(all.at(R"(portcullis_store_errors_total{error="STORE_FULL",op="commit"})"), 0);
  EXPECT_EQ(all.at(R"(portcullis_build_info{revision="abc",version="1.2.3"})"), 1);
}

TEST(metrics, requests_start_at_zero_for_each_method_and_for_errors_that_it_can_reach) {
  const auto all = samples(make()->render());
  for (std::size_t i = 0; i < core::method_count; ++i) {
    const auto method = std::string(to_string(static_cast<core::method>(i)));
    EXPECT_EQ(all.count("portcullis_requests_total{error=\"none\",method=\"" + method + "\"}"), 1U);
    EXPECT_EQ(
        all.count("portcullis_requests_total{error=\"OVERLOADED\",method=\"" + method + "\"}"), 1U);
  }
  EXPECT_EQ(all.count(R"(portcullis_requests_total{error="PARSE_ERROR",method="unknown"})"), 1U);
  EXPECT_EQ(all.count(R"(portcullis_requests_total{error="BREAKER_OPEN",method="session.create"})"),
            0U);
}

TEST(metrics, counters_are_the_sum_over_owners) {
  auto under_test = make();
  snapshot now;
  now.shards.resize(2);
  now.shards[0].validated();
  now.shards[0].validated(core::invalid_reason::locked_out);
  now.shards[1].validated();
  now.shards[1].ended(end_reason::rotated);
  now.aliases = 9;
  now.shards[0].sessions_live = 5;
  now.shards[1].sessions_live = 7;
  under_test->update(now);
  EXPECT_EQ(sample(*under_test, R"(portcullis_validations_total{result="valid"})"), 2);
  EXPECT_EQ(sample(*under_test, R"(portcullis_validations_total{result="locked_out"})"), 1);
  EXPECT_EQ(sample(*under_test, R"(portcullis_sessions_ended_total{reason="rotated"})"), 1);
  EXPECT_EQ(sample(*under_test, "portcullis_sessions"), 12);
  EXPECT_EQ(sample(*under_test, "portcullis_aliases"), 9);

  now.shards[1].validated();
  now.shards[0].sessions_live = 0;
  under_test->update(now);
  EXPECT_EQ(sample(*under_test, R"(portcullis_validations_total{result="valid"})"), 3);
  EXPECT_EQ(sample(*under_test, "portcullis_sessions"), 7);
}

TEST(metrics, an_unchanged_snapshot_changes_no_counter) {
  auto under_test = make();
  snapshot now;
  now.shards.resize(1);
  now.shards[0].sessions_created = 3;
  under_test->update(now);
  under_test->update(now);
  EXPECT_EQ(sample(*under_test, "portcullis_sessions_created_total"), 3);
}

TEST(metrics, an_owner_of_another_incarnation_adds_to_what_its_forerunner_counted) {
  auto under_test = make();
  snapshot now;
  now.shards.resize(1);
  now.shards[0].sessions_created = 10;
  under_test->update(now);
  // More than before the restart: only the incarnation tells.
  now.shards[0] = {};
  now.shards[0].incarnation = 1;
  now.shards[0].sessions_created = 15;
  under_test->update(now);
  EXPECT_EQ(sample(*under_test, "portcullis_sessions_created_total"), 25);
}

TEST(metrics, one_counter_that_went_back_makes_all_of_its_owner_a_fresh_start) {
  auto under_test = make();
  snapshot now;
  now.shards.resize(2);
  now.shards[0].sessions_created = 10;
  now.shards[0].failed_attempts = 1;
  now.shards[1].failed_attempts = 100;
  under_test->update(now);
  now.shards[0].sessions_created = 2;
  now.shards[0].failed_attempts = 4;
  under_test->update(now);
  EXPECT_EQ(sample(*under_test, "portcullis_sessions_created_total"), 12);
  EXPECT_EQ(sample(*under_test, "portcullis_failed_attempts_total"), 105);
}

TEST(metrics, an_owner_that_is_not_in_a_snapshot_loses_nothing) {
  auto under_test = make();
  snapshot now;
  now.journal.emplace().appends = 4;
  now.shards.resize(1);
  now.shards[0].sessions_created = 2;
  under_test->update(now);
  under_test->update({});
  EXPECT_EQ(sample(*under_test, "portcullis_event_log_appends_total"), 4);
  EXPECT_EQ(sample(*under_test, "portcullis_sessions_created_total"), 2);
  now.journal->appends = 5;
  under_test->update(now);
  EXPECT_EQ(sample(*under_test, "portcullis_event_log_appends_total"), 5);
}

TEST(metrics, durations_come_as_cumulative_buckets_in_seconds) {
  auto under_test = make();
  snapshot now;
  now.loops.resize(1);
  auto& requests = now.loops[0].requests;
  requests.finished(core::method::session_validate, std::nullopt, 10'000);  // on the bound: within
  requests.finished(core::method::session_validate, std::nullopt, 10'001);
  requests.finished(core::method::session_validate, core::error_code::OVERLOADED, 20'000'000'000);
  under_test->update(now);
  requests.finished(core::method::session_validate, std::nullopt, 2'000'000);
  under_test->update(now);

  const std::string of = "portcullis_request_duration_seconds";
  const std::string method = R"({method="session.validate")";
  EXPECT_EQ(sample(*under_test, of + "_bucket" + method + ",le=\"1e-05\"}"), 1);
  EXPECT_EQ(sample(*under_test, of + "_bucket" + method + ",le=\"2.5e-05\"}"), 2);
  EXPECT_EQ(sample(*under_test, of + "_bucket" + method + ",le=\"0.001\"}"), 2);
  EXPECT_EQ(sample(*under_test, of + "_bucket" + method + ",le=\"0.0025\"}"), 3);
  EXPECT_EQ(sample(*under_test, of + "_bucket" + method + ",le=\"10\"}"), 3);
  EXPECT_EQ(sample(*under_test, of + "_bucket" + method + ",le=\"+Inf\"}"), 4);
  EXPECT_EQ(sample(*under_test, of + "_count" + method + "}"), 4);
  EXPECT_NEAR(sample(*under_test, of + "_sum" + method + "}"), 20.002020001, 1e-6);
  EXPECT_EQ(sample(*under_test,
                   R"(portcullis_requests_total{error="OVERLOADED",method="session.validate"})"),
            1);
  EXPECT_EQ(
      sample(*under_test, R"(portcullis_requests_total{error="none",method="session.validate"})"),
      3);
}

TEST(metrics, each_kind_of_owner_reaches_its_metrics) {
  auto under_test = make();
  snapshot now;
  auto& loop = now.loops.emplace_back();
  loop.requests.refused(core::error_code::PARSE_ERROR);
  loop.requests.in_flight = 3;
  loop.connections.live[static_cast<std::size_t>(core::listener::http)] = 2;
  loop.connections.opened[static_cast<std::size_t>(core::listener::rpc)] = 9;
  loop.connections.reject(core::listener::rpc, core::rejection::descriptors);
  loop.lag.add(600'000);
  now.subscriptions.push_back({0, 1, 4});
  auto& journal = now.journal.emplace();
  journal.took(store_operation::commit, 700'000);
  journal.failed(store_operation::query, store_failure::full);
  journal.queue_events = 8;
  journal.log_bytes = 4096;
  journal.replay_ns = 1'500'000'000;
  journal.degraded = true;
  now.mailbox_depth[static_cast<std::size_t>(actor_kind::hub)] = 6;
  now.log.messages[3] = 2;
  now.log.dropped = 5;
  now.log.write_errors = 1;
  now.reloads.ended(true);
  now.reloads.ended(true);
  now.reloads.ended(false);
  now.scrape_gap_ns = 2'500'000'000;
  auto& shard = now.shards.emplace_back();
  shard.failed_attempts = 11;
  shard.lockouts_started = 12;
  shard.lockouts_active = 13;
  shard.users_in_doubt = 14;
  shard.reuse_detected = 15;
  under_test->update(now);

  const std::map<std::string, double> expected = {
      {R"(portcullis_requests_total{error="PARSE_ERROR",method="unknown"})", 1},
      {"portcullis_requests_in_flight", 3},
      {R"(portcullis_connections{listener="http"})", 2},
      {R"(portcullis_connections_total{listener="rpc"})", 9},
      {R"(portcullis_connection_rejections_total{listener="rpc",reason="descriptors"})", 1},
      {"portcullis_loop_lag_seconds_count", 1},
      {"portcullis_subscribers", 4},
      {"portcullis_subscriber_drops_total", 1},
      {R"(portcullis_event_log_commit_seconds_bucket{le="0.0005"})", 0},
      {R"(portcullis_event_log_commit_seconds_bucket{le="0.001"})", 1},
      {R"(portcullis_store_operation_seconds_count{op="commit"})", 1},
      {R"(portcullis_store_errors_total{error="STORE_FULL",op="query"})", 1},
      {"portcullis_event_log_queue", 8},
      {"portcullis_event_log_bytes", 4096},
      {"portcullis_event_log_replay_seconds", 1.5},
      {"portcullis_store_degraded", 1},
      {R"(portcullis_mailbox_depth{actor="hub"})", 6},
      {R"(portcullis_log_messages_total{level="warn"})", 2},
      {"portcullis_log_dropped_total", 5},
      {"portcullis_log_write_errors_total", 1},
      {R"(portcullis_config_reloads_total{result="success"})", 2},
      {R"(portcullis_config_reloads_total{result="failure"})", 1},
      {"portcullis_config_last_reload_success", 0},
      {"portcullis_scrape_gap_seconds", 2.5},
      {"portcullis_session_reuse_detected_total", 15},
      {"portcullis_failed_attempts_total", 11},
      {"portcullis_lockouts_total", 12},
      {"portcullis_lockouts_active", 13},
      {"portcullis_users_in_doubt", 14},
  };
  const auto all = samples(under_test->render());
  for (const auto& [series, value] : expected) {
    ASSERT_EQ(all.count(series), 1U) << series;
    EXPECT_EQ(all.at(series), value) << series;
  }
}

TEST(metrics, the_process_describes_itself) {
  auto under_test = make();
  under_test->update({});
  EXPECT_GT(sample(*under_test, "process_resident_memory_bytes"), 1e6);
  EXPECT_GE(sample(*under_test, "process_virtual_memory_bytes"),
            sample(*under_test, "process_resident_memory_bytes"));
  EXPECT_GT(sample(*under_test, "process_max_fds"), 2);
  const auto started = sample(*under_test, "process_start_time_seconds");
  EXPECT_LE(started, static_cast<double>(time(nullptr)) + 2);
  EXPECT_GT(started, static_cast<double>(time(nullptr)) - 86'400);

  const auto before = sample(*under_test, "process_open_fds");
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  under_test->update({});
  EXPECT_EQ(sample(*under_test, "process_open_fds"), before + 2);
  close(ends[0]);
  close(ends[1]);

  const auto cpu = sample(*under_test, "process_cpu_seconds_total");
  while (std::clock() < static_cast<std::clock_t>((cpu + 0.05) * CLOCKS_PER_SEC)) {
  }
  under_test->update({});
  EXPECT_GT(sample(*under_test, "process_cpu_seconds_total"), cpu);
}

TEST(metrics, constant_labels_stand_on_every_series_and_may_hold_anything) {
  auto under_test = make({{"region", "eu\"\n\\1"}});
  under_test->update({});
  const auto all = samples(under_test->render());
  ASSERT_GT(all.size(), 500U);
  for (const auto& [series, value] : all) ASSERT_THAT(series, HasSubstr(R"(region="eu\"\n\\1")"));
}

TEST(metrics, a_constant_label_that_is_no_label_or_a_metric_s_own_is_refused) {
  for (const auto* name :
       {"", "1a", "a-b", "__x", "le", "method", "actor", "version", "a b", "\xff"}) {
    const auto made = metrics::create({"1", "r", {{name, "x"}}});
    ASSERT_FALSE(made) << name;
    EXPECT_EQ(made.error().code, core::error_code::CONFIG_INVALID);
  }
  EXPECT_TRUE(is_constant_label("region_1"));
}

// There is no door for a label value: what feeds the registry is numbers at fixed places. So the
// most hostile traffic can do is to reach each known error of each known method.
TEST(metrics, traffic_creates_no_series_beyond_the_table_whatever_it_sends) {
  static_assert(std::is_trivially_copyable_v<core::loop_tallies>, "no text gets in");
  static_assert(std::is_trivially_copyable_v<shard_tallies>, "no text gets in");
  static_assert(std::is_trivially_copyable_v<journal_tallies>, "no text gets in");
  static_assert(std::is_trivially_copyable_v<subscription_tallies>, "no text gets in");
  auto under_test = make();
  snapshot now;
  now.loops.resize(1);
  for (unsigned i = 0; i < 1'000'000; ++i)
    now.loops[0].requests.finished(std::nullopt, core::error_code::METHOD_NOT_FOUND, i);
  const auto before = samples(under_test->render()).size();
  under_test->update(now);
  EXPECT_EQ(samples(under_test->render()).size(), before);
  EXPECT_EQ(sample(*under_test,
                   R"(portcullis_requests_total{error="METHOD_NOT_FOUND",method="unknown"})"),
            1e6);

  for (auto& row : now.loops[0].requests.by_error)
    for (auto& cell : row) ++cell;
  under_test->update(now);
  std::size_t request_series = 0;
  for (const auto& [series, value] : samples(under_test->render()))
    if (series.starts_with("portcullis_requests_total{")) ++request_series;
  EXPECT_EQ(request_series,
            metrics_table()[static_cast<std::size_t>(metric::requests)].series_count());
}

TEST(metrics, promtool_finds_nothing_to_say) {
  if (!has_promtool()) GTEST_SKIP() << "promtool is not installed (Debian package prometheus)";
  auto under_test = make({{"region", "eu"}});
  snapshot now;
  now.loops.resize(1);
  for (auto& row : now.loops[0].requests.by_error)
    for (auto& cell : row) ++cell;
  now.loops[0].requests.finished(core::method::server_ping, std::nullopt, 5'000);
  under_test->update(now);
  EXPECT_EQ(promtool_says(under_test->render()), "");
}

}  // namespace
}  // namespace portcullis::monitoring
