// A whole run of the load generator: connect, fill, warm up, measure, report.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/stream.hpp"

namespace portcullis::apps {

struct bench_options {
  connect_options server;
  std::string token_file, ids_file;
  std::size_t connections = 50, depth = 1, threads = 1, sessions = 10'000;
  double seconds = 5, warmup_s = 1;
  double rate = 0;  // requests per second over all connections; 0: as fast as they are answered
  std::vector<std::pair<std::string, unsigned>> mix = {{"validate", 100}};
  bool redis = false, redis_index = false, json = false;
  std::string redis_command = "get";
  int cpu_of = 0;  // a process whose CPU time is measured over the same window
};

/// "validate=90,create=10"; nothing, and `why`, when it has another form, an unknown kind or a
/// weight outside 1..1000.
[[nodiscard]] std::optional<std::vector<std::pair<std::string, unsigned>>> parse_mix(
    const std::string& text, std::string& why);

/// Runs and prints. 0 when every answer was as it must be, 1 when any was not, 2 when the server
/// was not reached, 64 when what was given for TLS cannot be used.
[[nodiscard]] int run_bench(const bench_options& options);

}  // namespace portcullis::apps
