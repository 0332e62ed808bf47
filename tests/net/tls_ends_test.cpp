// TLS where connections end, stall or come back: what a reviewer's experiments found once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <vector>

#include "tests/net/tls_door.hpp"

namespace portcullis::net {
namespace {

using namespace test;
using testing::HasSubstr;

struct tls_ends : tls_door {};

TEST_F(tls_ends, half_a_record_keeps_no_loop_busy) {
  start(files());
  tls_client c(port, trusting());
  ASSERT_TRUE(shake(c));
  c.send(call("1"));
  ASSERT_TRUE(until_received(c, done("1")));
  c.hold();
  c.send(call("2"));
  const auto whole = c.held();
  c.hold();
  c.send(call("3"));
  const auto record = c.held();
  c.socket().send(whole + record.substr(0, 20));  // half of it comes with a request to work on
  n->settle();
  n->clock.advance_ms(core::limits::message_ms_max);
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; ++i) n->on.run_once();  // with work left a turn does not wait for its tick
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(3));
  c.socket().send(record.substr(20));
  EXPECT_TRUE(until_received(c, done("2") + "\n" + done("3")));
}

TEST_F(tls_ends, who_asks_for_key_updates_and_reads_none_is_cut_off) {
  auto options = quick();
  options.send_buffer_bytes = 16 * 1024;
  start(files(), options);
  tls_client c(port, trusting(), 4'096);
  ASSERT_TRUE(shake(c));
  (void)n->until([&] {
    for (int i = 0; i < 50; ++i) {
      SSL_key_update(c.ssl(), SSL_KEY_UPDATE_REQUESTED);
      SSL_do_handshake(c.ssl());
      SSL_write(c.ssl(), " ", 1);
    }
    c.flush();  // what the server answers stays in the kernel, and then with the server
    n->clock.advance_ms(1);
    return n->server->count() == 0;
  });
  EXPECT_EQ(n->server->count(), 0u);
}

TEST_F(tls_ends, a_fin_without_goodbye_ends_input_and_the_answers_still_come) {
  start(files());
  n->gateway.hold = true;
  tls_client c(port, trusting());
  ASSERT_TRUE(shake(c));
  c.send(call("1"));
  c.socket().finish();
  ASSERT_TRUE(n->until([&] { return n->gateway.requests.size() == 1; }));
  n->settle();
  n->gateway.answer_all();
  ASSERT_TRUE(until_received(c, done("1")));
  EXPECT_TRUE(n->until([&] { return n->server->count() == 0; }));
}

TEST_F(tls_ends, a_goodbye_in_one_piece_with_the_last_request_is_heard) {
  start(files());
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto wishes = trusting();
    wishes.version = version;
    tls_client c(port, wishes);
    ASSERT_TRUE(shake(c));
    ASSERT_TRUE(n->until(
        [&] { return n->gateway.greeted.size() == (version == TLS1_2_VERSION ? 1u : 2u); }));
    c.hold();
    c.send(call("1"));
    c.goodbye();
    c.socket().send(c.held());
    ASSERT_TRUE(until_received(c, done("1")));
    EXPECT_TRUE(n->until([&] {
      c.receive();
      return c.ended();
    })) << "TCP stays open, and the server says goodbye";
  }
}

TEST_F(tls_ends, is_not_drained_while_a_slow_reader_has_encrypted_bytes_to_come) {
  auto options = quick();
  options.send_buffer_bytes = 16 * 1024;
  start(files(), options);
  core::event_page page;
  page.events.push_back("{\"x\":\"" + std::string(40'000, 'x') + "\"}");
  n->gateway.reply = page;
  tls_client c(port, trusting(), 4'096);
  ASSERT_TRUE(shake(c));
  std::string all;
  for (int i = 0; i < 60; ++i) all += call(std::to_string(i), "events.query");
  c.send(all);
  ASSERT_TRUE(n->until([&] { return n->gateway.requests.size() >= 5; }));
  n->settle();
  ASSERT_FALSE(n->server->drained());
  ASSERT_TRUE(n->until([&] {
    c.receive();
    return n->server->drained();
  }));
  n->server->close_all();
  ASSERT_TRUE(n->until([&] {
    c.receive();
    return c.ended();
  }));
  EXPECT_EQ(std::count(c.receive().begin(), c.receive().end(), '\n'), 60);
  EXPECT_TRUE(n->server->taken_leave());
}

TEST_F(tls_ends, a_certificate_that_is_over_comes_in_by_no_ticket) {
  start(mutual(core::client_certificates::required));
  ours->sign("short", "URI:spiffe://test/short", 0, 2);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ours->sign("short", "URI:spiffe://test/short", 0, 2);
    const auto wishes = as(*ours, "short", version);
    tls_client first(port, wishes);
    ASSERT_TRUE(shake(first)) << first.reason();
    first.send(call("1"));
    ASSERT_TRUE(until_received(first, done("1")));  // and the ticket of TLS 1.3
    auto* session = SSL_get1_session(first.ssl());
    first.goodbye();
    const auto until_over = std::chrono::steady_clock::now() + std::chrono::milliseconds(2'500);
    while (std::chrono::steady_clock::now() < until_over) n->on.run_once();
    auto again = wishes;
    again.resume = session;
    tls_client second(port, again);
    (void)shake(second);
    EXPECT_TRUE(n->until([&] {
      second.receive();
      return second.closed();
    }));
    SSL_SESSION_free(session);
  }
  EXPECT_EQ(n->gateway.greeted.size(), 2u);
  EXPECT_EQ(failures(core::tls_failure::certificate_refused), 2u);
}

TEST_F(tls_ends, sessions_of_tls_1_3_are_resumed) {
  start(files());
  auto wishes = trusting();
  wishes.version = TLS1_3_VERSION;
  tls_client first(port, wishes);
  ASSERT_TRUE(shake(first));
  first.send(call("1"));
  ASSERT_TRUE(until_received(first, done("1")));
  wishes.resume = SSL_get1_session(first.ssl());
  first.goodbye();
  tls_client second(port, wishes);
  ASSERT_TRUE(shake(second));
  EXPECT_EQ(SSL_session_reused(second.ssl()), 1);
  SSL_SESSION_free(wishes.resume);
}

TEST_F(tls_ends, of_many_handshakes_a_turn_does_some) {
  start(files());
  std::vector<std::unique_ptr<tls_client>> many;
  for (int i = 0; i < 40; ++i) many.push_back(std::make_unique<tls_client>(port, trusting()));
  n->settle();
  for (auto& each : many) (void)each->turn();  // all ClientHellos are there at once
  n->on.run_once();
  std::size_t answered = 0;
  for (auto& each : many) answered += each->socket().receive().empty() ? 0 : 1;
  EXPECT_LE(answered, 16u) << "a turn of the loop, or two";
  for (auto& each : many) EXPECT_TRUE(shake(*each));
}

TEST_F(tls_ends, a_key_with_a_password_is_told_of_and_nobody_is_asked) {
  auto options = files();
  options.key_file = ours->encrypted_key("server");
  std::string why;
  EXPECT_FALSE(tls_context::make(options, contexts.tickets(), why));
  EXPECT_THAT(why, HasSubstr("has a password"));
}

}  // namespace
}  // namespace portcullis::net
