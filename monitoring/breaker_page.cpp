// What breakers show: the families circuit_breaker_* of a page.
#include <prometheus/metric_family.h>

#include <algorithm>
#include <limits>

#include "monitoring/breaker_series.hpp"

namespace portcullis::monitoring {
namespace {

using core::breaker_kind;
using core::breaker_state;
using core::breaker_state_names;
using prometheus::ClientMetric;
using prometheus::MetricFamily;

constexpr double ms_per_second = 1000;

double in_seconds(core::millis ms) { return static_cast<double>(ms) / ms_per_second; }

}  // namespace

/// A breaker with series of its own, or all of one kind that have none.
struct breaker_series::target {
  std::string_view service, breaker;
  breaker_kind kind;
  const core::breaker_tallies* shown;
  const breaker_reading* now;  // null: of many
};

/// One row's series under way.
struct breaker_series::family {
  const metric_row& row;
  const std::vector<std::pair<std::string, std::string>>& constant;
  std::vector<std::size_t> order;  // of the row's labels by name, as the registry has them
  MetricFamily made;

  /// A series; `values` in the order of the row's labels, but source, which is the target's kind.
  ClientMetric& add(const target& of, std::initializer_list<std::string_view> values) {
    auto& series = made.metric.emplace_back();
    series.label.reserve(constant.size() + order.size());
    for (const auto& [name, value] : constant) series.label.push_back({name, value});
    for (const auto i : order) {
      const auto& label = row.labels[i];
      const auto own = label.name == "service"   ? of.service
                       : label.name == "breaker" ? of.breaker
                       : label.name == "source"  ? to_string(of.kind)
                                                 : values.begin()[i - first_own];
      series.label.push_back({std::string(label.name), std::string(own)});
    }
    return series;
  }
  void count(const target& of, std::initializer_list<std::string_view> values,
             std::uint64_t value) {
    add(of, values).counter.value = static_cast<double>(value);
  }
  void level(const target& of, std::initializer_list<std::string_view> values, double value) {
    add(of, values).gauge.value = value;
  }
  template <std::size_t N>
  void counts(const target& of, const std::array<std::string_view, N>& names,
              const std::array<std::uint64_t, N>& values) {
    for (std::size_t i = 0; i < N; ++i) count(of, {names[i]}, values[i]);
  }

