// One thread of the load generator: non-blocking connections on an epoll of their own.
#pragma once
#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <openssl/types.h>

#include "apps/bench/histogram.hpp"
#include "apps/bench/script.hpp"

namespace portcullis::apps {

/// Nanoseconds of the monotonic clock.
[[nodiscard]] std::uint64_t monotonic_ns() noexcept;

struct bench_window {
  std::uint64_t from_ns = 0;  // what was answered before does not count
  std::uint64_t until_ns =
      std::numeric_limits<std::uint64_t>::max();  // else: until the script has nothing left
};

struct bench_outcome {
  bench_tally tally;
  histogram latencies;  // a reply each; at depth n, of the n requests written at once
  std::uint64_t lost_connections = 0;
};

struct bench_pace {
  std::size_t depth = 1;  // requests that a connection writes at once, before it awaits the replies
  /// Requests per second over all connections, in even steps; 0: each connection as fast as it is
  /// answered. A connection whose replies are late catches up, and its latencies count from the
  /// time at which the requests were due: a server that stalls does not hide it by being asked less
  /// (Tene, "How NOT to Measure Latency").
  double rate = 0;
};

/// A connection, which is somebody else's. Its TLS, where it has one, is between handshake and end
/// and used by nobody else meanwhile.
struct bench_peer {
  bench_peer(int descriptor, ssl_st* session = nullptr) : fd(descriptor), tls(session) {}
  int fd;
  ssl_st* tls;  // null: none
};

/// Drives `script` over the connections, whose descriptors it makes non-blocking and leaves
/// open. `replies` is counted up as they come.
[[nodiscard]] bench_outcome run_loop(const std::vector<bench_peer>& peers, const bench_pace& pace,
                                     bench_script& script, const bench_window& window,
                                     std::atomic<std::uint64_t>& replies);

}  // namespace portcullis::apps
