// What configuration looks like before it is typed: keys, values and where each was written. No
// TOML type appears here.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace portcullis::core {

/// A value that no key can hold (a date, a list of numbers, ...), and what to call it.
struct foreign_value {
  std::string kind;
  friend bool operator==(const foreign_value&, const foreign_value&) = default;
};

using config_value =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>, foreign_value>;

/// One value. The path's parts are what TOML's dots separate; an entry of [[auth.token]] has its
/// index as a part. Later entries win over earlier ones with the same path.
struct config_entry {
  std::vector<std::string> path;
  config_value value;
  std::string origin;  // "file:line", "environment NAME" or "--set"
  /// As typed, where it came from the environment or a flag: a key that holds text or a list takes
  /// it as it is.
  std::optional<std::string> raw = std::nullopt;
};

/// Why a configuration is refused. `message` names what is allowed.
struct config_problem {
  std::string origin;
  std::string key;
  std::string message;
  friend bool operator==(const config_problem&, const config_problem&) = default;
};

/// "origin: key: message".
[[nodiscard]] std::string to_text(const config_problem& problem);

/// A key as TOML writes it: parts that are no bare keys are quoted.
[[nodiscard]] std::string dotted(const std::vector<std::string>& path);

}  // namespace portcullis::core
