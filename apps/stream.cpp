#include "apps/stream.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace portcullis::apps {
namespace {

using clock = stream::clock;
constexpr std::size_t block_bytes = 16 * 1024;  // as much as a TLS record holds
constexpr std::string_view tls_scheme = "tls://", unix_scheme = "unix:";

/// An address by its parts: a path, or host and port.
struct place {
  bool tls = false;
  std::string path, host, port;
};

std::optional<place> parse_place(std::string_view text, std::string& why) {
  place out;
  if (text.starts_with(unix_scheme)) {
    out.path = text.substr(unix_scheme.size());
    if (!out.path.empty() && out.path.size() < sizeof(sockaddr_un::sun_path)) return out;
    why =
        "a socket's path has 1 to " + std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes";
    return std::nullopt;
  }
  out.tls = text.starts_with(tls_scheme);
  if (out.tls) text.remove_prefix(tls_scheme.size());
  if (text.find("://") != std::string_view::npos) {
    why = "an address is host:port, tls://host:port or unix:PATH";
    return std::nullopt;
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    why = "an address is host:port";
    return std::nullopt;
  }
  // getaddrinfo() takes any number modulo 65536.
  std::uint16_t number = 0;
  const auto* end = text.data() + text.size();
  const auto [at, failed] = std::from_chars(text.data() + colon + 1, end, number);
  if (failed != std::errc{} || at != end || number == 0) {
    why = "a port is a number from 1 to 65535";
    return std::nullopt;
  }
  out.host = text.substr(0, colon);
  out.port = text.substr(colon + 1);
  if (out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']')
    out.host = out.host.substr(1, out.host.size() - 2);
  return out;
}

int left_ms(std::optional<clock::time_point> deadline) {
  if (!deadline) return -1;
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 2'000'000'000));
}

/// 0, or an errno: ETIMEDOUT when the deadline has passed.
int wait_for(int descriptor, short events, std::optional<clock::time_point> deadline) {
  pollfd waiting{descriptor, events, 0};
  int ready = 0;
  do ready = poll(&waiting, 1, left_ms(deadline));
  while (ready < 0 && errno == EINTR);
  if (ready == 0) return ETIMEDOUT;
  return ready < 0 ? errno : 0;
}

/// A connected descriptor; -1, and `why`.
int connect_one(int family, const sockaddr* to, socklen_t size, clock::time_point deadline,
                std::string& why) {
  const int descriptor = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) {
    why = std::strerror(errno);
    return -1;
  }
  int failed = ::connect(descriptor, to, size) == 0 ? 0 : errno;
  if (failed == EINPROGRESS) {
    failed = wait_for(descriptor, POLLOUT, deadline);
    socklen_t length = sizeof failed;
    if (failed == 0 && getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failed, &length) != 0)
      failed = errno;
  }
  if (failed == 0) return descriptor;
  why = std::strerror(failed);
  close(descriptor);
  return -1;
}

int connect_path(const std::string& path, clock::time_point deadline, std::string& why) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path.data(), path.size());
  // With a full queue this is EAGAIN at once: poll() would not tell of room in it.
  return connect_one(AF_UNIX, reinterpret_cast<const sockaddr*>(&to), sizeof to, deadline, why);
}

int connect_host(const place& at, clock::time_point deadline, std::string& why) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int wrong = getaddrinfo(at.host.c_str(), at.port.c_str(), &hints, &found); wrong != 0) {
    why = gai_strerror(wrong);
    return -1;
  }
  int descriptor = -1;
  for (const auto* each = found; each != nullptr && descriptor < 0; each = each->ai_next)
    descriptor = connect_one(each->ai_family, each->ai_addr, each->ai_addrlen, deadline, why);
  freeaddrinfo(found);
  const int on = 1;
  if (descriptor >= 0) setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return descriptor;
}

bool would_block(int failed) noexcept { return failed == EAGAIN || failed == EINTR; }

}  // namespace

stream::~stream() {
  if (descriptor_ < 0) return;
  if (session_ && SSL_is_init_finished(session_->ssl()) == 1) {
    SSL_shutdown(session_->ssl());
    ERR_clear_error();
  }
  session_.reset();
  close(descriptor_);
}

