// The inside of http_server, shared by its two parts: server.cpp (listeners, how connections begin,
// deadlines) and connection.cpp (bytes to requests, answers to bytes, how connections end).
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/bytes.hpp"
#include "net/http/exchange.hpp"
#include "net/http/request_reader.hpp"
#include "net/http/server.hpp"
#include "net/rpc/encode.hpp"
#include "net/stream/stream.hpp"
#include "net/tcp/acceptor.hpp"

namespace portcullis::net {

enum class http_step : std::uint8_t {
  opening,
  reading,
  answering,
  streaming,
  closing,   // what is queued is written, then it is closed
  lingering  // our side is shut; what the peer still sends is dropped until it closes
};

struct http_connection final : http_exchange {
  http_connection(http_server::impl& of, loop& on, descriptor connected,
                  loop::watch::function ready, const http_message_limits& limits)
      : owner(of),
        wire(std::move(connected)),
        watch(on, wire.descriptor_number(), ready, this),
        reader(limits) {}

  [[nodiscard]] const http_request& request() const noexcept override { return reader.request(); }
  [[nodiscard]] const http_peer& peer() const noexcept override { return from; }
  void count_as(core::http_route what) noexcept override { route = what; }
  void answer(const http_answer& what) override;
  void refuse(const core::error& why, int status, std::string_view fields,
              std::string_view correlation_id) override;
  [[nodiscard]] std::function<void(const core::result<http_page>&)> later() override;
  void wait(std::int64_t ms) noexcept override;
  [[nodiscard]] bool waiting() const noexcept override {
    return !dead && step == http_step::answering;
  }
  void begin_stream(std::string_view content_type, std::string_view heartbeat) override;
  void stream(std::string_view part) override;
  void end_stream() override;
  [[nodiscard]] std::size_t unread() const noexcept override { return out.size() - sent; }

  http_server::impl& owner;
  net::stream wire;
  loop::watch watch;
  std::unique_ptr<net::opening> opening;  // null: over
  http_request_reader reader;
  http_peer from;
  std::uint64_t id = 0;
  std::uint64_t requests = 0;  // of them the last is being answered
  core::byte_buffer in;        // what no whole request was made of yet
  core::byte_buffer out;
  std::size_t sent = 0;                // of `out`
  std::int64_t deadline_ns = 0;        // of the step
  std::int64_t write_deadline_ns = 0;  // while `blocked`
  std::string_view heartbeat;          // of a stream
  std::int64_t said_ns = 0;            // when a part of it was sent
  http_step step = http_step::opening;
  core::http_route route = core::http_route::other;
  bool started = false;     // a request's first byte is here
  bool head = false;        // the request is a HEAD
  bool http_1_0 = false;    // it is of HTTP/1.0
  bool keep_alive = false;  // the connection goes on after its answer
  bool eof = false;         // the peer has sent its last byte
  bool unparsed = false;    // `in` may have whole requests
  bool paused = false;      // the peer sends what cannot be looked at now
  bool blocked = false;     // the kernel took no more
  bool dead = false;        // to be destroyed at the end of the turn
  bool dirty = false;       // stands in the list of the turn's end
  bool rereading = false;   // stands in the list of those that have bytes without the socket's word
  bool counted = false;     // among the connections of its source
};

class http_server::impl : public std::enable_shared_from_this<impl> {
 public:
  impl(loop& on, const http_options& options, http_handler& handler);
  ~impl();

  // server.cpp
  core::result<std::uint16_t> listen(const core::endpoint& where, core::listener as,
                                     listener_rules rules);
  void stop_accepting();
  [[nodiscard]] bool drained() const;

  // connection.cpp
  static void ready(void* connection, loop::watch::ready what);
  void answer(http_connection& to, const http_answer& what);
  /// Null where the request is over.
  [[nodiscard]] http_connection* waiting(std::uint64_t id, std::uint64_t request) const;
  void refuse(http_connection& to, const core::error& why, int status, std::string_view fields,
              std::string_view correlation_id);
  void begin_stream(http_connection& to, std::string_view content_type, std::string_view heartbeat);
  void stream(http_connection& to, std::string_view part);
  void end_stream(http_connection& to);
  [[nodiscard]] std::int64_t in_ms(std::int64_t ms) { return loop_.mono_ns() + ms * 1'000'000; }

 private:
  friend class http_server;

  // server.cpp
  void accept(core::listener as, descriptor socket, remote_end from);
  [[nodiscard]] bool admits(http_connection& which, const core::ip_address& source);
  void go_on_opening(http_connection& which);
  void opened(http_connection& which, const peer_certificate* certificate, bool over);
  void tick();
  void check_deadline(http_connection& which, std::int64_t now);

  // connection.cpp
  void read(http_connection& from);
  void drop(http_connection& from);
  [[nodiscard]] std::size_t consume(http_connection& from, std::string_view bytes);
  void consume_kept(http_connection& from);
  void handle(http_connection& from);
  /// Answers, and closes then.
  void turn_away(http_connection& to, const core::error& why, int status);
  void send(http_connection& to);
  void sent_all(http_connection& to);
  void settle(http_connection& which);
  /// It hangs up, which the RPC server is to see in this turn.
  void drop_guest(http_connection& of) {
    asked_ |= of.guest != nullptr;
    of.guest.reset();
  }
  void destroy(http_connection& which);
  bool write_hook();
  void mark(http_connection& which) {
    if (!std::exchange(which.dirty, true)) dirty_.push_back(&which);
  }
  void reject(const refusal& what) {
    connections_tally_.reject(what.at, what.why);
    if (options_.on_refused) options_.on_refused(what);
  }
  void reject(const http_connection& which, core::rejection why) {
    reject({which.from.listener, why, {}, which.from.source});
  }
  [[nodiscard]] std::string_view date() { return date_.at(loop_.now_ms()); }

  static constexpr std::size_t read_bytes_max = 16 * 1024;
  static constexpr unsigned requests_per_turn_max = 64;       // of a connection
  static constexpr std::size_t refused_connections_max = 64;  // over the cap, while they hear so
  static constexpr std::size_t openings_per_turn_max = 8;     // as of the RPC server

  loop& loop_;
  http_options options_;
  http_handler& handler_;
  correlation_maker made_up_;
  encode_options encoding_;
  http_date date_;
  core::connection_tallies connections_tally_;
  core::tls_tallies tls_tally_;
  core::http_tallies requests_tally_;
  std::vector<std::unique_ptr<acceptor>> acceptors_;
  std::array<listener_rules, core::listener_names.size()> rules_;
  std::unordered_map<std::uint64_t, std::unique_ptr<http_connection>> connections_;
  std::vector<http_connection*> dirty_, settling_;
  std::vector<std::uint64_t> rereadable_, rereading_;
  std::uint64_t next_id_ = 1;
  std::size_t opening_ = 0;
  std::size_t openings_left_ = openings_per_turn_max;
  bool stopping_ = false;
  bool asked_ = false;  // a request was handed on that is not answered yet
  std::unique_ptr<char[]> space_{new char[read_bytes_max]};  // what is read stands here first
  header_field_space fields_;
  core::byte_buffer error_fields_, error_body_;
  loop::hook write_hook_;
  loop::timer tick_;
};

}  // namespace portcullis::net
