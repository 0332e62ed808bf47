#include "apps/metrics_page/between.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace portcullis::apps {
namespace {

constexpr std::string_view start_time = "process_start_time_seconds";
constexpr double shortest_s = 1e-3;

std::optional<double> bound_of(std::string_view le) {
  if (le == "+Inf") return std::numeric_limits<double>::infinity();
  double bound = 0;
  const auto [end, failed] = std::from_chars(le.data(), le.data() + le.size(), bound);
  if (failed != std::errc{} || end != le.data() + le.size() || std::isnan(bound))
    return std::nullopt;
  return bound;
}

}  // namespace

between::between(const scrape& before, const scrape& after)
    : before_(before),
      after_(after),
      seconds_(std::max(after.at_s - before.at_s, shortest_s)),
      restarted_(before.page.value(start_time) != after.page.value(start_time)) {}

double between::growth(const metric_sample& counter) const {
  const auto* earlier = restarted_ ? nullptr : before_.page.find(counter.series);
  const double from = earlier == nullptr ? 0 : earlier->value;
  const double grown = counter.value >= from ? counter.value - from : counter.value;
  return std::isfinite(grown) ? grown : 0;
}

std::optional<double> between::rate(std::string_view name,
                                    std::span<const metric_label> labels) const {
  std::optional<double> total;
  for (const auto* each : now().all(name))
    if (each->has(labels)) total = total.value_or(0) + growth(*each);
  if (total) *total /= seconds_;
  return total;
}

std::map<std::string, double> between::rates_by(std::string_view name,
                                                std::string_view label) const {
  std::map<std::string, double> rates;
  for (const auto* each : now().all(name))
    rates[std::string(each->label(label))] += growth(*each) / seconds_;
  return rates;
}

between::buckets between::bucket_growth(std::string_view histogram,
                                        std::span<const metric_label> labels) const {
  buckets found;
  for (const auto* each : now().all(std::string(histogram) + "_bucket"))
    if (const auto bound = bound_of(each->label("le")); bound && each->has(labels))
      found[*bound] += growth(*each);
  return found;
}

std::optional<quantile_value> quantile(const between::buckets& of, double q) {
  if (of.size() < 2 || !std::isinf(of.rbegin()->first)) return std::nullopt;
  const double all = of.rbegin()->second;
  if (!(all > 0)) return std::nullopt;
  const double rank = q * all;
  double below_bound = 0, below_count = 0;
  for (const auto& [bound, count] : of) {
    if (count < rank) {
      below_bound = bound;
      below_count = count;
      continue;
    }
    if (std::isinf(bound)) return quantile_value{below_bound, true};
    if (count <= below_count) return quantile_value{bound, false};
    const double part = (rank - below_count) / (count - below_count);
    return quantile_value{below_bound + (bound - below_bound) * part, false};
  }
  return std::nullopt;  // counts that do not add up
}

}  // namespace portcullis::apps
