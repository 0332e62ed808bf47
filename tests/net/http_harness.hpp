// An HTTP server on a loop, with a handler that does what the test says.
#pragma once
#include <gmock/gmock.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/http/server.hpp"
#include "tests/net/transport_harness.hpp"

namespace portcullis::net::test {

/// What a handler was asked; its own copy.
struct asked_request {
  std::string method, path, query, body, authorization, address;
};

struct scripted_handler final : http_handler {
  core::result<const core::caller*> greet(const net::peer& who) override {
    peers.push_back(who);
    if (greeting) return *greeting;
    return &anybody;
  }
  void handle(http_exchange& on) override {
    const auto& request = on.request();
    requests.push_back({std::string(request.method), std::string(request.path),
                        std::string(request.query), std::string(request.body),
                        std::string(request.authorization.value_or("")), on.peer().address});
    if (hold)
      held.push_back(on.later());
    else if (request.path == "/livez")
      on.answer({200, "text/plain", "ok\n"});
    else if (request.path == "/big")
      on.answer({200, "text/plain", std::string(3'000'000, 'b')});
    else if (request.path == "/stream")
      on.begin_stream("text/event-stream", ": beat\n\n"), streaming = &on;
    else
      on.answer({404, "application/json", "{}"});
  }
  bool hold = false;
  std::optional<core::error> greeting;
  std::vector<net::peer> peers;
  std::vector<asked_request> requests;
  std::vector<std::function<void(const core::result<http_page>&)>> held;
  http_exchange* streaming = nullptr;
};

inline http_options quick_http() {
  http_options made;
  made.tick_ms = 2;
  return made;
}

struct http_node {
  explicit http_node(http_options options = quick_http(),
                     listener_rules rules = {core::limits::http_connections_max, {}})
      : server(std::make_unique<http_server>(on, options, pages)) {
    const auto opened = server->listen(any_port(), core::listener::http, std::move(rules));
    EXPECT_TRUE(opened);
    if (opened) port = *opened;
  }
  bool until(const std::function<bool()>& holds) { return turn_until(on, holds); }
  bool until_has(client& c, std::string_view text) {
    return until([&] { return c.receive().find(text) != std::string::npos; });
  }
  /// Enough turns for whatever is ready to happen.
  void settle() {
    for (int i = 0; i < 20; ++i) on.run_once();
  }
  [[nodiscard]] std::uint64_t rejected(core::rejection why) const {
    return server->connections()
        .rejected[static_cast<std::size_t>(core::listener::http)][static_cast<std::size_t>(why)];
  }
  moved_clock clock;
  loop on{clock};
  scripted_handler pages;
  std::unique_ptr<http_server> server;
  std::uint16_t port = 0;
};

inline const std::string get_livez = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

inline std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

}  // namespace portcullis::net::test
