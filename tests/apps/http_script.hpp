// An HTTP server that answers each request with what a test makes of it, for tests of clients.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace portcullis::apps {

/// An answer of HTTP with this status and body.
inline std::string http_answer(int status, const std::string& body) {
  return "HTTP/1.0 " + std::to_string(status) +
         " Said\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// Serves one connection after the other. `answer` takes a request's target and gives all that is
/// sent.
class http_script {
 public:
  using answer = std::function<std::string(const std::string& target)>;
  explicit http_script(answer reply) : reply_(std::move(reply)) {
    std::signal(SIGPIPE, SIG_IGN);
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    bind(listener_, reinterpret_cast<const sockaddr*>(&at), size);
    listen(listener_, 16);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    serving_ = std::jthread([this] { serve(); });
  }
  ~http_script() {
    shutdown(listener_, SHUT_RDWR);
    serving_.join();
    close(listener_);
  }
  http_script(const http_script&) = delete;
  http_script& operator=(const http_script&) = delete;
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  void serve() {
    for (;;) {
      const int peer = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (peer < 0) return;
      const auto asked = request(peer);
      const auto from = asked.find(' ') + 1;
      const auto said = reply_(asked.substr(from, asked.find(' ', from) - from));
      send(peer, said.data(), said.size(), MSG_NOSIGNAL);
      close(peer);
    }
  }
  /// All of it, so that closing the connection takes nothing away from the answer.
  static std::string request(int peer) {
    static const std::string length = "Content-Length: ";
    std::string text;
    for (std::array<char, 4096> block;;) {
      const auto head = text.find("\r\n\r\n");
      const auto at = text.find(length);
      const auto body = at == std::string::npos
                            ? 0
                            : std::strtoul(text.c_str() + at + length.size(), nullptr, 10);
      if (head != std::string::npos && text.size() >= head + 4 + body) return text;
      const auto got = recv(peer, block.data(), block.size(), 0);
      if (got <= 0) return text;
      text.append(block.data(), static_cast<std::size_t>(got));
    }
  }
  answer reply_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::jthread serving_;
};

}  // namespace portcullis::apps
