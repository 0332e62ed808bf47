// The configuration as text: the effective values, and the reference pages that are generated from
// the tables.
#pragma once
#include <map>
#include <string>

#include "core/config/config.hpp"

namespace portcullis::core {

/// Every value as a line of TOML that can be read back, with where it was given as a comment.
[[nodiscard]] std::string effective_config(const config& of,
                                           const std::map<std::string, std::string>& origins);

/// docs/configuration.md.
[[nodiscard]] std::string configuration_page();

/// docs/errors.md, from the error catalogue.
[[nodiscard]] std::string errors_page();

}  // namespace portcullis::core
