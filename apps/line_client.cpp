#include "apps/line_client.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <utility>

#include "core/bytes.hpp"

namespace portcullis::apps {
namespace {

using clock = std::chrono::steady_clock;
constexpr std::size_t line_bytes_max = 16 * 1024 * 1024;
constexpr std::size_t token_size = 43;  // 32 bytes as base64url

int left_ms(clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 1'000'000));
}

/// Waits until connect() has an outcome; 0 or an errno.
int finish_connect(int fd, clock::time_point deadline) {
  pollfd waiting{fd, POLLOUT, 0};
  int ready = 0;
  do ready = poll(&waiting, 1, left_ms(deadline));
  while (ready < 0 && errno == EINTR);
  if (ready == 0) return ETIMEDOUT;
  if (ready < 0) return errno;
  int outcome = 0;
  socklen_t size = sizeof outcome;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &outcome, &size) != 0 ? errno : outcome;
}

int connect_one(const addrinfo& target, clock::time_point deadline, std::string& why) {
  const int fd = socket(target.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    why = std::strerror(errno);
    return -1;
  }
  int failed = ::connect(fd, target.ai_addr, target.ai_addrlen) == 0 ? 0 : errno;
  if (failed == EINPROGRESS) failed = finish_connect(fd, deadline);
  if (failed != 0) {
    why = std::strerror(failed);
    close(fd);
    return -1;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  return fd;
}

}  // namespace

int connect_to(const std::string& address, std::chrono::milliseconds timeout, std::string& why) {
  const auto deadline = clock::now() + timeout;
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) {
    why = "an address is host:port";
    return -1;
  }
  // getaddrinfo() takes any number modulo 65536.
  const auto* end = address.data() + address.size();
  std::uint16_t port = 0;
  const auto [at, failed] = std::from_chars(address.data() + colon + 1, end, port);
  if (failed != std::errc{} || at != end || port == 0) {
    why = "a port is a number from 1 to 65535";
    return -1;
  }
  auto host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int wrong = getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found);
      wrong != 0) {
    why = gai_strerror(wrong);
    return -1;
  }
  int fd = -1;
  for (const auto* each = found; each != nullptr && fd < 0; each = each->ai_next)
    fd = connect_one(*each, deadline, why);
  freeaddrinfo(found);
  return fd;
}

line_client::~line_client() {
  if (fd_ >= 0) close(fd_);
}

bool line_client::connect(const std::string& address) {
  if (fd_ >= 0) close(fd_);
  received_.clear();
  fd_ = connect_to(address, timeout_, why_);
  return fd_ >= 0;
}

int line_client::release() noexcept { return std::exchange(fd_, -1); }

bool line_client::wait_for(short events, clock::time_point deadline) {
  pollfd waiting{fd_, events, 0};
  int ready = 0;
  do ready = poll(&waiting, 1, left_ms(deadline));
  while (ready < 0 && errno == EINTR);
  if (ready <= 0) why_ = ready == 0 ? "no answer in time" : std::strerror(errno);
  return ready > 0;
}

bool line_client::send(std::string_view text) {
  const auto deadline = clock::now() + timeout_;
  while (!text.empty()) {
    if (!wait_for(POLLOUT, deadline)) return false;
    const auto sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      why_ = std::strerror(errno);
      return false;
    }
    if (sent > 0) text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::optional<std::string> line_client::receive_whenever() {
  while (received_.find('\n') == std::string::npos) {
    pollfd waiting{fd_, POLLIN, 0};
    const int ready = poll(&waiting, 1, -1);
    if (ready > 0) break;
    if (ready < 0 && errno != EINTR) {
      why_ = std::strerror(errno);
      return std::nullopt;
    }
  }
  return receive();
}

std::optional<std::string> line_client::receive() {
  const auto deadline = clock::now() + timeout_;
  std::size_t searched = 0;
  while (true) {
    if (const auto end = received_.find('\n', searched); end != std::string::npos) {
      auto line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    searched = received_.size();
    if (searched > line_bytes_max) {
      why_ = "the answer is too long";
      return std::nullopt;
    }
    if (!wait_for(POLLIN, deadline)) return std::nullopt;
    char block[16 * 1024];
    const auto got = recv(fd_, block, sizeof block, MSG_DONTWAIT);
    if (got == 0) why_ = "the server closed the connection";
    if (got < 0 && errno != EAGAIN && errno != EINTR) why_ = std::strerror(errno);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return std::nullopt;
    if (got > 0) received_.append(block, static_cast<std::size_t>(got));
  }
}

std::optional<std::string> read_token(const std::string& file, std::string& why) {
  std::ifstream in(file);
  if (!in) {
    why = fmt::format("{}: {}", file, std::strerror(errno));
    return std::nullopt;
  }
  std::string token;
  std::getline(in, token);
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  // Judged here: the server would count it as a failed login.
  const bool form =
      token.size() == token_size && std::all_of(token.begin(), token.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_';
      });
  if (form) return token;
  why = fmt::format("{}: its first line is no token, which has {} characters", file, token_size);
  return std::nullopt;
}

std::string login_line(std::string_view token) {
  core::byte_buffer line;
  line.append(R"({"jsonrpc":"2.0","id":0,"method":"auth.login","params":{"token":)");
  core::append_json_string(line, token);
  line.append("}}\n");
  return std::string(line.view());
}

}  // namespace portcullis::apps
