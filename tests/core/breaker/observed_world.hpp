// An observed breaker and the sources that report to it; what its tests are written with.
#pragma once
#include "core/breaker/observed.hpp"
#include "world.hpp"

namespace portcullis::core::breaker_tests {

struct sent {
  std::uint64_t seq = 1;
  call_counts counts = {};
  breaker_state state = breaker_state::closed;
  std::optional<observe_breaker::transition> changed = std::nullopt;
  std::string source = "app";
  std::uint64_t source_epoch = 100;
  std::optional<duration_buckets> durations = std::nullopt;
};

class observed_world {
 public:
  millis now_ms = start_ms;
  std::vector<event_body> events;
  observed_breaker breaker{"payments", "default", start_ms};

  observed_breaker* operator->() { return &breaker; }
  result<report_observed> send(const sent& what) {
    observe_breaker report;
    report.source = what.source;
    report.source_epoch = what.source_epoch;
    report.seq = what.seq;
    report.state = what.state;
    report.calls = std::make_shared<reported_calls>(reported_calls{what.counts, what.durations});
    report.changed = what.changed;
    return breaker.observe(report, now_ms, events);
  }
  bool accepted(const sent& what) {
    const auto answer = send(what);
    return answer && answer->accepted && !answer->duplicate;
  }
  bool duplicate(const sent& what) {
    const auto answer = send(what);
    return answer && !answer->accepted && answer->duplicate;
  }
  std::optional<error_code> refused(const sent& what) {
    const auto answer = send(what);
    return answer ? std::nullopt : std::optional(answer.error().code);
  }
  [[nodiscard]] std::uint64_t refusals(report_refusal why) const {
    return breaker.tallies().reports_rejected[static_cast<std::size_t>(why)];
  }
  /// The transitions told, as "closed>open".
  [[nodiscard]] std::string path() const {
    std::string out;
    for (const auto& each : events) {
      if (!out.empty()) out += ' ';
      std::visit(
          [&](const auto& what) {
            if constexpr (requires { what.from, what.to; }) {
              out.append(to_string(what.from)).append(1, '>');
              if (what.to)
                out.append(to_string(*what.to));
              else
                out.append(to_string(static_cast<event_type>(each.index())).substr(8));
            }
          },
          each);
    }
    return out;
  }
};

inline observe_breaker::transition change(breaker_state from, breaker_state to,
                                          millis at_ms = start_ms) {
  return {from, to, at_ms};
}

}  // namespace portcullis::core::breaker_tests
