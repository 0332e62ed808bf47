// A listening socket on a loop: binds, accepts, and backs off when descriptors run out.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/config/config.hpp"
#include "core/result.hpp"
#include "net/loop/descriptor.hpp"
#include "net/loop/loop.hpp"

namespace portcullis::net {

/// The other end of an accepted connection.
struct remote_end {
  std::string address;  // text without port
  bool loopback = false;
};

/// Accepts connections of one address. Belongs to its loop's thread.
class acceptor {
 public:
  /// Takes a connected socket (non-blocking, TCP_NODELAY, closed on exec).
  using accepted = std::function<void(descriptor socket, remote_end from)>;
  /// Called whenever accepting has to pause because no descriptor or memory is left.
  using exhausted = std::function<void()>;

  /// Binds and listens; accepting starts with the loop. `shared`: further listeners, of other
  /// loops, may bind the same address, and the kernel spreads connections over them.
  /// CONFIG_INVALID, its rule the system's reason, when the address cannot be had.
  [[nodiscard]] static core::result<std::unique_ptr<acceptor>> open(loop& on,
                                                                    const core::endpoint& where,
                                                                    bool shared, accepted take,
                                                                    exhausted none_left);
  /// The same on a Unix socket, made with the mode that umask(2) leaves; one that nobody listens on
  /// is replaced, and the file is removed with the acceptor.
  [[nodiscard]] static core::result<std::unique_ptr<acceptor>> open_unix(loop& on,
                                                                         const std::string& path,
                                                                         accepted take,
                                                                         exhausted none_left);
  ~acceptor();
  acceptor(const acceptor&) = delete;
  acceptor& operator=(const acceptor&) = delete;

  /// The port bound, also when port 0 was asked for.
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  acceptor(loop& on, descriptor socket, std::uint16_t port, accepted take, exhausted none_left);
  void accept_some();

  descriptor socket_;
  std::uint16_t port_;
  std::string path_;  // of a Unix socket
  accepted take_;
  exhausted none_left_;
  loop::timer resume_;
  loop::watch watch_;
};

}  // namespace portcullis::net
