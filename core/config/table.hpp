// The one table of configuration keys: names, types, ranges, what a reload may change, help.
// Parsing, validation, dumps, differences and the reference page are all driven by it.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/config/config.hpp"
#include "core/config/entry.hpp"

namespace portcullis::core {

enum class key_scope : std::uint8_t {
  server,       // one value: section.key
  policy,       // session.key, and tenant."NAME".session.key
  breaker,      // breaker.key, and breaker."SERVICE/BREAKER".key
  token,        // [[auth.token]]
  certificate,  // [[auth.certificate]]
  named,        // the last part of the path is a name of the user's: log.levels.NAME
};

enum class key_form : std::uint8_t {
  boolean,
  integer,
  number,
  text,
  choice,
  list,
  choices,
  digest
};

/// Where a row's value lives. Which members are set depends on the row's scope.
struct config_place {
  config* whole = nullptr;
  session_policy* policy = nullptr;
  breaker_policy* breaker = nullptr;
  auth_token* token = nullptr;
  auth_certificate* certificate = nullptr;
  std::string_view name = {};
};

/// Reads and writes one value in its generic form, already checked against the row.
struct key_access {
  config_value (*read)(const config_place& place);
  void (*write)(const config_place& place, const config_value& value);
};

/// Of form number. above: `least` itself is not allowed.
struct number_range {
  double least = 0, most = 0;
  bool above = false;
  [[nodiscard]] constexpr bool has(double value) const noexcept {  // no NaN
    return (above ? value > least : value >= least) && value <= most;
  }
};

struct config_key {
  std::string_view name;  // dotted; of scope named without its last part
  key_scope scope;
  key_form form;
  std::int64_t least = 0, most = 0;                // integer: its range; text: its length in bytes
  std::span<const std::string_view> allowed = {};  // choice, choices
  bool (*accepts)(std::string_view text) = nullptr;  // text: its form; named: the name's form
  std::string_view expected = {};  // in words, where range and choices do not say it
  bool reloadable = false;
  std::string_view help;
  key_access access;
  number_range range = {};  // number
};

/// Every row, in the order of the reference page.
[[nodiscard]] std::span<const config_key> config_table() noexcept;

/// What a row may hold, in words: "an integer from 1 to 10", "one of "a", "b"".
[[nodiscard]] std::string allowed_text(const config_key& key);

/// A value as TOML writes it.
[[nodiscard]] std::string toml_text(const config_value& value);

/// One value of a configuration: its row and what it holds.
struct keyed_value {
  const config_key* key = nullptr;
  config_value value;
  friend bool operator==(const keyed_value&, const keyed_value&) = default;
};

/// Every value of `of` by its full key: tenants as tenant.NAME.session.KEY, breakers' patterns as
/// breaker."PATTERN".KEY, tokens as auth.token."NAME".KEY.
[[nodiscard]] std::map<std::string, keyed_value> flatten(config of);

}  // namespace portcullis::core
