// What clients of the TCP server may rely on: framing over real sockets, order, batches, logins,
// and how connections end.
#include "net/tcp/server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/net/transport_harness.hpp"

namespace portcullis::net {
namespace {
using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST(tcp_server, answers_pipelined_requests_that_are_answered_at_once_in_order) {
  node n;
  client c(n.port);
  c.send(call("1") + "\n" + call("\"two\"") + "\r\n" + call("3.0e0") + "\n");
  ASSERT_TRUE(n.until_lines(c, 3));
  EXPECT_THAT(c.lines(), ElementsAre(done("1"), done("\"two\""), done("3.0e0")));
  EXPECT_EQ(n.gateway.turns, 1);
}

TEST(tcp_server, needs_no_delimiter_between_values) {
  node n;
  client c(n.port);
  c.send(call("1") + call("2") + "  " + call("3"));
  ASSERT_TRUE(n.until_lines(c, 3));
  EXPECT_THAT(c.lines(), ElementsAre(done("1"), done("2"), done("3")));
}

TEST(tcp_server, replies_come_in_the_order_of_the_answers) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1") + call("2"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  n.server->answer(n.gateway.requests[1].to, core::done{});
  n.server->answer_encoded(n.gateway.requests[0].to, R"("result":{"revoked":1})");
  ASSERT_TRUE(n.until_lines(c, 2));
  EXPECT_THAT(c.lines(),
              ElementsAre(done("2"), R"({"jsonrpc":"2.0","id":1,"result":{"revoked":1}})"));
  EXPECT_TRUE(n.server->drained());
}

TEST(tcp_server, a_value_may_be_cut_at_every_byte) {
  node n;
  client c(n.port);
  const auto text = validation("77", "agent/1");
  const auto both = text + "\n" + call("78") + "\n";
  std::size_t expected = 0;
  for (std::size_t cut = 1; cut < both.size(); ++cut) {
    const auto before = n.gateway.requests.size();
    c.send(both.substr(0, cut));
    n.on.run_once();
    n.on.run_once();
    c.send(both.substr(cut));
    expected += 2;
    ASSERT_TRUE(n.until_lines(c, expected)) << cut;
    ASSERT_EQ(n.gateway.requests[before].user_agent, "agent/1") << cut;
  }
}

TEST(tcp_server, a_value_may_come_byte_by_byte) {
  node n;
  client c(n.port);
  for (const char byte : validation("1", "drip")) {
    c.send({&byte, 1});
    n.on.run_once();
  }
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_EQ(n.gateway.requests.at(0).user_agent, "drip");
}

TEST(tcp_server, a_long_pipeline_is_cut_right_across_reads) {
  node n;
  client c(n.port);
  std::string all;
  for (int i = 0; i < 5000; ++i) all += validation(std::to_string(i), "agent/" + std::to_string(i));
  std::size_t sent = 0;
  ASSERT_TRUE(n.until([&] {
    sent += c.send(std::string_view(all).substr(sent));
    return c.lines().size() == 5000;
  }));
  for (std::size_t i = 0; i < 5000; ++i)
    ASSERT_EQ(n.gateway.requests[i].user_agent, "agent/" + std::to_string(i));
}

TEST(tcp_server, a_batch_is_answered_by_one_array_in_its_order) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send("[" + call("1") + "," + call("") + "," + call("2", "no.such") + "," + call("3") + "]");
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 3; }));
  n.server->answer(n.gateway.requests[2].to, core::done{});
  n.server->answer(n.gateway.requests[1].to, core::done{});
  n.settle();
  EXPECT_THAT(c.lines(), IsEmpty());
  n.server->answer(n.gateway.requests[0].to, core::done{});
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_THAT(c.lines()[0],
              StartsWith("[" + done("1") + R"(,{"jsonrpc":"2.0","id":2,"error":{"code":-32601)"));
  EXPECT_TRUE(c.lines()[0].ends_with("}," + done("3") + "]"));
}

TEST(tcp_server, notifications_are_executed_and_never_answered) {
  node n;
  client c(n.port);
  c.send(call("") + call("null") + "[" + call("") + "," + call("") + "]" + call("9"));
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_THAT(c.lines(), ElementsAre(done("9")));
  EXPECT_EQ(n.gateway.requests.size(), 5u);
  EXPECT_TRUE(n.server->drained());
}

