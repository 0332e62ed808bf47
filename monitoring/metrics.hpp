// The registry: set to the sum over all owners' tallies at a scrape, and rendered as text. Fed in
// no hot path.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/limits.hpp"
#include "core/result.hpp"
#include "monitoring/tallies.hpp"

namespace portcullis::monitoring {

/// Whether `name` can be a constant label: a label name of Prometheus ([a-zA-Z_][a-zA-Z0-9_]*, not
/// beginning with two underscores) that no metric uses itself.
[[nodiscard]] bool is_constant_label(std::string_view name);

struct metrics_options {
  std::string version, revision;                                    // of the build
  std::map<std::string, std::string, std::less<>> constant_labels;  // on every series
  std::uint32_t breakers_max = core::limits::breaker_series_max;    // with series of their own
};

/// One owner, one thread at a time; not a loop's thread, as a render takes milliseconds. There is
/// no way to hand in a label value but the names of breakers, under their cap: each other series'
/// labels are a row of the table and an index into its known values.
class metrics {
 public:
  /// CONFIG_INVALID (field "metrics.labels"): a constant label that cannot be one.
  [[nodiscard]] static core::result<std::unique_ptr<metrics>> create(
      const metrics_options& options);
  ~metrics();
  metrics(const metrics&) = delete;
  metrics& operator=(const metrics&) = delete;

  /// Sets every metric to the sum over owners, and reads the process's own. Counters never
  /// decrease: an owner of another incarnation, or any of whose counters went back, counts as one
  /// that started at zero.
  void update(const snapshot& now);

  /// The text exposition format 0.0.4 of the last update.
  [[nodiscard]] std::string render() const;

 private:
  struct registry;
  explicit metrics(std::unique_ptr<registry> made);
  std::unique_ptr<registry> registry_;
};

/// The Content-Type of render().
inline constexpr std::string_view metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace portcullis::monitoring
