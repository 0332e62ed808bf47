// The paths of HTTP in front of a real RPC server, whose gateway does what the test says.
#include <string>

#include "tests/net/http_web.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string post_of(const std::string& body, const std::string& fields = "") {
  return "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST(http_health, is_told_and_counted) {
  web w;
  EXPECT_THAT(w.ask("GET /livez"), EndsWith("\r\n\r\nok\n"));
  EXPECT_THAT(w.ask("GET /readyz"), EndsWith("\r\n\r\nok\n"));
  EXPECT_THAT(w.ask("GET /readyz?verbose"), EndsWith("ready\n"));
  EXPECT_THAT(w.ask("HEAD /livez"), HasSubstr("Content-Length: 3\r\n"));
  w.port_of_gateway.trouble = core::fail(core::error_code::STORE_FULL);
  expect_error(w.ask("GET /readyz"), 507, "STORE_FULL");
  expect_error(w.ask("POST /livez"), 405, "METHOD_NOT_FOUND", "\r\nAllow: GET, HEAD\r\n");
  expect_error(w.ask("GET /livez/"), 404, "METHOD_NOT_FOUND", "\"rule\":\"path\"");
  EXPECT_EQ(w.answered(core::http_route::livez, 2), 2u);
  EXPECT_EQ(w.answered(core::http_route::livez, 4), 1u);
  EXPECT_EQ(w.answered(core::http_route::readyz, 5), 1u);
  EXPECT_EQ(w.answered(core::http_route::other, 4), 1u);
}