TEST(tcp_server, ids_are_echoed_byte_for_byte_however_long) {
  node n;
  client c(n.port);
  const std::string id = "\"" + std::string(900, 'i') + "\\u00e9\"";
  n.gateway.hold = true;
  c.send(call(id) + call("1e2"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  n.gateway.answer_all();
  ASSERT_TRUE(n.until_lines(c, 2));
  EXPECT_THAT(c.lines(), ElementsAre(done(id), done("1e2")));
}

TEST(tcp_server, a_client_that_finishes_gets_every_reply_and_then_the_end) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1") + call("2"));
  c.finish();
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  n.settle();
  EXPECT_FALSE(c.closed());
  n.gateway.answer_all();
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.lines(), ElementsAre(done("1"), done("2")));
  EXPECT_THAT(n.gateway.gone, ElementsAre(n.gateway.greeted[0]));
  EXPECT_EQ(n.server->count(), 0u);
}

TEST(tcp_server, a_client_that_resets_is_forgotten_and_late_answers_do_nothing) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1") + "[" + call("2") + "]");
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  c.reset();
  ASSERT_TRUE(n.until([&] { return n.gateway.gone.size() == 1; }));
  EXPECT_FALSE(n.server->drained());
  n.gateway.answer_all();
  EXPECT_TRUE(n.server->drained());
  EXPECT_EQ(n.server->push(n.gateway.greeted[0], "x"), 0u);
}

TEST(tcp_server, an_unparsable_line_is_answered_and_skipped) {
  node n;
  client c(n.port);
  c.send("{nonsense}\n" + call("2") + "\n");
  ASSERT_TRUE(n.until_lines(c, 2));
  EXPECT_THAT(c.lines()[0], StartsWith(R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700)"));
  EXPECT_EQ(c.lines()[1], done("2"));
}

TEST(tcp_server, a_browsers_request_is_refused_and_reaches_no_method) {
  node n;
  client c(n.port);
  c.send("POST / HTTP/1.1\r\nHost: x\r\n\r\n" + call("1"));
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.lines(), ElementsAre(HasSubstr("PARSE_ERROR")));
  EXPECT_THAT(n.gateway.requests, IsEmpty());
  EXPECT_EQ(n.rejected(core::rejection::protocol), 1u);
}

void expect_last_error_after_the_replies(const std::string& offence, std::string_view name) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1") + offence);
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 1; }));
  n.settle();
  EXPECT_THAT(c.lines(), IsEmpty());
  n.gateway.answer_all();
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_FALSE(c.was_reset());
  EXPECT_THAT(c.lines(), ElementsAre(done("1"), HasSubstr(std::string(name))));
}

TEST(tcp_server, too_large_a_value_ends_the_connection_after_all_replies) {
  // Larger than what one read takes: a close without reading on would reset the connection and lose
  // the replies.
  expect_last_error_after_the_replies("{\"x\":\"" + std::string(200'000, 'x'), "VALUE_TOO_LARGE");
}
TEST(tcp_server, too_deep_a_value_ends_the_connection_after_all_replies) {
  expect_last_error_after_the_replies(std::string(17, '['), "NESTING_TOO_DEEP");
}
TEST(tcp_server, the_end_inside_a_value_is_answered_after_all_replies) {
  node n;
  client c(n.port);
  c.send(call("1") + "{\"jsonrpc\":");
  c.finish();
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.lines(), ElementsAre(done("1"), HasSubstr("PARSE_ERROR")));
}

TEST(tcp_server, a_login_waits_for_what_came_before_and_holds_what_comes_after) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1") + login() + call("2"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 1; }));
  n.settle();
  ASSERT_EQ(n.gateway.requests.size(), 1u);
  n.gateway.answer_all();
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  n.settle();
  ASSERT_EQ(n.gateway.requests.size(), 2u);
  EXPECT_EQ(n.gateway.requests[1].method, core::method::auth_login);
  n.gateway.answer_all();
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 3; }));
  n.gateway.answer_all();
  ASSERT_TRUE(n.until_lines(c, 3));
  EXPECT_THAT(c.lines(), ElementsAre(done("1"), done("\"login\""), done("2")));
}

