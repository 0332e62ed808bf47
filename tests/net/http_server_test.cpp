// HTTP over sockets: requests one after the other, bodies, streams, and what is refused.
#include <string>

#include "tests/net/http_harness.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string guard =
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n";
const std::string date = "Date: Tue, 14 Nov 2023 22:13:21 GMT\r\n";  // moved_clock's

TEST(http_server, answers_and_keeps_the_connection) {
  http_node n;
  client c(n.port);
  c.send("GET /livez?verbose=1&x HTTP/1.1\r\nHost: x\r\nauthorization: Bearer t\r\n\r\n");
  ASSERT_TRUE(n.until_has(c, "ok\n"));
  EXPECT_EQ(c.receive(), "HTTP/1.1 200 OK\r\n" + date + "Cache-Control: no-store\r\n" + guard +
                             "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n");
  EXPECT_EQ(n.pages.requests.at(0).path, "/livez");
  EXPECT_EQ(n.pages.requests[0].query, "verbose=1&x");
  EXPECT_EQ(n.pages.requests[0].authorization, "Bearer t");
  EXPECT_EQ(n.pages.requests[0].address, "127.0.0.1");
  c.send(get_livez);
  ASSERT_TRUE(n.until([&] { return count_of(c.receive(), "ok\n") == 2; }));
  EXPECT_EQ(n.server->count(), 1u);
  EXPECT_EQ(n.server->requests().requests[static_cast<std::size_t>(core::http_route::other)][0],
            2u);
}