  std::size_t first_own = 0;  // the first label after those that say which breaker
};

breaker_series::family breaker_series::begin(metric id) const {
  const auto& row = metrics_table()[static_cast<std::size_t>(id)];
  family to{row, constant_, {}, {}};
  for (std::size_t i = 0; i < row.labels.size(); ++i) {
    to.order.push_back(i);
    const auto name = row.labels[i].name;
    if (name == "service" || name == "breaker" || name == "source") to.first_own = i + 1;
  }
  std::sort(to.order.begin(), to.order.end(),
            [&](std::size_t a, std::size_t b) { return row.labels[a].name < row.labels[b].name; });
  to.made.name = row.name;
  to.made.help = row.help;
  switch (row.type) {
    case metric_type::counter:
      to.made.type = prometheus::MetricType::Counter;
      break;
    case metric_type::gauge:
      to.made.type = prometheus::MetricType::Gauge;
      break;
    case metric_type::histogram:
      to.made.type = prometheus::MetricType::Histogram;
      break;
  }
  return to;
}

std::vector<breaker_series::target> breaker_series::targets() const {
  std::vector<target> all;
  for (const auto& of : shards_)
    for (const auto& [number, each] : of.lives)
      if (each.own)
        all.push_back(
            {each.last.service, each.last.breaker, each.last.kind, &each.shown, &each.last});
  for (std::size_t kind = 0; kind < overflow_.size(); ++kind)
    if (overflowed_[kind])
      all.push_back({overflow_label, overflow_label, static_cast<breaker_kind>(kind),
                     &overflow_[kind], nullptr});
  return all;
}

void breaker_series::append_states(const std::vector<target>& from,
                                   std::vector<MetricFamily>& to) const {
  auto state = begin(metric::breaker_state), active = begin(metric::breaker_state_active),
       failures = begin(metric::breaker_failure_ratio), slow = begin(metric::breaker_slow_ratio),
       changed = begin(metric::breaker_last_transition),
       overridden = begin(metric::breaker_override_info),
       reported = begin(metric::breaker_observed_last_report);
  constexpr auto unknown = std::numeric_limits<double>::quiet_NaN();
  for (const auto& each : from) {
    if (each.now == nullptr) continue;
    const auto& now = *each.now;
    state.level(each, {}, static_cast<double>(now.state));
    for (std::size_t i = 0; i < breaker_state_names.size(); ++i)
      active.level(each, {breaker_state_names[i]},
                   static_cast<std::size_t>(now.state) == i ? 1 : 0);
    failures.level(each, {}, now.failure_ratio.value_or(unknown));
    slow.level(each, {}, now.slow_ratio.value_or(unknown));
    changed.level(each, {}, in_seconds(each.shown->last_transition_at_ms));
    if (now.overridden)
      overridden.level(each, {to_string(now.state), to_string(*now.overridden)}, 1);
    if (each.kind == breaker_kind::observed)
      reported.level(each, {}, in_seconds(each.shown->last_report_at_ms));
  }
  for (auto* each : {&state, &active, &failures, &slow, &changed, &overridden, &reported})
    to.push_back(std::move(each->made));
}

void breaker_series::append_calls(const std::vector<target>& from,
                                  std::vector<MetricFamily>& to) const {
  auto requests = begin(metric::breaker_requests), errors = begin(metric::breaker_errors);
  for (const auto& each : from) {
    requests.counts(each, core::call_result_names, each.shown->calls.by_result);
    errors.counts(each, core::call_error_names, each.shown->errors);
  }
  to.push_back(std::move(requests.made));
  to.push_back(std::move(errors.made));
}

void breaker_series::append_durations(const std::vector<target>& from,
                                      std::vector<MetricFamily>& to) const {
  auto durations = begin(metric::breaker_request_duration);
  auto open = begin(metric::breaker_open_seconds);
  for (const auto& each : from) {
    open.add(each, {}).counter.value = in_seconds(each.shown->open_ms);
    auto& histogram = durations.add(each, {}).histogram;
    for (std::size_t i = 0; i < core::duration_bucket_count; ++i) {
      histogram.sample_count += each.shown->durations[i];
      const auto bound = i < core::call_duration_bounds_ms.size()
                             ? in_seconds(core::call_duration_bounds_ms[i])
                             : std::numeric_limits<double>::infinity();
      histogram.bucket.push_back({histogram.sample_count, bound});
    }
    histogram.sample_sum = static_cast<double>(each.shown->duration_sum_ms) / ms_per_second;
  }
  to.push_back(std::move(durations.made));
  to.push_back(std::move(open.made));
}

void breaker_series::append_transitions(const std::vector<target>& from,
                                        std::vector<MetricFamily>& to) const {
  auto transitions = begin(metric::breaker_transitions);
  for (const auto& each : from) {
    const auto kept = std::span(each.shown->transitions);
    const auto add = [&](const core::breaker_tallies::transition& one) {
      transitions.count(each, {to_string(one.from), to_string(one.to), to_string(one.cause)},
                        one.count);
    };
    for (const auto& one : kept) add(one);
    for (const auto& usual : usual_transitions(each.kind))
      if (std::none_of(kept.begin(), kept.end(), [&](const auto& one) {
            return one.from == usual.from && one.to == usual.to && one.cause == usual.cause;
          }))
        add({usual.from, usual.to, usual.cause, 0});
  }
  to.push_back(std::move(transitions.made));
}

void breaker_series::append_reports(const std::vector<target>& from,
                                    std::vector<MetricFamily>& to) const {
  auto permits = begin(metric::breaker_permits);
  auto rejected = begin(metric::breaker_observed_reports_rejected);
  for (const auto& each : from) {
    const auto& tallies = *each.shown;
    const bool many = each.now == nullptr;
    if (many || each.kind == breaker_kind::hosted)
      permits.counts(each, core::permit_outcome_names, tallies.permits);
    // A hosted one refuses reports of many calls, which is rare.
    const auto& refusals = tallies.reports_rejected;
    if (many || each.kind == breaker_kind::observed ||
        std::any_of(refusals.begin(), refusals.end(), [](auto count) { return count > 0; }))
      rejected.counts(each, core::report_refusal_names, refusals);
  }
  to.push_back(std::move(permits.made));
  to.push_back(std::move(rejected.made));
}

void breaker_series::append_to(std::vector<MetricFamily>& page) const {
  auto all = targets();
  append_states(all, page);
  append_calls(all, page);
  append_transitions(all, page);
  // The others have no label `source`: what has no series of its own is one, whatever its kind.
  core::breaker_tallies both;
  if (overflowed_[0] && overflowed_[1]) {
    both = sum_of(overflow_[0], overflow_[1]);
    all.pop_back();
    all.back().shown = &both;
  }
  append_durations(all, page);
  append_reports(all, page);
}

}  // namespace portcullis::monitoring
