// The judgement of `portcullis check`, in the form that monitoring systems read
// (https://www.monitoring-plugins.org/doc/guidelines.html).
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "apps/metrics_page/page.hpp"
#include "apps/metrics_page/thresholds.hpp"

namespace portcullis::apps {

/// In the order of their exit statuses.
enum class verdict : std::uint8_t { ok, warning, critical, unknown };
/// As monitoring systems write it: OK, WARNING, CRITICAL, UNKNOWN.
[[nodiscard]] std::string_view to_string(verdict of) noexcept;
/// The worse of two: critical, warning, unknown, ok.
[[nodiscard]] verdict worse(verdict a, verdict b) noexcept;

/// What was found of one name. `text` is a line without a full stop.
struct finding {
  verdict is = verdict::ok;
  std::string name, text;
  std::string perfdata;  // empty: there is no number
};

/// What was heard of a node, and by when.
struct heard {
  std::optional<double> ping_ms;
  std::optional<metrics_page> page;
  double unix_s = 0;
};

/// One finding a row of the table that the node says something of, in the table's order. A metric
/// that it does not serve is not judged, nor is what does not concern it: a certificate without
/// TLS; nodes and staleness of a node alone, but for `nodes` with a limit of the user's.
/// `only`: names to judge; empty: all.
[[nodiscard]] std::vector<finding> judge(const heard& of, const thresholds& by,
                                         const std::set<std::string, std::less<>>& only);

/// Whether a warning makes the whole one: `told` ones stand in the text alone.
enum class warnings : std::uint8_t { counted, told };

/// The worst by worse(); ok where nothing was found.
[[nodiscard]] verdict worst_of(const std::vector<finding>& all,
                               warnings are = warnings::counted) noexcept;
/// The first line with worst_of(), what is wrong and the perfdata, then a line a finding. What a
/// server said is without line breaks, controls and vertical bars.
[[nodiscard]] std::string plugin_output(const std::vector<finding>& all,
                                        warnings are = warnings::counted);

}  // namespace portcullis::apps
