#include "net/http/server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/net/transport_harness.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::HasSubstr;
using testing::StartsWith;

struct scripted_port final : http_port {
  void handle(http_request request, std::function<void(http_response)> respond) override {
    requests.push_back(request);
    if (hold)
      held.push_back(std::move(respond));
    else if (request.path == "/livez")
      respond({200, "text/plain", "ok\n"});
    else if (request.path == "/big")
      respond({200, "text/plain", std::string(3'000'000, 'b')});
    else
      respond({404, "application/json", "{}"});
  }
  bool hold = false;
  std::vector<http_request> requests;
  std::vector<std::function<void(http_response)>> held;
};

http_options quick_http() {
  http_options made;
  made.tick_ms = 2;
  return made;
}

struct http_node {
  explicit http_node(http_options options = quick_http())
      : server(std::make_unique<http_server>(on, options, pages)) {
    const auto opened = server->listen(any_port());
    EXPECT_TRUE(opened);
    if (opened) port = *opened;
  }
  bool until(const std::function<bool()>& holds) { return turn_until(on, holds); }
  bool until_has(client& c, std::string_view text) {
    return until([&] { return c.receive().find(text) != std::string::npos; });
  }
  moved_clock clock;
  loop on{clock};
  scripted_port pages;
  std::unique_ptr<http_server> server;
  std::uint16_t port = 0;
};

const std::string get_livez = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

TEST(http_server, answers_and_keeps_the_connection) {
  http_node n;
  client c(n.port);
  c.send("GET /livez?verbose=1&x HTTP/1.1\r\nHost: x\r\nauthorization: Bearer t\r\n\r\n");
  ASSERT_TRUE(n.until_has(c, "ok\n"));
  EXPECT_EQ(c.receive(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: "
            "keep-alive\r\n\r\nok\n");
  EXPECT_EQ(n.pages.requests.at(0).path, "/livez");
  EXPECT_EQ(n.pages.requests[0].query, "verbose=1&x");
  EXPECT_EQ(n.pages.requests[0].authorization, "Bearer t");
  EXPECT_EQ(n.pages.requests[0].remote_address, "127.0.0.1");
  c.send(get_livez);
  ASSERT_TRUE(n.until([&] { return count_of(c.receive(), "ok\n") == 2; }));
  EXPECT_EQ(n.server->count(), 1u);
}

TEST(http_server, head_has_the_length_and_no_body) {
  http_node n;
  client c(n.port);
  c.send("HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_EQ(c.receive(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: "
            "close\r\n\r\n");
  EXPECT_EQ(n.pages.requests.at(0).method, "HEAD");
}

TEST(http_server, http_1_0_is_closed_after_the_answer) {
  http_node n;
  client c(n.port);
  c.send("GET /livez HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), HasSubstr("Connection: close\r\n\r\nok\n"));
}

TEST(http_server, a_request_may_be_cut_at_every_byte) {
  http_node n;
  client c(n.port);
  for (const char byte : get_livez) {
    c.send({&byte, 1});
    n.on.run_once();
  }
  ASSERT_TRUE(n.until_has(c, "ok\n"));
}

TEST(http_server, pipelined_requests_are_answered_in_order_one_at_a_time) {
  http_node n;
  n.pages.hold = true;
  client c(n.port);
  c.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return n.pages.held.size() == 1; }));
  for (int i = 0; i < 20; ++i) n.on.run_once();
  ASSERT_EQ(n.pages.held.size(), 1u);
  n.pages.held[0]({200, "text/plain", "first"});
  n.pages.held[0]({200, "text/plain", "again"});  // once only
  ASSERT_TRUE(n.until([&] { return n.pages.held.size() == 2; }));
  n.pages.held[1]({200, "text/plain", "second"});
  ASSERT_TRUE(n.until_has(c, "second"));
  EXPECT_EQ(count_of(c.receive(), "HTTP/1.1 200"), 2u);
  EXPECT_LT(c.receive().find("first"), c.receive().find("second"));
}

TEST(http_server, a_client_that_finishes_gets_its_answers) {
  http_node n;
  client c(n.port);
  c.send(get_livez + get_livez + get_livez);
  c.finish();
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_EQ(count_of(c.receive(), "ok\n"), 3u);
}

TEST(http_server, which_paths_there_are_is_the_ports_business) {
  http_node n;
  client c(n.port);
  c.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(n.until_has(c, "{}"));
  EXPECT_THAT(c.receive(), StartsWith("HTTP/1.1 404 Not Found\r\n"));
}

