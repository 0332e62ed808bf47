// Every bound of the TCP server, its answer when full, and that going below it lets things go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>

#include "net/tcp/server.hpp"
#include "tests/net/transport_harness.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string pings(int count) {
  std::string all;
  for (int i = 0; i < count; ++i) all += call(std::to_string(i)) + "\n";
  return all;
}

core::reply big_reply(std::size_t bytes) {
  core::event_page page;
  page.events.push_back("{\"x\":\"" + std::string(bytes, 'x') + "\"}");
  return page;
}

TEST(tcp_bounds, past_the_bound_of_requests_in_flight_a_connection_waits) {
  node n;  // with the bound of the contract
  n.gateway.hold = true;
  client c(n.port);
  c.send(pings(1500));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 1024; }));
  n.settle();
  EXPECT_EQ(n.gateway.requests.size(), 1024u);
  EXPECT_EQ(n.server->list(0, 1).at(0).in_flight, 1024u);
  n.gateway.answer_all();
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 1500; }));
  n.gateway.answer_all();
  ASSERT_TRUE(n.until_lines(c, 1500));
  EXPECT_EQ(c.lines()[1499], done("1499"));
}

TEST(tcp_bounds, what_a_turn_comes_to_too_late_is_refused_and_the_next_turn_is_as_any_other) {
  node n;
  client c(n.port);
  n.gateway.on_request = [&](const core::request&) { n.clock.advance_ms(4); };
  c.send(pings(400));  // 1,600 ms of work, all there at once
  ASSERT_TRUE(n.until_lines(c, 400));
  const auto& counted = n.server->tallies().requests.by_error;
  const auto of = [&](std::size_t error) {
    return counted[static_cast<std::size_t>(core::method::server_ping)][error];
  };
  const auto shed = of(static_cast<std::size_t>(core::error_code::OVERLOADED));
  EXPECT_EQ(of(core::request_tallies::no_error), 400 - shed);
  EXPECT_GT(shed, 400u - (500 / 4) - 65);
  EXPECT_LT(shed, 400u - (500 / 4) + 1);
  EXPECT_THAT(c.lines().back(),
              AllOf(HasSubstr("\"error\":\"OVERLOADED\""), HasSubstr("\"retry_after_ms\":500")));
  n.settle();
  c.send(call("401"));
  ASSERT_TRUE(n.until_lines(c, 401));
  EXPECT_THAT(c.lines().back(), HasSubstr("\"result\""));
}

TEST(tcp_bounds, a_request_past_its_deadline_is_answered_unless_it_goes_over_the_store) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1", "admin.rotate_keys") + call("2") + call("3", "admin.rotate_keys") + call("4"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 4; }));
  n.clock.advance_ms(9'999);
  n.settle();
  EXPECT_TRUE(c.lines().empty());
  n.clock.advance_ms(1);
  ASSERT_TRUE(n.until_lines(c, 2));
  n.settle();
  EXPECT_THAT(c.lines(), ElementsAre(AllOf(HasSubstr("\"id\":2"), HasSubstr("REQUEST_TIMEOUT")),
                                     AllOf(HasSubstr("\"id\":4"), HasSubstr("REQUEST_TIMEOUT"))));
  n.gateway.answer_all();
  ASSERT_TRUE(n.until_lines(c, 4));
  EXPECT_EQ(c.lines()[2], done("1"));
  EXPECT_EQ(c.lines()[3], done("3"));
}

TEST(tcp_bounds, one_connections_bound_does_not_hold_up_another) {
  auto options = quick();
  options.in_flight_per_connection_max = 4;
  node n(options);
  n.gateway.hold = true;
  client busy(n.port), other(n.port);
  busy.send(pings(10));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 4; }));
  other.send(call("1"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 5; }));
}

TEST(tcp_bounds, past_the_bound_of_the_loop_requests_are_refused) {
  auto options = quick();
  options.in_flight_per_loop_max = 2;
  node n(options);
  n.gateway.hold = true;
  client c(n.port);
  c.send(pings(3));
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_THAT(c.lines()[0], HasSubstr("OVERLOADED"));
  n.gateway.answer_all();
  ASSERT_TRUE(n.until_lines(c, 3));
}

TEST(tcp_bounds, connections_over_the_cap_are_closed_at_accept_and_counted) {
  auto options = quick();
  options.connections_max = 2;
  node n(options);
  auto a = std::make_unique<client>(n.port);
  client b(n.port), over(n.port);
  ASSERT_TRUE(n.until([&] { return over.closed(); }));
  EXPECT_EQ(n.rejected(core::rejection::limit), 1u);
  EXPECT_EQ(n.server->count(), 2u);
  a.reset();
  ASSERT_TRUE(n.until([&] { return n.server->count() == 1; }));
  client next(n.port);
  next.send(call("1"));
  ASSERT_TRUE(n.until_lines(next, 1));
}