TEST(http_metrics, come_when_they_come) {
  web w;
  EXPECT_THAT(w.ask("GET /metrics"), HasSubstr("Content-Type: text/metrics\r\n"));
  w.port_of_gateway.hold_scrape = true;
  client c(w.port);
  c.send("GET /metrics HTTP/1.1\r\nHost: any.name\r\n\r\n");
  ASSERT_TRUE(w.until([&] { return w.port_of_gateway.held.size() == 1; }));
  auto why = core::fail(core::error_code::OVERLOADED);
  why.retry_after_ms = 1'500;
  w.port_of_gateway.held[0](why);
  ASSERT_TRUE(w.until([&] { return c.receive().find("OVERLOADED") != std::string::npos; }));
  EXPECT_THAT(c.receive(), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(c.receive(), HasSubstr("Retry-After: 2\r\n"));
}

TEST(http_pages, may_need_a_token) {
  http_route_options options;
  options.needs_token = true;
  web w(options);
  for (const auto* path : {"GET /livez", "GET /readyz", "GET /metrics"}) {
    expect_error(w.ask(path), 401, "AUTH_REQUIRED", "\r\nWWW-Authenticate: Bearer\r\n");
    expect_error(w.ask(path, "Authorization: Bearer x\r\n"), 401, "AUTH_FAILED");
    expect_error(w.ask(path, "Authorization: Bearer app\r\n"), 403, "FORBIDDEN");
    EXPECT_THAT(w.ask(path, "Authorization: Bearer observer\r\n"), StartsWith("HTTP/1.1 200"));
  }
  expect_error(w.ask("GET /livez", "Authorization: Bearer often\r\n"), 429, "AUTH_RATE_LIMITED",
               "\r\nRetry-After: 2\r\n");
}

TEST(a_browser, that_was_lured_here_is_refused) {
  http_route_options options;
  options.hosts = {"portcullis.example"};
  options.origins = {"https://console.example"};
  web w(options);
  const std::string json = "Content-Type: application/json\r\n";
  for (const auto* host : {"localhost:7480", "127.0.0.1", "[::1]:80", "Portcullis.Example:443"})
    EXPECT_THAT(w.ask("POST /rpc", "Host: " + std::string(host) + "\r\n" + json, call("1")),
                StartsWith("HTTP/1.1 200"))
        << host;
  for (const auto* host : {"evil.example", "localhost.evil.example", ""})
    for (const auto* line : {"POST /rpc", "GET /events", "POST /events/ticket"})
      expect_error(w.ask(line, "Host: " + std::string(host) + "\r\n" + json, call("1")), 403,
                   "FORBIDDEN", "\"field\":\"host\"");
  expect_error(w.ask("POST http://evil.example/rpc", json, call("1")), 403, "FORBIDDEN");
  for (const auto* line : {"POST /rpc", "GET /events", "GET /livez", "GET /metrics", "GET /"})
    for (const auto* origin : {"https://evil.example", "null", "https://console.example:444"})
      expect_error(w.ask(line, "Origin: " + std::string(origin) + "\r\n" + json), 403, "FORBIDDEN",
                   "\"field\":\"origin\"");
  const auto listed = w.ask("POST /rpc", "Origin: https://console.example\r\n" + json, call("1"));
  EXPECT_THAT(listed, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(listed, Not(HasSubstr("Access-Control")));
  // A GET that needs no leave of ours has no Origin.
  for (const auto* line : {"POST /rpc", "GET /events", "POST /events/ticket"})
    expect_error(w.ask(line, "Sec-Fetch-Site: cross-site\r\n" + json, call("1")), 403, "FORBIDDEN",
                 "\"field\":\"origin\"");
  EXPECT_THAT(
      w.ask("POST /rpc", "Origin: https://console.example\r\nSec-Fetch-Site: cross-site\r\n" + json,
            call("1")),
      StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(w.ask("POST /rpc", "Sec-Fetch-Site: same-origin\r\n" + json, call("1")),
              StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(w.ask("GET /livez", "Host: any.name\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(w.ask("GET /authz/forward-auth", "Host: app.example\r\nOrigin: https://a.b\r\n"),
              StartsWith("HTTP/1.1 401"))
      << "proxies pass on what the browser sent";
}

TEST(an_rpc_request, is_answered_with_the_envelope_whatever_it_says) {
  web w;
  const auto answer = w.rpc_call(call("7"), "Authorization: Bearer admin\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n" + done("7")));
  EXPECT_THAT(w.rpc_call(call("7", "no.such")), HasSubstr("\"error\":\"AUTH_REQUIRED\""));
  const auto unknown = w.rpc_call(call("7", "no.such"), "Authorization: Bearer admin\r\n");
  EXPECT_THAT(unknown, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(unknown, HasSubstr("{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32601"));
  EXPECT_THAT(w.rpc_call("{}"), HasSubstr("\"code\":-32600"));
  EXPECT_THAT(w.rpc_call("[]"), HasSubstr("\"code\":-32600"));
  EXPECT_THAT(w.rpc_call(" \n[" + call("1") + "," + call("2") + "]\r\n"),
              EndsWith("\r\n\r\n[" + done("1") + "," + done("2") + "]"));
  EXPECT_THAT(w.rpc_call(call("1"), "Content-Type: x\r\n"), StartsWith("HTTP/1.1 400"));
}

TEST(an_rpc_request, of_notifications_has_no_body_once_they_are_taken_up) {
  web w;
  w.port_of_gateway.greets = &operator_caller;
  EXPECT_THAT(w.rpc_call(call("")), StartsWith("HTTP/1.1 204 No Content\r\n"));
  EXPECT_THAT(w.rpc_call("[" + call("") + "," + call("") + "]"), StartsWith("HTTP/1.1 204"));
  EXPECT_THAT(w.rpc_call(call("", "no.such")), StartsWith("HTTP/1.1 204"));
  EXPECT_THAT(w.rpc_call(call("")), Not(HasSubstr("Content-Length")));
  w.gateway.hold = true;
  client c(w.port);
  c.send(
      "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(call("").size()) + "\r\n\r\n" + call(""));
  const auto before = w.gateway.requests.size();
  ASSERT_TRUE(w.until([&] { return w.gateway.requests.size() == before + 1; }));
  w.settle();
  EXPECT_EQ(c.receive(), "");
  w.gateway.answered = before;
  w.gateway.answer_all();
  ASSERT_TRUE(w.until([&] { return c.receive().starts_with("HTTP/1.1 204"); }));
}

// They were answered 204, and nothing was done.
TEST(an_rpc_request, of_notifications_by_nobody_is_refused) {
  web w;
  expect_error(w.rpc_call(call("", "session.stats")), 401, "AUTH_REQUIRED", "WWW-Authenticate");
  expect_error(w.rpc_call("[" + call("", "session.stats") + "]"), 401, "AUTH_REQUIRED");
  EXPECT_TRUE(w.gateway.requests.empty());
  EXPECT_THAT(w.rpc_call(call("1", "session.stats")), StartsWith("HTTP/1.1 200"));
}

TEST(an_rpc_request, that_is_no_single_json_value_is_refused) {
  web w;
  expect_error(w.rpc_call("{\"a\":}"), 400, "PARSE_ERROR");
  expect_error(w.rpc_call(call("1").substr(0, 20)), 400, "PARSE_ERROR");
  expect_error(w.rpc_call("hello"), 400, "PARSE_ERROR");
  expect_error(w.rpc_call("5"), 400, "PARSE_ERROR");
  expect_error(w.rpc_call(call("1") + "x"), 400, "PARSE_ERROR");
  expect_error(w.rpc_call(call("1") + call("2")), 400, "INVALID_REQUEST", "one_value");
  expect_error(w.rpc_call(call("1") + "\n" + call("2") + "\n"), 400, "INVALID_REQUEST");
  expect_error(w.rpc_call(" "), 400, "INVALID_REQUEST");
  expect_error(w.rpc_call(""), 400, "INVALID_REQUEST");
  expect_error(w.rpc_call(std::string(20, '[') + std::string(20, ']')), 400, "NESTING_TOO_DEEP");
  expect_error(w.rpc_call("\"" + std::string(65'535, 'x') + "\""), 413, "VALUE_TOO_LARGE");
  EXPECT_TRUE(w.gateway.requests.empty());
}

TEST(an_rpc_request, is_a_post_of_json) {
  web w;
  for (const auto* method : {"GET", "PUT", "OPTIONS", "FOO"})
    expect_error(w.ask(std::string(method) + " /rpc"), 405, "METHOD_NOT_FOUND",
                 "\r\nAllow: POST\r\n");
  for (const auto* type :
       {"", "Content-Type: text/plain\r\n", "Content-Type: application/jsonp\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n"})
    expect_error(w.ask("POST /rpc", type, call("1")), 415, "INVALID_REQUEST");
  EXPECT_THAT(w.ask("POST /rpc", "Content-Type: Application/JSON; charset=utf-8\r\n", call("1")),
              StartsWith("HTTP/1.1 200"));
}

TEST(an_rpc_request, with_a_wrong_token_is_refused) {
  web w;
  expect_error(w.rpc_call(call("1"), "Authorization: Bearer x\r\n"), 401, "AUTH_FAILED",
               "WWW-Authenticate: Bearer");
  expect_error(w.rpc_call(call("1"), "Authorization: Basic x\r\n"), 401, "AUTH_FAILED");
  EXPECT_TRUE(w.gateway.requests.empty());
}

TEST(an_rpc_request, knows_no_methods_about_a_connection) {
  web w;
  for (const auto* method : {"auth.login", "events.subscribe", "events.unsubscribe"})
    EXPECT_THAT(w.rpc_call(call("1", method), "Authorization: Bearer admin\r\n"),
                HasSubstr("\"code\":-32601"))
        << method;
  EXPECT_TRUE(w.gateway.requests.empty());
}

TEST(a_connection, is_one_caller_inside_as_long_as_it_is_the_same) {
  web w;
  client c(w.port);
  const auto post = [&](const std::string& who, std::size_t number) {
    const auto body = call("1");
    c.send("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + who +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    ASSERT_TRUE(w.until([&] { return count_of(c.receive(), done("1")) == number; }));
  };
  post("", 1);
  post("", 2);
  EXPECT_EQ(w.gateway.requests.at(0).from, w.gateway.requests.at(1).from);
  post("Authorization: Bearer app\r\n", 3);
  EXPECT_NE(w.gateway.requests.at(1).from, w.gateway.requests.at(2).from);
  ASSERT_TRUE(w.until([&] { return w.gateway.gone.size() == 1; }));
  c.finish();
  ASSERT_TRUE(w.until([&] { return w.gateway.gone.size() == 2; }));
}

// The RPC server saw it when something else happened next.
TEST(a_connection, that_ends_hangs_up_in_the_same_turn) {
  constexpr std::uint64_t long_ms = 10'000;
  auto inside = quick();
  auto outside = quick_http();
  inside.tick_ms = outside.tick_ms = 10 * long_ms;
  web w({}, {256, {}}, inside, outside);
  bool late = false;
  loop::timer something_else(w.on, [&] { late = true; });
  something_else.every(long_ms);
  client c(w.port);
  c.send(post_of(call("1"), "Connection: close\r\n"));
  ASSERT_TRUE(w.until([&] { return c.receive().ends_with(done("1")); }));
  ASSERT_TRUE(w.until([&] { return w.gateway.gone.size() == 1; }));
  EXPECT_FALSE(late);
}

TEST(pipelined_rpc_requests, are_answered_in_order) {
  web w;
  client c(w.port);
  std::string many;
  for (int i = 10; i < 30; ++i) {
    const auto body = call(std::to_string(i));
    many +=
        "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  c.send(many);
  c.finish();
  ASSERT_TRUE(w.until([&] { return c.closed(); }));
  std::size_t at = 0;
  for (int i = 10; i < 30; ++i) {
    at = c.receive().find(done(std::to_string(i)), at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST(a_caller_that_is_removed, is_told_so_at_its_next_request) {
  web w;
  w.port_of_gateway.greets = &app;  // by a certificate
  client c(w.port);
  w.settle();
  w.port_of_gateway.removed = &app;
  const auto body = call("1");
  c.send(
      "POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(w.until([&] { return c.receive().find("AUTH_FAILED") != std::string::npos; }));
}

TEST(a_request_in_flight, is_answered_when_the_rpc_server_closes_its_caller) {
  web w;
  w.gateway.hold = true;
  client removed(w.port), other(w.port);
  removed.send(post_of(call("1"), "Authorization: Bearer app\r\n"));
  other.send(post_of(call("1"), "Authorization: Bearer admin\r\n"));
  ASSERT_TRUE(w.until([&] { return w.gateway.requests.size() == 2; }));
  w.rpc->close_callers(&app);
  ASSERT_TRUE(w.until([&] { return removed.receive().starts_with("HTTP/1.1 401"); }));
  EXPECT_THAT(removed.receive(), HasSubstr("AUTH_FAILED"));
  EXPECT_EQ(other.receive(), "");
  w.rpc->close_all();
  ASSERT_TRUE(w.until([&] { return other.receive().starts_with("HTTP/1.1 503"); }));
  EXPECT_THAT(other.receive(), HasSubstr("NODE_DRAINING"));
}

// It was told that the node stops, and to try again: for ever.
TEST(a_batch, whose_replies_are_too_many_to_be_kept_is_not_to_be_tried_again) {
  web w;
  w.gateway.hold = true;
  w.gateway.reply = core::event_page{{std::string(200'000, 'x')}, "e1"};
  std::string body = "[" + call("1");
  for (int i = 0; i < 50; ++i) body += "," + call("2");
  client c(w.port);
  c.send(post_of(body + "]"));
  ASSERT_TRUE(w.until([&] { return w.gateway.requests.size() == 51; }));
  w.gateway.answer_all();
  ASSERT_TRUE(w.until([&] { return c.receive().starts_with("HTTP/1.1 413"); }));
  EXPECT_THAT(c.receive(), HasSubstr("VALUE_TOO_LARGE"));
  EXPECT_THAT(c.receive(), HasSubstr("\"retryable\":false"));
}

/// A connection that has asked the RPC server, and then for the metrics, which are not there yet.
struct metrics_after_rpc : web {
  void begin(const std::string& body, const std::string& fields) {
    port_of_gateway.hold_scrape = true;
    c.emplace(port);
    c->send(post_of(body, fields));
    ASSERT_TRUE(until([&] { return count_of(c->receive(), "HTTP/1.1 200") == 1; }));
    c->send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASSERT_TRUE(until([&] { return port_of_gateway.held.size() == 1; }));
  }
  void expect_metrics() {
    settle();
    EXPECT_EQ(count_of(c->receive(), "HTTP/1.1 "), 1u) << c->receive();
    port_of_gateway.held[0](http_page{"text/metrics", "up 1\n"});
    ASSERT_TRUE(until([&] { return count_of(c->receive(), "HTTP/1.1 ") == 2; }));
    EXPECT_THAT(c->receive(), EndsWith("up 1\n"));
  }
  std::optional<client> c;
};

// It was answered 204.
TEST(metrics, are_not_what_an_earlier_notification_was_waited_for) {
  metrics_after_rpc w;
  w.gateway.hold = true;
  w.begin("[" + call("1", "no.such") + "," + call("") + "]", "Authorization: Bearer admin\r\n");
  ASSERT_EQ(w.gateway.requests.size(), 1u);
  w.gateway.answer_all();
  w.expect_metrics();
}

// They were answered 503.
TEST(metrics, do_not_end_with_an_earlier_requests_caller) {
  metrics_after_rpc w;
  w.begin(call("1"), "Authorization: Bearer app\r\n");
  w.rpc->close_callers(&app);
  w.expect_metrics();
}

TEST(a_request_that_the_rpc_server_never_answers, is_a_timeout_in_the_end) {
  auto inside = quick();
  inside.request_timeout_ms = 1'000'000'000;
  web w({}, {256, {}}, inside);
  w.gateway.hold = true;
  client rpc(w.port), authz(w.port);
  rpc.send(post_of(call("1")));
  authz.send("GET /authz/forward-auth HTTP/1.1\r\nHost: x\r\nCookie: portcullis_session=" +
             std::string(64, 'a') + "\r\n\r\n");
  ASSERT_TRUE(w.until([&] { return w.gateway.requests.size() == 2; }));
  w.clock.advance_ms(core::limits::http_backstop_ms);
  ASSERT_TRUE(w.until([&] { return authz.receive().starts_with("HTTP/1.1 504"); }));
  EXPECT_EQ(rpc.receive(), "") << "a backup may take long";
  w.clock.advance_ms(core::limits::http_long_backstop_ms);
  EXPECT_TRUE(w.until([&] { return rpc.receive().starts_with("HTTP/1.1 504"); }));
}

const std::string cookie = "Cookie: portcullis_session=" + std::string(64, 'a') + "\r\n";

TEST(forward_auth, asks_the_rpc_server_whatever_the_method) {
  web w;
  w.gateway.reply = core::session_invalid{core::invalid_reason::revoked, {}};
  for (const auto* line : {"GET /authz/auth-request", "PUT /authz/forward-auth",
                           "FOO /authz/ext-authz/some/path?x=y"}) {
    const auto answer = w.ask(line, cookie + "User-Agent: a\r\n");
    expect_error(answer, 401, "SESSION_REVOKED");
    EXPECT_EQ(w.gateway.requests.back().user_agent, "a");
  }
  EXPECT_THAT(w.ask("HEAD /authz/forward-auth", cookie), EndsWith("\r\n\r\n"));
  w.gateway.reply = core::session_invalid{core::invalid_reason::locked_out, 1'500};
  expect_error(w.ask("GET /authz/forward-auth", cookie), 429, "USER_LOCKED_OUT",
               "Retry-After: 2\r\n");
  expect_error(w.ask("GET /authz/auth-request", cookie), 403, "USER_LOCKED_OUT");
  expect_error(w.ask("GET /authz/auth-request"), 401, "AUTH_REQUIRED");
  EXPECT_THAT(w.ask("GET /authz/other", cookie), StartsWith("HTTP/1.1 404"));
  EXPECT_EQ(w.answered(core::http_route::authz, 4), 7u);
}

TEST(forward_auth, obeys_new_rules_at_once) {
  web w;
  client c(w.port);
  const std::string request =
      "GET /authz/auth-request HTTP/1.1\r\nHost: x\r\nX-Session: " + std::string(64, 'a') +
      "\r\n\r\n";
  c.send(request);
  ASSERT_TRUE(w.until([&] { return c.receive().find("AUTH_REQUIRED") != std::string::npos; }));
  w.rules->replace({"", "x-session"});
  c.send(request);
  ASSERT_TRUE(w.until([&] { return w.gateway.requests.size() == 1; }));
}

TEST(forward_auth, may_need_a_token_of_an_application_or_an_administrator) {
  http_route_options options;
  options.needs_token = true;
  web w(options);
  w.gateway.reply = core::session_invalid{core::invalid_reason::revoked, {}};
  const auto as = [&](const std::string& who) {
    return w.ask("GET /authz/forward-auth", cookie + who);
  };
  expect_error(as(""), 401, "AUTH_REQUIRED");
  expect_error(as("Authorization: Bearer x\r\n"), 401, "AUTH_FAILED");
  expect_error(as("Authorization: Bearer observer\r\n"), 403, "FORBIDDEN");
  expect_error(as("Authorization: Bearer app\r\n"), 401, "SESSION_REVOKED");
  expect_error(as("Authorization: Bearer admin\r\n"), 401, "SESSION_REVOKED");
}

TEST(forward_auth, believes_a_proxys_certificate_rather_than_its_users_authorization) {
  http_route_options options;
  options.needs_token = true;
  web w(options);
  w.port_of_gateway.greets = &app;
  w.gateway.reply = core::session_invalid{core::invalid_reason::revoked, {}};
  const auto as = [&](const std::string& who) {
    return w.ask("GET /authz/forward-auth", cookie + who);
  };
  expect_error(as("Authorization: Basic dXNlcjpwYXNz\r\n"), 401, "SESSION_REVOKED");
  EXPECT_EQ(w.port_of_gateway.identified_as, "") << "a failure would count against the proxy";
  w.port_of_gateway.removed = &app;
  expect_error(as("Authorization: Basic dXNlcjpwYXNz\r\n"), 401, "AUTH_FAILED");
  expect_error(as(""), 401, "AUTH_FAILED");
  w.port_of_gateway.greets = &observer;
  expect_error(as(""), 403, "FORBIDDEN");
  expect_error(as("Authorization: Bearer app\r\n"), 401, "SESSION_REVOKED");
}

TEST(forward_auth, tells_the_correlation_id_of_a_token_that_failed) {
  http_route_options options;
  options.needs_token = true;
  web w(options);
  const std::string trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const std::string token = "Authorization: Bearer x\r\n";
  expect_error(w.ask("GET /authz/forward-auth",
                     token + "traceparent: 00-" + trace + "-00f067aa0ba902b7-01\r\n"),
               401, "AUTH_FAILED", "\"correlation_id\":\"" + trace + "\"");
  EXPECT_EQ(w.port_of_gateway.identified_as, trace);
  const auto answer = w.ask("GET /authz/forward-auth", token);
  EXPECT_NE(w.port_of_gateway.identified_as, trace);
  expect_error(answer, 401, "AUTH_FAILED",
               "\"correlation_id\":\"" + w.port_of_gateway.identified_as + "\"");
}

// nginx makes 500 of every status but 401 and 403.
TEST(forward_auth, refuses_what_cannot_be_read_as_the_proxy_understands_it) {
  web w;
  const std::string large = "Cookie: a=" + std::string(33 * 1024, 'x') + "\r\n";
  const std::string twice = "Last-Event-ID: 1\r\nLast-Event-ID: 1\r\n";
  expect_error(w.ask("GET /authz/auth-request", large), 403, "VALUE_TOO_LARGE");
  expect_error(w.ask("GET /authz/auth-request", twice), 403, "INVALID_REQUEST");
  expect_error(w.ask("GET /authz/forward-auth", large), 413, "VALUE_TOO_LARGE");
  expect_error(w.ask("GET /authz/forward-auth", twice), 400, "INVALID_REQUEST");
  expect_error(w.ask("GET /livez", large), 413, "VALUE_TOO_LARGE");
  EXPECT_EQ(w.answered(core::http_route::authz, 4), 4u);
  EXPECT_EQ(w.answered(core::http_route::other, 4), 1u);
  // What nginx passes on by its defaults.
  std::string fields = cookie;
  for (int i = 0; i < 3; ++i) fields += "Cookie: a=" + std::string(8'100, 'x') + "\r\n";
  w.gateway.reply = core::session_invalid{core::invalid_reason::revoked, {}};
  expect_error(w.ask("GET /authz/auth-request", fields), 401, "SESSION_REVOKED");
}

}  // namespace
}  // namespace portcullis::net
