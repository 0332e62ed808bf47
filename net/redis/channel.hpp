// One connection to one Redis server.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/result.hpp"
#include "net/redis/command.hpp"
#include "net/redis/dial.hpp"
#include "net/redis/limits.hpp"
#include "net/redis/reply.hpp"
#include "net/redis/url.hpp"

namespace portcullis::net::redis {

/// What is counted, for metrics. Only ever grows, but for `in_flight`.
struct tallies {
  std::uint64_t connects = 0;                 // connections that became ready
  std::uint64_t losses = 0;                   // of those
  std::uint64_t failures = 0;                 // connections that never became ready
  std::uint64_t commands = 0;                 // accepted
  std::uint64_t timeouts = 0;                 // answered STORE_TIMEOUT
  std::uint64_t overloads = 0;                // answered OVERLOADED
  std::uint64_t redirections = 0;             // MOVED and ASK that were followed
  std::uint64_t bytes_in = 0, bytes_out = 0;  // of replies and commands, above TLS
  std::int64_t in_flight = 0;                 // level: asked and not yet answered
};

/// What a server said of itself; empty where it was not asked.
struct server_info {
  std::string run_id;   // another one: another process, which may have lost what was acknowledged
  std::string version;  // "7.0.15"
  std::string role;     // "master", "slave", "sentinel"
  address at;
};

/// What must be true of a server before commands go to it.
enum class check : std::uint8_t {
  ping,    // it answers PING: it is not loading
  info,    // and INFO server
  role,    // and ROLE, whatever that is
  master,  // and it is a master
};

struct channel_options {
  dial_options where;
  login who;
  std::string name;  // CLIENT SETNAME; empty: none
  std::uint32_t db = 0;
  check asks = check::role;
  std::int64_t connect_ms = limits::connect_ms;
  std::size_t commands_max = limits::commands_max;
  std::size_t bytes_max = limits::bytes_max;
  std::size_t reply_bytes_max = limits::reply_bytes_max;
};

/// Life: connecting, ready, lost; never back. Single thread, that of its loop; neither made nor
/// destroyed in a hook of phase write. Its callbacks may ask again and may destroy it. None is
/// called out of ask(), but for what is asked while it is destroyed.
class channel {
 public:
  using answer = std::function<void(core::result<reply>)>;
  struct events {
    std::function<void(const server_info&)> ready;  // at most once
    /// At most once, before what was in flight is answered. STORE_UNAVAILABLE by rule: "resolve",
    /// "connect", "connect_timeout", "tls", "closed_by_peer", "reset", "deadline", "role",
    /// "version", a reader's rule ("protocol", ...), or a server's ("loading", "wrongpass", ...).
    std::function<void(const failure&)> lost;
    /// Messages of channels that were subscribed to. Set: arrays that begin with "message" or
    /// "pmessage" come here and answer no command.
    std::function<void(reply)> message;
  };

  /// Begins to connect. `counts` must outlive it.
  channel(loop& on, channel_options options, events told, tallies& counts);
  /// Answers what is in flight: STORE_UNAVAILABLE, "closed" where something was sent. What such an
  /// answer asks again is answered "closed" at once.
  ~channel();
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;

  /// Sends a command once, at the end of the turn; `done` is called exactly once, with the reply,
  /// in the order of the asks. A reply of type error is a reply. Before the channel is ready the
  /// command waits. Errors:
  /// STORE_TIMEOUT: no reply within `deadline_ms` from now; "deadline": its outcome is unknown, and
  /// the connection was cut, because a late reply would be taken for another's; "not_sent": it
  /// waited for a connection in vain.
  /// STORE_UNAVAILABLE: "connection_lost": the outcome is unknown; "not_sent", "not_connected":
  /// nothing was sent.
  /// OVERLOADED: as many commands or bytes as may be are unanswered; nothing was sent.
  void ask(const command& what, std::int64_t deadline_ms, answer done);

  /// Sends `before` right before it, with nothing between them, or neither; its reply is thrown
  /// away.
  void ask_after(const command& before, const command& what, std::int64_t deadline_ms, answer done);
  /// Cuts the connection, as if it were lost for this reason; nothing where it is already.
  void abandon(failure why);

  /// How many commands wait for their answer.
  [[nodiscard]] std::size_t unanswered() const noexcept;
  [[nodiscard]] bool ready() const noexcept;
  [[nodiscard]] bool lost() const noexcept;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace portcullis::net::redis