TEST(tcp_bounds, a_slow_reader_stops_being_read_and_goes_on_when_it_reads) {
  auto options = quick();
  options.unread_pause_bytes = 16 * 1024;
  options.send_buffer_bytes = 4096;
  node n(options);
  n.gateway.reply = big_reply(1000);
  client c(n.port, 4096);
  c.send(pings(500));
  ASSERT_TRUE(n.until([&] {
    return n.server->unread(n.gateway.greeted.empty() ? 0 : n.gateway.greeted[0]) > 16 * 1024;
  }));
  n.settle();
  EXPECT_LT(n.gateway.requests.size(), 200u);
  EXPECT_LT(n.server->unread(n.gateway.greeted[0]), 18u * 1024);
  ASSERT_TRUE(n.until_lines(c, 500));
  EXPECT_EQ(n.server->unread(n.gateway.greeted[0]), 0u);
}

TEST(tcp_bounds, a_reader_without_progress_is_closed_and_one_with_progress_is_not) {
  auto options = quick();
  options.send_buffer_bytes = 4096;
  node n(options);
  n.gateway.reply = big_reply(2'000'000);
  client c(n.port, 4096);
  c.send(call("1"));
  ASSERT_TRUE(n.until([&] { return !n.gateway.requests.empty(); }));
  n.settle();
  for (int i = 0; i < 4; ++i) {
    const auto before = n.server->unread(n.gateway.greeted[0]);
    ASSERT_GT(before, 0u);
    n.clock.advance_ms(9'000);
    ASSERT_TRUE(n.until([&] {
      c.receive();
      return n.server->unread(n.gateway.greeted[0]) < before;
    }));
  }
  n.settle();
  EXPECT_TRUE(n.gateway.gone.empty());
  ASSERT_GT(n.server->unread(n.gateway.greeted[0]), 0u);
  // In steps: what the kernel still had room for counts as progress.
  ASSERT_TRUE(n.until([&] {
    n.clock.advance_ms(1'000);
    return n.gateway.gone.size() == 1;
  }));
  EXPECT_EQ(n.rejected(core::rejection::slow_reader), 1u);
}

TEST(tcp_bounds, too_much_unread_closes_at_once) {
  auto options = quick();
  options.unread_close_bytes = 512 * 1024;
  options.send_buffer_bytes = 4096;
  node n(options);
  client c(n.port, 4096);
  ASSERT_TRUE(n.until([&] { return n.gateway.greeted.size() == 1; }));
  const auto id = n.gateway.greeted[0];
  const std::string line(100'000, 'x');
  std::size_t pushed = 0;
  while (n.server->push(id, line) > 0) ASSERT_LT(++pushed, 20u);
  EXPECT_GE(pushed, 5u);
  ASSERT_TRUE(n.until([&] { return n.gateway.gone.size() == 1; }));
  EXPECT_EQ(n.rejected(core::rejection::slow_reader), 1u);
}

TEST(tcp_bounds, what_is_pushed_behind_a_batch_is_bounded_too) {
  auto options = quick();
  options.unread_close_bytes = 512 * 1024;
  node n(options);
  n.gateway.hold = true;
  client c(n.port);
  c.send("[" + call("1", "events.subscribe") + "," + call("2") + "]");
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  n.server->answer(n.gateway.requests[0].to, core::done{});
  const auto id = n.gateway.greeted[0];
  const std::string line(100'000, 'x');
  std::size_t pushed = 0;
  while (n.server->push(id, line) > 0) ASSERT_LT(++pushed, 20u);
  EXPECT_EQ(pushed, 5u);
  ASSERT_TRUE(n.until([&] { return n.gateway.gone.size() == 1; }));
  EXPECT_EQ(n.rejected(core::rejection::slow_reader), 1u);
}

// libuv stopped watching at the failure, which the first read, of what came before, does not tell:
// the connection stayed for good, and with it a descriptor and a place under the limit.
TEST(tcp_bounds, a_reset_that_is_seen_together_with_half_a_value_ends_the_connection) {
  node n;
  client c(n.port);
  ASSERT_TRUE(n.until([&] { return n.gateway.greeted.size() == 1; }));
  c.send(R"({"jsonrpc":"2.0","id":1,"method":"server.)");
  c.reset();
  EXPECT_TRUE(n.until([&] { return n.gateway.gone.size() == 1; }));
  EXPECT_EQ(n.server->count(), 0u);
}

TEST(tcp_bounds, a_client_may_vanish_in_the_middle_of_a_reply) {
  auto options = quick();
  options.send_buffer_bytes = 4096;
  node n(options);
  n.gateway.reply = big_reply(200'000);
  client c(n.port, 4096), other(n.port);
  c.send(pings(2));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  n.settle();
  c.reset();
  ASSERT_TRUE(n.until([&] { return n.gateway.gone.size() == 1; }));
  n.gateway.reply = core::done{};
  other.send(call("1"));
  ASSERT_TRUE(n.until_lines(other, 1));
}

TEST(tcp_bounds,
     a_request_not_answered_in_time_is_answered_by_the_server_and_late_answers_are_dropped) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 1; }));
  n.clock.advance_ms(6'000);
  c.send(call("2"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  n.clock.advance_ms(4'000);
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_THAT(c.lines()[0], HasSubstr(R"("id":1,"error":{"code":9004)"));
  n.gateway.answer_all();
  ASSERT_TRUE(n.until_lines(c, 2))
      << n.gateway.requests.size() << testing::PrintToString(c.lines());
  n.settle();
  EXPECT_EQ(c.lines().size(), 2u);
  EXPECT_EQ(c.lines()[1], done("2"));
}

TEST(tcp_bounds, reading_pauses_while_requests_hold_too_many_read_blocks) {
  auto options = quick();
  const auto before = read_block::live();
  options.read_blocks_max = before + 2;
  node n(options);
  n.gateway.keep_blocks = true;
  client c(n.port);
  std::string all;
  const std::string agent(1000, 'a');
  for (int i = 0; i < 1000; ++i) all += validation("1", agent);  // more than four blocks
  std::size_t sent = 0;
  std::size_t seen = 0;
  const auto go_on = [&] {
    sent += c.send(std::string_view(all).substr(sent));
    c.receive();
  };
  for (int i = 0; i < 200; ++i) {
    go_on();
    n.on.run_once();
  }
  seen = n.gateway.requests.size();
  EXPECT_GT(seen, 200u);
  EXPECT_LT(seen, 600u);
  EXPECT_LE(read_block::live(), before + 2);
  ASSERT_TRUE(n.until([&] {
    go_on();
    n.gateway.blocks.clear();
    return n.gateway.requests.size() == 1000;
  }));
  EXPECT_EQ(n.gateway.requests.back().user_agent, agent);
}

TEST(tcp_bounds, running_out_of_descriptors_does_not_spin_and_is_got_over) {
  node n;
  // A whole round first: UBSan opens a pipe when it sees an object of a type for the first time,
  // and there will be none.
  client first(n.port);
  first.send(call("1"));
  ASSERT_TRUE(n.until_lines(first, 1));
  client waiting(n.port);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const int next = ::dup(0);
  ::close(next);
  rlimit low = old;
  low.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  for (int i = 0; i < 10; ++i) n.on.run_once();  // about 20 ms
  const auto refused = n.rejected(core::rejection::descriptors);
  ::setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_EQ(refused, 1u);
  waiting.send(call("1"));
  ASSERT_TRUE(n.until_lines(waiting, 1));
}

TEST(tcp_bounds, idle_connections_hold_no_buffers_of_their_own) {
  node n;
  n.gateway.reply = big_reply(30'000);
  std::vector<std::unique_ptr<client>> many;
  for (int i = 0; i < 300; ++i) many.push_back(std::make_unique<client>(n.port));
  for (auto& each : many) each->send(call("1"));
  ASSERT_TRUE(n.until([&] {
    for (auto& each : many)
      if (each->lines().size() != 1) return false;
    return true;
  }));
  for (const auto id : n.gateway.greeted) EXPECT_EQ(n.server->unread(id), 0u);
  EXPECT_LE(read_block::live(), 2u);
}

TEST(tcp_bounds, a_peer_that_never_closes_is_not_lingered_for_long) {
  node n;
  client c(n.port);
  c.send("nonsense");
  ASSERT_TRUE(n.until([&] { return c.closed(); }));  // our side is shut
  n.settle();
  EXPECT_EQ(n.server->count(), 1u);
  c.send("more of it");
  n.settle();
  EXPECT_EQ(n.server->count(), 1u);
  n.clock.advance_ms(core::limits::linger_ms);
  ASSERT_TRUE(n.until([&] { return n.server->count() == 0; }));
}

TEST(a_request_in_flight, fails_with_its_owner_what_another_had_when_it_came) {
  node n;
  n.gateway.hold = true;
  client c(n.port);
  c.send(call("1") + call("2"));
  ASSERT_TRUE(n.until([&] { return n.gateway.requests.size() == 2; }));
  const auto to = n.gateway.requests[1].to;
  EXPECT_TRUE(n.server->set_owner(to, 9));
  n.server->fail_in_flight(9, core::fail(core::error_code::OVERLOADED));
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_FALSE(n.server->set_owner(to, 7)) << "nobody waits any more";
  n.gateway.answer_all();
  ASSERT_TRUE(n.until_lines(c, 2));
  EXPECT_THAT(c.lines(), ElementsAre(HasSubstr("OVERLOADED"), done("1")));
}

}  // namespace
}  // namespace portcullis::net
