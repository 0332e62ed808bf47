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
    EXPECT_FALSE(row.fed_by.empty()) << row.name;
    EXPECT_TRUE(row.name.starts_with("portcullis_") || row.name.starts_with("process_"));
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
                           "portcullis_build_info",
                           "process_cpu_seconds_total",
                           "process_resident_memory_bytes",
                           "process_virtual_memory_bytes",
                           "process_open_fds",
                           "process_max_fds",
                           "process_start_time_seconds"})
    EXPECT_EQ(names.count(name), 1U) << name;
}

TEST(metrics_table, only_the_build_gives_label_values_that_the_table_does_not_know) {
  for (const auto& row : metrics_table())
    for (const auto& label : row.labels)
      EXPECT_EQ(label.values.empty(), row.id == metric::build_info)
          << row.name << ' ' << label.name;
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