TEST(tcp_server, a_login_is_a_barrier_inside_a_batch_too) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send("[" + call("1") + "," + login() + "," + validation("2", "behind") + "]" + call("3"));
  c.finish();
  for (const std::size_t step : {1u, 2u, 4u}) {  // what is behind the login goes on together
    ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == step; })) << step;
    n.settle();
    ASSERT_EQ(n.gateway.requests.size(), step);
    n.gateway.answer_all();
  }
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_EQ(n.gateway.requests[2].user_agent, "behind");  // its bytes were kept
  EXPECT_THAT(
      c.lines(),
      ElementsAre("[" + done("1") + "," + done("\"login\"") + "," + done("2") + "]", done("3")));
}

TEST(tcp_server, who_may_not_call_is_not_told_what_is_wrong_with_the_call) {
  node n;
  n.gateway.greets = &nobody;
  client c(n.port);
  c.send(call("1", "session.create") + call("2", "no.such") + call("3", "server.ping", "7") +
         call("", "no.such") + R"({"id":4,"method":"session.create"})");
  ASSERT_TRUE(n.until_lines(c, 4));
  EXPECT_THAT(c.lines(), ElementsAre(HasSubstr("AUTH_REQUIRED"), HasSubstr("AUTH_REQUIRED"),
                                     HasSubstr("INVALID_PARAMS"), HasSubstr("INVALID_REQUEST")));
  EXPECT_THAT(n.gateway.requests, IsEmpty());
  static const core::caller app{"web", core::role::app, {}, {}};
  n.server->set_caller(n.gateway.greeted.at(0), &app);
  c.send(call("5", "admin.backup") + call("6", "session.create") + call("7", "no.such"));
  ASSERT_TRUE(n.until_lines(c, 7));
  EXPECT_THAT(c.lines()[4], HasSubstr("FORBIDDEN"));
  EXPECT_THAT(c.lines()[5], HasSubstr("INVALID_PARAMS"));
  EXPECT_THAT(c.lines()[6], HasSubstr("METHOD_NOT_FOUND"));
  const auto& counted = n.server->tallies().requests.by_error;
  EXPECT_EQ(counted[static_cast<std::size_t>(core::method::admin_backup)]
                   [static_cast<std::size_t>(core::error_code::FORBIDDEN)],
            1U);
}

TEST(tcp_server, what_is_wrong_behind_a_login_is_judged_with_the_caller_that_it_gives) {
  const std::string faulty =
      "[" + login() + "," + call("1", "session.create") + "," + call("2", "no.such") + "]";
  static const core::caller observer{"eyes", core::role::observer, {}, {}};
  const struct {
    const core::caller* becomes;
    const char* create;
    const char* unknown;
  } rows[] = {{&nobody, "AUTH_REQUIRED", "AUTH_REQUIRED"},
              {&observer, "FORBIDDEN", "METHOD_NOT_FOUND"},
              {&anybody, "INVALID_PARAMS", "METHOD_NOT_FOUND"}};
  for (const auto& row : rows) {
    node n;
    n.gateway.hold = true;
    client c(n.port);
    c.send(faulty);
    ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 1; }));
    n.settle();
    EXPECT_THAT(c.lines(), IsEmpty());
    n.server->set_caller(n.gateway.greeted.at(0), row.becomes);
    n.gateway.answer_all();
    ASSERT_TRUE(n.until_lines(c, 1));
    const auto line = c.lines()[0];
    EXPECT_LT(line.find(row.create), line.rfind(row.unknown)) << line;
    EXPECT_THAT(line, testing::AllOf(HasSubstr(row.create), HasSubstr(row.unknown)));
  }
}

TEST(tcp_server, pushes_reach_the_connection_and_count_as_unread) {
  node n;
  client c(n.port);
  c.send(call("1"));
  ASSERT_TRUE(n.until_lines(c, 1));
  const auto id = n.gateway.greeted.at(0);
  EXPECT_EQ(n.server->push(id, "{\"pushed\":1}"), 13u);
  EXPECT_EQ(n.server->unread(id), 13u);
  ASSERT_TRUE(n.until_lines(c, 2));
  EXPECT_EQ(c.lines()[1], "{\"pushed\":1}");
  EXPECT_EQ(n.server->unread(id), 0u);
  EXPECT_EQ(n.server->push(id + 1, "x"), 0u);
}

