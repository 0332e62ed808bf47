// How check judges a page, and how it tells of it.
#include "apps/metrics_page/findings.hpp"

#include <gmock/gmock.h>

namespace portcullis::apps {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr double scraped_at_s = 1'000'000;

heard node(const std::string& text, std::optional<double> ping_ms = std::nullopt) {
  std::string why;
  auto page = metrics_page::parse(text, why);
  EXPECT_TRUE(page) << why;
  return {ping_ms, std::move(page), scraped_at_s};
}

/// The verdict on one name; absent: it was not judged.
std::optional<verdict> verdict_on(const std::string& name, const heard& of,
                                  const thresholds& by = {}) {
  for (const auto& each : judge(of, by, {}))
    if (each.name == name) return each.is;
  return std::nullopt;
}

TEST(check, judges_nothing_that_a_node_does_not_serve) {
  EXPECT_TRUE(judge(node(""), {}, {}).empty());
  EXPECT_TRUE(judge({}, {}, {}).empty());
}

TEST(check, judges_each_metric_by_its_limits) {
  struct sample {
    const char *name, *text;
    verdict is;
  };
  for (const auto& each : std::vector<sample>{
           {"store_degraded", "portcullis_store_degraded 0\n", verdict::ok},
           {"store_degraded", "portcullis_store_degraded 1\n", verdict::critical},
           {"event_log_queue", "portcullis_event_log_queue 20000\n", verdict::ok},
           {"event_log_queue", "portcullis_event_log_queue 20001\n", verdict::warning},
           {"event_log_queue", "portcullis_event_log_queue 150000\n", verdict::critical},
           {"event_log_silent_s", "portcullis_event_log_silent_seconds 0\n", verdict::ok},
           {"event_log_silent_s", "portcullis_event_log_silent_seconds 2.5\n", verdict::warning},
           {"event_log_silent_s", "portcullis_event_log_silent_seconds 11\n", verdict::critical},
           {"log_dropped", "portcullis_log_dropped_total 1\n", verdict::warning},
           {"log_write_errors", "portcullis_log_write_errors_total 1\n", verdict::warning},
           {"log_write_errors", "portcullis_log_write_errors_total 0\n", verdict::ok},
           {"reload_failed", "portcullis_config_last_reload_success 1\n", verdict::ok},
           {"reload_failed", "portcullis_config_last_reload_success 0\n", verdict::warning},
           {"descriptors_percent", "process_open_fds 80\nprocess_max_fds 100\n", verdict::ok},
           {"descriptors_percent", "process_open_fds 81\nprocess_max_fds 100\n", verdict::warning},
           {"descriptors_percent", "process_open_fds 96\nprocess_max_fds 100\n", verdict::critical},
           {"lockouts_active", "portcullis_lockouts_active 100000\n", verdict::ok},
           {"staleness_ms", "portcullis_fleet_nodes 2\nportcullis_fleet_staleness_seconds 0.6\n",
            verdict::warning},
           {"staleness_ms", "portcullis_fleet_nodes 2\nportcullis_fleet_staleness_seconds 1.2\n",
            verdict::critical},
           {"shared_store_degraded", "portcullis_fleet_nodes 2\nbreaker_shared_store_degraded 1\n",
            verdict::warning},
           {"certificate_days", "portcullis_tls_certificate_expiry_timestamp_seconds 9000000\n",
            verdict::ok},
           {"certificate_days", "portcullis_tls_certificate_expiry_timestamp_seconds 2000000\n",
            verdict::warning},
           {"certificate_days", "portcullis_tls_certificate_expiry_timestamp_seconds 999999\n",
            verdict::critical},
           {"crl_days", "portcullis_tls_revocation_list_expiry_timestamp_seconds 1300000\n",
            verdict::warning},
           {"crl_days", "portcullis_tls_revocation_list_expiry_timestamp_seconds 1\n",
            verdict::critical}})
    EXPECT_EQ(verdict_on(each.name, node(each.text)), each.is) << each.text;
  EXPECT_EQ(verdict_on("ping_ms", node("", 499)), verdict::ok);
  EXPECT_EQ(verdict_on("ping_ms", node("", 501)), verdict::warning);
  EXPECT_EQ(verdict_on("ping_ms", node("", 2001)), verdict::critical);
}

TEST(check, leaves_out_what_does_not_concern_the_node) {
  const auto alone = node(
      "portcullis_tls_certificate_expiry_timestamp_seconds 0\n"
      "portcullis_tls_revocation_list_expiry_timestamp_seconds 0\nportcullis_fleet_nodes 0\n"
      "portcullis_fleet_staleness_seconds 99\nbreaker_shared_store_degraded 0\n");
  for (const auto* each :
       {"certificate_days", "crl_days", "nodes", "staleness_ms", "shared_store_degraded"})
    EXPECT_EQ(verdict_on(each, alone), std::nullopt) << each;
  thresholds of_three;
  EXPECT_EQ(of_three.set_crit("nodes=2"), "");
  EXPECT_EQ(verdict_on("nodes", alone, of_three), verdict::critical)
      << "it should be one of several and is alone";
}

TEST(check, names_the_breakers_that_are_open) {
  const std::string who = "circuit_breaker_state_active{breaker=\"default\",service=\"";
  const auto all =
      judge(node(who + "mail\",state=\"open\"} 1\n" + who + "pay\",state=\"forced_open\"} 1\n" +
                 who + "ok\",state=\"closed\"} 1\n" + who + "ok\",state=\"open\"} 0\n"),
            {}, {});
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].is, verdict::warning);
  EXPECT_EQ(all[0].text, "2 breakers are open: mail/default, pay/default");
  EXPECT_EQ(all[0].perfdata, "breakers_open=2;0;");
}