void expect_refusal(const std::string& bytes, std::string_view status, std::string_view name) {
  http_node n;
  client c(n.port);
  c.send(bytes);
  ASSERT_TRUE(n.until([&] { return c.closed(); })) << bytes;
  EXPECT_THAT(c.receive(), StartsWith("HTTP/1.1 " + std::string(status))) << bytes;
  EXPECT_THAT(c.receive(), HasSubstr("\"status\":" + std::string(status))) << bytes;
  EXPECT_THAT(c.receive(), HasSubstr("\"error\":\"" + std::string(name))) << bytes;
  EXPECT_THAT(c.receive(), HasSubstr("Connection: close"));
  EXPECT_FALSE(c.was_reset());
  EXPECT_TRUE(n.pages.requests.empty());
}

TEST(http_server, malformed_requests_are_refused_with_the_error_object) {
  expect_refusal("nonsense\r\n\r\n", "400", "INVALID_REQUEST");
  expect_refusal("GET /x HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", "400", "INVALID_REQUEST");
  expect_refusal("GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "400",
                 "INVALID_REQUEST");
  expect_refusal("GET /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400",
                 "INVALID_REQUEST");
}

TEST(http_server, other_methods_are_refused) {
  expect_refusal("POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "405",
                 "METHOD_NOT_FOUND");
  expect_refusal("DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "405", "METHOD_NOT_FOUND");
}

TEST(http_server, any_method_but_get_and_head_is_refused_as_a_method) {
  for (const auto* request :
       {"FOO /livez HTTP/1.1\r\n\r\n", "get /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nG! / HTTP/1.1", "HEADS / HTTP/1.1\r\n\r\n", "G "})
    expect_refusal(request, "405", "METHOD_NOT_FOUND");
  http_node n;
  client c(n.port);
  for (const char byte : std::string_view("PATCHY /livez")) {
    c.send({&byte, 1});
    n.on.run_once();
  }
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), HasSubstr("\r\nAllow: GET, HEAD\r\n"));
}

TEST(http_server, a_request_names_its_host_once) {
  for (const auto* fields : {"", "Host: x\r\nhost: x\r\n", "Host: x\r\nHost: y\r\n",
                             "Host: a b\r\n", "Host: user@x\r\n", "Host: x/y\r\n"})
    expect_refusal("GET /livez HTTP/1.1\r\n" + std::string(fields) + "\r\n", "400",
                   "INVALID_REQUEST");
  expect_refusal("GET /livez HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", "400", "INVALID_REQUEST");
  expect_refusal("GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
                 "400", "INVALID_REQUEST");
  for (const auto* host : {"", "x", "x:7480 ", "[::1]:7480", "a-b.example"}) {
    http_node n;
    client c(n.port);
    c.send("GET /livez HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n");
    ASSERT_TRUE(n.until_has(c, "ok\n")) << host;
  }
}

TEST(http_server, a_target_may_be_absolute) {
  const struct {
    const char *target, *path, *query;
  } rows[] = {{"http://other/livez?a=b", "/livez", "a=b"},
              {"HTTP://[::1]:7480/livez", "/livez", ""},
              {"http://other", "/", ""},
              {"http://other?a", "/", "a"}};
  for (const auto& row : rows) {
    http_node n;
    client c(n.port);
    c.send("GET " + std::string(row.target) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_TRUE(n.until([&] { return n.pages.requests.size() == 1; })) << row.target;
    EXPECT_EQ(n.pages.requests[0].path, row.path) << row.target;
    EXPECT_EQ(n.pages.requests[0].query, row.query) << row.target;
  }
  for (const auto* target : {"https://other/livez", "ftp://other/livez", "http:///livez",
                             "http://user@other/livez", "*", "other:80", "livez"})
    expect_refusal("GET " + std::string(target) + " HTTP/1.1\r\nHost: x\r\n\r\n", "400",
                   "INVALID_REQUEST");
}

TEST(http_server, the_answer_to_a_refused_request_has_a_body_unless_it_was_a_head) {
  const std::string head = "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const auto* next : {"POST /x HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n"}) {
    http_node n;
    client c(n.port);
    c.send(head + next);
    ASSERT_TRUE(n.until([&] { return c.closed(); }));
    EXPECT_THAT(c.receive(), HasSubstr("\r\n\r\n{\"code\":")) << next;
  }
  for (const auto* fields : {"Host: x\r\nContent-Length: 2\r\n\r\n{}", "\r\n"}) {
    http_node n;
    client c(n.port);
    c.send(get_livez + "HEAD /livez HTTP/1.1\r\n" + fields);
    ASSERT_TRUE(n.until([&] { return c.closed(); }));
    EXPECT_THAT(c.receive(), HasSubstr("HTTP/1.1 400")) << fields;
    EXPECT_THAT(c.receive(), testing::EndsWith("\r\n\r\n")) << fields;
  }
}

