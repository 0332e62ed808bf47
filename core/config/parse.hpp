// From generic entries to a typed, checked configuration.
#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.hpp"
#include "core/config/entry.hpp"

namespace portcullis::core {

struct parse_options {
  std::string working_dir = "/";    // what relative paths are relative to
  std::string source = "defaults";  // named where a required key is missing
};

struct parsed_config {
  config value;  // usable only when there are no problems
  std::vector<config_problem> problems;
  std::map<std::string, std::string> origins;  // full key -> where it was given
};

/// Applies `entries` over the defaults, later ones winning, then checks what must hold together.
/// Every problem is reported, not the first alone. Unknown keys are problems, with a suggestion
/// where one is near. Touches no file, never throws.
[[nodiscard]] parsed_config parse_config(std::span<const config_entry> entries,
                                         const parse_options& options = {});

/// What differs between two configurations, by full key.
struct config_change {
  std::string key;
  bool reloadable = false;
};
[[nodiscard]] std::vector<config_change> config_diff(const config& before, const config& after);

/// Why a running server cannot take `after` in place of `before`: one problem for each change that
/// needs a restart. Nothing when a reload may go on.
[[nodiscard]] std::vector<config_problem> reload_problems(
    const config& before, const config& after, const std::map<std::string, std::string>& origins);

}  // namespace portcullis::core
