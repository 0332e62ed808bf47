// What breakers show: the families circuit_breaker_* of a page. Written here, as some 25,000 series
// through prometheus-cpp's serializer take a tenth of a second.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "monitoring/breaker_series.hpp"

namespace portcullis::monitoring {
namespace {

using core::breaker_kind;
using core::breaker_state;
using core::breaker_state_names;

constexpr double ms_per_second = 1000, unknown = std::numeric_limits<double>::quiet_NaN();

double in_seconds(core::millis ms) { return static_cast<double>(ms) / ms_per_second; }

void append_number(std::string& out, std::uint64_t value) {
  fmt::format_to(std::back_inserter(out), "{}", value);
}
void append_number(std::string& out, double value) {
  if (std::isnan(value))
    out += "NaN";
  else if (std::isinf(value))
    out += value > 0 ? "+Inf" : "-Inf";
  else
    fmt::format_to(std::back_inserter(out), "{}", value);
}

}  // namespace

// https://prometheus.io/docs/instrumenting/exposition_formats/#comments-help-text-and-type-information
std::string breaker_series::escaped(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? std::string_view("\\n") : std::string_view(&c, 1);
  }
  return text;
}

/// A breaker with series of its own, or all of one kind that have none.
struct breaker_series::target {
  std::string service, breaker;  // escaped
  breaker_kind kind;
  const core::breaker_tallies* shown;
  const breaker_reading* now;  // null: of many
};

/// Writes one row's series, after each other.
class breaker_series::family {
 public:
  family(metric id, std::string_view constant, std::string& to)
      : row_(metrics_table()[static_cast<std::size_t>(id)]), constant_(constant), to_(to) {
    for (std::size_t i = 0; i < row_.labels.size(); ++i) {
      order_.push_back(i);
      const auto name = row_.labels[i].name;
      if (name == "service" || name == "breaker" || name == "source") first_own_ = i + 1;
    }
    // As the registry has them.
    std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      return row_.labels[a].name < row_.labels[b].name;
    });
    fmt::format_to(std::back_inserter(to), "# HELP {0} {1}\n# TYPE {0} {2}\n", row_.name, row_.help,
                   to_string(row_.type));
  }

  /// A series; `values` in the order of the row's labels that do not say which breaker.
  template <class Number>
  void add(const target& of, std::initializer_list<std::string_view> values, Number value,
           std::string_view suffix = {}, std::string_view bound = {}) {
    to_.append(row_.name).append(suffix).append(1, '{').append(constant_);
    for (const auto i : order_) {
      const auto name = row_.labels[i].name;
      if (to_.back() != '{') to_ += ',';
      to_.append(name).append("=\"");
      to_.append(name == "service"   ? std::string_view(of.service)
                 : name == "breaker" ? std::string_view(of.breaker)
                 : name == "source"  ? to_string(of.kind)
                                     : values.begin()[i - first_own_]);
      to_ += '"';
    }
    if (!bound.empty()) to_.append(",le=\"").append(bound).append(1, '"');
    to_ += "} ";
    append_number(to_, value);
    to_ += '\n';
  }
  template <std::size_t N>
  void counts(const target& of, const std::array<std::string_view, N>& names,
              const std::array<std::uint64_t, N>& values) {
    for (std::size_t i = 0; i < N; ++i) add(of, {names[i]}, values[i]);
  }

 private:
  const metric_row& row_;
  std::string_view constant_;
  std::string& to_;
  std::vector<std::size_t> order_;  // of the labels, by name
  std::size_t first_own_ = 0;
};

std::vector<breaker_series::target> breaker_series::targets() const {
  std::vector<target> all;
  for (const auto& of : shards_)
    for (const auto& [number, each] : of.lives)
      if (each.own)
        all.push_back({escaped(each.last.service), escaped(each.last.breaker), each.last.kind,
                       &each.shown, &each.last});
  for (std::size_t kind = 0; kind < overflow_.size(); ++kind)
    if (overflowed_[kind])
      all.push_back({std::string(overflow_label), std::string(overflow_label),
                     static_cast<breaker_kind>(kind), &overflow_[kind], nullptr});
  return all;
}

/// Each in turn, so that all is appended in one go.
template <class Write>
void breaker_series::append_row(metric id, std::span<const target> of, std::string& to,
                                Write&& write) const {
  family row(id, constant_, to);
  for (const auto& each : of) write(row, each);
}

