// What `portcullis check` compares with a limit: the one table of names, defaults and meanings.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace portcullis::apps {

enum class alarm_when : std::uint8_t { above, below };

struct threshold_row {
  std::string_view name;  // of perfdata and of --warn and --crit
  alarm_when when;
  std::optional<double> warn, crit;  // by default; absent: never
  std::string_view unit;             // of perfdata: "", "ms", "s", "%", "B", "c" (a counter)
  std::string_view help;             // what the value is
};

/// Every row, in the order of --help.
[[nodiscard]] std::span<const threshold_row> threshold_table() noexcept;

/// Limits in force: the table's, and what was given over them.
class thresholds {
 public:
  struct limits {
    std::optional<double> warn, crit;
  };
  /// Those in force for a row of the table.
  [[nodiscard]] limits of(const threshold_row& row) const;
  /// `text`: NAME=VALUE, where VALUE is a number or "none". Empty, or why it is none.
  [[nodiscard]] std::string set_warn(std::string_view text);
  [[nodiscard]] std::string set_crit(std::string_view text);

 private:
  [[nodiscard]] std::string set(std::string_view text, std::optional<double> limits::*which);
  std::map<std::string, limits, std::less<>> set_;
};

/// ">20000", "<3", "-": for --help.
[[nodiscard]] std::string limit_text(const threshold_row& row, std::optional<double> limit);

}  // namespace portcullis::apps
