// What configuration values must hold together. For this folder alone.
#pragma once
#include "core/config/parse.hpp"

namespace portcullis::core {

/// Adds to `parsed.problems`. Every value is within its own range already.
void check_together(parsed_config& parsed, const parse_options& options);

}  // namespace portcullis::core
