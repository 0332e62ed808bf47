// The bytes of one connection: a socket, with TLS on it or not.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "net/loop/descriptor.hpp"
#include "net/tls/session.hpp"

namespace portcullis::net {

/// How reading or writing went.
struct transfer {
  enum class status : std::uint8_t {
    moved,   // `bytes` > 0
    again,   // nothing now: wait for the socket
    ended,   // reading: the peer has sent its last byte
    failed,  // reset, or broken TLS: nothing more in either direction
  };
  transfer::status how = status::again;
  std::size_t bytes = 0;
};

/// Owns a connected, non-blocking stream socket. Single thread. Level triggered, but for bytes that
/// are here already: after reading, look at readable().
class stream {
 public:
  explicit stream(descriptor socket) noexcept : socket_(std::move(socket)) {}

  [[nodiscard]] int descriptor_number() const noexcept { return socket_.get(); }
  [[nodiscard]] bool encrypted() const noexcept { return tls_ != nullptr; }

  /// Gives back bytes that were read too far: the next read begins with them. Before TLS starts.
  void put_back(std::string_view bytes) { early_.assign(bytes); }
  /// All further bytes go through `session`, whose handshake is done.
  void start_tls(std::unique_ptr<tls_session> session) noexcept { tls_ = std::move(session); }

  /// At most `room` (> 0) bytes.
  [[nodiscard]] transfer read(char* into, std::size_t room);
  /// Whether read() has bytes at once, although the socket may never become readable again.
  [[nodiscard]] bool readable() const noexcept {
    return !early_.empty() || (tls_ != nullptr && tls_->readable());
  }
  /// Takes what it can of `bytes`; the rest must be offered again. `again` with 0 bytes: wait until
  /// the socket is writable.
  [[nodiscard]] transfer write(std::string_view bytes);
  /// Whether bytes that write() took still wait for the socket: then flush() when it is writable.
  [[nodiscard]] bool unsent() const noexcept { return tls_ != nullptr && !tls_->pending().empty(); }
  [[nodiscard]] transfer::status flush();
  /// Gives back memory that a connection needs only while it is used. Cheap, and may be called
  /// often.
  void rest() noexcept {
    if (tls_) tls_->shed_buffers();
  }
  /// Why TLS failed, in OpenSSL's words; empty: it did not.
  [[nodiscard]] std::string_view tls_reason() const noexcept {
    return tls_ ? tls_->reason() : std::string_view();
  }
  /// Throws away what the peer sends; `moved` and `again`: there may be more.
  [[nodiscard]] transfer::status drop();
  /// Ends our direction. False: the connection is gone.
  [[nodiscard]] bool end_output();

  /// Bytes of the socket itself, below TLS: for what comes before the handshake is over.
  [[nodiscard]] transfer receive(char* into, std::size_t room) const noexcept;
  [[nodiscard]] transfer send(std::string_view bytes) const noexcept;

 private:
  [[nodiscard]] transfer read_tls(char* into, std::size_t room);

  descriptor socket_;
  std::unique_ptr<tls_session> tls_;  // null: plain
  std::string early_;
  std::size_t sent_ = 0;  // of what TLS has pending
};

}  // namespace portcullis::net
