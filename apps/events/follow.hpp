// `portcullis events tail`: a server's events as they come, through lost connections and restarts.
#pragma once
#include <string>
#include <vector>

#include "apps/rpc_client.hpp"

namespace portcullis::apps {

struct follow_options {
  server_options server;
  std::string after;        // a cursor; empty: only what comes
  std::string cursor_file;  // kept there; where the file is, it says where to go on, not `after`
  std::vector<std::string> types;
  std::string tenant;
  bool json = false;  // on a terminal, too
};

/// Prints each event once, in order, until a signal or until nobody reads standard output: 0. A
/// server that cannot be reached at first: exit_unreachable; an error that trying again does not
/// mend: 1, and a sentence on standard error. Takes SIGINT and SIGTERM for the process.
[[nodiscard]] int follow_events(const follow_options& given);

}  // namespace portcullis::apps
