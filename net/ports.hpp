// The doors between this room and the actors. No CAF type and no libuv type appears here.
// Everything is called on the loop's own thread.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/contract/caller.hpp"
#include "core/contract/reply.hpp"
#include "core/contract/request.hpp"
#include "core/result.hpp"
#include "core/tallies.hpp"

namespace portcullis::net {

/// A read buffer that requests view. References may be held, and dropped, on any thread.
class read_block {
 public:
  explicit read_block(std::size_t capacity) : bytes_(new char[capacity]), capacity_(capacity) {
    live_.fetch_add(1, std::memory_order_relaxed);
  }
  ~read_block() { live_.fetch_sub(1, std::memory_order_relaxed); }
  read_block(const read_block&) = delete;
  read_block& operator=(const read_block&) = delete;

  [[nodiscard]] char* data() noexcept { return bytes_.get(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  /// How many blocks are alive in this process: for the bound and its metric.
  [[nodiscard]] static std::size_t live() noexcept { return live_.load(std::memory_order_relaxed); }

 private:
  friend class block_ref;
  std::atomic<std::uint32_t> references_{0};
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_;
  inline static std::atomic<std::size_t> live_{0};
};

class block_ref {
 public:
  block_ref() = default;
  explicit block_ref(read_block* block) noexcept : block_(block) { retain(); }
  block_ref(const block_ref& other) noexcept : block_(other.block_) { retain(); }
  block_ref(block_ref&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  block_ref& operator=(block_ref other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~block_ref() {
    if (block_ != nullptr && block_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete block_;
  }
  [[nodiscard]] read_block* get() const noexcept { return block_; }
  [[nodiscard]] explicit operator bool() const noexcept { return block_ != nullptr; }
  /// Whether no one else holds the block: its bytes may be overwritten.
  [[nodiscard]] bool unique() const noexcept {
    return block_->references_.load(std::memory_order_acquire) == 1;
  }

 private:
  void retain() noexcept {
    if (block_ != nullptr) block_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  read_block* block_ = nullptr;
};

/// Names a connection of one loop; never reused while the process lives.
using connection_id = std::uint64_t;

/// Names a request in flight on one loop. Answering twice, or after the connection or the deadline
/// has gone, does nothing.
struct ticket {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
};

/// Takes the answers to requests. One reply a ticket; also notifications have a ticket, their reply
/// is dropped.
class reply_port {
 public:
  virtual ~reply_port() = default;
  /// Encodes `reply` at once, straight into the connection's output; it is written at the end of
  /// the loop's turn.
  virtual void answer(ticket to, const core::reply& reply) = 0;
};

/// What a client's certificate says, after its chain was verified.
struct peer_certificate {
  std::string subject;             // for logs and events: RFC 2253, at most 256 bytes
  std::vector<std::string> names;  // subject alternative names: "DNS:...", "URI:...", "IP:..."
};

struct peer {
  std::string address;  // text without port: the user's, where a trusted PROXY header says so
  bool loopback =
      false;  // whether the connection, and whom a PROXY header names, is this machine's
  std::string_view listener;                      // "rpc", "rpc_tls", ...
  bool encrypted = false;                         // TLS, or a Unix socket: nobody listens in
  const peer_certificate* certificate = nullptr;  // null: none; lives until greet() returns
};

/// What the gateway asks of a loop's connections.
class connections_port : public reply_port {
 public:
  /// For answers that another loop encoded: `outcome` is `"result":{...}` or `"error":{...}`.
  virtual void answer_encoded(ticket to, std::string_view outcome) = 0;
  /// Queues one line (without its LF) that is no reply. Returns the connection's unread bytes; 0:
  /// the connection is gone.
  virtual std::size_t push(connection_id to, std::string_view line) = 0;
  /// Unread bytes of a connection; 0 also when it is gone.
  [[nodiscard]] virtual std::size_t unread(connection_id of) const = 0;
  virtual void set_caller(connection_id of, const core::caller* caller) = 0;
  /// Writes what is queued, then closes.
  virtual void close(connection_id which) = 0;
  /// Closes every connection whose caller this is.
  virtual void close_callers(const core::caller* caller) = 0;
  /// Answers every request in flight that has this tag, which submit returned for it.
  virtual void fail_in_flight(std::uint32_t tag, const core::error& why) = 0;
  /// Another tag for a request in flight: it is somebody else's now. False: it is answered already,
  /// or nobody waits for it any more.
  [[nodiscard]] virtual bool set_owner(ticket of, std::uint32_t tag) = 0;
  /// Rows with id > after, ascending, at most `limit`.
  [[nodiscard]] virtual std::vector<core::connection_row> list(connection_id after,
                                                               std::size_t limit) const = 0;
  [[nodiscard]] virtual std::size_t count() const = 0;
};

/// Takes what the RPC server says to a caller inside of the process.
class lines_port {
 public:
  virtual ~lines_port() = default;
  /// One reply, a batch's replies, or one push, without the LF. May call calls_port.
  virtual void line(std::string_view text) = 0;
  /// All that was asked is over: what has no reply (notifications) was taken up, and whether it
  /// succeeded is not told. May come more than once, and belong to an earlier ask().
  virtual void settled() {}
  /// The server has closed it; nothing more comes. `why`: what a call in flight is to be told:
  /// VALUE_TOO_LARGE, its replies were more than may be unread; AUTH_FAILED, the caller was
  /// removed; NODE_DRAINING, the server stops. Absent: a line said it (an error of form), or the
  /// gateway closed it: INTERNAL.
  virtual void ended(std::optional<core::error> why) = 0;
  /// Bytes that line() took and that have not reached whom they are for: the server's bounds on
  /// slow readers hold for them.
  [[nodiscard]] virtual std::size_t unread() const = 0;
};

/// Calls from inside of the process: HTTP's. They are decoded, ordered, bounded and counted as
/// those of a connection.
class calls_port {
 public:
  /// Who calls, and whose address and fingerprints a bound context has (listen.rpc.
  /// bind_to_connection); `bound` false: its calls name the context themselves.
  struct origin {
    std::string address, ja3, ja4;
    core::listener listener = core::listener::http;
    bool bound = true;
    /// What is about the connection itself (auth.login, events.subscribe, events.unsubscribe) is
    /// no method there.
    bool calls_only = false;
  };
  virtual ~calls_port() = default;
  /// `caller` lives as long as the process; `to` until ended() or hang_up().
  virtual connection_id open(const core::caller* caller, origin from, lines_port& to) = 0;
  /// JSON text as a connection would send it; a form error ends it, as there. Nothing happens where
  /// it is gone.
  virtual void ask(connection_id from, std::string_view bytes) = 0;
  virtual void hang_up(connection_id which) = 0;
};

/// What a loop's connections ask of the gateway.
class gateway_port {
 public:
  virtual ~gateway_port() = default;
  /// The caller of a new connection: whom its certificate names, else `none` until login, or admin
  /// when auth.mode is "none". Never null. Callers live as long as the process.
  /// CERTIFICATE_REJECTED where only certificates count and this one names nobody: the connection
  /// is told so and closed.
  virtual core::result<const core::caller*> greet(connection_id id, const peer& who) = 0;
  /// Takes a request. The gateway answers `to` once, now or later. Returns the tag of who owns it
  /// now (for fail_in_flight), 0 when it was answered at once.
  virtual std::uint32_t submit(connection_id from, const core::caller& caller, ticket to,
                               core::request& request, const block_ref& block) = 0;
  /// All that was readable in this turn has been submitted.
  virtual void turn_ended() = 0;
  virtual void closed(connection_id id) = 0;
};

/// A page that HTTP shows.
struct http_page {
  std::string content_type, text;
};

/// What the HTTP listeners ask of the gateway.
class http_port {
 public:
  virtual ~http_port() = default;
  /// The caller of a new connection, as gateway_port::greet says; nothing is kept of it.
  virtual core::result<const core::caller*> greet(const peer& who) = 0;
  /// Who presents the value of an Authorization field, by the rules of auth.login: TLS_REQUIRED,
  /// AUTH_RATE_LIMITED, AUTH_FAILED; the last is counted against `from`, and an event.
  /// `private_way`: nobody listens in.
  virtual core::result<const core::caller*> identify(const core::ip_address& from, bool private_way,
                                                     std::string_view authorization,
                                                     const std::string& correlation_id) = 0;
  /// Whether it is one whom greet() or identify() would name now: a reload removes callers.
  [[nodiscard]] virtual bool is_current(const core::caller* who) const = 0;
  /// Why the node should be sent no requests; absent: it may.
  [[nodiscard]] virtual std::optional<core::error> unready() const = 0;
  /// The metrics. `then` is called once, now or later.
  virtual void scrape(std::function<void(core::result<http_page>)> then) = 0;
};

/// Counters of one loop's connections and requests, read by metrics on that loop.
using core::loop_tallies;

}  // namespace portcullis::net
