#include "apps/metrics_page/overview.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>
#include <utility>

namespace portcullis::apps {
namespace {

reading without_nan(reading value) { return value && std::isfinite(*value) ? value : reading(); }

/// Those that are more than 0.
std::map<std::string, double> that_came(std::map<std::string, double> rates) {
  std::erase_if(rates, [](const auto& each) { return !(each.second > 0); });
  return rates;
}

std::vector<method_row> methods_of(const between& two) {
  const auto& page = two.now();
  std::map<std::string, method_row> rows;
  for (const auto* each : page.all("portcullis_requests_total")) {
    const double grown = two.growth(*each) / two.seconds();
    if (!(grown > 0)) continue;
    auto& row = rows[std::string(each->label("method"))];
    row.rate += grown;
    if (each->label("error") != "none") row.errors += grown;
  }
  std::vector<method_row> out;
  for (auto& [method, row] : rows) {
    const std::array only = {metric_label{"method", method}};
    const auto buckets = two.bucket_growth("portcullis_request_duration_seconds", only);
    row.method = method;
    row.p50 = quantile(buckets, 0.5);
    row.p99 = quantile(buckets, 0.99);
    out.push_back(std::move(row));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return a.rate > b.rate; });
  return out;
}

using breaker_key = std::pair<std::string, std::string>;
breaker_key key_of(const metric_sample& of) {
  return {std::string(of.label("service")), std::string(of.label("breaker"))};
}

/// Adds `to` what each series of a name says of its breaker.
template <class Take>
void each_breaker(const between& two, std::string_view name, std::map<breaker_key, breaker_row>& to,
                  Take take) {
  for (const auto* each : two.now().all(name))
    if (const auto at = to.find(key_of(*each)); at != to.end()) take(at->second, *each);
}

/// What needs a person's eye first: what rejects calls, then what has just changed.
auto order_of(const breaker_row& row) {
  constexpr std::array states = {"forced_open",  "open",     "half_open",
                                 "metrics_only", "disabled", "closed"};
  const auto at = std::find(states.begin(), states.end(), row.state) - states.begin();
  return std::make_tuple(at, row.in_state_s.value_or(1e18));
}

std::vector<breaker_row> breakers_of(const between& two, double unix_s) {
  std::map<breaker_key, breaker_row> rows;
  for (const auto* each : two.now().all("circuit_breaker_state_active")) {
    if (each->value != 1) continue;
    auto& row = rows[key_of(*each)];
    std::tie(row.service, row.breaker) = key_of(*each);
    row.source = each->label("source");
    row.state = each->label("state");
  }
  each_breaker(two, "circuit_breaker_failure_ratio", rows,
               [](auto& row, const auto& each) { row.failure_ratio = without_nan(each.value); });
  each_breaker(two, "circuit_breaker_slow_ratio", rows,
               [](auto& row, const auto& each) { row.slow_ratio = without_nan(each.value); });
  each_breaker(two, "circuit_breaker_last_transition_timestamp_seconds", rows,
               [&](auto& row, const auto& each) {
                 if (each.value > 0) row.in_state_s = std::max(0.0, unix_s - each.value);
               });
  each_breaker(two, "circuit_breaker_override_info", rows,
               [](auto& row, const auto& each) { row.overridden |= each.value == 1; });
  each_breaker(two, "circuit_breaker_requests_total", rows, [&](auto& row, const auto& each) {
    auto& sum = each.label("result") == "rejected" ? row.rejected : row.calls;
    sum = sum.value_or(0) + two.growth(each) / two.seconds();
  });
  std::vector<breaker_row> out;
  for (auto& [key, row] : rows) out.push_back(std::move(row));
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return order_of(a) < order_of(b); });
  return out;
}

void add_store(const between& two, overview& out) {
  const auto& page = two.now();
  out.store_degraded = page.value("portcullis_store_degraded");
  out.store_errors = two.rate("portcullis_store_errors_total");
  out.appends = two.rate("portcullis_event_log_appends_total");
  out.queue = page.value("portcullis_event_log_queue");
  out.log_bytes = page.value("portcullis_event_log_bytes");
  const auto commits = two.bucket_growth("portcullis_event_log_commit_seconds");
  out.commit_p50 = quantile(commits, 0.5);
  out.commit_p99 = quantile(commits, 0.99);
  out.nodes = page.value("portcullis_fleet_nodes");
  out.staleness_s = without_nan(page.value("portcullis_fleet_staleness_seconds"));
  out.fleet_in_flight = page.value("portcullis_fleet_in_flight");
  out.refused = two.rate("portcullis_fleet_refused_total");
  out.shared_store_degraded = page.value("breaker_shared_store_degraded");
}

void add_doors(const between& two, overview& out) {
  const auto& page = two.now();
  for (const auto* each : page.all("portcullis_connections"))
    out.connections[std::string(each->label("listener"))] += each->value;
  out.rejections = two.rate("portcullis_connection_rejections_total");
  out.in_flight = page.value("portcullis_requests_in_flight");
  const auto lag = two.bucket_growth("portcullis_loop_lag_seconds");
  out.lag_p50 = quantile(lag, 0.5);
  out.lag_p99 = quantile(lag, 0.99);
  out.subscribers = page.value("portcullis_subscribers");
  out.subscriber_drops = two.rate("portcullis_subscriber_drops_total");
  out.log_dropped = two.rate("portcullis_log_dropped_total");
  out.log_write_errors = two.rate("portcullis_log_write_errors_total");
  const auto level = [&](std::string_view name) {
    const std::array only = {metric_label{"level", name}};
    return two.rate("portcullis_log_messages_total", only);
  };
  out.log_warnings = level("warn");
  out.log_errors = level("error");
  out.reload_ok = page.value("portcullis_config_last_reload_success");
}

void add_process(const between& two, overview& out) {
  const auto& page = two.now();
  if (const auto started = page.value("process_start_time_seconds"))
    out.uptime_s = std::max(0.0, out.unix_s - *started);
  out.cpu = two.rate("process_cpu_seconds_total");
  out.memory_bytes = page.value("process_resident_memory_bytes");
  out.descriptors = page.value("process_open_fds");
  out.descriptors_max = page.value("process_max_fds");
  if (const auto builds = page.all("portcullis_build_info"); !builds.empty()) {
    out.version = builds.front()->label("version");
    out.revision = builds.front()->label("revision");
  }
}

}  // namespace

overview make_overview(const scrape& before, const scrape& after) {
  const between two(before, after);
  const auto& page = two.now();
  overview out;
  out.interval_s = two.seconds();
  out.unix_s = after.unix_s;
  out.restarted = two.restarted();
  out.validations = two.rates_by("portcullis_validations_total", "result");
  out.methods = methods_of(two);
  out.errors = that_came(two.rates_by("portcullis_requests_total", "error"));
  out.errors.erase("none");
  out.sessions = page.value("portcullis_sessions");
  out.created = two.rate("portcullis_sessions_created_total");
  out.ended = two.rates_by("portcullis_sessions_ended_total", "reason");
  out.failed_attempts = two.rate("portcullis_failed_attempts_total");
  out.reuse = two.rate("portcullis_session_reuse_detected_total");
  out.users_locked = page.value("portcullis_lockouts_active");
  out.lockouts = two.rate("portcullis_lockouts_total");
  out.users_in_doubt = page.value("portcullis_users_in_doubt");
  out.breakers = breakers_of(two, after.unix_s);
  add_store(two, out);
  add_doors(two, out);
  add_process(two, out);
  return out;
}

}  // namespace portcullis::apps
