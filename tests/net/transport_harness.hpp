// A server on a loop, a scripted gateway, clients with real sockets, and a clock that the test
// moves. No sleeps: the test turns the loop until something holds, or gives up after some seconds
// of real time.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/loop/loop.hpp"
#include "net/tcp/server.hpp"

namespace portcullis::net::test {

struct moved_clock final : core::clock {
  core::millis now_ms() noexcept override { return 1'700'000'000'000 + ns / 1'000'000; }
  std::int64_t mono_ns() noexcept override { return ns; }
  void advance_ms(std::int64_t ms) { ns += ms * 1'000'000; }
  std::int64_t ns = 1'000'000'000;
};

/// Turns the loop until `holds`; false after 10 s. Something has to tick on the loop: servers do.
inline bool turn_until(loop& on, const std::function<bool()>& holds) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    on.run_once();
  }
  return true;
}

inline core::endpoint any_port() { return *core::parse_endpoint("127.0.0.1:0"); }

class client {
 public:
  explicit client(std::uint16_t port, int receive_buffer = 0)
      : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0)
      ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    const int on = 1;  // without it, pieces wait for acknowledgements
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::fcntl(socket_, F_SETFL, O_NONBLOCK);
  }
  ~client() {
    if (socket_ >= 0) ::close(socket_);
  }
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// How much the kernel took.
  std::size_t send(std::string_view bytes) {
    const auto put = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return put > 0 ? static_cast<std::size_t>(put) : 0;
  }
  void finish() { ::shutdown(socket_, SHUT_WR); }
  void reset() {
    const linger now{1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(std::exchange(socket_, -1));
  }
  /// Takes what has come.
  const std::string& receive() {
    char bytes[65536];
    for (;;) {
      const auto got = ::recv(socket_, bytes, sizeof bytes, 0);
      if (got > 0) {
        received_.append(bytes, static_cast<std::size_t>(got));
        continue;
      }
      if (got == 0 || errno != EAGAIN) closed_ = true;
      was_reset_ = was_reset_ || (got < 0 && errno == ECONNRESET);
      return received_;
    }
  }
  [[nodiscard]] bool closed() {
    receive();
    return closed_;
  }
  [[nodiscard]] bool was_reset() const { return was_reset_; }
  std::vector<std::string> lines() {
    std::vector<std::string> found;
    std::string_view left = receive();
    for (auto end = left.find('\n'); end != left.npos; end = left.find('\n')) {
      found.emplace_back(left.substr(0, end));
      left.remove_prefix(end + 1);
    }
    return found;
  }

 private:
  int socket_;
  std::string received_;
  bool closed_ = false;
  bool was_reset_ = false;
};

inline const core::caller nobody{"", core::role::none, {}, {}};
inline const core::caller anybody{"", core::role::admin, {}, {}};
inline const core::caller operator_caller{"operator", core::role::admin, {}, {}};

class scripted_gateway final : public gateway_port {
 public:
  struct seen {
    connection_id from;
    ticket to;
    core::method method;
    std::string user_agent;  // of a validation
  };

  core::result<const core::caller*> greet(connection_id id, const peer& who) override {
    greeted.push_back(id);
    last_peer = who;
    last_names = who.certificate != nullptr ? who.certificate->names : std::vector<std::string>{};
    if (greeting) return *greeting;
    return greets;
  }
  std::uint32_t submit(connection_id from, const core::caller& caller, ticket to,
                       core::request& request, const block_ref& block) override {
    if (on_request) on_request(request);
    seen entry{from, to, request.method, {}};
    if (const auto* params = std::get_if<core::subscribe_events>(&request.params)) {
      subscribed_to = "after=" + std::string(params->after.value_or("")) +
                      " tenant=" + std::string(params->tenant_id) + " types=";
      for (std::size_t i = 0; i < params->types.size(); ++i)
        subscribed_to += (i > 0 ? "," : "") + std::string(params->types[i]);
      subscribed_to += " who=" + caller.name;
    }
    if (const auto* validate = std::get_if<core::validate_session>(&request.params))
      entry.user_agent = validate->context.fields[0];
    requests.push_back(std::move(entry));
    if (keep_blocks) blocks.push_back(block);
    if (hold) return tag;
    server->answer(to, reply);
    return 0;
  }
  void turn_ended() override { ++turns; }
  void closed(connection_id id) override { gone.push_back(id); }

  void answer_all() {
    for (; answered < requests.size(); ++answered) server->answer(requests[answered].to, reply);
  }

  tcp_server* server = nullptr;
  const core::caller* greets = &anybody;
  bool hold = false;
  bool keep_blocks = false;
  std::uint32_t tag = 7;
  core::reply reply = core::done{};
  std::vector<seen> requests;
  std::size_t answered = 0;
  std::vector<block_ref> blocks;
  std::vector<connection_id> greeted, gone;
  std::string subscribed_to;
  peer last_peer;
  std::vector<std::string> last_names;  // of its certificate
  std::optional<core::error> greeting;  // refuses who comes
  std::function<void(const core::request&)> on_request;
  int turns = 0;
};

inline tcp_options quick() {
  tcp_options made;
  made.tick_ms = 2;
  return made;
}

/// One server on one loop.
struct node {
  explicit node(tcp_options options = quick())
      : server(std::make_unique<tcp_server>(on, options, gateway)) {
    gateway.server = server.get();
    auto opened = server->listen(any_port(), core::listener::rpc, false);
    EXPECT_TRUE(opened);
    if (opened) port = *opened;
  }
  bool until(const std::function<bool()>& holds) { return turn_until(on, holds); }
  bool until_lines(client& from, std::size_t count) {
    return until([&] { return from.lines().size() >= count; });
  }
  /// Enough turns for whatever is ready to happen.
  void settle() {
    for (int i = 0; i < 20; ++i) on.run_once();
  }
  [[nodiscard]] std::uint64_t rejected(core::rejection why) const {
    return server->tallies().connections.rejected[0][static_cast<std::size_t>(why)];
  }

  moved_clock clock;
  loop on{clock};
  scripted_gateway gateway;
  std::unique_ptr<tcp_server> server;
  std::uint16_t port = 0;
};

inline std::string call(std::string_view id, std::string_view method = "server.ping",
                        std::string_view params = "{}") {
  std::string text = R"({"jsonrpc":"2.0",)";
  if (!id.empty()) text.append("\"id\":").append(id).append(",");
  return text.append("\"method\":\"")
      .append(method)
      .append("\",\"params\":")
      .append(params)
      .append("}");
}
inline std::string validation(std::string_view id, std::string_view user_agent) {
  return call(id, "session.validate",
              R"({"session_id":")" + std::string(64, 'a') +
                  R"(","context":{"ip":"192.0.2.1","user_agent":")" + std::string(user_agent) +
                  R"("}})");
}
inline std::string done(std::string_view id) {
  return R"({"jsonrpc":"2.0","id":)" + std::string(id) + R"(,"result":{}})";
}
inline std::string login() {
  return call("\"login\"", "auth.login",
              R"({"token":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})");
}

}  // namespace portcullis::net::test