TEST(http_server, a_401_names_the_scheme) {
  http_node n;
  n.pages.hold = true;
  client c(n.port);
  c.send(get_livez);
  ASSERT_TRUE(n.until([&] { return n.pages.held.size() == 1; }));
  n.pages.held[0]({401, "application/json", "{}"});
  ASSERT_TRUE(n.until_has(c, "{}"));
  EXPECT_THAT(c.receive(), HasSubstr("\r\nWWW-Authenticate: Bearer\r\n"));
}

TEST(http_server, headers_over_the_bound_are_refused_in_one_piece_or_many) {
  const std::string head = "GET /livez HTTP/1.1\r\nHost: x\r\nX: ";
  expect_refusal(head + std::string(9000, 'x') + "\r\n\r\n", "413", "VALUE_TOO_LARGE");
  http_node n;
  client fits(n.port);
  fits.send(head + std::string(8192 - head.size() - 4, 'x') + "\r\n\r\n");
  ASSERT_TRUE(n.until_has(fits, "ok\n"));
}

TEST(http_server, a_slow_header_is_cut_off_and_an_idle_connection_later) {
  http_node n;
  client slow(n.port), idle(n.port);
  idle.send(get_livez);
  ASSERT_TRUE(n.until_has(idle, "ok\n"));
  slow.send("GET /livez");
  for (int i = 0; i < 20; ++i) n.on.run_once();
  n.clock.advance_ms(10'000);
  ASSERT_TRUE(n.until([&] { return slow.closed(); }));
  EXPECT_FALSE(idle.closed());
  n.clock.advance_ms(50'000);
  ASSERT_TRUE(n.until([&] { return idle.closed(); }));
}

TEST(http_server, connections_over_the_cap_are_told_so) {
  auto options = quick_http();
  options.connections_max = 1;
  http_node n(options);
  client first(n.port);
  ASSERT_TRUE(n.until([&] { return n.server->count() == 1; }));
  client over(n.port);
  ASSERT_TRUE(n.until([&] { return over.closed(); }));
  EXPECT_THAT(over.receive(), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(over.receive(), HasSubstr("CONNECTION_LIMIT"));
  const auto row = static_cast<std::size_t>(core::listener::http);
  EXPECT_EQ(n.server->tallies().rejected[row][static_cast<std::size_t>(core::rejection::limit)],
            1u);
  first.send(get_livez);
  ASSERT_TRUE(n.until_has(first, "ok\n"));
}

TEST(http_server, a_large_answer_waits_for_its_reader_and_then_goes_on) {
  http_node n;
  client c(n.port, 4096), other(n.port);
  c.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n" + get_livez);
  for (int i = 0; i < 20; ++i) n.on.run_once();
  other.send(get_livez);
  ASSERT_TRUE(n.until_has(other, "ok\n"));
  ASSERT_TRUE(n.until_has(c, "ok\n"));
  EXPECT_GT(c.receive().size(), 3'000'000u);
}

TEST(http_server, a_reader_without_progress_is_closed) {
  http_node n;
  client c(n.port, 4096);
  c.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  for (int i = 0; i < 20; ++i) n.on.run_once();
  ASSERT_EQ(n.server->count(), 1u);
  ASSERT_TRUE(n.until([&] {
    n.clock.advance_ms(1'000);
    return n.server->count() == 0;
  }));
}

TEST(http_server, an_answer_that_never_comes_is_a_timeout_and_a_late_one_is_dropped) {
  http_node n;
  n.pages.hold = true;
  client c(n.port);
  c.send(get_livez);
  ASSERT_TRUE(n.until([&] { return n.pages.held.size() == 1; }));
  n.clock.advance_ms(10'000);
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), StartsWith("HTTP/1.1 504"));
  n.pages.held[0]({200, "text/plain", "late"});
  n.server.reset();
  n.pages.held[0]({200, "text/plain", "later"});
}

}  // namespace
}  // namespace portcullis::net
