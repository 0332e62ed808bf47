// Numbers, and what a server says, as a terminal shows them.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "apps/metrics_page/between.hpp"

namespace portcullis::apps {

/// A server's text with one column a character: what is not printable ASCII is a question mark, so
/// that nothing in it moves the cursor, and its size in bytes is its width.
[[nodiscard]] std::string plain_text(std::string_view of);
/// At most `columns` of a plain text; what was cut off shows as a `~` in the last one.
[[nodiscard]] std::string cut_to(std::string text, std::size_t columns);

/// In place of a value that is not there or is no number.
inline constexpr std::string_view absent_text = "-";
/// A count or a rate: "0", "0.25", "12.3", "4567", "12.3k", "1.20M".
[[nodiscard]] std::string number_text(std::optional<double> value);
/// A latency in seconds: "340us", "1.20ms", "3.40s"; above the last bound ">10s".
[[nodiscard]] std::string latency_text(std::optional<double> seconds);
[[nodiscard]] std::string latency_text(std::optional<quantile_value> value);
/// A length of time in seconds: "12s", "3min 4s", "2h 5min", "3d 4h".
[[nodiscard]] std::string duration_text(std::optional<double> seconds);
/// "512B", "12.3KiB", "4.0MiB".
[[nodiscard]] std::string bytes_text(std::optional<double> bytes);
/// A part of 1: "12%".
[[nodiscard]] std::string percent_text(std::optional<double> part);

}  // namespace portcullis::apps
