// A channel's bounds, and what its callbacks may do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/redis_fake.hpp"

namespace portcullis::net {
namespace {

using test::got;
using test::told;
using testing::ElementsAre;

struct a_channels_owner : test::faked {};

TEST_F(a_channels_owner, is_refused_past_so_many_commands) {
  auto with = options();
  with.commands_max = 3;
  open(with);
  greet();
  for (int i = 0; i < 5; ++i) ask({"GET", std::to_string(i)});
  EXPECT_TRUE(answers.empty());  // never out of ask()
  ASSERT_TRUE(until_answers(2));
  EXPECT_THAT(answers, ElementsAre("OVERLOADED redis_in_flight", "OVERLOADED redis_in_flight"));
  ASSERT_TRUE(until_received("2\r\n"));
  EXPECT_EQ(server.received().find("\n3\r"), std::string::npos);
  server.send(":0\r\n");
  ASSERT_TRUE(until_answers(3));
  ask({"GET", "again"});  // there is room
  ASSERT_TRUE(until_received("again"));
  EXPECT_EQ(counts.overloads, 2U);
  EXPECT_EQ(counts.in_flight, 3);
}

TEST_F(a_channels_owner, is_refused_past_so_many_bytes) {
  auto with = options();
  with.bytes_max = 1'000;
  open(with);
  greet();
  const std::string large(600, 'x');
  for (int i = 0; i < 2; ++i) ask({"SET", "key", large});
  ASSERT_TRUE(until_answers(1));
  EXPECT_THAT(answers, ElementsAre("OVERLOADED redis_in_flight"));
  ASSERT_TRUE(until_received("xxx\r\n"));
  server.send("+OK\r\n");
  ASSERT_TRUE(until_answers(2));
  ask({"SET", "key", large});
  server.hang_up();
  ASSERT_TRUE(until_answers(3));
  EXPECT_NE(answers[2], "OVERLOADED redis_in_flight");
}

TEST_F(a_channels_owner, is_refused_before_the_channel_is_ready_too) {
  auto with = options();
  with.commands_max = 2;
  open(with);
  for (int i = 0; i < 3; ++i) ask({"GET", std::to_string(i)});
  ASSERT_TRUE(until_answers(1));
  EXPECT_THAT(answers, ElementsAre("OVERLOADED redis_in_flight"));
}

TEST_F(a_channels_owner, is_answered_once_each_when_it_destroys_the_channel) {
  open_and_greet();
  for (int i = 0; i < 3; ++i) ask({"GET", std::to_string(i)});
  ASSERT_TRUE(until_received("2\r\n"));
  ask({"GET", "not sent"});
  channel.reset();
  EXPECT_THAT(answers, ElementsAre("STORE_UNAVAILABLE closed", "STORE_UNAVAILABLE closed",
                                   "STORE_UNAVAILABLE closed", "STORE_UNAVAILABLE not_sent"));
  EXPECT_EQ(losses, 0);
  EXPECT_EQ(counts.in_flight, 0);
  settle();
  EXPECT_EQ(answers.size(), 4U);
}

TEST_F(a_channels_owner, may_destroy_it_out_of_an_answer) {
  open_and_greet();
  channel->ask({"GET", "a"}, test::long_ms, [this](got reply) {
    answers.push_back(told(reply));
    channel.reset();
  });
  ask({"GET", "b"});
  ASSERT_TRUE(until_received("b\r\n"));
  server.send("+1\r\n+2\r\n");
  ASSERT_TRUE(until_answers(2));
  EXPECT_THAT(answers, ElementsAre("+1", "STORE_UNAVAILABLE closed"));
}

TEST_F(a_channels_owner, may_destroy_it_out_of_the_loss_and_then_of_an_answer_to_it) {
  auto with = options();
  auto heard = events();
  heard.lost = [this](const redis::failure&) { channel.reset(); };
  channel = std::make_unique<redis::channel>(on, with, heard, counts);
  ASSERT_TRUE(until([&] { return server.accept(); }));
  greet();
  ask({"GET", "a"});
  ask({"GET", "b"});
  ASSERT_TRUE(until_received("b\r\n"));
  server.hang_up();
  ASSERT_TRUE(until_answers(2));
  EXPECT_EQ(channel, nullptr);
}

TEST_F(a_channels_owner, may_destroy_it_out_of_a_refusal) {
  auto with = options();
  with.commands_max = 1;
  open(with);
  greet();
  ask({"GET", "a"});
  channel->ask({"GET", "b"}, test::long_ms, [this](got reply) {
    answers.push_back(told(reply));
    channel.reset();
  });
  ask({"GET", "c"});
  ASSERT_TRUE(until_answers(3));
  EXPECT_EQ(channel, nullptr);
}

TEST_F(a_channels_owner, may_ask_again_out_of_an_answer_and_out_of_the_loss) {
  open_and_greet();
  channel->ask({"GET", "a"}, test::long_ms, [this](got) { ask({"GET", "b"}); });
  ASSERT_TRUE(until_received("a\r\n"));
  server.send("+1\r\n");
  ASSERT_TRUE(until_received("b\r\n"));
  server.send("+2\r\n");
  ASSERT_TRUE(until_answers(1));
  channel->ask({"GET", "c"}, test::long_ms, [this](got) { ask({"GET", "d"}); });
  ASSERT_TRUE(until_received("c\r\n"));
  server.hang_up();
  ASSERT_TRUE(until_answers(2));
  EXPECT_THAT(answers, ElementsAre("+2", "STORE_UNAVAILABLE not_connected"));
}

TEST_F(a_channels_owner, may_ask_out_of_what_the_destructor_answers) {
  open_and_greet();
  channel->ask({"GET", "a"}, test::long_ms, [this](got reply) {
    answers.push_back(told(reply));
    channel->ask({"GET", "b"}, test::long_ms,
                 [this](got again) { answers.push_back(told(again)); });
  });
  // Not by reset(), which empties the pointer first.
  auto* doomed = channel.get();
  doomed->~channel();
  ::operator delete(channel.release());
  EXPECT_THAT(answers, ElementsAre("STORE_UNAVAILABLE not_sent", "STORE_UNAVAILABLE closed"));
}

TEST_F(a_channels_owner, is_given_messages_apart_from_replies) {
  std::vector<std::string> messages;
  auto heard = events();
  heard.message = [&](redis::reply what) { messages.push_back(told(what)); };
  channel = std::make_unique<redis::channel>(on, options(), heard, counts);
  ASSERT_TRUE(until([&] { return server.accept(); }));
  greet();
  ask({"SUBSCRIBE", "news"});
  ASSERT_TRUE(until_received("news\r\n"));
  server.send("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
  server.send("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n*1\r\n$1\r\na\r\n");
  ASSERT_TRUE(until([&] { return messages.size() == 1; }));
  EXPECT_THAT(messages, ElementsAre("[message news [a]]"));
  EXPECT_THAT(answers, ElementsAre("[subscribe news :1]"));
  EXPECT_EQ(losses, 0);
}

TEST_F(a_channels_owner, is_told_at_once_that_there_is_no_time_for_a_command) {
  open_and_greet();
  ask({"GET", "a"}, 0);
  EXPECT_TRUE(answers.empty());
  ASSERT_TRUE(until_answers(1));
  EXPECT_THAT(answers, ElementsAre("STORE_TIMEOUT not_sent"));
  EXPECT_EQ(losses, 0);
}

}  // namespace
}  // namespace portcullis::net
