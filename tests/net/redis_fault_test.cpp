// A channel to a server that misbehaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/redis_fake.hpp"

namespace portcullis::net {
namespace {

using test::got;
using testing::ElementsAre;
using testing::IsEmpty;

struct a_channel : test::faked {};

TEST_F(a_channel, takes_replies_that_come_byte_by_byte) {
  open_and_greet();
  ask({"GET", "a"});
  ask({"GET", "b"});
  ASSERT_TRUE(until_received("b\r\n"));
  for (const char c : std::string_view("$5\r\nfirst\r\n*2\r\n:1\r\n$-1\r\n")) {
    server.send({&c, 1});
    on.run_once();
  }
  ASSERT_TRUE(until_answers(2));
  EXPECT_THAT(answers, ElementsAre("first", "[:1 nil]"));
  EXPECT_EQ(counts.in_flight, 0);
}

TEST_F(a_channel, sends_nothing_before_the_greeting_is_answered) {
  open();
  ask({"GET", "a"});
  ASSERT_TRUE(until_received("PING\r\n"));
  settle();
  EXPECT_EQ(server.received(), "*1\r\n$4\r\nPING\r\n");
  server.send("+PONG\r\n");
  ASSERT_TRUE(until_received("GET"));
  server.send("$1\r\n1\r\n");
  ASSERT_TRUE(until_answers(1));
  EXPECT_THAT(answers, ElementsAre("1"));
}

TEST_F(a_channel, writes_the_commands_of_a_turn_in_one_go) {
  open_and_greet();
  for (int i = 0; i < 100; ++i) ask({"GET", std::to_string(i)});
  EXPECT_EQ(server.received().find("GET"), std::string::npos);  // not yet
  ASSERT_TRUE(until_received("99\r\n"));
  std::string replies;
  for (int i = 0; i < 100; ++i) replies += ":" + std::to_string(i) + "\r\n";
  server.send(replies);
  ASSERT_TRUE(until_answers(100));
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(answers[i], ":" + std::to_string(i));
}

TEST_F(a_channel, answers_a_reply_of_type_error_like_any_other) {
  open_and_greet();
  ask({"GET", "a"});
  ask({"GET", "b"});
  ASSERT_TRUE(until_received("b\r\n"));
  server.send("-WRONGTYPE no\r\n$1\r\n1\r\n");
  ASSERT_TRUE(until_answers(2));
  EXPECT_THAT(answers, ElementsAre("-WRONGTYPE no", "1"));
  EXPECT_EQ(losses, 0);
}

TEST_F(a_channel, is_lost_when_a_reply_is_cut_off) {
  open_and_greet();
  ask({"GET", "a"});
  ask({"GET", "b"});
  ASSERT_TRUE(until_received("b\r\n"));
  server.send("$1\r\n1\r\n$10\r\nhalf");
  server.hang_up();
  ASSERT_TRUE(until_answers(2));
  EXPECT_THAT(answers, ElementsAre("1", "STORE_UNAVAILABLE connection_lost"));
  EXPECT_EQ(rule, "closed_by_peer");
  EXPECT_EQ(losses, 1);
}

TEST_F(a_channel, is_lost_by_a_reset_after_what_came_before_it) {
  open_and_greet();
  ask({"GET", "a"});
  ask({"GET", "b"});
  ASSERT_TRUE(until_received("b\r\n"));
  server.send("$1\r\n1\r\n");
  ASSERT_TRUE(until_answers(1));
  server.reset();
  ASSERT_TRUE(until_answers(2));
  EXPECT_THAT(answers, ElementsAre("1", "STORE_UNAVAILABLE connection_lost"));
  EXPECT_EQ(rule, "reset");
}

TEST_F(a_channel, is_cut_by_garbage) {
  open_and_greet();
  ask({"GET", "a"});
  ASSERT_TRUE(until_received("a\r\n"));
  server.send("HTTP/1.1 400 Bad Request\r\n");
  ASSERT_TRUE(until_answers(1));
  EXPECT_THAT(answers, ElementsAre("STORE_UNAVAILABLE connection_lost"));
  EXPECT_EQ(rule, "protocol");
  EXPECT_TRUE(until([&] { return server.ended(); }));
}

TEST_F(a_channel, is_cut_by_a_reply_without_a_command) {
  open_and_greet();
  server.send("$1\r\n1\r\n");
  ASSERT_TRUE(until([&] { return losses == 1; }));
  EXPECT_EQ(rule, "protocol");
  ask({"GET", "a"});
  ASSERT_TRUE(until_answers(1));
  EXPECT_THAT(answers, ElementsAre("STORE_UNAVAILABLE not_connected"));
}

// The second reply is there before its command was sent: it can be of nothing that was asked.
TEST_F(a_channel, is_cut_by_a_reply_to_a_command_that_was_not_sent) {
  open_and_greet();
  channel->ask({"GET", "a"}, test::long_ms, [this](got reply) {
    answers.push_back(test::told(reply));
    ask({"GET", "b"});
  });
  ASSERT_TRUE(until_received("a\r\n"));
  server.send("$1\r\n1\r\n$1\r\n2\r\n");
  ASSERT_TRUE(until_answers(2));
  EXPECT_THAT(answers, ElementsAre("1", "STORE_UNAVAILABLE not_sent"));
  EXPECT_EQ(rule, "protocol");
}

TEST_F(a_channel, tells_what_the_server_said_before_it_hung_up) {
  open();
  server.send("-ERR max number of clients reached\r\n");
  server.hang_up();
  ASSERT_TRUE(until([&] { return losses == 1; }));
  EXPECT_NE(detail.find("max number of clients reached"), std::string::npos) << detail;
  EXPECT_EQ(ready, 0);
}

TEST_F(a_channel, is_cut_by_a_reply_that_is_larger_than_may_be) {
  auto with = options();
  with.reply_bytes_max = 100'000;
  open(with);
  greet();
  ask({"GET", "a"});
  ask({"GET", "b"});
  ASSERT_TRUE(until_received("b\r\n"));
  server.send("$1000000000\r\n");
  const std::string part(50'000, 'x');
  ASSERT_TRUE(until([&] {
    if (losses == 0) server.send(part);
    return losses == 1;
  }));
  EXPECT_EQ(rule, "reply_bytes");
  EXPECT_LT(counts.bytes_in, 100'000U + 10 * redis::limits::read_bytes);
  ASSERT_TRUE(until_answers(2));
}

TEST_F(a_channel, is_cut_by_a_reply_that_is_nested_too_deeply) {
  open_and_greet();
  ask({"GET", "a"});
  ASSERT_TRUE(until_received("a\r\n"));
  for (int i = 0; i < 20; ++i) server.send("*1\r\n");
  ASSERT_TRUE(until_answers(1));
  EXPECT_EQ(rule, "reply_depth");
}

TEST_F(a_channel, is_cut_when_a_deadline_passes_in_silence) {
  open_and_greet();
  ask({"GET", "a"}, test::long_ms);
  ask({"GET", "b"}, 30);
  ask({"GET", "c"}, test::long_ms);
  ASSERT_TRUE(until_answers(3));
  EXPECT_THAT(answers, ElementsAre("STORE_UNAVAILABLE connection_lost", "STORE_TIMEOUT deadline",
                                   "STORE_UNAVAILABLE connection_lost"));
  EXPECT_EQ(rule, "deadline");
  EXPECT_TRUE(until([&] { return server.ended(); }));
  EXPECT_EQ(counts.timeouts, 1U);
  EXPECT_EQ(counts.losses, 1U);
}

TEST_F(a_channel, keeps_to_each_deadline_whatever_the_order_of_the_asks) {
  open_and_greet();
  ask({"GET", "a"}, test::long_ms);
  for (std::size_t i = 0; i < 5; ++i) {
    ask({"GET", std::to_string(i)}, 5'000);
    ASSERT_TRUE(until_received("\n" + std::to_string(i) + "\r\n"));
    server.send("$1\r\n1\r\n");
    ASSERT_TRUE(until_answers(i + 1));
  }
  ask({"GET", "z"}, 20);
  ASSERT_TRUE(until_answers(7));
  EXPECT_EQ(answers[5], "STORE_UNAVAILABLE connection_lost");
  EXPECT_EQ(answers[6], "STORE_TIMEOUT deadline");
}

TEST_F(a_channel, does_not_take_a_reply_for_late_that_waited_for_this_process) {
  open_and_greet();
  ask({"GET", "a"}, 50);
  ASSERT_TRUE(until_received("a\r\n"));
  server.send("$1\r\n1\r\n");
  const auto since = clock.mono_ns();
  while (clock.mono_ns() - since < 100'000'000) {  // the loop stands still
  }
  ASSERT_TRUE(until_answers(1));
  EXPECT_THAT(answers, ElementsAre("1"));
}

TEST_F(a_channel, gives_up_connecting_in_time) {
  auto with = options();
  with.connect_ms = 30;
  open(with);
  ask({"GET", "a"});
  ask({"GET", "b"}, 5);
  ASSERT_TRUE(until_answers(2));  // PING is never answered
  EXPECT_THAT(answers, ElementsAre("STORE_TIMEOUT not_sent", "STORE_UNAVAILABLE not_sent"));
  EXPECT_EQ(rule, "connect_timeout");
  EXPECT_EQ(counts.failures, 1U);
  EXPECT_EQ(counts.losses, 0U);
}

TEST_F(a_channel, is_not_ready_on_a_server_that_is_loading) {
  open();
  ASSERT_TRUE(until_received("PING\r\n"));
  server.send("-LOADING Redis is loading the dataset in memory\r\n");
  ASSERT_TRUE(until([&] { return losses == 1; }));
  EXPECT_EQ(rule, "loading");
  EXPECT_EQ(ready, 0);
}

TEST_F(a_channel, tells_what_was_sent_from_what_was_not_to_a_server_that_does_not_read) {
  open_and_greet();
  const std::string large(1024 * 1024, 'x');
  for (int i = 0; i < 12; ++i) ask({"SET", "key", large}, 500);
  ASSERT_TRUE(until_answers(12));
  EXPECT_EQ(answers.front(), "STORE_TIMEOUT deadline");
  EXPECT_EQ(answers.back(), "STORE_TIMEOUT not_sent");
  EXPECT_LT(counts.bytes_out, 12U * 1024 * 1024);
}

TEST_F(a_channel, goes_on_where_a_slow_reader_let_it_stop) {
  open_and_greet();
  const std::string large(1024 * 1024, 'x');
  for (int i = 0; i < 12; ++i) ask({"SET", std::to_string(i), large});
  settle();
  ASSERT_TRUE(until([&] { return server.received().size() >= 12 * (large.size() + 32); }));
  for (int i = 0; i < 12; ++i) server.send("+OK\r\n");
  ASSERT_TRUE(until_answers(12));
  EXPECT_THAT(answers, testing::Each("+OK"));
}

TEST_F(a_channel, refuses_what_nobody_listens_on) {
  auto with = options();
  with.where.to.port = test::free_port();
  channel = std::make_unique<redis::channel>(on, with, events(), counts);
  ask({"GET", "a"});
  ASSERT_TRUE(until_answers(1));
  EXPECT_EQ(rule, "connect");
  EXPECT_EQ(detail, "Connection refused");
  EXPECT_THAT(answers, ElementsAre("STORE_UNAVAILABLE not_sent"));
}

TEST_F(a_channel, refuses_a_host_without_an_address) {
  auto with = options();
  with.where.to.host = "no-such-host.invalid";
  with.connect_ms = test::long_ms;
  channel = std::make_unique<redis::channel>(on, with, events(), counts);
  ASSERT_TRUE(until([&] { return losses == 1; }));
  EXPECT_EQ(rule, "resolve");
}

TEST_F(a_channel, finds_a_host_by_its_name) {
  auto with = options();
  with.where.to.host = "localhost";  // ::1, perhaps, refuses first
  with.connect_ms = test::long_ms;
  open(with);
  greet();
}

}  // namespace
}  // namespace portcullis::net
