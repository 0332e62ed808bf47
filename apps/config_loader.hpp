// Reads configuration from where it is written: a TOML file, the environment, flags. What it means
// is core/config's.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/parse.hpp"

namespace portcullis::apps {

/// Where a configuration comes from. Kept by a running server, which reads all of it again on a
/// reload.
struct config_sources {
  std::optional<std::string> file;
  std::vector<std::string> environment;  // NAME=value, as the process was started with
  std::vector<std::string> flags;        // section.key=value, later ones win
};

/// This process's environment.
[[nodiscard]] std::vector<std::string> process_environment();

/// Flags over environment over file over defaults, then parsed and checked. A file that cannot be
/// read or is not TOML is a problem among the others (with its line where it has one), never an
/// exception.
[[nodiscard]] core::parsed_config load_config(const config_sources& sources);

/// The entries of one TOML text. Adds to `problems` when it is not TOML.
[[nodiscard]] std::vector<core::config_entry> toml_entries(
    std::string_view text, const std::string& name, std::vector<core::config_problem>& problems);
/// PORTCULLIS_SECTION__KEY=value; names without two underscores between levels are not ours.
[[nodiscard]] std::vector<core::config_entry> environment_entries(
    const std::vector<std::string>& environment);
/// section.key=value; parts with dots of their own may be quoted, as in TOML.
[[nodiscard]] std::vector<core::config_entry> flag_entries(
    const std::vector<std::string>& flags, std::vector<core::config_problem>& problems);

}  // namespace portcullis::apps
