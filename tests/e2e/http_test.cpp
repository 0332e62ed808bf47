// The HTTP listener: metrics, health, and errors whose body is the error object.
#include "harness.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

TEST(http, health_is_told_in_short_and_in_detail) {
  server node;
  for (const auto* path : {"/livez", "/readyz"}) {
    const auto answer = http_get(node.http_port, path);
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(answer.body, "ok\n");
  }
  const auto verbose = http_get(node.http_port, "/readyz?verbose");
  EXPECT_EQ(verbose.status, 200);
  EXPECT_THAT(verbose.body, HasSubstr("store"));
}

TEST(http, what_is_not_there_or_no_get_is_answered_with_the_error_object) {
  server node;
  for (const auto* path : {"/", "/nothing", "/rpc/x", "/metrics/x", "/livez/../metrics"}) {
    const auto answer = http_get(node.http_port, path);
    EXPECT_EQ(answer.status, 404) << path;
    const auto body = json::parse(answer.body, nullptr, false);
    ASSERT_TRUE(body.is_object()) << answer.body;
    EXPECT_EQ(body["data"]["status"], 404);
    EXPECT_EQ(body["data"]["error"], "METHOD_NOT_FOUND");
    EXPECT_THAT(answer.head, HasSubstr("application/json"));
  }
  line_client raw(node.http_port);
  raw.send("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
  const auto refused = raw.rest();
  EXPECT_THAT(refused, testing::StartsWith("HTTP/1.1 4"));
  EXPECT_THAT(refused, HasSubstr("\"error\":"));
  line_client garbage(node.http_port);
  garbage.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server.ping\"}\n");
  const auto answer = garbage.rest();
  EXPECT_THAT(answer, testing::StartsWith("HTTP/1.1 400 ")) << "no method is reached here";
  EXPECT_EQ(answer.find("result"), std::string::npos);
}

TEST(http, a_method_that_a_path_has_not_is_refused_and_trace_is_none_of_any) {
  server node;
  const std::map<std::string, std::string> allowed = {
      {"/metrics", "GET, HEAD"}, {"/livez", "GET, HEAD"}, {"/rpc", "POST"}};
  for (const auto& [path, methods] : allowed)
    for (const std::string method : {"TRACE", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT"}) {
      line_client raw(node.http_port);
      raw.send(method + " " + path +
               " HTTP/1.1\r\nHost: localhost\r\nX-Secret: s3cret\r\nConnection: close\r\n\r\n");
      const auto refused = raw.rest();
      EXPECT_THAT(refused, testing::StartsWith("HTTP/1.1 405 ")) << method << " " << path;
      EXPECT_THAT(refused, HasSubstr("\r\nAllow: " + methods + "\r\n"));
      EXPECT_THAT(refused, testing::Not(HasSubstr("s3cret"))) << "nothing is told back";
    }
}

TEST(http, metrics_pass_promtool_and_count_what_happened) {
  server node({.set = {"lockout.threshold=2", "metrics.labels.region=eu"}});
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  for (int i = 0; i < 3; ++i) validate(client, id);
  for (int i = 0; i < 3; ++i) validate(client, id, context("198.51.100.1"));
  client.call("no.such.method");
  const auto answer = http_get(node.http_port, "/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.head, HasSubstr("text/plain"));
  EXPECT_THAT(answer.body, HasSubstr("region=\"eu\""));
  const auto path = node.folder().write("metrics.txt", answer.body);
  if (run("promtool --version").status == 0) {
    const auto checked = run("promtool check metrics < " + path);
    EXPECT_EQ(checked.status, 0) << checked.out;
  } else {
    ADD_FAILURE() << "promtool is not installed: scripts/install-deps test";
  }
  EXPECT_EQ(node.metric(R"(portcullis_sessions_created_total{region="eu"})"), 1);
  EXPECT_EQ(node.metric(R"(portcullis_failed_attempts_total{region="eu"})"), 2);
  EXPECT_EQ(node.metric(R"(portcullis_lockouts_total{region="eu"})"), 1);
}

TEST(http, with_auth_token_an_observer_or_admin_may_read_and_nobody_else) {
  const auto eyes = make_token("eyes");
  const auto web = make_token("web");
  server node({.set = {"server.environment=development", "listen.http.auth=token"},
               .config = token_toml(eyes, "eyes", "observer") + token_toml(web, "web", "app"),
               .open = false});
  const auto as = [&](const std::string& path, const std::string& who) {
    const auto answer =
        http_get(node.http_port, path, who.empty() ? "" : "Authorization: Bearer " + who + "\r\n");
    if (answer.status != 200) EXPECT_EQ(json::parse(answer.body)["data"]["status"], answer.status);
    return answer.status;
  };
  for (const auto* path : {"/metrics", "/livez", "/readyz"}) {
    EXPECT_EQ(as(path, ""), 401) << path;
    EXPECT_EQ(as(path, make_token("x").text), 401) << path;
    EXPECT_EQ(as(path, web.text), 403) << path;
    EXPECT_EQ(as(path, eyes.text), 200) << path;
  }
}

TEST(http, connections_over_the_limit_are_told_so) {
  server node({.set = {"listen.http.max_connections=1"}});
  line_client held(node.http_port);
  held.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(held.line(), "HTTP/1.1 200 OK\r");
  const auto refused = http_get(node.http_port, "/livez");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(json::parse(refused.body)["data"]["error"], "CONNECTION_LIMIT");
}

// Proves that requests are answered while all this goes on, not how fast: no time is measured.
TEST(http, invariant_10_scrapers_that_stall_or_flood_delay_no_request) {
  server node;
  std::vector<line_client> stalled;
  for (int i = 0; i < 50; ++i) {
    stalled.emplace_back(node.http_port);
    stalled.back().send(
        i % 2 == 0
            ? "GET /metr"
            : "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  for (int i = 0; i < 200; ++i) EXPECT_EQ(state_of(client, id), "valid");
  EXPECT_EQ(http_get(node.http_port, "/livez").status, 200);
}

}  // namespace
}  // namespace portcullis::e2e