stream::stream(stream&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      awaited_(other.awaited_),
      heard_(other.heard_),
      over_(std::move(other.over_)),
      session_(std::exchange(other.session_, std::nullopt)) {}

stream& stream::operator=(stream&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(awaited_, other.awaited_);
  std::swap(heard_, other.heard_);
  std::swap(over_, other.over_);
  std::swap(session_, other.session_);
  return *this;
}

bool stream::is_over(int result) {
  const int failed = errno;
  const int kind = SSL_get_error(session_->ssl(), result);
  errno = failed;  // for why_failed()
  awaited_ = kind == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
  return kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE;
}

bool stream::secure(const tls_client& as, clock::time_point deadline, std::string& why) {
  session_ = as.session(descriptor_);
  for (;;) {
    ERR_clear_error();
    errno = 0;
    const int result = SSL_connect(session_->ssl());
    if (result == 1) return true;
    if (is_over(result)) {
      why = session_->why_failed(result, false);
      return false;
    }
    if (!wait(deadline, why)) {
      why = "TLS handshake failed: " + why + "; does the server speak TLS there?";
      return false;
    }
  }
}

std::optional<std::size_t> stream::send_some(std::string_view text, std::string& why) {
  if (!session_) {
    const auto sent = ::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    awaited_ = POLLOUT;
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (would_block(errno)) return 0;
    why = std::strerror(errno);
    return std::nullopt;
  }
  ERR_clear_error();
  errno = 0;
  std::size_t sent = 0;
  const int result = SSL_write_ex(session_->ssl(), text.data(), text.size(), &sent);
  awaited_ = POLLOUT;
  if (result == 1) return sent;
  if (!is_over(result)) return 0;
  why = alert_behind(result);
  return std::nullopt;
}

/// Why a write failed. A server that did not accept a client's certificate said so before it
/// closed.
std::string stream::alert_behind(int result) {
  auto why = session_->why_failed(result, heard_);
  char byte = 0;
  ERR_clear_error();
  errno = 0;
  const int read = SSL_read(session_->ssl(), &byte, 1);
  if (read <= 0 && SSL_get_error(session_->ssl(), read) == SSL_ERROR_SSL)
    why = session_->why_failed(read, heard_);
  ERR_clear_error();
  return why;
}

std::optional<std::size_t> stream::receive_some(std::string& to, std::string& why) {
  std::array<char, block_bytes> block;
  if (!session_) {
    const auto got = recv(descriptor_, block.data(), block.size(), MSG_DONTWAIT);
    awaited_ = POLLIN;
    if (got < 0 && would_block(errno)) return 0;
    if (got <= 0) {
      why = got == 0 ? "the server closed the connection" : std::strerror(errno);
      return std::nullopt;
    }
    // An alert of TLS (RFC 8446, 5.1): no protocol that is spoken here begins so.
    if (!heard_ && got >= 2 && block[0] == 0x15 && block[1] == 0x03) {
      why = "the server speaks TLS there: give --tls";
      return std::nullopt;
    }
    heard_ = true;
    to.append(block.data(), static_cast<std::size_t>(got));
    return static_cast<std::size_t>(got);
  }
  if (!over_.empty()) {
    why = over_;
    return std::nullopt;
  }
  // poll() does not see what OpenSSL has read already, so all of it is taken.
  std::size_t all = 0;
  for (;;) {
    ERR_clear_error();
    errno = 0;
    std::size_t got = 0;
    const int result = SSL_read_ex(session_->ssl(), block.data(), block.size(), &got);
    if (result != 1) {
      if (!is_over(result)) return all;
      over_ = session_->why_failed(result, heard_);
      if (all > 0) return all;
      why = over_;
      return std::nullopt;
    }
    heard_ = true;
    to.append(block.data(), got);
    all += got;
    awaited_ = POLLIN;
    if (SSL_has_pending(session_->ssl()) == 0) return all;
  }
}

bool stream::wait(std::optional<clock::time_point> deadline, std::string& why) const {
  const int failed = wait_for(descriptor_, awaited_ != 0 ? awaited_ : POLLIN, deadline);
  if (failed != 0) why = failed == ETIMEDOUT ? "no answer in time" : std::strerror(failed);
  return failed == 0;
}

std::string wrong_address(std::string_view address) {
  std::string why;
  return parse_place(address, why) ? std::string() : why;
}

std::optional<connector> connector::make(const connect_options& given, std::string& why) {
  connector out;
  out.address_ = given.address;
  std::string ignored;
  const auto at = parse_place(given.address, ignored);
  const bool tls = given.tls || (at && at->tls);
  const bool more = !given.ca_file.empty() || !given.certificate_file.empty() ||
                    !given.key_file.empty() || !given.server_name.empty();
  if (more && !tls) {
    why = "--ca, --cert, --key and --server-name need --tls";
  } else if (tls && at && !at->path.empty()) {
    why = given.address + ": a Unix socket has no TLS";
  } else if (tls && at) {
    auto made = tls_client::make(given, at->host, why);
    if (!made) return std::nullopt;
    out.tls_ = std::make_shared<const tls_client>(std::move(*made));
    return out;
  } else {
    return out;
  }
  return std::nullopt;
}

std::optional<stream> connector::connect(std::chrono::milliseconds timeout,
                                         std::string& why) const {
  const auto deadline = clock::now() + timeout;
  const auto at = parse_place(address_, why);
  if (!at) return std::nullopt;
  const int descriptor =
      at->path.empty() ? connect_host(*at, deadline, why) : connect_path(at->path, deadline, why);
  if (descriptor < 0) return std::nullopt;
  stream made(descriptor);
  if (tls_ && !made.secure(*tls_, deadline, why)) return std::nullopt;
  return made;
}

}  // namespace portcullis::apps
