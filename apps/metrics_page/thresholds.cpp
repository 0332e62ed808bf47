#include "apps/metrics_page/thresholds.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>

namespace portcullis::apps {
namespace {

constexpr std::nullopt_t never = std::nullopt;
constexpr auto above = alarm_when::above, below = alarm_when::below;

constexpr std::array<threshold_row, 18> table = {{
    {"ping_ms", above, 500, 2'000, "ms", "server.ping with its connection"},
    {"store_degraded", above, never, 0, "", "durable commands are refused"},
    {"event_log_queue", above, 20'000, 100'000, "", "events that wait for the disk"},
    {"event_log_silent_s", above, 0, 10, "s", "since the journal last answered a scrape"},
    {"breakers_open", above, 0, never, "", "breakers open or forced open"},
    {"lockouts_active", above, never, never, "", "users with a lock now"},
    {"certificate_days", below, 14, 2, "", "until the server's certificate ends"},
    {"crl_days", below, 7, 2, "", "until a revocation list ends"},
    {"descriptors_percent", above, 80, 95, "%", "file descriptors in use"},
    {"log_dropped", above, 0, never, "c", "log lines dropped since the start"},
    {"log_write_errors", above, 0, never, "c", "log lines not written since the start"},
    {"reload_failed", above, 0, never, "", "the last reload failed"},
    {"scrape_age_s", above, never, never, "s", "between this scrape and the one before"},
    {"nodes", below, never, never, "", "that share the log; 0: it is alone"},
    {"staleness_ms", above, 500, 1'000, "ms", "behind the shared log"},
    {"shared_store_degraded", above, 0, never, "", "the shared log is not reached"},
    {"sessions", above, never, never, "", "live on this node"},
    {"memory_mb", above, never, never, "MB", "resident, in 10^6 bytes"},
}};

}  // namespace

std::span<const threshold_row> threshold_table() noexcept { return table; }

thresholds::limits thresholds::of(const threshold_row& row) const {
  const auto at = set_.find(row.name);
  return at == set_.end() ? limits{row.warn, row.crit} : at->second;
}

std::string thresholds::set_warn(std::string_view text) { return set(text, &limits::warn); }
std::string thresholds::set_crit(std::string_view text) { return set(text, &limits::crit); }

std::string thresholds::set(std::string_view text, std::optional<double> limits::*which) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return fmt::format("{}: is not NAME=VALUE", text);
  const auto name = text.substr(0, equals);
  const auto written = text.substr(equals + 1);
  for (const auto& row : table) {
    if (row.name != name) continue;
    std::optional<double> value;
    if (written != "none") {
      double number = 0;
      const auto* end = written.data() + written.size();
      const auto [at, failed] = std::from_chars(written.data(), end, number);
      if (failed != std::errc{} || at != end || !std::isfinite(number))
        return fmt::format("{}: the value is a number or none", text);
      value = number;
    }
    set_.try_emplace(std::string(name), of(row)).first->second.*which = value;
    return {};
  }
  return fmt::format("{}: nothing is checked under the name {}", text, name);
}

std::string limit_text(const threshold_row& row, std::optional<double> limit) {
  if (!limit) return "-";
  return fmt::format("{}{}", row.when == above ? '>' : '<', *limit);
}

}  // namespace portcullis::apps
