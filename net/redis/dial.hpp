// From an address to a stream that is ready for commands: name, connection, TLS.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error/catalogue.hpp"
#include "net/loop/loop.hpp"
#include "net/redis/url.hpp"
#include "net/stream/stream.hpp"
#include "net/tls/client_context.hpp"

namespace portcullis::net::redis {

/// Why there is no connection, or no more.
struct failure {
  core::error why;     // STORE_UNAVAILABLE; its rule tells programs
  std::string detail;  // tells people: of the system, of OpenSSL, of the server. No secrets
};

struct dial_options {
  address to;
  std::shared_ptr<const tls_client_context> tls;  // null: plain
  std::string server_name;  // whom the certificate has to be for; empty: the host
};

/// Connects once, to one of the addresses that the host has, in their order. Sets TCP_NODELAY and
/// keepalive. It sets no deadline: whoever owns it destroys it. Single thread.
class dialer {
 public:
  /// With a stream, or without one and why: "resolve", "connect", "tls".
  using function = std::function<void(std::unique_ptr<stream>, failure)>;

  /// `done` is called once, in a later turn, unless this is destroyed before; it may destroy this.
  dialer(loop& on, dial_options options, function done);
  ~dialer();
  dialer(const dialer&) = delete;
  dialer& operator=(const dialer&) = delete;

 private:
  void begin();
  void connect_unix();
  void try_next();
  void connected();
  void shake_hands();
  [[nodiscard]] bool flush();
  void fail(std::string_view rule, std::string detail);
  void finish(std::unique_ptr<stream> made, failure why);
  static void socket_ready(void* context, loop::watch::ready what);

  loop& loop_;
  dial_options options_;
  function done_;
  loop::timer soon_;
  std::optional<loop::lookup> lookup_;
  std::vector<core::ip_address> addresses_;
  std::size_t next_ = 0;  // of addresses_
  std::string last_failure_;
  descriptor socket_;
  std::unique_ptr<stream> stream_;  // connected, while TLS is not there yet
  std::unique_ptr<tls_session> session_;
  std::optional<loop::watch> watch_;
};

}  // namespace portcullis::net::redis