void breaker_series::append_levels(std::span<const target> of, std::string& to) const {
  append_row(metric::breaker_state, of, to, [](family& row, const target& each) {
    row.add(each, {}, static_cast<double>(each.now->state));
  });
  append_row(metric::breaker_state_active, of, to, [](family& row, const target& each) {
    for (std::size_t i = 0; i < breaker_state_names.size(); ++i)
      row.add(each, {breaker_state_names[i]},
              static_cast<std::size_t>(each.now->state) == i ? 1.0 : 0.0);
  });
  append_row(metric::breaker_failure_ratio, of, to, [](family& row, const target& each) {
    row.add(each, {}, each.now->failure_ratio.value_or(unknown));
  });
  append_row(metric::breaker_slow_ratio, of, to, [](family& row, const target& each) {
    row.add(each, {}, each.now->slow_ratio.value_or(unknown));
  });
  append_row(metric::breaker_last_transition, of, to, [](family& row, const target& each) {
    row.add(each, {}, in_seconds(each.shown->last_transition_at_ms));
  });
  append_row(metric::breaker_override_info, of, to, [](family& row, const target& each) {
    const auto& now = *each.now;
    if (now.overridden) row.add(each, {to_string(now.state), to_string(*now.overridden)}, 1.0);
  });
  append_row(metric::breaker_observed_last_report, of, to, [](family& row, const target& each) {
    if (each.kind == breaker_kind::observed)
      row.add(each, {}, in_seconds(each.shown->last_report_at_ms));
  });
}

void breaker_series::append_calls(std::span<const target> of, std::string& to) const {
  append_row(metric::breaker_requests, of, to, [](family& row, const target& each) {
    row.counts(each, core::call_result_names, each.shown->calls.by_result);
  });
  append_row(metric::breaker_errors, of, to, [](family& row, const target& each) {
    row.counts(each, core::call_error_names, each.shown->errors);
  });
  append_row(metric::breaker_transitions, of, to, [](family& row, const target& each) {
    const auto& kept = each.shown->transitions;
    for (const auto& one : kept)
      row.add(each, {to_string(one.from), to_string(one.to), to_string(one.cause)}, one.count);
    for (const auto& usual : usual_transitions(each.kind))
      if (std::none_of(kept.begin(), kept.end(), [&](const auto& one) {
            return one.from == usual.from && one.to == usual.to && one.cause == usual.cause;
          }))
        row.add(each, {to_string(usual.from), to_string(usual.to), to_string(usual.cause)},
                std::uint64_t{0});
  });
}

void breaker_series::append_without_source(std::span<const target> of, std::string& to) const {
  std::array<std::string, core::duration_bucket_count> bounds;
  for (std::size_t i = 0; i < bounds.size(); ++i)
    bounds[i] = i < core::call_duration_bounds_ms.size()
                    ? fmt::format("{}", in_seconds(core::call_duration_bounds_ms[i]))
                    : "+Inf";
  append_row(metric::breaker_request_duration, of, to, [&](family& row, const target& each) {
    std::uint64_t within = 0;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      within += each.shown->durations[i];
      row.add(each, {}, within, "_bucket", bounds[i]);
    }
    row.add(each, {}, within, "_count");
    row.add(each, {}, static_cast<double>(each.shown->duration_sum_ms) / ms_per_second, "_sum");
  });
  append_row(metric::breaker_open_seconds, of, to, [](family& row, const target& each) {
    row.add(each, {}, in_seconds(each.shown->open_ms));
  });
  append_row(metric::breaker_permits, of, to, [](family& row, const target& each) {
    if (each.now == nullptr || each.kind == breaker_kind::hosted)
      row.counts(each, core::permit_outcome_names, each.shown->permits);
  });
  append_row(
      metric::breaker_observed_reports_rejected, of, to, [](family& row, const target& each) {
        // A hosted one refuses reports of many calls, which is rare.
        const auto& refusals = each.shown->reports_rejected;
        if (each.now == nullptr || each.kind == breaker_kind::observed ||
            std::any_of(refusals.begin(), refusals.end(), [](auto count) { return count > 0; }))
          row.counts(each, core::report_refusal_names, refusals);
      });
}

void breaker_series::append_to(std::string& page) const {
  constexpr std::size_t bytes_each = 8 * 1024;  // usually
  auto all = targets();
  const auto overflows = static_cast<std::size_t>(std::count_if(
      all.begin(), all.end(), [](const target& each) { return each.now == nullptr; }));
  page.reserve(page.size() + (all.size() + 1) * bytes_each);
  append_levels(std::span(all).first(all.size() - overflows), page);
  append_calls(all, page);
  // The others have no label `source`: what has no series of its own is one, whatever its kind.
  core::breaker_tallies both;
  if (overflows == 2) {
    both = sum_of(overflow_[0], overflow_[1]);
    all.pop_back();
    all.back().shown = &both;
  }
  append_without_source(all, page);
}

}  // namespace portcullis::monitoring
