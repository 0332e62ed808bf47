// TLS of one connection, between bytes of the wire and bytes of the protocol. OpenSSL does the
// work, on buffers of ours that are bounded. No sockets.
#pragma once
#include <openssl/types.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.hpp"
#include "core/tallies.hpp"
#include "net/ports.hpp"
#include "net/tls/client_context.hpp"
#include "net/tls/context.hpp"

namespace portcullis::net {

/// The server's side, or the client's. Single thread.
///
/// Bytes of the wire go in by feed() and come out in pending(); whoever owns the session carries
/// them. Nothing grows without bound: what was fed is taken in before more is, and write() stops
/// while limits::tls_pending_bytes_max wait (hazards H11).
class tls_session {
 public:
  enum class status : std::uint8_t {
    done,    // bytes were moved, or the handshake is over
    more,    // needs bytes from the peer, or room in pending()
    ended,   // the peer said that it has sent its last byte (close_notify)
    failed,  // an alert, where there is one, stands in pending()
  };

  /// `context` is kept while the session lives. Throws std::bad_alloc.
  tls_session(std::shared_ptr<const tls_context> context, tls_use use);
  /// The client's side, of a connection to `server`, a name or an IP address: its certificate must
  /// be for that (RFC 6125; no wildcards within a label, no common names). A name is told to the
  /// server (RFC 6066, 3). Not empty: OpenSSL would check nothing.
  tls_session(std::shared_ptr<const tls_client_context> context, const std::string& server);
  ~tls_session();
  tls_session(const tls_session&) = delete;
  tls_session& operator=(const tls_session&) = delete;

  /// The peer's next bytes. They must stay where they are until keep_left() or the next feed(),
  /// which may come only when none are left.
  void feed(std::string_view bytes) noexcept { fed_ = bytes; }
  /// Bytes that were fed and not yet looked at.
  [[nodiscard]] std::string_view left() const noexcept { return fed_; }
  /// Copies what is left, so that the memory that was fed may be used again.
  void keep_left();
  /// The peer has closed: there is nothing more to feed.
  void end_feed() noexcept { over_ = true; }

  /// Goes on with the handshake.
  [[nodiscard]] status shake_hands();
  /// Why it failed.
  [[nodiscard]] core::tls_failure failure() const noexcept { return failure_; }
  /// The same in OpenSSL's words, of whatever failed last; empty: nothing did, or the peer went
  /// away.
  [[nodiscard]] std::string_view reason() const noexcept { return reason_; }

  /// Decrypts into `room` (> 0) bytes; `got` is how many, also where nothing more can be had now.
  [[nodiscard]] status read(char* into, std::size_t room, std::size_t& got);
  /// Encrypts; returns how many bytes were taken: fewer when much is pending. Failed: none ever
  /// again.
  [[nodiscard]] status write(std::string_view bytes, std::size_t& taken);
  /// Says that this side has sent its last byte.
  void say_goodbye();
  /// Whether read() may have bytes without another feed().
  [[nodiscard]] bool readable() const noexcept;

  /// What is to be sent to the peer.
  [[nodiscard]] core::byte_buffer& pending() noexcept { return pending_; }
  /// All of that was.
  void all_sent() noexcept;
  /// Gives back OpenSSL's buffers, some 34 KiB, until there is something to read or write. Not
  /// where a record is half there.
  void shed_buffers() noexcept;

  [[nodiscard]] bool is_tls_1_3() const noexcept;
  [[nodiscard]] bool resumed() const noexcept;
  /// The peer's certificate, whose chain was verified; absent when it sent none.
  [[nodiscard]] std::optional<peer_certificate> certificate() const;

 private:
  friend struct tls_wire;
  tls_session(std::shared_ptr<const void> context, SSL_CTX* from);
  [[nodiscard]] status after(int result);

  std::shared_ptr<const void> context_;  // what ssl_ is made of
  SSL* ssl_;
  std::string_view fed_;
  std::string kept_;
  core::byte_buffer pending_;
  core::tls_failure failure_ = core::tls_failure::other;
  std::string_view reason_;       // a literal of OpenSSL's
  std::optional<status> untold_;  // came together with bytes, which are delivered first
  bool over_ = false;
};

}  // namespace portcullis::net
