#include "apps/metrics_page/page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace portcullis::apps {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || c == '\t'; }

void skip_blanks(std::string_view& rest) {
  while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
}

bool take(std::string_view& rest, char c) {
  if (!rest.starts_with(c)) return false;
  rest.remove_prefix(1);
  return true;
}

/// A name at the beginning of `rest`; empty: there is none. Of metrics also with colons.
std::string_view take_name(std::string_view& rest, bool of_metric) {
  std::size_t size = 0;
  while (size < rest.size() && (is_letter(rest[size]) || (of_metric && rest[size] == ':') ||
                                (size > 0 && is_digit(rest[size]))))
    ++size;
  const auto name = rest.substr(0, size);
  rest.remove_prefix(size);
  return name;
}

std::string_view take_word(std::string_view& rest) {
  const auto word = rest.substr(0, std::min(rest.find_first_of(" \t"), rest.size()));
  rest.remove_prefix(word.size());
  return word;
}

/// What Go's ParseFloat takes and Prometheus writes.
std::optional<double> number_of(std::string_view word) {
  constexpr auto infinity = std::numeric_limits<double>::infinity();
  if (word == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (word == "+Inf" || word == "Inf") return infinity;
  if (word == "-Inf") return -infinity;
  const bool plus = word.starts_with('+');
  if (plus) word.remove_prefix(1);
  const auto digits = word.starts_with('-') && !plus ? word.substr(1) : word;
  if (digits.empty() || !(is_digit(digits.front()) || digits.front() == '.')) return std::nullopt;
  double value = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (failed != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}

bool is_timestamp(std::string_view word) {
  std::int64_t value = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), value);
  return failed == std::errc{} && end == word.data() + word.size();
}

}  // namespace

std::string_view metric_sample::label(std::string_view wanted) const noexcept {
  for (const auto& each : labels)
    if (each.name == wanted) return each.value;
  return {};
}

bool metric_sample::has(std::span<const metric_label> wanted) const noexcept {
  return std::all_of(wanted.begin(), wanted.end(), [this](const metric_label& one) {
    return std::find(labels.begin(), labels.end(), one) != labels.end();
  });
}

/// Reads one line after the other into a page.
class metrics_page::reader {
 public:
  explicit reader(metrics_page& into) : into_(into) {}

  /// Empty: the line is good.
  std::string line(std::string_view rest) {
    skip_blanks(rest);
    if (rest.empty() || rest.front() == '#') return {};
    metric_sample sample;
    const auto* begin = rest.data();
    sample.name = take_name(rest, true);
    if (sample.name.empty()) return "no name of a metric";
    if (auto wrong = labels(rest, sample); !wrong.empty()) return wrong;
    sample.series = {begin, static_cast<std::size_t>(rest.data() - begin)};
    if (rest.empty() || !is_blank(rest.front())) return "no blank before the value";
    skip_blanks(rest);
    const auto value = number_of(take_word(rest));
    if (!value) return "the value is no number";
    sample.value = *value;
    skip_blanks(rest);
    if (!rest.empty() && !is_timestamp(take_word(rest))) return "the timestamp is no number";
    skip_blanks(rest);
    if (!rest.empty()) return "more than a series, its value and a timestamp";
    return keep(sample);
  }

 private:
  std::string labels(std::string_view& rest, metric_sample& sample) {
    if (!take(rest, '{')) return {};
    std::vector<metric_label> found;
    for (skip_blanks(rest); !take(rest, '}'); skip_blanks(rest)) {
      metric_label one;
      one.name = take_name(rest, false);
      if (one.name.empty()) return "no name of a label";
      skip_blanks(rest);
      if (!take(rest, '=')) return "no = after a label's name";
      skip_blanks(rest);
      if (!take(rest, '"')) return "a label's value is not in quotes";
      const auto quoted = quoted_value(rest);
      if (!quoted) return "a label's value does not end, or has an escape that there is not";
      one.value = *quoted;
      const bool again = std::any_of(found.begin(), found.end(),
                                     [&](const auto& each) { return each.name == one.name; });
      if (again) return "a label comes twice";
      found.push_back(one);
      skip_blanks(rest);
      if (!rest.starts_with('}') && !take(rest, ',')) return "no comma between labels";
    }
    sample.labels = into_.labels_.emplace_back(std::move(found));
    return {};
  }

  /// Up to the closing quote, which is taken, too.
  std::optional<std::string_view> quoted_value(std::string_view& rest) {
    std::size_t at = 0;
    bool escaped = false;
    for (; at < rest.size() && rest[at] != '"'; ++at) {
      if (rest[at] != '\\') continue;
      escaped = true;
      if (++at == rest.size()) return std::nullopt;
      if (rest[at] != '\\' && rest[at] != '"' && rest[at] != 'n') return std::nullopt;
    }
    if (at == rest.size()) return std::nullopt;
    const auto written = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    if (!escaped) return written;
    auto& text = into_.unescaped_.emplace_back();
    for (std::size_t i = 0; i < written.size(); ++i)
      if (written[i] != '\\')
        text += written[i];
      else
        text += written[++i] == 'n' ? '\n' : written[i];
    return text;
  }

  std::string keep(const metric_sample& sample) {
    const auto index = static_cast<std::uint32_t>(into_.samples_.size());
    if (!into_.by_series_.emplace(sample.series, index).second) return "a series comes twice";
    into_.by_name_[sample.name].push_back(index);
    into_.samples_.push_back(sample);
    return {};
  }

  metrics_page& into_;
};

std::optional<metrics_page> metrics_page::parse(std::string text, std::string& why) {
  metrics_page page;
  page.text_ = std::make_unique<const std::string>(std::move(text));
  std::string_view rest = *page.text_;
  reader into(page);
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const auto end = rest.find('\n');
    const auto wrong =
        end == std::string_view::npos ? "the page is cut off" : into.line(rest.substr(0, end));
    if (!wrong.empty()) {
      why = fmt::format("line {} is not of Prometheus' text format: {}", number, wrong);
      return std::nullopt;
    }
    rest.remove_prefix(end + 1);
  }
  return page;
}

std::vector<const metric_sample*> metrics_page::all(std::string_view name) const {
  std::vector<const metric_sample*> found;
  if (const auto at = by_name_.find(name); at != by_name_.end())
    for (const auto index : at->second) found.push_back(&samples_[index]);
  return found;
}

std::optional<double> metrics_page::value(std::string_view name,
                                          std::span<const metric_label> labels) const {
  for (const auto* each : all(name))
    if (each->has(labels)) return each->value;
  return std::nullopt;
}

std::optional<double> metrics_page::sum(std::string_view name,
                                        std::span<const metric_label> labels) const {
  std::optional<double> total;
  for (const auto* each : all(name))
    if (each->has(labels)) total = total.value_or(0) + each->value;
  return total;
}

const metric_sample* metrics_page::find(std::string_view series) const {
  const auto at = by_series_.find(series);
  return at == by_series_.end() ? nullptr : &samples_[at->second];
}

}  // namespace portcullis::apps