TEST(check, takes_limits_of_the_user_and_none) {
  thresholds by;
  EXPECT_EQ(by.set_warn("lockouts_active=5"), "");
  EXPECT_EQ(by.set_crit("lockouts_active=10"), "");
  const auto six = node("portcullis_lockouts_active 6\n");
  EXPECT_EQ(verdict_on("lockouts_active", six, by), verdict::warning);
  EXPECT_EQ(verdict_on("lockouts_active", node("portcullis_lockouts_active 11\n"), by),
            verdict::critical);
  EXPECT_EQ(by.set_warn("log_dropped=none"), "");
  EXPECT_EQ(verdict_on("log_dropped", node("portcullis_log_dropped_total 9\n"), by), verdict::ok);
  for (const auto* bad : {"", "ping_ms", "ping_ms=", "ping_ms=fast", "ping_ms=nan", "ping_ms=1x",
                          "pings=1", "=1", "ready=1"})
    EXPECT_NE(by.set_warn(bad), "") << bad;
}

TEST(check, knows_how_long_nobody_asked_for_metrics_only_when_it_is_asked) {
  const auto old = node("portcullis_scrape_gap_seconds 1000.5\n");
  EXPECT_EQ(verdict_on("scrape_age_s", old), verdict::ok) << "without a limit";
  thresholds by;
  EXPECT_EQ(by.set_warn("scrape_age_s=300"), "");
  EXPECT_EQ(verdict_on("scrape_age_s", old, by), verdict::warning);
  EXPECT_EQ(judge(old, by, {}).front().text, "/metrics was asked for 16min 40s before");
  EXPECT_EQ(verdict_on("scrape_age_s", node("portcullis_scrape_gap_seconds 0\n"), by),
            verdict::warning)
      << "never";
  EXPECT_EQ(verdict_on("scrape_age_s", node("portcullis_scrape_gap_seconds 0.001\n"), by),
            verdict::ok);
}

TEST(check, judges_only_what_it_is_told_to) {
  const auto of = node("portcullis_store_degraded 1\nportcullis_log_dropped_total 1\n");
  const auto all = judge(of, {}, {"log_dropped"});
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].name, "log_dropped");
}

TEST(check, prints_one_line_with_perfdata_and_then_the_findings) {
  const auto text = plugin_output(judge(node("portcullis_store_degraded 1\nportcullis_sessions 12\n"
                                             "portcullis_log_dropped_total 3\n",
                                             0.8),
                                        {}, {}));
  EXPECT_EQ(text,
            "PORTCULLIS CRITICAL - the store refuses durable commands, log lines dropped since the "
            "start: 3 | ping_ms=0.8ms;500;2000 store_degraded=1;;0 log_dropped=3c;0; "
            "sessions=12;;\n"
            "[OK] ping_ms: ping 800us\n"
            "[CRITICAL] store_degraded: the store refuses durable commands\n"
            "[WARNING] log_dropped: log lines dropped since the start: 3\n"
            "[OK] sessions: live sessions: 12\n");
  EXPECT_THAT(plugin_output({{verdict::ok, "ready", "ready", ""}}),
              StartsWith("PORTCULLIS OK - ready\n"));
}

TEST(check, writes_a_lower_limit_as_a_range_of_the_guidelines) {
  const auto all =
      judge(node("portcullis_tls_certificate_expiry_timestamp_seconds 9640000\n"), {}, {});
  EXPECT_EQ(all[0].perfdata, "certificate_days=100;14:;2:");
  EXPECT_EQ(all[0].text, "the certificate ends in 100d 0h");
}

/// A bar would begin perfdata, a line break the long output.
TEST(check, lets_nothing_that_a_server_says_break_the_line) {
  const auto text = plugin_output({{verdict::unknown, "ready", "a|b\nPORTCULLIS OK\x1b[2J", ""}});
  EXPECT_THAT(text, StartsWith("PORTCULLIS UNKNOWN - a?b?PORTCULLIS OK?[2J\n[UNKNOWN]"));
  EXPECT_THAT(text, AllOf(Not(HasSubstr("|")), Not(HasSubstr("\x1b"))));
}

TEST(check, lets_critical_win_over_warning_over_unknown_over_ok) {
  EXPECT_EQ(worse(verdict::unknown, verdict::critical), verdict::critical);
  EXPECT_EQ(worse(verdict::unknown, verdict::warning), verdict::warning);
  EXPECT_EQ(worse(verdict::unknown, verdict::ok), verdict::unknown);
  EXPECT_EQ(worst_of({}), verdict::ok);
  EXPECT_EQ(worst_of({}, warnings::told), verdict::ok);
}

/// Nothing that is found besides makes it better (found in review: UNKNOWN with WARNING was OK).
TEST(check, gets_no_better_by_what_is_found_besides) {
  const std::vector<verdict> all = {verdict::ok, verdict::unknown, verdict::warning,
                                    verdict::critical};
  const auto with = [](std::vector<verdict> of, warnings are) {
    std::vector<finding> found;
    for (const auto each : of) found.push_back({each, "x", "x", ""});
    return worst_of(found, are);
  };
  for (const auto are : {warnings::counted, warnings::told})
    for (const auto one : all)
      for (const auto more : all) {
        const auto alone = with({one}, are);
        EXPECT_EQ(worse(with({one, more}, are), alone), with({one, more}, are))
            << to_string(one) << ' ' << to_string(more);
      }
  EXPECT_EQ(with({verdict::unknown, verdict::warning}, warnings::told), verdict::unknown);
  EXPECT_EQ(with({verdict::warning}, warnings::told), verdict::ok);
}

}  // namespace
}  // namespace portcullis::apps