// Regression: events of a subscription came before the array that says that there is one.
TEST(tcp_server, what_is_pushed_waits_for_the_array_with_the_reply_to_a_subscribe) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  const auto subscribe = [](std::string_view id) { return call(id, "events.subscribe"); };
  c.send("[" + subscribe("1") + "," + call("2") + "][" + subscribe("3") + "," + call("4") + "]");
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 4; }));
  const auto id = n.gateway.greeted.at(0);
  n.server->push(id, "earlier");  // no subscribe is answered yet: of one made before
  n.server->answer(n.gateway.requests[0].to, core::done{});
  EXPECT_EQ(n.server->push(id, "first"),
            std::string_view("earlier\nfirst\n").size() + done("1").size());
  n.server->answer(n.gateway.requests[2].to, core::done{});
  n.server->push(id, "second");
  ASSERT_TRUE(n.until_lines(c, 1));
  n.settle();
  EXPECT_THAT(c.lines(), ElementsAre("earlier"));
  EXPECT_FALSE(n.server->drained());
  n.server->answer(n.gateway.requests[1].to, core::done{});
  n.settle();
  n.server->answer(n.gateway.requests[3].to, core::done{});
  ASSERT_TRUE(n.until_lines(c, 5));
  n.server->push(id, "third");
  ASSERT_TRUE(n.until_lines(c, 6));
  EXPECT_THAT(c.lines(),
              ElementsAre("earlier", "[" + done("1") + "," + done("2") + "]",
                          "[" + done("3") + "," + done("4") + "]", "first", "second", "third"));
  EXPECT_TRUE(n.server->drained());
}

TEST(tcp_server, close_writes_what_is_queued_first) {
  node n;
  client c(n.port);
  c.send(call("1"));
  ASSERT_TRUE(n.until_lines(c, 1));
  n.server->push(n.gateway.greeted[0], "last words");
  n.server->close(n.gateway.greeted[0]);
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_EQ(c.lines().back(), "last words");
  EXPECT_FALSE(c.was_reset());
}

TEST(tcp_server, closes_the_connections_of_one_caller) {
  node n;
  client one(n.port), other(n.port);
  ASSERT_TRUE(n.until([&] { return n.gateway.greeted.size() == 2; }));
  n.server->set_caller(n.gateway.greeted[0], &operator_caller);
  n.server->close_callers(&operator_caller);
  ASSERT_TRUE(n.until([&] { return one.closed(); }));
  n.settle();
  EXPECT_FALSE(other.closed());
}

TEST(tcp_server, lists_connections_in_ascending_order_by_page) {
  node n;
  client a(n.port), b(n.port), d(n.port);
  ASSERT_TRUE(n.until([&] { return n.gateway.greeted.size() == 3; }));
  n.server->set_caller(n.gateway.greeted[1], &operator_caller);
  a.send(call("1") + call("2"));
  ASSERT_TRUE(n.until_lines(a, 2));
  const auto first = n.server->list(0, 2);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_LT(first[0].id, first[1].id);
  EXPECT_EQ(first[0].requests, 2u);
  EXPECT_EQ(first[0].listener, "rpc");
  EXPECT_EQ(first[0].address, "127.0.0.1");
  EXPECT_EQ(first[1].name, "operator");
  EXPECT_EQ(first[1].role, "admin");
  EXPECT_EQ(n.server->list(first[1].id, 10).size(), 1u);
  EXPECT_TRUE(n.gateway.last_peer.loopback);
}

TEST(tcp_server, fails_what_one_owner_has_in_flight_and_nothing_else) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1") + call("2"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  n.gateway.tag = 8;
  c.send(call("3"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 3; }));
  n.server->fail_in_flight(7, core::fail(core::error_code::OVERLOADED));
  ASSERT_TRUE(n.until_lines(c, 2));
  n.gateway.answer_all();  // too late for the first two
  ASSERT_TRUE(n.until_lines(c, 3));
  EXPECT_THAT(c.lines(), ElementsAre(HasSubstr("OVERLOADED"), HasSubstr("OVERLOADED"), done("3")));
}

