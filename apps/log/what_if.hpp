// `portcullis what-if`: the log of a stopped node, replayed under another policy.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "apps/log/source.hpp"
#include "core/replay/what_if_report.hpp"

namespace portcullis::apps {

struct what_if_order {
  std::vector<std::string> sets;  // section.key=value
  log_moment from, to;            // what is counted; both ends included
  /// Where given, hears how many events of how many are read, every few thousand.
  std::function<void(std::uint64_t, std::uint64_t)> progress;
};

/// A value that differs between the policy of the log and the one tried, as JSON.
struct policy_difference {
  std::string key, recorded, other;
  friend bool operator==(const policy_difference&, const policy_difference&) = default;
};

struct what_if_result {
  core::what_if_report report;
  std::vector<policy_difference> tried;  // over all policies that the log has
  std::uint64_t events = 0, first_seq = 0, last_seq = 0;
  core::millis first_ms = 0, last_ms = 0;
  std::map<core::subject_id, std::string> users;  // of the examples, where not forgotten
  std::string why;                                // set: what stopped it; nothing else counts
  bool bad_order = false;                         // `why` is about the order's settings
};
[[nodiscard]] what_if_result run_what_if(log_source& from, const what_if_order& order);

/// A JSON object: docs/what_if.md.
[[nodiscard]] std::string what_if_json(const what_if_result& of);
/// For people; lines end with LF.
[[nodiscard]] std::string what_if_table(const what_if_result& of);

}  // namespace portcullis::apps
