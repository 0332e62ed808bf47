// Writes docs/metrics.md from the table.
#include <fmt/format.h>

#include "core/tallies.hpp"
#include "monitoring/metrics_table.hpp"

namespace portcullis::monitoring {
namespace {

std::string values_text(const metric_label& label) {
  if (label.source == label_source::build) return "from the build";
  if (label.source == label_source::breaker) return "each breaker's";
  if (label.name == "method") return "the methods of the contract, `unknown`";
  if (label.name == "error" && label.values.back() == "none")
    return "the names of docs/errors.md, `none`";
  std::string text;
  for (const auto value : label.values)
    text += fmt::format("{}`{}`", text.empty() ? "" : ", ", value);
  return text;
}

std::string labels_text(const metric_row& row) {
  std::string text;
  for (const auto& label : row.labels)
    text += fmt::format("{}`{}`: {}", text.empty() ? "" : "; ", label.name, values_text(label));
  return text;
}

}  // namespace

std::string metrics_reference() {
  std::string page =
      "# Metrics\n\n"
      "Generated from `monitoring/metrics_table.cpp` by `portcullis docs metrics`; do not edit.\n\n"
      "`/metrics` on the HTTP listener serves these in Prometheus' text format. Times are in "
      "seconds. Series of known label values exist, at zero, from the start; of "
      "`portcullis_requests_total`, those that any method can reach; of a breaker, from its first "
      "call, and of its transitions those of an ordinary life. No label value comes from a client "
      "but the names of breakers: `metrics.breakers_max` of them have series of their own, all "
      "others are summed under service and breaker `__overflow__`, without gauges. A breaker that "
      "is retired loses its series, and makes room for another. `metrics.labels` adds constant "
      "labels to every series. Counters of an owner that "
      "restarts go on from where they were; what it counted since the last scrape is lost.\n\n"
      "| name | type | labels | what it says | fed by |\n|---|---|---|---|---|\n";
  for (const auto& row : metrics_table())
    page += fmt::format("| `{}` | {} | {} | {} | {} |\n", row.name, to_string(row.type),
                        labels_text(row), row.help, row.fed_by);
  page += "\nBuckets of `circuit_breaker_request_duration_seconds`, upper bounds in seconds:";
  for (const auto bound : core::call_duration_bounds_ms)
    page += fmt::format(" {}", static_cast<double>(bound) / 1e3);
  page += ", and +Inf. Of every other histogram:";
  for (const auto bound : core::duration_bounds_ns)
    page += fmt::format(" {}", static_cast<double>(bound) / 1e9);
  page += ", and +Inf.\n";
  return page;
}

}  // namespace portcullis::monitoring
