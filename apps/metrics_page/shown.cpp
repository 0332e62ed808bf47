#include "apps/metrics_page/shown.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace portcullis::apps {
namespace {

bool is_absent(std::optional<double> value) { return !value || !std::isfinite(*value); }

/// With three digits that say something.
std::string short_number(double value) {
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (size < 0.01) return value < 0 ? ">-0.01" : "<0.01";
  if (size < 10) return fmt::format("{:.2f}", value);
  if (size < 100) return fmt::format("{:.1f}", value);
  return fmt::format("{:.0f}", value);
}

}  // namespace

std::string plain_text(std::string_view of) {
  std::string out;
  for (const char c : of) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 && byte < 0xc0) continue;  // the rest of a character
    out += byte >= 0x20 && byte < 0x7f ? c : '?';
  }
  return out;
}

std::string cut_to(std::string text, std::size_t columns) {
  if (text.size() <= columns) return text;
  text.resize(columns);
  if (columns > 0) text.back() = '~';
  return text;
}

std::string number_text(std::optional<double> value) {
  if (is_absent(value)) return std::string(absent_text);
  if (std::abs(*value) < 10'000 && *value == std::floor(*value))
    return fmt::format("{:.0f}", *value);
  constexpr std::array suffixes = {"", "k", "M", "G", "T"};
  double left = *value;
  std::size_t at = 0;
  for (; std::abs(left) >= (at == 0 ? 10'000 : 1'000) && at + 1 < suffixes.size(); ++at)
    left /= 1'000;
  return short_number(left) + suffixes[at];
}

std::string latency_text(std::optional<double> seconds) {
  if (is_absent(seconds)) return std::string(absent_text);
  if (*seconds < 0.001) return fmt::format("{:.0f}us", *seconds * 1e6);
  if (*seconds < 1) return short_number(*seconds * 1e3) + "ms";
  return short_number(*seconds) + "s";
}

std::string latency_text(std::optional<quantile_value> value) {
  if (!value) return std::string(absent_text);
  return (value->over ? ">" : "") + latency_text(value->seconds);
}

std::string duration_text(std::optional<double> seconds) {
  if (is_absent(seconds)) return std::string(absent_text);
  const auto all = static_cast<std::int64_t>(std::clamp(*seconds, 0.0, 1e12));
  if (all < 60) return fmt::format("{}s", all);
  if (all < 3'600) return fmt::format("{}min {}s", all / 60, all % 60);
  if (all < 86'400) return fmt::format("{}h {}min", all / 3'600, all / 60 % 60);
  return fmt::format("{}d {}h", all / 86'400, all / 3'600 % 24);
}

std::string bytes_text(std::optional<double> bytes) {
  if (is_absent(bytes)) return std::string(absent_text);
  constexpr std::array units = {"B", "KiB", "MiB", "GiB", "TiB"};
  double left = *bytes;
  std::size_t at = 0;
  for (; left >= 1'024 && at + 1 < units.size(); ++at) left /= 1'024;
  return fmt::format("{:.{}f}{}", left, at == 0 ? 0 : 1, units[at]);
}

std::string percent_text(std::optional<double> part) {
  if (is_absent(part)) return std::string(absent_text);
  return fmt::format("{:.0f}%", *part * 100);
}

}  // namespace portcullis::apps
