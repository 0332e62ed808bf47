// What an HTTP server bounds: connections, time, and output that nobody reads.
#include <string>

#include "tests/net/http_harness.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::HasSubstr;
using testing::StartsWith;

TEST(http_server, a_slow_head_is_cut_off_and_an_idle_connection_later) {
  http_node n;
  client slow(n.port), idle(n.port);
  idle.send(get_livez);
  ASSERT_TRUE(n.until_has(idle, "ok\n"));
  slow.send("GET /livez");
  n.settle();
  n.clock.advance_ms(10'000);
  ASSERT_TRUE(n.until([&] { return slow.closed(); }));
  EXPECT_EQ(n.rejected(core::rejection::slow_sender), 1u);
  EXPECT_FALSE(idle.closed());
  n.clock.advance_ms(50'000);
  ASSERT_TRUE(n.until([&] { return idle.closed(); }));
  EXPECT_EQ(n.rejected(core::rejection::slow_sender), 1u);
}

TEST(http_server, a_drip_does_not_prolong_the_deadline_of_a_head) {
  http_node n;
  client slow(n.port);
  for (int i = 0; i < 10; ++i) {
    slow.send("G");
    n.settle();
    n.clock.advance_ms(1'000);
  }
  ASSERT_TRUE(n.until([&] { return slow.closed(); }));
}

TEST(http_server, a_slow_body_is_cut_off) {
  http_node n;
  client slow(n.port);
  slow.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
  n.settle();
  n.clock.advance_ms(29'000);
  n.settle();
  EXPECT_FALSE(slow.closed());
  slow.send("1");
  n.settle();
  n.clock.advance_ms(1'000);
  ASSERT_TRUE(n.until([&] { return slow.closed(); }));
  EXPECT_TRUE(n.pages.requests.empty());
}

TEST(http_server, connections_over_the_cap_are_told_so) {
  http_node n(quick_http(), {1, {}});
  client first(n.port);
  ASSERT_TRUE(n.until([&] { return n.server->count() == 1; }));
  client over(n.port);
  ASSERT_TRUE(n.until([&] { return over.closed(); }));
  EXPECT_THAT(over.receive(), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(over.receive(), HasSubstr("CONNECTION_LIMIT"));
  EXPECT_EQ(n.rejected(core::rejection::limit), 1u);
  first.send(get_livez);
  ASSERT_TRUE(n.until_has(first, "ok\n"));
}

TEST(http_server, a_source_with_too_many_connections_is_told_so) {
  auto options = quick_http();
  options.sources = std::make_shared<source_counts>(2);
  http_node n(options);
  {
    client one(n.port), two(n.port), three(n.port);
    ASSERT_TRUE(n.until([&] { return three.closed(); }));
    EXPECT_THAT(three.receive(), HasSubstr("CONNECTION_LIMIT"));
    EXPECT_EQ(n.rejected(core::rejection::source_limit), 1u);
    two.send(get_livez);
    ASSERT_TRUE(n.until_has(two, "ok\n"));
  }
  ASSERT_TRUE(n.until([&] { return n.server->count() == 0; }));
  client again(n.port);
  again.send(get_livez);
  ASSERT_TRUE(n.until_has(again, "ok\n"));
}

TEST(http_server, what_opens_a_connection_has_its_own_deadline) {
  listener_rules rules;
  rules.opening.proxy = true;
  rules.opening.proxy_sources.add(*core::address_set::parse_one("127.0.0.1"));
  http_node n(quick_http(), rules);
  client silent(n.port);
  ASSERT_TRUE(n.until([&] { return n.server->count() == 1; }));
  n.clock.advance_ms(5'000);
  ASSERT_TRUE(n.until([&] { return silent.closed(); }));
  EXPECT_EQ(n.rejected(core::rejection::opening_slow), 1u);
}

TEST(http_server, a_large_answer_waits_for_its_reader_and_then_goes_on) {
  http_node n;
  client c(n.port, 4096), other(n.port);
  c.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n" + get_livez);
  n.settle();
  other.send(get_livez);
  ASSERT_TRUE(n.until_has(other, "ok\n"));
  EXPECT_EQ(n.pages.requests.size(), 2u) << "what is pipelined waits for the reader too";
  ASSERT_TRUE(n.until_has(c, "ok\n"));
  EXPECT_GT(c.receive().size(), 3'000'000u);
}

TEST(http_server, a_reader_without_progress_is_closed) {
  http_node n;
  client c(n.port, 4096);
  c.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
  n.settle();
  ASSERT_EQ(n.server->count(), 1u);
  n.clock.advance_ms(9'000);
  n.settle();
  ASSERT_EQ(n.server->count(), 1u);
  n.clock.advance_ms(1'000);
  ASSERT_TRUE(n.until([&] { return n.server->count() == 0; }));
  EXPECT_EQ(n.rejected(core::rejection::slow_reader), 1u);
}

TEST(http_server, a_stream_that_nobody_reads_says_how_much_and_is_closed) {
  http_node n;
  client c(n.port, 4096);
  c.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(n.until([&] { return n.pages.streaming != nullptr; }));
  EXPECT_EQ(n.pages.streaming->unread(), 0u);
  const std::string part(1'000'000, 'x');
  for (int i = 0; i < 5; ++i) {
    n.pages.streaming->stream(part);
    n.settle();
  }
  EXPECT_GT(n.pages.streaming->unread(), 500'000u);
  n.clock.advance_ms(10'000);
  ASSERT_TRUE(n.until([&] { return n.server->count() == 0; }));
  EXPECT_EQ(n.rejected(core::rejection::slow_reader), 1u);
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
  n.pages.held[0](http_page{"text/plain", "late"});
  n.server.reset();
  n.pages.held[0](http_page{"text/plain", "later"});
}

}  // namespace
}  // namespace portcullis::net
