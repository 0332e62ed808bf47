#include <cstdint>
#include <nlohmann/json.hpp>

#include "apps/metrics_page/overview.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::ordered_json;

json value_of(reading value) { return value ? json(*value) : json(); }
json value_of(latency value) { return value ? json(value->seconds) : json(); }

json methods_json(const overview& of) {
  auto rows = json::array();
  for (const auto& row : of.methods)
    rows.push_back({{"method", row.method},
                    {"rate", row.rate},
                    {"errors", row.errors},
                    {"p50_s", value_of(row.p50)},
                    {"p99_s", value_of(row.p99)}});
  return rows;
}

json breakers_json(const overview& of) {
  auto rows = json::array();
  for (const auto& row : of.breakers)
    rows.push_back({{"service", row.service},
                    {"breaker", row.breaker},
                    {"source", row.source},
                    {"state", row.state},
                    {"in_state_s", value_of(row.in_state_s)},
                    {"failure_ratio", value_of(row.failure_ratio)},
                    {"slow_ratio", value_of(row.slow_ratio)},
                    {"calls", value_of(row.calls)},
                    {"rejected", value_of(row.rejected)},
                    {"overridden", row.overridden}});
  return rows;
}

}  // namespace

std::string overview_json(const overview& of) {
  const json out = {
      {"at_ms", static_cast<std::int64_t>(of.unix_s * 1000)},
      {"interval_s", of.interval_s},
      {"version", of.version},
      {"revision", of.revision},
      {"uptime_s", value_of(of.uptime_s)},
      {"restarted", of.restarted},
      {"validations", of.validations},
      {"methods", methods_json(of)},
      {"errors", of.errors},
      {"sessions",
       {{"live", value_of(of.sessions)},
        {"created", value_of(of.created)},
        {"ended", of.ended},
        {"failed_attempts", value_of(of.failed_attempts)},
        {"reuse_detected", value_of(of.reuse)}}},
      {"lockouts",
       {{"users_locked", value_of(of.users_locked)},
        {"started", value_of(of.lockouts)},
        {"users_in_doubt", value_of(of.users_in_doubt)}}},
      {"breakers", breakers_json(of)},
      {"store",
       {{"degraded", value_of(of.store_degraded)},
        {"errors", value_of(of.store_errors)},
        {"appends", value_of(of.appends)},
        {"commit_p50_s", value_of(of.commit_p50)},
        {"commit_p99_s", value_of(of.commit_p99)},
        {"queue", value_of(of.queue)},
        {"log_bytes", value_of(of.log_bytes)}}},
      {"fleet",
       {{"nodes", value_of(of.nodes)},
        {"staleness_s", value_of(of.staleness_s)},
        {"in_flight", value_of(of.fleet_in_flight)},
        {"refused", value_of(of.refused)},
        {"shared_store_degraded", value_of(of.shared_store_degraded)}}},
      {"connections", of.connections},
      {"rejections", value_of(of.rejections)},
      {"requests_in_flight", value_of(of.in_flight)},
      {"loop_lag", {{"p50_s", value_of(of.lag_p50)}, {"p99_s", value_of(of.lag_p99)}}},
      {"events",
       {{"subscribers", value_of(of.subscribers)}, {"drops", value_of(of.subscriber_drops)}}},
      {"log",
       {{"dropped", value_of(of.log_dropped)},
        {"write_errors", value_of(of.log_write_errors)},
        {"warnings", value_of(of.log_warnings)},
        {"errors", value_of(of.log_errors)}}},
      {"config_reload_ok", value_of(of.reload_ok)},
      {"process",
       {{"cpu", value_of(of.cpu)},
        {"memory_bytes", value_of(of.memory_bytes)},
        {"open_fds", value_of(of.descriptors)},
        {"max_fds", value_of(of.descriptors_max)}}}};
  // ASCII alone: a label may have controls (U+009B) or turn the line around (U+202E), and it may be
  // read on a terminal. One that is not UTF-8 must not end the command.
  return out.dump(-1, ' ', true, json::error_handler_t::replace);
}

}  // namespace portcullis::apps
