// A page in Prometheus' text format 0.0.4, read strictly.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace portcullis::apps {

struct metric_label {
  std::string_view name, value;  // the value without its escapes
  friend bool operator==(const metric_label&, const metric_label&) = default;
};

/// One series and its value, which may be NaN or infinite. Views of the page.
struct metric_sample {
  std::string_view series;  // as written: name and labels
  std::string_view name;
  std::span<const metric_label> labels;
  double value = 0;
  /// Empty where there is none.
  [[nodiscard]] std::string_view label(std::string_view name) const noexcept;
  /// Whether it has all of these; it may have more, as metrics.labels adds.
  [[nodiscard]] bool has(std::span<const metric_label> wanted) const noexcept;
};

/// Movable; a sample's views live as long as the page that it was moved to.
class metrics_page {
 public:
  /// Comments and empty lines are skipped; a sample's timestamp is checked and left out. Nothing,
  /// and `why` with the line's number, when a line is none of the format
  /// (https://prometheus.io/docs/instrumenting/exposition_formats/), the last line has no LF, or a
  /// series comes twice.
  [[nodiscard]] static std::optional<metrics_page> parse(std::string text, std::string& why);

  /// All series of this name, in their order; none where there is no such metric.
  [[nodiscard]] std::vector<const metric_sample*> all(std::string_view name) const;
  /// Of the first series of this name with these labels; nothing without one.
  [[nodiscard]] std::optional<double> value(std::string_view name,
                                            std::span<const metric_label> labels = {}) const;
  /// Of all series of this name with these labels; nothing without one.
  [[nodiscard]] std::optional<double> sum(std::string_view name,
                                          std::span<const metric_label> labels = {}) const;
  /// The series that is written so.
  [[nodiscard]] const metric_sample* find(std::string_view series) const;
  /// How many series it has.
  [[nodiscard]] std::size_t size() const noexcept { return samples_.size(); }

 private:
  class reader;
  std::unique_ptr<const std::string> text_;  // what the views are of
  std::deque<std::string> unescaped_;        // label values that had escapes
  std::deque<std::vector<metric_label>> labels_;
  std::vector<metric_sample> samples_;
  std::unordered_map<std::string_view, std::vector<std::uint32_t>> by_name_;
  std::unordered_map<std::string_view, std::uint32_t> by_series_;
};

}  // namespace portcullis::apps
