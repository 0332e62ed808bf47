// The inside of tcp_server, shared by its three parts: server.cpp (lifecycle and ports), input.cpp
// (bytes to requests) and output.cpp (replies to bytes, and how connections end).
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bytes.hpp"
#include "net/rpc/decode.hpp"
#include "net/rpc/encode.hpp"
#include "net/tcp/acceptor.hpp"
#include "net/tcp/connection.hpp"
#include "net/tcp/read_space.hpp"
#include "net/tcp/server.hpp"
#include "net/tcp/tickets.hpp"

namespace portcullis::net {

class tcp_server::impl final : message_visitor {
 public:
  impl(loop& on, const tcp_options& options, gateway_port& gateway);
  ~impl() override;

  // server.cpp
  core::result<std::uint16_t> listen(const core::endpoint& where, core::listener as, bool shared,
                                     listener_rules rules);
  core::status listen_unix(const std::string& path, listener_rules rules);
  void accept(core::listener as, descriptor socket, remote_end from);
  void tick();
  [[nodiscard]] connection* find(connection_id id) const noexcept;
  [[nodiscard]] std::vector<core::connection_row> list(connection_id after,
                                                       std::size_t limit) const;
  [[nodiscard]] bool drained() const;
  void close_when(const core::caller* caller, bool all);
  void fail_in_flight(std::uint32_t tag, const core::error& why);

  // opening.cpp
  void begin(connection& fresh);
  [[nodiscard]] bool counts(connection& which, const core::ip_address& source);
  [[nodiscard]] bool admits(connection& which, const core::ip_address& source);
  void reject(const refusal& what) {
    tallies_.connections.reject(what.at, what.why);
    if (options_.on_refused) options_.on_refused(what);
  }
  void go_on_opening(connection& which);
  void opened_as(connection& which, const peer_certificate* certificate);
  connection_id open_inside(const core::caller* caller, calls_port::origin from, lines_port& to);
  void ask(connection& from, std::string_view bytes);
  void hang_up(connection& which);

  // input.cpp
  static void ready(void* connection, loop::watch::ready what);
  void read(connection& from);
  void reread_all();
  char* with_own_context(const connection& of, char* at);
  void consume(connection& from, char* bytes, std::size_t size);
  void resume_all();
  void resume(connection& which);
  bool submit_hook();

  // output.cpp
  void answer(ticket to, const core::reply& reply);
  void answer_encoded(ticket to, std::string_view outcome);
  void answer_error(ticket to, const core::error& why);
  std::size_t push(connection& to, std::string_view line);
  void close(connection& which);
  void mark(connection& changed);
  bool write_hook();

  loop& loop_;
  tcp_options options_;
  gateway_port& gateway_;
  core::loop_tallies tallies_;
  std::vector<std::unique_ptr<acceptor>> acceptors_;
  std::array<listener_rules, core::listener_names.size()> rules_;

 private:
  friend class tcp_server;

  static constexpr std::uint64_t ticks_between_looks = 4;
  // Ends come in slices: thousands that began together must not hold up the others together.
  static constexpr std::size_t ends_per_look_max = 32;
  static constexpr std::uint64_t look_again_ms = 5;
  static constexpr std::int64_t rest_after_ns = 1'000'000'000;
  // A handshake costs some 200 us of signing: more of them at once would hold up who is in already.
  static constexpr std::size_t openings_per_turn_max = 8;

  struct answered_request {
    core::method method;
    std::int64_t started_ns;
  };

  // input.cpp
  void begin_batch(std::size_t entries) override;
  void end_batch() override;
  void on_request(const call_id& id, core::request& request) override;
  std::optional<core::error_code> forbids(std::optional<core::method> called) override;
  void on_error(const call_id& id, std::optional<core::method> called, const core::error& why,
                std::string_view correlation_id) override;
  void bind(core::request& request, const connection& to) const;
  [[nodiscard]] bool is_overloaded();
  void park(connection& from, parked_call call);
  void refuse_call(connection& from, const reply_place& where, std::optional<core::method> called,
                   const core::error& why, std::string_view correlation_id);
  void submit(connection& from, reply_place where, core::request& request, const block_ref& block);
  [[nodiscard]] bool may_decode(const connection& from) const noexcept;
  [[nodiscard]] bool may_resume(const connection& from) const noexcept;
  void form_error(connection& from, const frame& what);
  void drop(connection& from);
  void keep_undecoded(connection& from, std::string_view rest);
  void starve(connection& which);
  void feed_starved();

  // output.cpp
  template <class Encode>
  void reply(connection& to, const reply_place& where, Encode encode);
  template <class Encode>
  void finish(ticket which, pending_request& entry, std::size_t error_row, Encode encode);
  void finish_batch(connection& to, reply_batch& batch);
  void refuse(connection& to, const reply_place& where, const core::error& why,
              std::string_view correlation_id);
  [[nodiscard]] core::byte_buffer& out_of(connection& to);
  void recycle(core::byte_buffer& buffer);
  void grown(connection& which);
  connection& place(std::unique_ptr<connection> made);
  void check_deadlines(std::int64_t now);
  void check_deadlines(connection& which, std::int64_t now);
  void send(connection& to);
  void hand_over(connection& to);
  void settle(connection& which);
  void end(connection& which);
  void destroy(connection& which);
  void set_blocked(connection& which, bool blocked);
  [[nodiscard]] core::request_tallies& requests() noexcept { return tallies_.requests; }

  decoder decoder_;
  correlation_maker made_up_;
  encode_options encoding_;
  read_space space_;
  ticket_slab tickets_;
  std::vector<std::unique_ptr<connection>> connections_;  // by slot
  std::vector<std::uint32_t> free_slots_;
  std::uint64_t next_sequence_ = 1;
  std::size_t live_ = 0;
  std::size_t blocked_ = 0;
  std::size_t lingering_ = 0;
  std::size_t opening_ = 0;
  std::size_t openings_left_ = openings_per_turn_max;
  std::vector<connection*> dirty_, settling_;
  std::vector<connection_id> resumable_, resuming_, starved_, rereadable_, rereading_;
  std::vector<core::byte_buffer> spare_buffers_;
  std::vector<answered_request> answered_;
  bool submitted_ = false;
  std::int64_t tick_due_ns_ = 0;
  std::uint64_t ticks_ = 0;
  std::size_t ends_left_ = 0;
  std::uint32_t until_look_ = 0;  // requests until the turn's time is looked at
  bool shedding_ = false;         // for the rest of the turn

  connection* current_ = nullptr;       // while decoding
  std::string_view own_ja3_, own_ja4_;  // of what is being decoded, where it is bound
  std::shared_ptr<reply_batch> current_batch_;

  loop::hook submit_hook_, write_hook_;
  loop::timer tick_, look_again_;
};

}  // namespace portcullis::net
