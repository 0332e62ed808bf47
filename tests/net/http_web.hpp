// HTTP's routes in front of a real RPC server, whose gateway does what the test says.
#pragma once
#include "net/http/routes.hpp"

#include <string>

#include "tests/net/http_harness.hpp"

namespace portcullis::net::test {

inline const core::caller app{"web", core::role::app, {}, {}};
inline const core::caller observer{"eyes", core::role::observer, {}, {}};

struct scripted_port final : http_port {
  core::result<const core::caller*> greet(const peer&) override { return greets; }
  core::result<const core::caller*> identify(const core::ip_address&, bool private_way,
                                             std::string_view authorization,
                                             const std::string& correlation_id) override {
    identified_as = correlation_id;
    if (!private_way) return core::fail(core::error_code::TLS_REQUIRED);
    if (authorization == "Bearer app") return &app;
    if (authorization == "Bearer observer") return &observer;
    if (authorization == "Bearer admin") return &operator_caller;
    auto why = core::fail(core::error_code::AUTH_FAILED);
    if (authorization == "Bearer often") {
      why = core::fail(core::error_code::AUTH_RATE_LIMITED);
      why.retry_after_ms = 1'500;
    }
    return why;
  }
  bool is_current(const core::caller* who) const override { return who != removed; }
  std::optional<core::error> unready() const override { return trouble; }
  void scrape(std::function<void(core::result<http_page>)> then) override {
    if (hold_scrape) return held.push_back(std::move(then));
    then(http_page{"text/metrics", "up 1\n"});
  }
  const core::caller* greets = &nobody;
  const core::caller* removed = nullptr;
  std::string identified_as;  // the correlation id of the last token
  std::optional<core::error> trouble;
  bool hold_scrape = false;
  std::vector<std::function<void(core::result<http_page>)>> held;
};

struct web {
  explicit web(http_route_options options = {}, listener_rules listener = {256, {}},
               const tcp_options& inside = quick(), const http_options& outside = quick_http())
      : rpc(std::make_unique<tcp_server>(on, inside, gateway)) {
    gateway.server = rpc.get();
    options.random = [this](std::span<std::uint8_t> out) {
      for (auto& byte : out) byte = ++random;
    };
    options.authz = rules;
    routes = std::make_unique<http_routes>(on, options, port_of_gateway, *rpc);
    server = std::make_unique<http_server>(on, outside, *routes);
    routes->set_address(core::listener::http, *core::parse_ip("127.0.0.1"));
    const auto opened = server->listen(any_port(), core::listener::http, std::move(listener));
    EXPECT_TRUE(opened);
    if (opened) port = *opened;
  }
  bool until(const std::function<bool()>& holds) { return turn_until(on, holds); }
  void settle() {
    for (int i = 0; i < 20; ++i) on.run_once();
  }
  /// The answer to one request over a connection of its own.
  std::string ask(const std::string& line, const std::string& fields = "",
                  const std::string& body = "") {
    client c(port);
    const auto length =
        body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n";
    const auto* host = fields.find("Host:") == std::string::npos ? "Host: localhost\r\n" : "";
    c.send(line + " HTTP/1.1\r\n" + host + fields + length + "Connection: close\r\n\r\n" + body);
    EXPECT_TRUE(until([&] { return c.closed(); })) << line;
    return c.receive();
  }
  std::string rpc_call(const std::string& body, const std::string& fields = "") {
    return ask("POST /rpc", "Content-Type: application/json\r\n" + fields, body);
  }
  [[nodiscard]] std::uint64_t answered(core::http_route route, int of_class) const {
    return server->requests()
        .requests[static_cast<std::size_t>(route)][static_cast<std::size_t>(of_class - 2)];
  }

  moved_clock clock;
  loop on{clock};
  scripted_gateway gateway;
  scripted_port port_of_gateway;
  std::shared_ptr<forward_auth_rules> rules =
      std::make_shared<forward_auth_rules>(authz_settings{});
  std::uint8_t random = 0;
  std::unique_ptr<tcp_server> rpc;
  std::unique_ptr<http_routes> routes;
  std::unique_ptr<http_server> server;
  std::uint16_t port = 0;
};

inline void expect_error(const std::string& answer, int status, const std::string& name,
                         const std::string& more = "") {
  EXPECT_THAT(answer, testing::StartsWith("HTTP/1.1 " + std::to_string(status) + " "));
  EXPECT_THAT(answer, testing::HasSubstr("\r\n\r\n{\"code\":"));
  EXPECT_THAT(answer, testing::HasSubstr("\"error\":\"" + name +
                                         "\",\"status\":" + std::to_string(status)));
  EXPECT_THAT(answer, testing::HasSubstr(more));
}

}  // namespace portcullis::net::test
