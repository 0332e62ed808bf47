// All that `portcullis top` shows of a node, as numbers.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/metrics_page/between.hpp"

namespace portcullis::apps {

/// Absent: the node does not serve such a metric, or nothing was observed.
using reading = std::optional<double>;
using latency = std::optional<quantile_value>;

struct method_row {
  std::string method;
  double rate = 0, errors = 0;  // a second; `rate` has both
  latency p50, p99;
};

struct breaker_row {
  std::string service, breaker, source, state;
  reading failure_ratio, slow_ratio;  // absent: too few calls, or it is observed
  reading in_state_s;                 // absent: no change of state was seen yet
  reading calls, rejected;            // a second
  bool overridden = false;
  [[nodiscard]] bool closed() const { return state == "closed"; }
};

/// Rates are a second over `interval_s`; latencies and lengths of time in seconds; sizes in bytes.
struct overview {
  double interval_s = 0, unix_s = 0;
  bool restarted = false;
  std::string version, revision;
  reading uptime_s;

  std::map<std::string, double> validations;  // by result
  std::vector<method_row> methods;            // busy ones first, those without calls not at all
  std::map<std::string, double> errors;       // by name, those that came

  reading sessions, created, failed_attempts, reuse;
  std::map<std::string, double> ended;  // by reason
  reading users_locked, lockouts, users_in_doubt;

  std::vector<breaker_row> breakers;  // not closed ones first, those that are so for long last

  reading store_degraded, store_errors, appends, queue, log_bytes;
  latency commit_p50, commit_p99;

  reading nodes, staleness_s, fleet_in_flight, refused, shared_store_degraded;

  std::map<std::string, double> connections;  // open now, by listener
  reading rejections, in_flight;
  latency lag_p50, lag_p99;

  reading subscribers, subscriber_drops;
  reading log_dropped, log_write_errors, log_warnings, log_errors;
  reading reload_ok;

  reading cpu, memory_bytes, descriptors, descriptors_max;  // cpu: of one core
};

/// What lies between two scrapes, and what the later one says of now.
[[nodiscard]] overview make_overview(const scrape& before, const scrape& after);

/// It as one JSON object in ASCII without a line break; numbers that are not there are null.
[[nodiscard]] std::string overview_json(const overview& of);

}  // namespace portcullis::apps
