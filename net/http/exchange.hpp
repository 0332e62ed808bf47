// The door between the HTTP server, which has connections, and whoever answers their requests.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/contract/caller.hpp"
#include "core/error/catalogue.hpp"
#include "core/result.hpp"
#include "core/tallies.hpp"
#include "net/http/answer.hpp"
#include "net/http/request.hpp"
#include "net/ports.hpp"

namespace portcullis::net {

/// The other end of an HTTP connection.
struct http_peer {
  std::string address;      // text without port: the user's, where a PROXY header says so
  core::ip_address source;  // the same
  bool loopback = false;
  bool encrypted = false;
  core::listener listener = core::listener::http;
  std::string ja3, ja4;                  // empty: no TLS
  const core::caller* caller = nullptr;  // whom its certificate names, or who comes without a token

  /// Whether a secret may be told (protocol.md, Who may call).
  [[nodiscard]] bool private_way() const noexcept { return loopback || encrypted; }
};

/// What whoever answers keeps with a connection; destroyed with it.
class http_guest {
 public:
  virtual ~http_guest() = default;
};

/// One connection, and of its requests the one that is being answered. On the loop's thread.
class http_exchange {
 public:
  virtual ~http_exchange() = default;

  /// Until handle() returns, or until it is answered if that is sooner.
  [[nodiscard]] virtual const http_request& request() const noexcept = 0;
  [[nodiscard]] virtual const http_peer& peer() const noexcept = 0;
  /// For the counters.
  virtual void count_as(core::http_route route) noexcept = 0;

  /// Answers the request, at once. Dropped where it is answered already.
  virtual void answer(const http_answer& what) = 0;
  /// The same with the error object; `status` 0: the error's. An empty correlation id: made up.
  virtual void refuse(const core::error& why, int status = 0, std::string_view fields = {},
                      std::string_view correlation_id = {}) = 0;
  /// For whoever answers later and may outlive the connection.
  [[nodiscard]] virtual std::function<void(const core::result<http_page>&)> later() = 0;
  /// Whoever answers has a deadline of its own: only past `ms` it is REQUEST_TIMEOUT.
  virtual void wait(std::int64_t ms) noexcept = 0;
  /// Whether an answer is expected.
  [[nodiscard]] virtual bool waiting() const noexcept = 0;

  /// Answers with a body that comes in parts, until end_stream(), or until the client goes; the
  /// guest is destroyed then. `heartbeat` is sent after limits::event_stream_silence_ms without a
  /// part, and must live for ever. No request is read after that.
  virtual void begin_stream(std::string_view content_type, std::string_view heartbeat) = 0;
  virtual void stream(std::string_view part) = 0;
  virtual void end_stream() = 0;
  /// Bytes that the client has not taken.
  [[nodiscard]] virtual std::size_t unread() const noexcept = 0;

  std::unique_ptr<http_guest> guest;
};

/// Answers requests. On the loop's thread.
class http_handler {
 public:
  virtual ~http_handler() = default;
  /// Who a new connection's other end is; an error is its one answer.
  virtual core::result<const core::caller*> greet(const net::peer& who) = 0;
  /// Answers now or later, once; one request of a connection at a time.
  virtual void handle(http_exchange& on) = 0;
  /// Answers, at once, a request that cannot be read; of it the path is known, or is empty.
  virtual void refuse(http_exchange& on, const core::error& why, int status) {
    on.refuse(why, status);
  }
};

}  // namespace portcullis::net