TEST(http_server, head_has_the_length_and_no_body) {
  http_node n;
  client c(n.port);
  c.send("HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), EndsWith("\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"));
  EXPECT_EQ(n.pages.requests.at(0).method, "HEAD");
}

TEST(http_server, http_1_0_is_closed_after_the_answer_unless_it_asks) {
  http_node n;
  client c(n.port), kept(n.port);
  c.send("GET /livez HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), HasSubstr("Connection: close\r\n\r\nok\n"));
  kept.send("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  ASSERT_TRUE(n.until_has(kept, "Connection: keep-alive\r\n\r\nok\n"));
  kept.send(get_livez);
  ASSERT_TRUE(n.until([&] { return count_of(kept.receive(), "ok\n") == 2; }));
}

TEST(http_server, a_request_may_be_cut_at_every_byte) {
  http_node n;
  client c(n.port);
  const std::string post =
      "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
  for (const char byte : get_livez + post) {
    c.send({&byte, 1});
    n.on.run_once();
  }
  ASSERT_TRUE(n.until_has(c, "{}"));
  EXPECT_THAT(c.receive(), HasSubstr("ok\n"));
  EXPECT_EQ(n.pages.requests.at(1).body, "{}");
}

TEST(http_server, bodies_are_read_whether_anybody_wants_them_or_not) {
  http_node n;
  client c(n.port);
  c.send("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n");
  c.send(std::string(65'536, 'x') + get_livez);
  ASSERT_TRUE(n.until([&] { return count_of(c.receive(), "ok\n") == 2; }));
  EXPECT_EQ(n.pages.requests.at(0).body, std::string(65'536, 'x'));
  EXPECT_EQ(n.pages.requests.at(1).body, "");
}

TEST(http_server, tells_who_waits_for_it_to_go_on) {
  http_node n;
  client c(n.port);
  c.send("POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  ASSERT_TRUE(n.until_has(c, "HTTP/1.1 100 Continue\r\n\r\n"));
  EXPECT_TRUE(n.pages.requests.empty());
  c.send("{");
  n.settle();
  c.send("}");
  ASSERT_TRUE(n.until_has(c, "404"));
  EXPECT_EQ(count_of(c.receive(), "100 Continue"), 1u);
  EXPECT_EQ(n.pages.requests.at(0).body, "{}");
}

TEST(http_server, pipelined_requests_are_answered_in_order_one_at_a_time) {
  http_node n;
  n.pages.hold = true;
  client c(n.port);
  c.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return n.pages.held.size() == 1; }));
  c.send("GET /c HTTP/1.1\r\nHost: x\r\n\r\n");  // nobody looks at it now
  n.settle();
  ASSERT_EQ(n.pages.held.size(), 1u);
  n.pages.held[0](http_page{"text/plain", "first"});
  n.pages.held[0](http_page{"text/plain", "again"});  // once only
  ASSERT_TRUE(n.until([&] { return n.pages.held.size() == 2; }));
  n.pages.held[0](http_page{"text/plain", "too late"});
  n.pages.held[1](http_page{"text/plain", "second"});
  ASSERT_TRUE(n.until([&] { return n.pages.held.size() == 3; }));
  n.pages.held[2](http_page{"text/plain", "third"});
  ASSERT_TRUE(n.until_has(c, "third"));
  EXPECT_EQ(count_of(c.receive(), "HTTP/1.1 200"), 3u);
  EXPECT_THAT(c.receive(), Not(HasSubstr("too late")));
  EXPECT_LT(c.receive().find("first"), c.receive().find("second"));
}

TEST(http_server, more_pipelined_requests_than_a_turn_takes_are_all_answered) {
  http_node n;
  client c(n.port);
  std::string many;
  for (int i = 0; i < 300; ++i) many += get_livez;
  c.send(many);
  c.finish();
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_EQ(count_of(c.receive(), "ok\n"), 300u);
}

TEST(http_server, which_paths_there_are_is_the_handlers_business) {
  http_node n;
  client c(n.port);
  c.send("DELETE /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
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
  EXPECT_THAT(c.receive(), HasSubstr(guard));
  EXPECT_FALSE(c.was_reset());
  EXPECT_TRUE(n.pages.requests.empty());
  EXPECT_EQ(n.rejected(core::rejection::protocol), 1u);
}

TEST(http_server, malformed_requests_are_refused_with_the_error_object) {
  expect_refusal("nonsense\r\n\r\n", "400", "INVALID_REQUEST");
  expect_refusal("GET /x HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n" + get_livez, "400",
                 "INVALID_REQUEST");
  expect_refusal("GET /livez HTTP/1.1\r\nHost: x\r\nX: " + std::string(33'000, 'x') + "\r\n\r\n",
                 "413", "VALUE_TOO_LARGE");
  expect_refusal("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", "413",
                 "VALUE_TOO_LARGE");
  expect_refusal("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"server.ping\"}\n", "400",
                 "INVALID_REQUEST");
}

TEST(http_server, a_refusal_reaches_who_goes_on_sending) {
  http_node n;
  client c(n.port);
  c.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" +
         std::string(100'000, 'x'));
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_FALSE(c.was_reset());
  EXPECT_THAT(c.receive(), StartsWith("HTTP/1.1 413"));
  n.settle();
  EXPECT_EQ(n.server->count(), 1u) << "closing with unread input could overtake the answer";
  n.clock.advance_ms(1'000);
  EXPECT_TRUE(n.until([&] { return n.server->count() == 0; }));
}

TEST(http_server, the_answer_to_a_refused_request_has_a_body_unless_it_was_a_head) {
  const std::string head = "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n";
  http_node n;
  client c(n.port), headless(n.port);
  c.send(head + "nonsense\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), HasSubstr("\r\n\r\n{\"code\":"));
  headless.send(get_livez + "HEAD /livez HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return headless.closed(); }));
  EXPECT_THAT(headless.receive(), HasSubstr("HTTP/1.1 400"));
  EXPECT_THAT(headless.receive(), EndsWith("\r\n\r\n"));
}

TEST(http_server, a_stream_comes_in_chunks_and_is_kept_alive_by_its_heartbeat) {
  http_node n;
  client c(n.port);
  c.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" + get_livez);
  ASSERT_TRUE(n.until_has(c, "\r\n\r\n"));
  EXPECT_THAT(c.receive(), HasSubstr("Content-Type: text/event-stream\r\n"
                                     "Transfer-Encoding: chunked\r\nConnection: close\r\n"));
  n.pages.streaming->stream("data: 1\n\n");
  ASSERT_TRUE(n.until_has(c, "9\r\ndata: 1\n\n\r\n"));
  n.clock.advance_ms(14'000);
  n.settle();
  EXPECT_THAT(c.receive(), Not(HasSubstr("beat")));
  n.clock.advance_ms(1'000);
  ASSERT_TRUE(n.until_has(c, "8\r\n: beat\n\n\r\n"));
  n.pages.streaming->end_stream();
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), EndsWith("\r\n0\r\n\r\n"));
  EXPECT_EQ(n.pages.requests.size(), 1u) << "what follows a stream is not read";
}

TEST(http_server, a_stream_to_http_1_0_is_the_bytes_until_the_end) {
  http_node n;
  client c(n.port);
  c.send("GET /stream HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return n.pages.streaming != nullptr; }));
  n.pages.streaming->stream("data: 1\n\n");
  n.pages.streaming->end_stream();
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), EndsWith("\r\n\r\ndata: 1\n\n"));
  EXPECT_THAT(c.receive(), Not(HasSubstr("chunked")));
}

struct noted_guest final : http_guest {
  explicit noted_guest(bool& end) : gone(end) {}
  ~noted_guest() override { gone = true; }
  bool& gone;
};

TEST(http_server, a_stream_whose_client_goes_is_over) {
  http_node n;
  bool gone = false;
  client c(n.port);
  c.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return n.pages.streaming != nullptr; }));
  n.pages.streaming->guest = std::make_unique<noted_guest>(gone);
  c.finish();
  ASSERT_TRUE(n.until([&] { return n.server->count() == 0; }));
  EXPECT_TRUE(gone);
}

TEST(http_server, who_may_not_come_is_told_so) {
  http_node n;
  n.pages.greeting = core::fail(core::error_code::CERTIFICATE_REJECTED);
  client c(n.port);
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(c.receive(), HasSubstr("CERTIFICATE_REJECTED"));
  EXPECT_EQ(n.rejected(core::rejection::certificate), 1u);
}

TEST(http_server, behind_a_proxy_a_connection_comes_from_where_its_header_says) {
  listener_rules rules;
  rules.opening.proxy = true;
  rules.opening.proxy_sources.add(*core::address_set::parse_one("127.0.0.1"));
  http_node n(quick_http(), rules);
  client c(n.port), garbled(n.port);
  c.send("PROXY TCP4 192.0.2.7 127.0.0.1 5 6\r\n" + get_livez);
  ASSERT_TRUE(n.until_has(c, "ok\n"));
  EXPECT_EQ(n.pages.requests.at(0).address, "192.0.2.7");
  EXPECT_FALSE(n.pages.peers.at(0).loopback);
  garbled.send(get_livez);
  ASSERT_TRUE(n.until([&] { return garbled.closed(); }));
  EXPECT_EQ(n.rejected(core::rejection::proxy_header), 1u);
}

TEST(http_server, that_stops_ends_connections_after_their_answers) {
  http_node n;
  n.pages.hold = true;
  client c(n.port);
  c.send(get_livez);
  ASSERT_TRUE(n.until([&] { return n.pages.held.size() == 1; }));
  EXPECT_FALSE(n.server->drained());
  n.server->stop_accepting();
  n.pages.held[0](http_page{"text/plain", "last"});
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), EndsWith("Connection: close\r\n\r\nlast"));
  EXPECT_TRUE(n.server->drained());
}

}  // namespace
}  // namespace portcullis::net