TEST(tcp_server, errors_carry_the_requests_correlation_id) {
  node n;
  n.gateway.reply = core::failed{core::fail(core::error_code::FORBIDDEN), {}};
  client c(n.port);
  c.send(call("1", "server.ping", R"({"_meta":{"correlation_id":"from-the-caller"}})"));
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_THAT(c.lines()[0], HasSubstr(R"("correlation_id":"from-the-caller")"));
}

TEST(tcp_server, counts_requests_by_method_and_error_and_times_them) {
  node n;
  client c(n.port);
  c.send(call("1") + call("2"));
  ASSERT_TRUE(n.until_lines(c, 2));
  n.gateway.reply = core::failed{core::fail(core::error_code::FORBIDDEN), {}};
  c.send(call("3") + call("4", "no.such"));
  ASSERT_TRUE(n.until_lines(c, 4));
  const auto& requests = n.server->tallies().requests;
  const auto& pings = requests.by_error[static_cast<std::size_t>(core::method::server_ping)];
  EXPECT_EQ(pings[core::request_tallies::no_error], 2u);
  EXPECT_EQ(pings[static_cast<std::size_t>(core::error_code::FORBIDDEN)], 1u);
  EXPECT_EQ(requests.by_error[core::request_tallies::unknown_method]
                             [static_cast<std::size_t>(core::error_code::METHOD_NOT_FOUND)],
            1u);
  EXPECT_EQ(requests.duration[static_cast<std::size_t>(core::method::server_ping)].counts[0], 3u);
  EXPECT_EQ(requests.in_flight, 0u);
}

TEST(tcp_server, stops_accepting_and_drains) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 1; }));
  n.server->stop_accepting();
  EXPECT_FALSE(n.server->drained());
  n.gateway.answer_all();
  EXPECT_FALSE(n.server->drained());  // encoded, not yet written
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_TRUE(n.server->drained());
  n.server->close_all();
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
}

TEST(tcp_server, half_a_value_holds_up_no_drain) {
  node n;
  n.gateway.hold = true;
  client half(n.port), whole(n.port);
  half.send(call("1").substr(0, 20));
  whole.send(call("2") + call("3").substr(0, 20));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 1; }));
  n.settle();
  n.server->stop_accepting();
  EXPECT_FALSE(n.server->drained()) << "a request is in flight";
  n.gateway.answer_all();
  ASSERT_TRUE(n.until_lines(whole, 1));
  EXPECT_TRUE(n.server->drained());
}

TEST(tcp_server, an_address_that_is_taken_is_an_error_with_its_reason) {
  node n;
  const auto again = n.server->listen({any_port().address, n.port}, core::listener::rpc, false);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, core::error_code::CONFIG_INVALID);
  EXPECT_EQ(again.error().rule, "Address already in use");
}

TEST(tcp_server, several_loops_may_share_an_address) {
  moved_clock clock;
  loop first(clock), second(clock);
  scripted_gateway gateway;
  tcp_server one(first, quick(), gateway), two(second, quick(), gateway);
  const auto port = one.listen(any_port(), core::listener::rpc, true);
  ASSERT_TRUE(port);
  EXPECT_TRUE(two.listen({any_port().address, *port}, core::listener::rpc, true));
}

TEST(tcp_server, serves_ipv6) {
  node n;
  const auto port = n.server->listen(*core::parse_endpoint("[::1]:0"), core::listener::rpc, false);
  if (!port) GTEST_SKIP() << "no IPv6 here";
  const int socket = ::socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(*port);
  to.sin6_addr = in6addr_loopback;
  ASSERT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  ASSERT_TRUE(n.until([&] { return n.gateway.greeted.size() == 1; }));
  EXPECT_EQ(n.gateway.last_peer.address, "::1");
  EXPECT_TRUE(n.gateway.last_peer.loopback);
  ::close(socket);
}

}  // namespace
}  // namespace portcullis::net
