// `portcullis events query`: what a running server's log holds.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/rpc_client.hpp"

namespace portcullis::apps {

struct event_query_options {
  server_options server;
  std::vector<std::string> types;
  std::string tenant, user, handle, service, after;
  std::optional<std::int64_t> from_ms, to_ms;
  std::uint64_t limit = 0;  // 0: all
  bool json = false;        // on a terminal, too
};

/// Prints an event a line, by seq, page after page. The exit status.
[[nodiscard]] int query_events(const event_query_options& given);

}  // namespace portcullis::apps
