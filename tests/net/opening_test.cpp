// What else comes before messages: PROXY headers in clear, Unix sockets, caps by source and
// listener, deadlines of what is sent; and callers inside of the process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <filesystem>

#include "net/tcp/server.hpp"
#include "tests/net/transport_harness.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;

struct proxied : testing::Test {
  std::uint16_t listen(const char* believed) {
    listener_rules rules;
    rules.opening.proxy = true;
    rules.opening.proxy_sources.add(*core::address_set::parse_one(believed));
    auto opened = n.server->listen(any_port(), core::listener::rpc, false, std::move(rules));
    EXPECT_TRUE(opened);
    return opened ? *opened : 0;
  }
  node n;
};

TEST_F(proxied, the_address_is_the_one_that_the_header_names) {
  const auto port = listen("127.0.0.1");
  client c(port);
  c.send("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n" + call("1"));
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_EQ(n.gateway.last_peer.address, "2001:db8::7");
  EXPECT_FALSE(n.gateway.last_peer.loopback) << "a token would have come over the network";
  client local(port);
  local.send("PROXY UNKNOWN\r\n" + call("1"));
  ASSERT_TRUE(n.until_lines(local, 1));
  EXPECT_EQ(n.gateway.last_peer.address, "127.0.0.1");
  EXPECT_TRUE(n.gateway.last_peer.loopback);
}

TEST_F(proxied, a_header_may_come_a_byte_at_a_time_and_with_what_follows) {
  const auto port = listen("127.0.0.1");
  client c(port);
  for (const char each : "PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n" + call("1")) {
    c.send({&each, 1});
    n.on.run_once();
  }
  ASSERT_TRUE(n.until_lines(c, 1));
  EXPECT_EQ(n.gateway.last_peer.address, "198.51.100.7");
}

TEST_F(proxied, without_a_header_nothing_is_answered) {
  const auto port = listen("127.0.0.1");
  client c(port);
  c.send(call("1"));
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_EQ(c.receive(), "");
  EXPECT_EQ(n.rejected(core::rejection::proxy_header), 1u);
  EXPECT_TRUE(n.gateway.greeted.empty());
}

TEST_F(proxied, nobody_else_may_send_one) {
  const auto port = listen("192.0.2.0/24");
  client c(port);
  c.send("PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n" + call("1"));
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_EQ(n.rejected(core::rejection::proxy_header), 1u);
  EXPECT_TRUE(n.gateway.greeted.empty());
}

TEST_F(proxied, and_where_it_is_not_configured_a_header_is_no_message) {
  client c(n.port);
  c.send("PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n" + call("1"));
  ASSERT_TRUE(n.until([&] { return c.closed(); }));
  EXPECT_THAT(c.lines(), ElementsAre(HasSubstr("\"code\":-32700")));
}

TEST(caps, of_a_source_hold_for_its_connections_alone) {
  auto options = quick();
  options.sources = std::make_shared<source_counts>(2);
  node n(options);
  listener_rules rules;
  rules.opening.proxy = true;
  rules.opening.proxy_sources.add(*core::address_set::parse_one("127.0.0.1"));
  const auto port = n.server->listen(any_port(), core::listener::rpc, false, std::move(rules));
  ASSERT_TRUE(port);
  const auto from = [](const std::string& address) {
    return "PROXY TCP6 " + address + " 2001:db8::1 1 1\r\n" + call("1");
  };
  client a(*port), b(*port), c(*port), d(*port);
  a.send(from("2001:db8::1"));
  b.send(from("2001:db8::2"));
  ASSERT_TRUE(n.until([&] { return a.lines().size() + b.lines().size() == 2; }));
  c.send(from("2001:db8::3"));
  ASSERT_TRUE(n.until([&] { return c.closed(); })) << "one /64 is one source";
  EXPECT_EQ(n.rejected(core::rejection::source_limit), 1u);
  d.send(from("2001:db8:0:1::3"));
  EXPECT_TRUE(n.until_lines(d, 1));
  a.reset();
  ASSERT_TRUE(n.until([&] { return n.server->count() == 2; }));
  client e(*port);
  e.send(from("2001:db8::3"));
  EXPECT_TRUE(n.until_lines(e, 1)) << "there is room again";
}

