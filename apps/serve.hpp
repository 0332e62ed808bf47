// Serving until a signal or an administrator ends it; what a node is made of is in node/node.cpp.
#pragma once
#include "apps/config_loader.hpp"

namespace portcullis::apps {

/// Runs a node with `loaded` (which has no problems) until it is told to stop. `sources` are read
/// again on a reload. Returns the process's exit status: 0 after an orderly stop, 1 when the node
/// could not start or had to stop.
[[nodiscard]] int serve(const core::parsed_config& loaded, const config_sources& sources);

}  // namespace portcullis::apps
