#include "net/redis/dial.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/redis/faults.hpp"
#include "net/redis/limits.hpp"

namespace portcullis::net::redis {
namespace {

constexpr std::size_t tls_part_bytes = 16 * 1024;

std::string reason_of(int number) {
  const char* text = ::strerrordesc_np(number);
  return text != nullptr ? text : "unknown error";
}

void set(int socket, int level, int option, int value) {
  ::setsockopt(socket, level, option, &value, sizeof value);
}

/// EINPROGRESS, 0, or why not.
int begin_connect(int socket, const core::ip_address& to, std::uint16_t port) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  const sockaddr* name = reinterpret_cast<const sockaddr*>(&v6);
  socklen_t size = sizeof v6;
  if (to.is_v4()) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, to.bytes.data() + 12, 4);
    name = reinterpret_cast<const sockaddr*>(&v4);
    size = sizeof v4;
  } else {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, to.bytes.data(), 16);
  }
  return ::connect(socket, name, size) == 0 ? 0 : errno;
}

}  // namespace

dialer::dialer(loop& on, dial_options options, function done)
    : loop_(on),
      options_(std::move(options)),
      done_(std::move(done)),
      soon_(on, [this] { begin(); }) {
  soon_.after(0);
}

dialer::~dialer() = default;

void dialer::begin() {
  if (options_.to.is_unix()) return connect_unix();
  if (const auto address = core::parse_ip(options_.to.host)) {
    addresses_.push_back(*address);
    return try_next();
  }
  // A server told it, perhaps.
  if (!is_host(options_.to.host)) return fail("resolve", "no name of a host");
  lookup_.emplace(loop_, options_.to.host, [this](std::vector<core::ip_address> found) {
    lookup_.reset();
    if (found.empty()) return fail("resolve", "the name has no address");
    if (found.size() > limits::addresses_max) found.resize(limits::addresses_max);
    addresses_ = std::move(found);
    try_next();
  });
}

void dialer::connect_unix() {
  sockaddr_un name{};
  if (options_.to.path.size() >= sizeof name.sun_path) return fail("connect", "path too long");
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, options_.to.path.data(), options_.to.path.size());
  socket_ = descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // At once, or not at all: there is no EINPROGRESS (connect(2)).
  if (!socket_ ||
      ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0)
    return fail("connect", reason_of(errno));
  connected();
}

void dialer::try_next() {
  while (next_ < addresses_.size()) {
    const auto& to = addresses_[next_++];
    socket_ = descriptor(
        ::socket(to.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_) {
      last_failure_ = reason_of(errno);
      continue;
    }
    set(socket_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    set(socket_.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
    set(socket_.get(), IPPROTO_TCP, TCP_KEEPIDLE, limits::keepalive_idle_s);
    set(socket_.get(), IPPROTO_TCP, TCP_KEEPINTVL, limits::keepalive_every_s);
    set(socket_.get(), IPPROTO_TCP, TCP_KEEPCNT, limits::keepalive_count);
    const int status = begin_connect(socket_.get(), to, options_.to.port);
    if (status != 0 && status != EINPROGRESS) {
      last_failure_ = reason_of(status);
      continue;
    }
    watch_.emplace(loop_, socket_.get(), &socket_ready, this);
    return watch_->want(false, true);
  }
  fail("connect", last_failure_);
}

void dialer::socket_ready(void* context, loop::watch::ready what) {
  auto& self = *static_cast<dialer*>(context);
  if (self.session_) return self.shake_hands();
  if (!what.writable) return;
  self.watch_.reset();
  int status = 0;
  socklen_t size = sizeof status;
  if (::getsockopt(self.socket_.get(), SOL_SOCKET, SO_ERROR, &status, &size) != 0) status = errno;
  if (status == 0) return self.connected();
  self.last_failure_ = reason_of(status);
  self.try_next();
}

void dialer::connected() {
  stream_ = std::make_unique<stream>(std::exchange(socket_, descriptor()));
  if (!options_.tls || options_.to.is_unix()) return finish(std::move(stream_), {});
  const auto& name = options_.server_name.empty() ? options_.to.host : options_.server_name;
  session_ = std::make_unique<tls_session>(options_.tls, name);
  watch_.emplace(loop_, stream_->descriptor_number(), &socket_ready, this);
  shake_hands();
}

void dialer::shake_hands() {
  auto after = session_->shake_hands();
  while (flush() && after == tls_session::status::more) {
    std::array<char, tls_part_bytes> part;
    const auto got = stream_->receive(part.data(), part.size());
    if (got.how == transfer::status::again) return watch_->want(true, !session_->pending().empty());
    if (got.how == transfer::status::moved)
      session_->feed({part.data(), got.bytes});
    else
      session_->end_feed();
    after = session_->shake_hands();
    session_->keep_left();
  }
  if (after != tls_session::status::done) {
    const auto reason = session_->reason();
    return fail("tls", reason.empty() ? "the server closed the connection" : std::string(reason));
  }
  stream_->start_tls(std::move(session_));
  finish(std::move(stream_), {});
}

/// False: the server has gone.
bool dialer::flush() {
  auto& pending = session_->pending();
  while (!pending.empty()) {
    const auto put = stream_->send(pending.view());
    if (put.how == transfer::status::failed) return false;
    if (put.how == transfer::status::again) break;
    pending.consume(put.bytes);
  }
  if (pending.empty()) session_->all_sent();
  return true;
}

void dialer::fail(std::string_view rule, std::string detail) {
  finish(nullptr, {unavailable(rule), std::move(detail)});
}

void dialer::finish(std::unique_ptr<stream> made, failure why) {
  watch_.reset();
  const auto done = std::move(done_);
  done(std::move(made), std::move(why));
}

}  // namespace portcullis::net::redis
