#include "net/tcp/acceptor.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace portcullis::net {
namespace {

constexpr int accepts_per_turn_max = 16;  // each costs some 15 us
constexpr std::uint64_t back_off_ms = 100;

struct socket_address {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  sockaddr_in& v4() noexcept { return reinterpret_cast<sockaddr_in&>(storage); }
  sockaddr_in6& v6() noexcept { return reinterpret_cast<sockaddr_in6&>(storage); }
};

socket_address from_endpoint(const core::endpoint& where) {
  socket_address to;
  if (where.address.is_v4()) {
    to.v4().sin_family = AF_INET;
    to.v4().sin_port = htons(where.port);
    std::memcpy(&to.v4().sin_addr, where.address.bytes.data() + 12, 4);
    to.size = sizeof(sockaddr_in);
  } else {
    to.v6().sin6_family = AF_INET6;
    to.v6().sin6_port = htons(where.port);
    std::memcpy(&to.v6().sin6_addr, where.address.bytes.data(), 16);
    to.size = sizeof(sockaddr_in6);
  }
  return to;
}

remote_end to_remote(socket_address& from) {
  if (from.storage.ss_family == AF_UNIX) return {"unix", true};
  core::ip_address address;
  if (from.storage.ss_family == AF_INET) {
    address.bytes[10] = address.bytes[11] = 0xFF;
    std::memcpy(address.bytes.data() + 12, &from.v4().sin_addr, 4);
  } else {
    std::memcpy(address.bytes.data(), &from.v6().sin6_addr, 16);
  }
  return {core::to_text(address), core::endpoint{address, 0}.loopback()};
}

core::error failure(int reason) {
  const char* text = ::strerrordesc_np(reason);  // a literal of the C library
  return core::fail(core::error_code::CONFIG_INVALID, "address",
                    text != nullptr ? text : "cannot be bound");
}

bool set(int descriptor, int level, int option) {
  const int on = 1;
  return ::setsockopt(descriptor, level, option, &on, sizeof on) == 0;
}

}  // namespace

core::result<std::unique_ptr<acceptor>> acceptor::open(loop& on, const core::endpoint& where,
                                                       bool shared, accepted take,
                                                       exhausted none_left) {
  auto address = from_endpoint(where);
  descriptor socket(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return failure(errno);
  // Accepted sockets inherit TCP_NODELAY, which saves a system call for each.
  const bool ready = set(socket.get(), SOL_SOCKET, SO_REUSEADDR) &&
                     set(socket.get(), IPPROTO_TCP, TCP_NODELAY) &&
                     (!shared || set(socket.get(), SOL_SOCKET, SO_REUSEPORT)) &&
                     (where.address.is_v4() || set(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY)) &&
                     ::bind(socket.get(), address.get(), address.size) == 0 &&
                     ::listen(socket.get(), SOMAXCONN) == 0 &&
                     ::getsockname(socket.get(), address.get(), &address.size) == 0;
  if (!ready) return failure(errno);
  const auto port = ntohs(where.address.is_v4() ? address.v4().sin_port : address.v6().sin6_port);
  try {
    return std::unique_ptr<acceptor>(
        new acceptor(on, std::move(socket), port, std::move(take), std::move(none_left)));
  } catch (const std::runtime_error&) {
    return core::fail(core::error_code::CONFIG_INVALID, "address", "cannot be watched");
  }
}

core::result<std::unique_ptr<acceptor>> acceptor::open_unix(loop& on, const std::string& path,
                                                            accepted take, exhausted none_left) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return failure(ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  auto* const at = reinterpret_cast<sockaddr*>(&address);
  descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket || !probe) return failure(errno);
  // The file of a process that was killed stays; one that somebody listens on is not ours to take.
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) &&
      ::connect(probe.get(), at, sizeof address) != 0 && errno == ECONNREFUSED)
    ::unlink(path.c_str());
  if (::bind(socket.get(), at, sizeof address) != 0 || ::listen(socket.get(), SOMAXCONN) != 0)
    return failure(errno);
  try {
    std::unique_ptr<acceptor> made(
        new acceptor(on, std::move(socket), 0, std::move(take), std::move(none_left)));
    made->path_ = path;
    return made;
  } catch (const std::runtime_error&) {
    return core::fail(core::error_code::CONFIG_INVALID, "address", "cannot be watched");
  }
}

acceptor::~acceptor() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

acceptor::acceptor(loop& on, descriptor socket, std::uint16_t port, accepted take,
                   exhausted none_left)
    : socket_(std::move(socket)),
      port_(port),
      take_(std::move(take)),
      none_left_(std::move(none_left)),
      resume_(on, [this] { watch_.want(true, false); }),
      watch_(
          on, socket_.get(),
          [](void* self, loop::watch::ready) { static_cast<acceptor*>(self)->accept_some(); },
          this) {
  watch_.want(true, false);
}

void acceptor::accept_some() {
  for (int i = 0; i < accepts_per_turn_max; ++i) {
    socket_address from;
    descriptor taken(
        ::accept4(socket_.get(), from.get(), &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (taken) {
      take_(std::move(taken), to_remote(from));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The backlog stays readable: without a pause every turn would end here.
      none_left_();
      watch_.want(false, false);
      resume_.after(back_off_ms);
      return;
    }
    // Everything else concerns the one connection that was about to be accepted (accept(2)).
  }
}

}  // namespace portcullis::net
