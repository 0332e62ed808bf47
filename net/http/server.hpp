// The HTTP listener: GET and HEAD, answered by an http_port. One loop, its own bounds, apart from
// the RPC server.
#pragma once
#include <cstdint>
#include <memory>

#include "core/config/config.hpp"
#include "core/limits.hpp"
#include "core/result.hpp"
#include "core/tallies.hpp"
#include "net/loop/loop.hpp"
#include "net/ports.hpp"

namespace portcullis::net {

struct http_options {
  std::size_t connections_max = core::limits::http_connections_max;
  std::size_t header_bytes_max = core::limits::http_header_bytes_max;
  std::int64_t header_ms_max =
      core::limits::http_header_ms_max;                       // from its first byte, or from accept
  std::int64_t idle_ms_max = core::limits::http_idle_ms_max;  // between two requests
  std::int64_t answer_ms_max = core::limits::request_timeout_ms;  // for the port; then 504
  std::int64_t write_ms_max =
      core::limits::unread_stall_ms_max;  // without the peer taking anything
  std::int64_t linger_ms = core::limits::linger_ms;
  std::uint64_t tick_ms = 250;
  bool development = false;
  std::uint64_t correlation_seed = 0;
};

/// Answers the requests of a connection in order, one at a time. What is no GET or HEAD gets 405,
/// what is malformed 400 (or 413), too many connections 503, each with the error object as body;
/// then the connection is closed. Which paths there are is the port's business. Belongs to its
/// loop's thread; must be destroyed before the loop.
class http_server {
 public:
  /// `port` must outlive the server; what it answers after that is dropped.
  http_server(loop& on, const http_options& options, http_port& port);
  ~http_server();

  /// Opens a listener and returns its port. CONFIG_INVALID, its rule the system's reason, when the
  /// address cannot be had.
  [[nodiscard]] core::result<std::uint16_t> listen(const core::endpoint& where);
  /// Closes the listeners; connections go on, but every further answer closes its connection.
  void stop_accepting();
  [[nodiscard]] std::size_t count() const;
  /// The row of core::listener::http.
  [[nodiscard]] const core::connection_tallies& tallies() const;

 private:
  class impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace portcullis::net
