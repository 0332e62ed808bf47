// Event streams over HTTP: what is subscribed to, by whom, and how a stream ends.
#include <string>

#include "tests/net/http_web.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string head_end = "Connection: close\r\n\r\n";

struct streaming : web {
  explicit streaming(listener_rules listener = {256, {}}) : web({}, std::move(listener)) {
    gateway.hold = true;
  }
  void open(client& c, const std::string& target, const std::string& fields = "") {
    c.send("GET " + target + " HTTP/1.0\r\nHost: localhost\r\n" + fields + "\r\n");
  }
  /// The subscription of a stream that begins.
  connection_id begin(client& c) {
    const auto asked = gateway.requests.size();
    EXPECT_TRUE(until([&] { return gateway.requests.size() > gateway.answered; })) << asked;
    const auto from = gateway.requests.back().from;
    gateway.reply = core::subscribed{"sub-1", "e5"};
    gateway.answer_all();
    EXPECT_TRUE(until([&] { return c.receive().find("id: e5\n\n") != std::string::npos; }));
    return from;
  }
};

TEST(an_event_stream, is_a_subscription_of_its_own) {
  streaming w;
  client c(w.port);
  w.open(c, "/events?after=e5&types=session_created%2Csession_revoked&tenant_id=a%22b",
         "Authorization: Bearer observer\r\n");
  const auto from = w.begin(c);
  EXPECT_THAT(c.receive(), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(c.receive(), HasSubstr("Content-Type: text/event-stream\r\n"));
  EXPECT_THAT(c.receive(), EndsWith(head_end + "retry: 2000\nid: e5\n\n"));
  EXPECT_EQ(w.gateway.subscribed_to,
            "after=e5 tenant=a\"b types=session_created,session_revoked who=eyes");
  w.rpc->push(from, R"({"jsonrpc":"2.0","method":"event","params":{"subscription":"sub-1",)"
                    R"("cursor":"e6","event":{"seq":6,"type":"session_created"}}})");
  ASSERT_TRUE(w.until([&] {
    return c.receive().ends_with(
        "id: e6\nevent: session_created\ndata: {\"seq\":6,\"type\":\"session_created\"}\n\n");
  }));
  c.finish();
  ASSERT_TRUE(w.until([&] { return w.gateway.gone.size() == 1; }));
  EXPECT_EQ(w.gateway.gone[0], from);
}

TEST(an_event_stream, goes_on_from_the_last_event_of_who_comes_back) {
  streaming w;
  client c(w.port);
  w.open(c, "/events?after=e1", "Authorization: Bearer observer\r\nLast-Event-ID: e5\r\n");
  w.begin(c);
  EXPECT_THAT(w.gateway.subscribed_to, StartsWith("after=e5 "));
}

TEST(an_event_stream, that_may_not_be_is_an_error_before_it_begins) {
  streaming w;
  expect_error(w.ask("GET /events"), 401, "AUTH_REQUIRED");
  expect_error(w.ask("GET /events", "Authorization: Bearer x\r\n"), 401, "AUTH_FAILED");
  for (const auto* query : {"token=x", "access_token=x", "after=e1&token=x"})
    expect_error(w.ask("GET /events?" + std::string(query)), 400, "INVALID_PARAMS",
                 "\"rule\":\"not_in_a_url\"");
  const std::string observer_token = "Authorization: Bearer observer\r\n";
  for (const auto* query :
       {"x=1", "types=", "types=a%0A", "types=nothing", "tenant_id=%ff", "tenant_id=", "after=%zz"})
    expect_error(w.ask("GET /events?" + std::string(query), observer_token), 400, "INVALID_PARAMS");
  expect_error(w.ask("GET /events?after=%ff", observer_token), 400, "CURSOR_INVALID");
  expect_error(w.ask("POST /events", observer_token), 405, "METHOD_NOT_FOUND",
               "\r\nAllow: GET\r\n");
  EXPECT_THAT(w.ask("HEAD /events", observer_token), StartsWith("HTTP/1.1 405"));
  EXPECT_TRUE(w.gateway.requests.empty());
  w.gateway.hold = false;
  auto expired = core::fail(core::error_code::EVENTS_CURSOR_EXPIRED, "after", "oldest", 7);
  w.gateway.reply = core::failed{expired, {}};
  expect_error(w.ask("GET /events?after=e1", observer_token), 410, "EVENTS_CURSOR_EXPIRED",
               "\"limit\":7");
}

TEST(an_event_stream, that_ends_says_why) {
  streaming w;
  client c(w.port);
  w.open(c, "/events", "Authorization: Bearer observer\r\n");
  const auto from = w.begin(c);
  core::byte_buffer line;
  correlation_maker made_up(1);
  encode_events_ended(line, "sub-1", "e9", core::fail(core::error_code::SUBSCRIBER_TOO_SLOW),
                      {made_up, false});
  w.rpc->push(from, line.view());
  ASSERT_TRUE(w.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), HasSubstr("id: e9\nevent: error\ndata: {\"code\":6004,"));
}

