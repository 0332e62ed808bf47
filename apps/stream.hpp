// A connection to a server over TCP, TLS or a Unix socket: one type for all that is sent and heard.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "apps/tls/client.hpp"

namespace portcullis::apps {

struct connect_options : tls_options {
  /// host:port or [v6]:port (names are resolved), the same after tls://, or unix:PATH.
  std::string address = "127.0.0.1:7420";
  bool tls = false;  // also where the address does not say so
};

/// Owns a non-blocking descriptor. Not thread-safe, but may be handed to another thread.
class stream {
 public:
  using clock = std::chrono::steady_clock;

  explicit stream(int descriptor) noexcept : descriptor_(descriptor) {}
  /// Says farewell where it is TLS, and closes.
  ~stream();
  stream(stream&& other) noexcept;
  stream& operator=(stream&& other) noexcept;

  /// Does the TLS handshake. False, and `why`.
  [[nodiscard]] bool secure(const tls_client& as, clock::time_point deadline, std::string& why);

  /// Sends what goes without waiting; how many bytes. Nothing, and `why`, when the connection is
  /// over. A call that sent less is followed by one with the rest, wherever that lies.
  [[nodiscard]] std::optional<std::size_t> send_some(std::string_view text, std::string& why);
  /// Appends to `to` all that can be had without waiting; how many bytes. Nothing, and `why`, when
  /// the connection is over and no byte was left.
  [[nodiscard]] std::optional<std::size_t> receive_some(std::string& to, std::string& why);

  /// Waits until send_some() or receive_some(), whichever was called last, may get on. False, and
  /// `why`. Without a deadline however long it takes.
  [[nodiscard]] bool wait(std::optional<clock::time_point> deadline, std::string& why) const;

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  /// Null where it is no TLS.
  [[nodiscard]] SSL* tls() const noexcept { return session_ ? session_->ssl() : nullptr; }

 private:
  /// Whether a call is over; false: it may be done again after a wait for `awaited_`.
  bool is_over(int result);
  [[nodiscard]] std::string alert_behind(int result);

  int descriptor_ = -1;
  short awaited_ = 0;  // for poll()
  bool heard_ = false;
  std::string over_;  // why nothing more can be received; empty: it can
  std::optional<tls_session> session_;
};

/// Why connect_options::address is no address; empty: it is one, which may still lead nowhere.
[[nodiscard]] std::string wrong_address(std::string_view address);

/// What it takes to connect to one server, once or often.
class connector {
 public:
  /// Nothing, and `why`, where what was given for TLS cannot be used. An address that is none shows
  /// in connect().
  [[nodiscard]] static std::optional<connector> make(const connect_options& given,
                                                     std::string& why);
  /// Nothing, and `why`, when there is no connection within `timeout`, handshake included.
  [[nodiscard]] std::optional<stream> connect(std::chrono::milliseconds timeout,
                                              std::string& why) const;

 private:
  std::string address_;
  std::shared_ptr<const tls_client> tls_;  // null: no TLS
};

}  // namespace portcullis::apps
