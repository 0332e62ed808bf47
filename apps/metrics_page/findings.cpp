#include "apps/metrics_page/findings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#include "apps/metrics_page/shown.hpp"

namespace portcullis::apps {
namespace {

constexpr double day_s = 86'400;
constexpr std::size_t breakers_named = 10;
constexpr double never_scraped_s = 1e9;  // where there was no scrape before

struct measured {
  double value = 0;
  std::string text;  // what it says in words
};

/// Days until the time in a metric, where 0 is none.
std::optional<measured> days_until(const heard& of, std::string_view metric,
                                   std::string_view what) {
  const auto at = of.page->value(metric);
  if (!at || !(*at > 0)) return std::nullopt;
  const double left_s = *at - of.unix_s;
  return measured{left_s / day_s,
                  left_s >= 0 ? fmt::format("{} ends in {}", what, duration_text(left_s))
                              : fmt::format("{} ended {} ago", what, duration_text(-left_s))};
}

std::optional<measured> flag(const heard& of, std::string_view metric, std::string_view set,
                             std::string_view unset) {
  const auto value = of.page->value(metric);
  if (!value) return std::nullopt;
  return measured{*value, std::string(*value > 0 ? set : unset)};
}

std::optional<measured> count(const heard& of, std::string_view metric, std::string_view what) {
  const auto value = of.page->sum(metric);
  if (!value || !std::isfinite(*value)) return std::nullopt;
  return measured{*value, fmt::format("{}: {:.0f}", what, *value)};
}

std::optional<measured> open_breakers(const heard& of) {
  const auto all = of.page->all("circuit_breaker_state_active");
  if (all.empty()) return std::nullopt;
  std::vector<std::string> names;
  for (const auto* each : all) {
    const auto state = each->label("state");
    if (each->value == 1 && (state == "open" || state == "forced_open"))
      names.push_back(fmt::format("{}/{}", each->label("service"), each->label("breaker")));
  }
  if (names.empty()) return measured{0, "no breaker is open"};
  const bool one = names.size() == 1;
  auto text = fmt::format("{} breaker{} open: ", names.size(), one ? " is" : "s are");
  for (std::size_t i = 0; i < std::min(names.size(), breakers_named); ++i)
    text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > breakers_named) text += ", ...";
  return measured{static_cast<double>(names.size()), text};
}

std::optional<measured> descriptors(const heard& of) {
  const auto open = of.page->value("process_open_fds"), most = of.page->value("process_max_fds");
  if (!open || !most || !(*most > 0)) return std::nullopt;
  return measured{std::round(*open / *most * 1'000) / 10,
                  fmt::format("{:.0f} of {:.0f} descriptors are in use", *open, *most)};
}

std::optional<measured> scrape_gap(const heard& of) {
  const auto gap_s = of.page->value("portcullis_scrape_gap_seconds");
  if (!gap_s) return std::nullopt;
  if (!(*gap_s > 0)) return measured{never_scraped_s, "/metrics was never asked for before"};
  return measured{*gap_s, fmt::format("/metrics was asked for {} before", duration_text(*gap_s))};
}

std::optional<measured> staleness(const heard& of) {
  if (!(of.page->value("portcullis_fleet_nodes").value_or(0) > 0)) return std::nullopt;
  const auto behind = of.page->value("portcullis_fleet_staleness_seconds");
  if (!behind || !std::isfinite(*behind)) return std::nullopt;
  return measured{std::round(*behind * 1'000),
                  fmt::format("{} behind the shared log", latency_text(*behind))};
}

std::optional<measured> nodes(const heard& of, const thresholds::limits& by) {
  const auto value = of.page->value("portcullis_fleet_nodes");
  if (!value || (*value == 0 && !by.warn && !by.crit)) return std::nullopt;
  return measured{*value, *value == 0 ? "the node is alone"
                                      : fmt::format("{:.0f} nodes share the log", *value)};
}

std::optional<measured> measure(std::string_view name, const heard& of,
                                const thresholds::limits& by) {
  if (name == "ping_ms") {
    if (!of.ping_ms) return std::nullopt;
    return measured{std::round(*of.ping_ms * 100) / 100,
                    fmt::format("ping {}", latency_text(*of.ping_ms / 1'000))};
  }
  if (!of.page) return std::nullopt;
  if (name == "store_degraded")
    return flag(of, "portcullis_store_degraded", "the store refuses durable commands",
                "the store works");
  if (name == "event_log_queue")
    return count(of, "portcullis_event_log_queue", "events that wait for the disk");
  if (name == "event_log_silent_s") {
    const auto silent = of.page->value("portcullis_event_log_silent_seconds");
    if (!silent) return std::nullopt;
    return *silent > 0 ? measured{*silent,
                                  fmt::format("the journal has not answered for {}; its disk hangs",
                                              duration_text(*silent))}
                       : measured{0, "the journal answers"};
  }
  if (name == "breakers_open") return open_breakers(of);
  if (name == "lockouts_active") return count(of, "portcullis_lockouts_active", "locked users");
  if (name == "certificate_days")
    return days_until(of, "portcullis_tls_certificate_expiry_timestamp_seconds", "the certificate");
  if (name == "crl_days")
    return days_until(of, "portcullis_tls_revocation_list_expiry_timestamp_seconds",
                      "a revocation list");
  if (name == "descriptors_percent") return descriptors(of);
  if (name == "log_dropped")
    return count(of, "portcullis_log_dropped_total", "log lines dropped since the start");
  if (name == "log_write_errors")
    return count(of, "portcullis_log_write_errors_total", "log lines not written since the start");
  if (name == "reload_failed") {
    const auto good = of.page->value("portcullis_config_last_reload_success");
    if (!good) return std::nullopt;
    return *good > 0 ? measured{0, "no reload failed last"}
                     : measured{1, "the last reload of the configuration failed"};
  }
  if (name == "scrape_age_s") return scrape_gap(of);
  if (name == "nodes") return nodes(of, by);
  if (name == "staleness_ms") return staleness(of);
  if (name == "shared_store_degraded") {
    if (!(of.page->value("portcullis_fleet_nodes").value_or(0) > 0)) return std::nullopt;
    return flag(of, "breaker_shared_store_degraded", "the shared log is not reached",
                "the shared log is reached");
  }
  if (name == "sessions") return count(of, "portcullis_sessions", "live sessions");
  if (name == "memory_mb") {
    const auto bytes = of.page->value("process_resident_memory_bytes");
    if (!bytes) return std::nullopt;
    return measured{std::round(*bytes / 1e5) / 10, fmt::format("{} of memory", bytes_text(*bytes))};
  }
  return std::nullopt;
}

bool is_past(const threshold_row& row, double value, std::optional<double> limit) {
  if (!limit) return false;
  return row.when == alarm_when::above ? value > *limit : value < *limit;
}

/// A limit as a range of the guidelines: "20" is past above it, "3:" below it.
std::string range_text(const threshold_row& row, std::optional<double> limit) {
  if (!limit) return "";
  return fmt::format("{}{}", *limit, row.when == alarm_when::below ? ":" : "");
}

std::string without_bars(std::string_view text) {
  auto plain = plain_text(text);
  std::replace(plain.begin(), plain.end(), '|', '?');
  return plain;
}

}  // namespace

std::string_view to_string(verdict of) noexcept {
  switch (of) {
    case verdict::ok:
      return "OK";
    case verdict::warning:
      return "WARNING";
    case verdict::critical:
      return "CRITICAL";
    case verdict::unknown:
      return "UNKNOWN";
  }
  __builtin_unreachable();
}

verdict worse(verdict a, verdict b) noexcept {
  for (const auto each : {verdict::critical, verdict::warning, verdict::unknown})
    if (a == each || b == each) return each;
  return verdict::ok;
}

std::vector<finding> judge(const heard& of, const thresholds& by,
                           const std::set<std::string, std::less<>>& only) {
  std::vector<finding> out;
  for (const auto& row : threshold_table()) {
    if (!only.empty() && !only.contains(row.name)) continue;
    const auto limits = by.of(row);
    auto found = measure(row.name, of, limits);
    if (!found) continue;
    finding made;
    made.name = row.name;
    made.text = std::move(found->text);
    made.is = is_past(row, found->value, limits.crit)   ? verdict::critical
              : is_past(row, found->value, limits.warn) ? verdict::warning
                                                        : verdict::ok;
    // A number of more digits than a monitoring system would draw says nothing, nor does one that
    // stands for none.
    if (found->value < never_scraped_s)
      made.perfdata =
          fmt::format("{}={}{};{};{}{}", row.name, std::round(found->value * 1'000) / 1'000,
                      row.unit, range_text(row, limits.warn), range_text(row, limits.crit),
                      row.unit == "%" ? ";0;100" : "");
    out.push_back(std::move(made));
  }
  return out;
}

verdict worst_of(const std::vector<finding>& all, warnings are) noexcept {
  auto worst = verdict::ok;
  for (const auto& each : all)
    if (each.is != verdict::warning || are == warnings::counted) worst = worse(worst, each.is);
  return worst;
}

std::string plugin_output(const std::vector<finding>& all, warnings are) {
  const auto worst = worst_of(all, are);
  std::string wrong, perfdata, lines;
  for (const auto which : {verdict::critical, verdict::warning, verdict::unknown})
    for (const auto& each : all)
      if (each.is == which) wrong += (wrong.empty() ? "" : ", ") + without_bars(each.text);
  for (const auto& each : all) {
    if (!each.perfdata.empty()) perfdata += (perfdata.empty() ? "" : " ") + each.perfdata;
    lines += fmt::format("[{}] {}: {}\n", to_string(each.is), each.name, without_bars(each.text));
  }
  if (wrong.empty())
    for (const auto* each : {"ready", "ping_ms", "sessions"})
      for (const auto& one : all)
        if (one.name == each) wrong += (wrong.empty() ? "" : ", ") + without_bars(one.text);
  if (wrong.empty()) wrong = fmt::format("{} checks", all.size());
  return fmt::format("PORTCULLIS {} - {}{}{}\n{}", to_string(worst), wrong,
                     perfdata.empty() ? "" : " | ", perfdata, lines);
}

}  // namespace portcullis::apps