TEST(an_event_stream, is_over_when_the_rpc_server_closes_its_caller) {
  streaming w;
  client c(w.port);
  w.open(c, "/events", "Authorization: Bearer observer\r\n");
  w.begin(c);
  w.rpc->close_callers(&observer);
  ASSERT_TRUE(w.until([&] { return c.closed(); }));
  EXPECT_THAT(c.receive(), EndsWith("id: e5\n\n"));
}

TEST(an_event_stream, that_nobody_reads_counts_as_unread_of_its_subscription) {
  streaming w;
  client c(w.port, 4096);
  w.open(c, "/events", "Authorization: Bearer observer\r\n");
  const auto from = w.begin(c);
  const std::string event = R"({"jsonrpc":"2.0","method":"event","params":{"subscription":"sub-1",)"
                            R"("cursor":"e6","event":{"type":"t","x":")" +
                            std::string(1'000'000, 'x') + R"("}}})";
  EXPECT_EQ(w.rpc->unread(from), 0u);
  for (int i = 0; i < 6; ++i) {
    w.rpc->push(from, event);
    w.settle();
  }
  EXPECT_GT(w.rpc->unread(from), 1'000'000u);
  for (int i = 0; i < 20; ++i) {
    w.rpc->push(from, event);
    w.settle();
  }
  ASSERT_TRUE(w.until([&] { return w.gateway.gone.size() == 1; })) << "8 MiB are the most";
}

TEST(event_streams, leave_connections_to_those_who_ask_for_something_else) {
  http_route_options options;
  options.streams_max = {2, 0};
  web w(options);
  const std::string token = "Authorization: Bearer observer\r\n";
  const std::string get = "GET /events HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n";
  w.gateway.reply = core::failed{core::fail(core::error_code::EVENTS_CURSOR_EXPIRED), {}};
  client refused(w.port);
  refused.send(get);
  ASSERT_TRUE(w.until([&] { return refused.receive().starts_with("HTTP/1.1 410"); }));
  w.gateway.reply = core::subscribed{"sub-1", "e5"};
  std::optional<client> one(w.port);
  client two(w.port);
  one->send(get);
  two.send(get);
  const auto begun = [&](client& c) { return c.receive().find("id: e5") != std::string::npos; };
  ASSERT_TRUE(w.until([&] { return begun(*one) && begun(two); }));
  expect_error(w.ask("GET /events", token), 429, "SUBSCRIPTION_LIMIT", "\"rule\":\"streams\"");
  EXPECT_THAT(w.ask("GET /livez"), StartsWith("HTTP/1.1 200"));
  one.reset();
  ASSERT_TRUE(w.until([&] { return w.gateway.gone.size() == 1; }));
  client three(w.port);
  three.send(get);
  EXPECT_TRUE(w.until([&] { return begun(three); }));
}

std::string ticket_in(const std::string& answer) {
  const auto at = answer.find("{\"ticket\":\"");
  EXPECT_NE(at, std::string::npos) << answer;
  return at == std::string::npos ? "" : answer.substr(at + 11, 43);
}

TEST(a_ticket, opens_one_stream_as_whoever_got_it) {
  streaming w;
  const auto answer = w.ask("POST /events/ticket", "Authorization: Bearer observer\r\n");
  const auto ticket = ticket_in(answer);
  EXPECT_THAT(answer, HasSubstr("Cache-Control: no-store"));
  client c(w.port);
  w.open(c, "/events?ticket=" + ticket);
  w.begin(c);
  EXPECT_THAT(w.gateway.subscribed_to, EndsWith(" who=eyes"));
  expect_error(w.ask("GET /events?ticket=" + ticket), 401, "AUTH_FAILED", "\"field\":\"ticket\"");
}

TEST(a_ticket, is_for_who_may_subscribe_and_is_worth_nothing_without_its_caller) {
  streaming w;
  expect_error(w.ask("POST /events/ticket"), 401, "AUTH_REQUIRED");
  expect_error(w.ask("POST /events/ticket", "Authorization: Bearer x\r\n"), 401, "AUTH_FAILED");
  expect_error(w.ask("GET /events/ticket"), 405, "METHOD_NOT_FOUND", "\r\nAllow: POST\r\n");
  auto ticket = ticket_in(w.ask("POST /events/ticket", "Authorization: Bearer observer\r\n"));
  w.port_of_gateway.removed = &observer;
  expect_error(w.ask("GET /events?ticket=" + ticket), 401, "AUTH_FAILED");
  w.port_of_gateway.removed = nullptr;
  ticket = ticket_in(w.ask("POST /events/ticket", "Authorization: Bearer observer\r\n"));
  w.clock.advance_ms(30'000);
  expect_error(w.ask("GET /events?ticket=" + ticket), 401, "AUTH_FAILED");
}

TEST(a_ticket, is_not_taken_where_others_listen_in) {
  listener_rules rules{256, {}};
  rules.opening.proxy = true;
  rules.opening.proxy_sources.add(*core::address_set::parse_one("127.0.0.1"));
  streaming w(rules);
  client c(w.port);
  c.send("PROXY TCP4 192.0.2.7 127.0.0.1 5 6\r\n");
  w.open(c, "/events?ticket=x");
  ASSERT_TRUE(w.until([&] { return c.receive().find("TLS_REQUIRED") != std::string::npos; }));
}

}  // namespace
}  // namespace portcullis::net
