// The table is whole, and the page made from it is the one that is committed.
#include "monitoring/metrics_table.hpp"

#include <gmock/gmock.h>

#include <fstream>
#include <set>
#include <sstream>

#include "core/config/parse.hpp"

namespace portcullis::monitoring {
namespace {

TEST(metrics_table, has_each_metric_once_in_the_order_of_its_enum) {
  const auto table = metrics_table();
  ASSERT_EQ(table.size(), metric_count);
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < table.size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(table[i].id), i) << table[i].name;
    EXPECT_TRUE(names.insert(table[i].name).second) << table[i].name;
  }
}

TEST(metrics_table, every_row_says_what_it_means_and_who_feeds_it) {
  for (const auto& row : metrics_table()) {
    EXPECT_TRUE(row.help.ends_with('.')) << row.name;
    EXPECT_EQ(row.help.find_first_of("\\\n"), row.help.npos) << row.name << " would need escapes";
    EXPECT_FALSE(row.fed_by.empty()) << row.name;
    EXPECT_TRUE(row.name.starts_with("portcullis_") || row.name.starts_with("process_") ||
                row.name.starts_with("circuit_breaker_") || row.name.starts_with("breaker_"));
    EXPECT_EQ(row.name.starts_with("circuit_breaker_"), row.per_breaker()) << row.name;
  }
}

TEST(metrics_table, names_follow_their_types) {
  for (const auto& row : metrics_table()) {
    EXPECT_EQ(row.name.ends_with("_total"), row.type == metric_type::counter) << row.name;
    if (row.type == metric_type::histogram) {
      EXPECT_TRUE(row.name.ends_with("_seconds")) << row.name;
    }
  }
}

TEST(metrics_table, has_every_metric_of_the_design_that_exists_yet) {
  std::set<std::string> names;
  for (const auto& row : metrics_table()) names.emplace(row.name);
  for (const auto* name : {"portcullis_sessions",
                           "portcullis_sessions_created_total",
                           "portcullis_sessions_ended_total",
                           "portcullis_validations_total",
                           "portcullis_failed_attempts_total",
                           "portcullis_lockouts_total",
                           "portcullis_lockouts_active",
                           "circuit_breaker_state",
                           "circuit_breaker_state_active",
                           "circuit_breaker_requests_total",
                           "circuit_breaker_errors_total",
                           "circuit_breaker_request_duration_seconds",
                           "circuit_breaker_transitions_total",
                           "circuit_breaker_failure_ratio",
                           "circuit_breaker_slow_ratio",
                           "circuit_breaker_open_seconds_total",
                           "circuit_breaker_last_transition_timestamp_seconds",
                           "circuit_breaker_permits_total",
                           "circuit_breaker_override_info",
                           "circuit_breaker_observed_last_report_timestamp_seconds",
                           "circuit_breaker_observed_reports_rejected_total",
                           "portcullis_request_duration_seconds",
                           "portcullis_requests_total",
                           "portcullis_requests_in_flight",
                           "portcullis_connections",
                           "portcullis_connections_total",
                           "portcullis_connection_rejections_total",
                           "portcullis_event_log_appends_total",
                           "portcullis_event_log_commit_seconds",
                           "portcullis_event_log_queue",
                           "portcullis_event_log_bytes",
                           "portcullis_event_log_replay_seconds",
                           "portcullis_store_operation_seconds",
                           "portcullis_store_errors_total",
                           "portcullis_store_degraded",
                           "portcullis_mailbox_depth",
                           "portcullis_loop_lag_seconds",
                           "portcullis_subscribers",
                           "portcullis_subscriber_drops_total",
                           "portcullis_log_messages_total",
                           "portcullis_log_dropped_total",
                           "portcullis_metrics_label_overflow_total",
                           "portcullis_build_info",
                           "process_cpu_seconds_total",
                           "process_resident_memory_bytes",
                           "process_virtual_memory_bytes",
                           "process_open_fds",
                           "process_max_fds",
                           "process_start_time_seconds"})
    EXPECT_EQ(names.count(name), 1U) << name;
}

TEST(metrics_table, only_the_build_and_breakers_give_label_values_that_the_table_does_not_know) {
  for (const auto& row : metrics_table())
    for (const auto& label : row.labels) {
      EXPECT_EQ(label.values.empty(), label.source != label_source::table)
          << row.name << ' ' << label.name;
      EXPECT_EQ(label.source == label_source::build, row.id == metric::build_info) << row.name;
      EXPECT_EQ(label.source == label_source::breaker,
                label.name == "service" || label.name == "breaker")
          << row.name << ' ' << label.name;
    }
}

TEST(metrics_table, configuration_refuses_each_of_its_labels_as_a_constant_one) {
  const auto problems = [](std::string_view label) {
    return core::parse_config(
               std::vector<core::config_entry>{
                   {{"server", "environment"}, std::string("development"), "test", {}},
                   {{"metrics", "labels", std::string(label)}, std::string("x"), "test", {}}})
        .problems.size();
  };
  EXPECT_EQ(problems("region"), 0U);
  EXPECT_EQ(problems("le"), 1U) << "of every histogram";
  for (const auto& row : metrics_table())
    for (const auto& label : row.labels) EXPECT_EQ(problems(label.name), 1U) << label.name;
}

TEST(metrics_table, the_reference_page_names_every_metric_and_is_current) {
  const auto page = metrics_reference();
  for (const auto& row : metrics_table())
    EXPECT_THAT(page, testing::HasSubstr("| `" + std::string(row.name) + "` |"));
  std::ifstream file(PORTCULLIS_SOURCE_DIR "/docs/metrics.md");
  std::ostringstream committed;
  committed << file.rdbuf();
  EXPECT_EQ(committed.str(), page) << "run: portcullis docs metrics > docs/metrics.md";
}

}  // namespace
}  // namespace portcullis::monitoring