TEST(caps, of_a_listener_hold_for_it_alone) {
  node n;
  listener_rules rules;
  rules.connections_max = 1;
  const auto port = n.server->listen(any_port(), core::listener::rpc_tls, false, std::move(rules));
  ASSERT_TRUE(port);
  client a(*port), other(n.port);
  ASSERT_TRUE(n.until([&] { return n.server->count() == 2; }));
  client b(*port);
  EXPECT_TRUE(n.until([&] { return b.closed(); }));
  client more(n.port);
  EXPECT_TRUE(n.until([&] { return n.server->count() == 3; }));
}

TEST(deadlines, a_message_that_does_not_end_is_cut_off) {
  node n;
  client half(n.port), whole(n.port);
  half.send(call("1").substr(0, 20));
  whole.send(call("1"));
  ASSERT_TRUE(n.until_lines(whole, 1));
  n.clock.advance_ms(core::limits::message_ms_max - 1);
  n.settle();
  half.send(call("1").substr(20, 5));  // a drip is no progress
  n.settle();
  EXPECT_EQ(n.server->count(), 2u);
  n.clock.advance_ms(1);
  ASSERT_TRUE(n.until([&] { return half.closed(); }));
  EXPECT_EQ(n.rejected(core::rejection::slow_sender), 1u);
  EXPECT_FALSE(whole.closed());
}

TEST(deadlines, an_idle_connection_is_closed_where_configured_unless_it_listens_for_events) {
  auto options = quick();
  options.idle_ms_max = 1'000;
  node n(options);
  n.gateway.reply = core::subscribed{"s1", "e1"};
  client idle(n.port), busy(n.port), listening(n.port);
  listening.send(call("1", "events.subscribe"));
  ASSERT_TRUE(n.until_lines(listening, 1));
  n.gateway.reply = core::done{};
  busy.send(call("1"));
  ASSERT_TRUE(n.until_lines(busy, 1));
  n.clock.advance_ms(600);
  busy.send(call("2"));
  ASSERT_TRUE(n.until_lines(busy, 2));
  n.clock.advance_ms(600);
  ASSERT_TRUE(n.until([&] { return idle.closed(); }));
  EXPECT_EQ(n.rejected(core::rejection::idle), 1u);
  n.settle();
  EXPECT_FALSE(busy.closed());
  EXPECT_FALSE(listening.closed());
}

