// The TCP JSON-RPC server of one loop: listeners, connections, requests in flight, replies.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/config/config.hpp"
#include "core/limits.hpp"
#include "core/result.hpp"
#include "core/tallies.hpp"
#include "net/loop/loop.hpp"
#include "net/ports.hpp"
#include "net/rpc/limits.hpp"
#include "net/stream/opening.hpp"
#include "net/stream/source_counts.hpp"

namespace portcullis::net {

struct tcp_options {
  message_limits message;
  std::size_t connections_max = core::limits::connections_max;  // of this loop, all listeners
  std::shared_ptr<source_counts> sources;  // caps the connections of one source; null: no cap
  refusal_port on_refused;                 // told of those that end before a message; may be empty
  std::int64_t idle_ms_max = 0;            // 0: never
  std::int64_t opening_ms_max = core::limits::opening_ms_max;
  std::int64_t message_ms_max = core::limits::message_ms_max;
  std::size_t openings_max = core::limits::openings_max;
  std::int64_t turn_ms_max = core::limits::turn_ms_max;  // past it requests are shed
  bool bind_to_connection = false;
  std::size_t in_flight_per_connection_max = core::limits::in_flight_per_connection_max;
  std::size_t in_flight_per_loop_max = core::limits::in_flight_per_loop_max;
  std::size_t unread_pause_bytes = core::limits::unread_pause_bytes;
  std::size_t unread_close_bytes = core::limits::unread_close_bytes;
  std::int64_t unread_stall_ms_max = core::limits::unread_stall_ms_max;
  std::size_t read_blocks_max =
      core::limits::read_blocks_max;  // of the process: a loop's bound times the loops
  std::int64_t request_timeout_ms = core::limits::request_timeout_ms;
  std::int64_t linger_ms = core::limits::linger_ms;
  std::uint64_t tick_ms = 250;  // how often deadlines are looked at
  int send_buffer_bytes = 0;    // the kernel's buffer of a connection; 0: the system's default
  bool development = false;     // errors carry their stack
  std::uint64_t correlation_seed = 0;  // random bits
  std::uint32_t loop_index = 0;        // 0..15: keeps connection ids of several loops apart
};

/// Everything is called on the loop's thread (or before it runs). Must be destroyed before the
/// loop; no reply may be given after that. Destroying it closes every connection without writing
/// what is left: drain first.
class tcp_server final : public connections_port, public calls_port {
 public:
  /// `gateway` must outlive the server.
  tcp_server(loop& on, const tcp_options& options, gateway_port& gateway);
  ~tcp_server() override;

  /// Opens a listener and returns its port. `shared`: other loops' servers may listen on the same
  /// address. CONFIG_INVALID, its rule the system's reason, when the address cannot be had.
  [[nodiscard]] core::result<std::uint16_t> listen(const core::endpoint& where, core::listener as,
                                                   bool shared, listener_rules rules = {});
  /// The same on a Unix socket (core::listener::rpc_unix), which replaces one that nobody listens
  /// on. Whoever may write to it may connect (unix(7)).
  [[nodiscard]] core::status listen_unix(const std::string& path, listener_rules rules = {});

  /// Closes the listeners; connections go on.
  void stop_accepting();
  /// Whether nothing is in flight and every byte of a reply has been handed to the kernel.
  [[nodiscard]] bool drained() const;
  /// Closes every connection after writing what is queued.
  void close_all();
  /// Whether each connection that is left has been told that nothing more comes.
  [[nodiscard]] bool taken_leave() const;

  /// The live counters; their levels (`in_flight`, `live`) are kept up to date too.
  [[nodiscard]] const loop_tallies& tallies() const;

  void answer(ticket to, const core::reply& reply) override;
  void answer_encoded(ticket to, std::string_view outcome) override;
  std::size_t push(connection_id to, std::string_view line) override;
  [[nodiscard]] std::size_t unread(connection_id of) const override;
  void set_caller(connection_id of, const core::caller* caller) override;
  void close(connection_id which) override;
  void close_callers(const core::caller* caller) override;
  void fail_in_flight(std::uint32_t tag, const core::error& why) override;
  [[nodiscard]] bool set_owner(ticket of, std::uint32_t tag) override;
  [[nodiscard]] std::vector<core::connection_row> list(connection_id after,
                                                       std::size_t limit) const override;
  [[nodiscard]] std::size_t count() const override;

  connection_id open(const core::caller* caller, origin from, lines_port& to) override;
  void ask(connection_id from, std::string_view bytes) override;
  void hang_up(connection_id which) override;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace portcullis::net
