// Entries for the configuration's tests.
#pragma once
#include <gmock/gmock.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/config/parse.hpp"

namespace portcullis::core {

/// In the form of a token's.
inline const std::string a_sha256(64, 'a');

inline std::vector<std::string> path_of(std::string_view dotted_path) {
  std::vector<std::string> path(1);
  for (const char c : dotted_path) {
    if (c == '.')
      path.emplace_back();
    else
      path.back() += c;
  }
  return path;
}

inline config_entry given(std::string_view key, config_value value,
                          std::string origin = "a.toml:1") {
  return {path_of(key), std::move(value), std::move(origin)};
}
inline config_entry given(std::string_view key, const char* value,
                          std::string origin = "a.toml:1") {
  return {path_of(key), config_value{std::string(value)}, std::move(origin)};
}
inline config_entry given(std::string_view key, int value, std::string origin = "a.toml:1") {
  return {path_of(key), config_value{std::int64_t{value}}, std::move(origin)};
}

inline config_entry given(std::string_view key, double value, std::string origin = "a.toml:1") {
  return {path_of(key), config_value{value}, std::move(origin)};
}

/// Development, so that nothing but what a test is about is a problem.
inline parsed_config parse(std::vector<config_entry> entries) {
  entries.insert(entries.begin(), given("server.environment", "development"));
  return parse_config(entries);
}

inline std::vector<std::string> texts(const std::vector<config_problem>& problems) {
  std::vector<std::string> all;
  for (const auto& problem : problems) all.push_back(to_text(problem));
  return all;
}

}  // namespace portcullis::core