TEST(a_unix_socket, serves_the_protocol_and_replaces_a_file_that_nobody_listens_on) {
  std::string folder = (std::filesystem::temp_directory_path() / "portcullis-unix-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const auto path = folder + "/rpc.sock";
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path.data(), path.size());
  {
    descriptor stale(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(stale.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  {
    node n;
    ASSERT_TRUE(n.server->listen_unix(path));
    node second;
    const auto refused = second.server->listen_unix(path);
    ASSERT_FALSE(refused) << "somebody listens there";
    EXPECT_EQ(refused.error().rule, "Address already in use");
    descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    const auto text = call("1");
    ASSERT_EQ(::send(socket.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    char got[256];
    ssize_t size = -1;
    ASSERT_TRUE(n.until([&] { return (size = ::recv(socket.get(), got, sizeof got, 0)) > 0; }));
    EXPECT_EQ(std::string_view(got, static_cast<std::size_t>(size)), done("1") + "\n");
    EXPECT_TRUE(n.gateway.last_peer.encrypted) << "nobody listens in";
    EXPECT_EQ(n.server->list(0, 1).at(0).listener, "rpc_unix");
    ::shutdown(socket.get(), SHUT_WR);
    EXPECT_TRUE(n.until([&] { return n.server->count() == 0; }));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  std::filesystem::remove_all(folder);
}

struct kept_lines final : lines_port {
  void line(std::string_view text) override {
    lines.emplace_back(text);
    if (on_line) on_line();
  }
  void ended(std::optional<core::error> why) override {
    over = true;
    ended_by = why ? std::optional(why->code) : std::nullopt;
  }
  [[nodiscard]] std::size_t unread() const override { return pending; }
  std::vector<std::string> lines;
  std::function<void()> on_line;
  std::size_t pending = 0;
  bool over = false;
  std::optional<core::error_code> ended_by;
};

TEST(a_caller_inside, is_served_as_any_other) {
  kept_lines to;  // outlives the server
  node n;
  const auto id =
      n.server->open(&operator_caller, {"203.0.113.5", {}, {}, core::listener::http, true}, to);
  n.server->ask(id, call("1") + call("", "server.ping") + call("2"));
  n.server->ask(id, "[" + call("3") + "," + call("4") + "]");
  ASSERT_TRUE(n.until([&] { return to.lines.size() == 3; }));
  EXPECT_THAT(to.lines, ElementsAre(done("1"), done("2"), "[" + done("3") + "," + done("4") + "]"));
  EXPECT_EQ(n.server->count(), 0u) << "it is no connection that anybody could see";
  EXPECT_TRUE(n.server->list(0, 10).empty());
  n.server->hang_up(id);
  n.settle();
  EXPECT_THAT(n.gateway.gone, ElementsAre(id));
  EXPECT_FALSE(to.over) << "who hangs up knows it";
}

TEST(a_caller_inside, may_ask_again_at_each_line) {
  kept_lines to;  // outlives the server
  node n;
  const auto id = n.server->open(&operator_caller, {}, to);
  to.on_line = [&] {
    if (to.lines.size() < 100) n.server->ask(id, call(std::to_string(to.lines.size() + 1)));
  };
  n.server->ask(id, call("1"));
  ASSERT_TRUE(n.until([&] { return to.lines.size() == 100; }));
  EXPECT_EQ(to.lines.back(), done("100"));
}

TEST(a_caller_inside, is_ended_by_an_error_of_form_and_by_the_server) {
  kept_lines a, b, c;  // outlives the server
  node n;
  n.server->ask(n.server->open(&operator_caller, {}, a), "nonsense");
  n.server->open(&operator_caller, {}, b);
  n.server->open(&anybody, {}, c);
  ASSERT_TRUE(n.until([&] { return a.over; }));
  EXPECT_THAT(a.lines, ElementsAre(HasSubstr("-32700")));
  EXPECT_EQ(a.ended_by, std::nullopt) << "it was told by the line";
  n.server->close_callers(&operator_caller);
  ASSERT_TRUE(n.until([&] { return b.over; }));
  EXPECT_EQ(b.ended_by, core::error_code::AUTH_FAILED);
  EXPECT_FALSE(c.over);
  n.server->close_all();
  EXPECT_TRUE(n.until([&] { return c.over; }));
  EXPECT_EQ(c.ended_by, core::error_code::NODE_DRAINING);
}

// Decoding waited for less to be unread, and nothing told the server of it: for ever, where that
// came together with a lack of read blocks.
TEST(a_caller_inside, is_served_whatever_waits_beyond_it_also_after_a_lack_of_blocks) {
  auto options = quick();
  options.read_blocks_max = read_block::live() + 1;
  kept_lines busy, to;  // outlives the server
  node n(options);
  n.gateway.hold = n.gateway.keep_blocks = true;
  const auto many = n.server->open(&operator_caller, {}, busy);
  const auto id = n.server->open(&operator_caller, {}, to);
  std::string most_of_a_block;
  while (most_of_a_block.size() < 230 * 1024)
    most_of_a_block += validation("1", std::string(1'000, 'a'));
  n.server->ask(many, most_of_a_block);
  const auto held = n.gateway.requests.size();
  ASSERT_GT(held, 100u);
  to.pending = 200 * 1024;
  n.server->ask(id, std::string(60'000, ' ') + call("1"));
  n.settle();
  ASSERT_EQ(n.gateway.requests.size(), held) << "blocks are lacking";
  n.gateway.hold = n.gateway.keep_blocks = false;
  n.gateway.blocks.clear();
  EXPECT_TRUE(n.until([&] { return to.lines.size() == 1; }));
}

TEST(a_caller_inside, that_does_not_pass_on_what_it_is_told_is_a_slow_reader) {
  kept_lines to;  // outlives the server
  node n;
  const auto id = n.server->open(&operator_caller, {}, to);
  to.pending = 300 * 1024;
  EXPECT_GT(n.server->push(id, "{}"), 300u * 1024);
  ASSERT_TRUE(n.until([&] { return to.lines.size() == 1; }));
  to.pending = 9 * 1024 * 1024;
  EXPECT_EQ(n.server->push(id, "{}"), 0u);
  EXPECT_TRUE(n.until([&] { return to.over; }));
  EXPECT_EQ(to.ended_by, core::error_code::VALUE_TOO_LARGE);
}

}  // namespace
}  // namespace portcullis::net
