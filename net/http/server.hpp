// The HTTP listeners of a loop: connections, their requests one after the other, and how they end.
#pragma once
#include <cstdint>
#include <memory>

#include "core/config/config.hpp"
#include "core/limits.hpp"
#include "core/result.hpp"
#include "core/tallies.hpp"
#include "net/http/exchange.hpp"
#include "net/http/request.hpp"
#include "net/loop/loop.hpp"
#include "net/stream/opening.hpp"
#include "net/stream/source_counts.hpp"

namespace portcullis::net {

struct http_options {
  http_message_limits message;
  std::shared_ptr<source_counts> sources;  // caps the connections of one source; null: no cap
  refusal_port on_refused;                 // told of those that end before a message; may be empty
  std::int64_t opening_ms_max = core::limits::opening_ms_max;
  std::size_t openings_max = core::limits::openings_max;
  std::int64_t header_ms_max =
      core::limits::http_header_ms_max;                       // from its first byte, or from accept
  std::int64_t body_ms_max = core::limits::message_ms_max;    // from the head's end
  std::int64_t idle_ms_max = core::limits::http_idle_ms_max;  // between two requests
  std::int64_t answer_ms_max = core::limits::request_timeout_ms;  // then 504
  std::int64_t write_ms_max =
      core::limits::unread_stall_ms_max;  // without the peer taking anything
  std::int64_t stream_silence_ms = core::limits::event_stream_silence_ms;
  std::int64_t linger_ms = core::limits::linger_ms;
  std::uint64_t tick_ms = 250;
  bool development = false;
  std::uint64_t correlation_seed = 0;
};

/// Answers the requests of a connection in order, one at a time. What is malformed gets 400 (or
/// 413), too many connections, of all or of one source, 503 CONNECTION_LIMIT, each with the error
/// object as body; then the connection is closed. Which paths there are is the handler's business.
/// Belongs to its loop's thread; must be destroyed before the loop.
class http_server {
 public:
  /// `handler` must outlive the server. Where it asks the RPC server of this loop, that must be
  /// made before: what it answers then leaves in the same turn.
  http_server(loop& on, const http_options& options, http_handler& handler);
  ~http_server();

  /// Opens a listener (core::listener::http or https) and returns its port. CONFIG_INVALID, its
  /// rule the system's reason, when the address cannot be had.
  [[nodiscard]] core::result<std::uint16_t> listen(const core::endpoint& where,
                                                   core::listener as = core::listener::http,
                                                   listener_rules rules = {
                                                       core::limits::http_connections_max, {}});
  /// Closes the listeners; connections go on, but every further answer closes its connection.
  void stop_accepting();
  /// Whether no request waits for its answer, and every byte has been handed to the kernel.
  [[nodiscard]] bool drained() const;
  [[nodiscard]] std::size_t count() const;
  /// The rows of core::listener::http and https.
  [[nodiscard]] const core::connection_tallies& connections() const;
  [[nodiscard]] const core::tls_tallies& handshakes() const;
  [[nodiscard]] const core::http_tallies& requests() const;

  class impl;

 private:
  std::shared_ptr<impl> impl_;
};

}  // namespace portcullis::net
