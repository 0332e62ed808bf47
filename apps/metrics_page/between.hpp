// What happened between two scrapes of one node: rates of counters and quantiles of histograms.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "apps/metrics_page/page.hpp"

namespace portcullis::apps {

/// A page and when it was asked for.
struct scrape {
  metrics_page page;
  double at_s = 0;    // of a clock that is never set, in seconds
  double unix_s = 0;  // of the system's clock
};

/// `over`: it lies beyond the last bound, which `seconds` then is.
struct quantile_value {
  double seconds = 0;
  bool over = false;
};

/// The later page compared with the earlier one, which must both outlive it. A counter that went
/// back, and all of them after a restart of the process, count from zero, as in Prometheus.
class between {
 public:
  between(const scrape& before, const scrape& after);

  /// The time between them, more than 0.
  [[nodiscard]] double seconds() const noexcept { return seconds_; }
  /// The process that answered is not the one that answered before.
  [[nodiscard]] bool restarted() const noexcept { return restarted_; }
  [[nodiscard]] const metrics_page& now() const noexcept { return after_.page; }

  /// By how much one counter grew.
  [[nodiscard]] double growth(const metric_sample& counter) const;
  /// A second, all series of a name with these labels together; nothing without such a series.
  [[nodiscard]] std::optional<double> rate(std::string_view name,
                                           std::span<const metric_label> labels = {}) const;
  /// A second, by the value of one label; empty where there is no such metric.
  [[nodiscard]] std::map<std::string, double> rates_by(std::string_view name,
                                                       std::string_view label) const;

  /// The upper bounds of a histogram and how many observations came at most so high.
  using buckets = std::map<double, double>;
  [[nodiscard]] buckets bucket_growth(std::string_view histogram,
                                      std::span<const metric_label> labels = {}) const;

 private:
  const scrape& before_;
  const scrape& after_;
  double seconds_;
  bool restarted_;
};

/// The value that the part `q` (0 to 1) of the observations is at most, interpolated in its bucket
/// as histogram_quantile() of Prometheus does; nothing without observations.
[[nodiscard]] std::optional<quantile_value> quantile(const between::buckets& of, double q);

}  // namespace portcullis::apps
