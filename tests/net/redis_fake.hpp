// A server that says what the test makes it say, and a channel to it.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "tests/net/redis_harness.hpp"

namespace portcullis::net::test {

/// Listens on 127.0.0.1; one connection at a time. Nothing blocks.
class fake_redis {
 public:
  explicit fake_redis(int receive_buffer = 0) : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0)  // inherited by what is accepted
      ::setsockopt(listener_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    ::fcntl(listener_, F_SETFL, O_NONBLOCK);
  }
  ~fake_redis() {
    hang_up();
    ::close(listener_);
  }
  fake_redis(const fake_redis&) = delete;
  fake_redis& operator=(const fake_redis&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// Takes the next connection in place of the present one, if there is one.
  bool accept() {
    const int next = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
    if (next < 0) return false;
    hang_up();
    socket_ = next;
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
  }
  /// What has come of this connection.
  const std::string& received() {
    char part[65536];
    for (ssize_t size; (size = ::recv(socket_, part, sizeof part, 0)) >= 0;) {
      if (size == 0) {
        ended_ = true;
        break;
      }
      received_.append(part, static_cast<std::size_t>(size));
    }
    if (errno == ECONNRESET) ended_ = true;
    return received_;
  }
  [[nodiscard]] bool ended() {
    received();
    return ended_;
  }
  std::size_t send(std::string_view bytes) {
    const auto put = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return put > 0 ? static_cast<std::size_t>(put) : 0;
  }
  void hang_up() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
    received_.clear();
    ended_ = false;
  }
  void reset() {
    const linger now{1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    hang_up();
  }

 private:
  int listener_;
  int socket_ = -1;
  std::uint16_t port_ = 0;
  std::string received_;
  bool ended_ = false;
};

/// A channel whose whole greeting is PING.
struct faked : turning {
  void TearDown() override { channel.reset(); }

  redis::channel_options options() const {
    redis::channel_options made;
    made.where.to = {"127.0.0.1", server.port(), {}};
    made.asks = redis::check::ping;
    return made;
  }
  redis::channel::events events() {
    redis::channel::events made;
    made.ready = [this](const redis::server_info&) { ++ready; };
    made.lost = [this](const redis::failure& why) {
      ++losses;
      rule = why.why.rule;
      detail = why.detail;
    };
    return made;
  }
  void open(redis::channel_options with) {
    channel = std::make_unique<redis::channel>(on, std::move(with), events(), counts);
    ASSERT_TRUE(until([&] { return server.accept(); }));
  }
  void open() { open(options()); }
  void greet() {
    ASSERT_TRUE(until_received("PING\r\n"));
    server.send("+PONG\r\n");
    ASSERT_TRUE(until([&] { return channel->ready(); }));
  }
  void open_and_greet() {
    open();
    greet();
  }
  bool until_received(const std::string& text) {
    return until([&] { return server.received().find(text) != std::string::npos; });
  }
  /// The answer is put at the end of `answers`.
  void ask(redis::command what, std::int64_t deadline_ms = long_ms) {
    channel->ask(what, deadline_ms, [this](got reply) { answers.push_back(told(reply)); });
  }
  bool until_answers(std::size_t count) {
    return until([&] { return answers.size() >= count; });
  }
  void settle() {
    for (int i = 0; i < 10; ++i) on.run_once();
  }

  fake_redis server;
  redis::tallies counts;
  int ready = 0, losses = 0;
  std::string rule, detail;
  std::vector<std::string> answers;
  std::unique_ptr<redis::channel> channel;
};

}  // namespace portcullis::net::test
