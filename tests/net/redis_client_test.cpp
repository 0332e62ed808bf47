// The client against one real redis-server.
#include "net/redis/client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <sstream>

#include "tests/net/redis_harness.hpp"

namespace portcullis::net {
namespace {

using test::got;
using test::told;
using testing::ElementsAre;
using testing::HasSubstr;

struct a_redis_client : test::redis_test {
  test::redis_server server;
};

TEST_F(a_redis_client, tells_which_server_it_is_connected_to) {
  connect(to(server.url()));
  ASSERT_EQ(connected.size(), 1U);
  EXPECT_EQ(connected[0].run_id.size(), 40U);
  EXPECT_THAT(connected[0].version, HasSubstr("."));
  EXPECT_EQ(connected[0].role, "master");
  EXPECT_EQ(redis::to_text(connected[0].at), "127.0.0.1:" + std::to_string(server.port()));
  EXPECT_EQ(client->counts().connects, 1U);
  EXPECT_THAT(server.cli({"CLIENT", "LIST"}), HasSubstr("name=portcullis"));
}

TEST_F(a_redis_client, stores_and_reads_any_bytes) {
  connect(to(server.url()));
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(ask({"SET", "key", all}), "+OK");
  EXPECT_EQ(ask({"GET", "key"}), all);
  EXPECT_EQ(ask({"GET", "other"}), "nil");
  EXPECT_EQ(ask({"LPUSH", "key", "x"}).substr(0, 10), "-WRONGTYPE");
}

TEST_F(a_redis_client, speaks_over_a_unix_socket_and_to_another_database) {
  connect(to("unix://" + server.socket() + "?db=3"));
  EXPECT_EQ(ask({"SET", "key", "3"}), "+OK");
  EXPECT_EQ(server.cli({"-n", "3", "GET", "key"}), "3");
  EXPECT_EQ(server.cli({"GET", "key"}), "");
}

TEST_F(a_redis_client, never_mixes_up_the_replies_of_many_commands) {
  connect(to(server.url()));
  constexpr int count = 20'000;
  int answered = 0, wrong = 0, next = 0;
  // As many as may be at once, and the others out of answers.
  const std::function<void()> more = [&] {
    if (next == count) return;
    const int mine = next++;
    const std::string word =
        std::to_string(mine) + std::string(static_cast<std::size_t>(mine % 300), '.');
    client->ask({"ECHO", word}, "", test::long_ms, [&, mine, word](got reply) {
      if (!reply || reply->text != word || answered != mine) ++wrong;
      ++answered;
      more();
    });
  };
  for (int i = 0; i < 5'000; ++i) more();
  ASSERT_TRUE(until([&] { return answered == count; })) << answered;
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(client->counts().commands, static_cast<std::uint64_t>(count));
  EXPECT_EQ(client->counts().in_flight, 0);
}

TEST_F(a_redis_client, connects_again_after_kill_and_restart) {
  connect(to(server.url()));
  const auto first = connected[0].run_id;
  server.kill();
  ASSERT_TRUE(until([&] { return !lost.empty(); }));
  EXPECT_EQ(ask({"PING"}), "STORE_UNAVAILABLE not_connected");
  server.start();
  ASSERT_TRUE(until([&] { return client->connected(); }));
  EXPECT_EQ(ask({"PING"}), "+PONG");
  ASSERT_EQ(connected.size(), 2U);
  EXPECT_NE(connected[1].run_id, first);
  EXPECT_EQ(client->counts().losses, 1U);
}

TEST_F(a_redis_client, answers_what_was_in_flight_when_the_server_was_killed) {
  connect(to(server.url()));
  std::string answer;
  client->ask({"BLPOP", "none", "0"}, "", test::long_ms, [&](got reply) { answer = told(reply); });
  ASSERT_TRUE(until([&] {
    return server.cli({"CLIENT", "LIST"}).find("cmd=blpop") != std::string::npos;
  }));
  server.kill();
  ASSERT_TRUE(until([&] { return !answer.empty(); }));
  EXPECT_EQ(answer, "STORE_UNAVAILABLE connection_lost");
}

TEST_F(a_redis_client, cuts_a_connection_whose_server_stands_still_and_makes_another) {
  connect(to(server.url()));
  server.signal(SIGSTOP);
  EXPECT_EQ(ask({"PING"}, 50), "STORE_TIMEOUT deadline");
  ASSERT_FALSE(lost.empty());
  EXPECT_EQ(lost.back().why.rule, "deadline");
  server.signal(SIGCONT);
  ASSERT_TRUE(until([&] { return client->connected(); }));
  EXPECT_EQ(ask({"PING"}), "+PONG");
}

TEST_F(a_redis_client, tells_a_loss_once_while_it_tries_again) {
  auto options = to(server.url());
  options.back_off_ms_min = 1;
  options.back_off_ms_max = 4;
  connect(std::move(options));
  server.kill();
  ASSERT_TRUE(until([&] { return client->counts().failures >= 20; }));
  ASSERT_EQ(lost.size(), 2U);  // closed by the peer, then refused
  EXPECT_EQ(lost[1].why.rule, "connect");
}

TEST_F(a_redis_client, runs_a_script_by_its_hash_and_sends_it_where_it_is_missing) {
  connect(to(server.url()));
  const auto add = redis::script::of("return redis.call('INCRBY', KEYS[1], ARGV[1])");
  EXPECT_EQ(eval(add, {"n"}, {"5"}), ":5");  // sent
  EXPECT_EQ(eval(add, {"n"}, {"5"}), ":10");
  EXPECT_EQ(server.cli({"SCRIPT", "FLUSH"}), "OK");
  EXPECT_EQ(eval(add, {"n"}, {"5"}), ":15");
  const auto stats = server.cli({"INFO", "commandstats"});
  EXPECT_THAT(stats, HasSubstr("cmdstat_eval:calls=2,"));
  EXPECT_THAT(stats, HasSubstr("cmdstat_evalsha:calls=3,"));
}

TEST_F(a_redis_client, tells_that_the_server_is_full_or_read_only) {
  connect(to(server.url()));
  server.cli({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_EQ(ask({"SET", "a", "b"}), "STORE_FULL oom");
  const auto set = redis::script::of("return redis.call('SET', KEYS[1], 'x')");
  EXPECT_EQ(eval(set, {"a"}, {}), "STORE_FULL oom");
  server.cli({"CONFIG", "SET", "maxmemory", "0"});
  server.cli({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_EQ(ask({"SET", "a", "b"}), "STORE_UNAVAILABLE readonly");
  EXPECT_EQ(eval(set, {"a"}, {}), "STORE_UNAVAILABLE readonly");
}

TEST_F(a_redis_client, blocks_in_a_client_of_its_own) {
  connect(to(server.url()));
  const auto reader = std::move(client);
  std::string answer;
  reader->ask({"XREAD", "BLOCK", "10000", "STREAMS", "events", "$"}, "", test::long_ms,
              [&](got reply) { answer = told(reply); });
  ASSERT_TRUE(until([&] {
    return server.cli({"CLIENT", "LIST"}).find("cmd=xread") != std::string::npos;
  }));
  connect(to(server.url()));
  EXPECT_EQ(ask({"XADD", "events", "1-1", "field", "value"}), "1-1");
  ASSERT_TRUE(until([&] { return !answer.empty(); }));
  EXPECT_EQ(answer, "[[events [[1-1 [field value]]]]]");
}

TEST_F(a_redis_client, is_given_messages_of_what_it_subscribed_to) {
  std::vector<std::string> messages;
  auto options = to(server.url());
  options.message = [&](redis::reply what) { messages.push_back(told(what)); };
  connect(std::move(options));
  EXPECT_EQ(ask({"SUBSCRIBE", "news"}), "[subscribe news :1]");
  EXPECT_EQ(server.cli({"PUBLISH", "news", "hello"}), "1");
  ASSERT_TRUE(until([&] { return messages.size() == 1; }));
  EXPECT_EQ(messages[0], "[message news hello]");
  EXPECT_EQ(ask({"PING"}), "[pong ]");
}

TEST_F(a_redis_client, may_be_destroyed_by_what_it_calls) {
  auto options = to(server.url());
  options.connected = [&](const redis::server_info&) { client.reset(); };
  make(std::move(options));
  ASSERT_TRUE(until([&] { return client == nullptr; }));
  options = to(server.url());
  connect(std::move(options));
  std::vector<std::string> answers;
  client->ask({"PING"}, "", test::long_ms, [&](got reply) {
    answers.push_back(told(reply));
    client.reset();
  });
  client->ask({"PING"}, "", test::long_ms, [&](got reply) { answers.push_back(told(reply)); });
  ASSERT_TRUE(until([&] { return answers.size() == 2; }));
  EXPECT_THAT(answers, ElementsAre("+PONG", "STORE_UNAVAILABLE closed"));
  options = to(server.url());
  options.lost = [&](const redis::address&, const redis::failure&) { client.reset(); };
  connect(std::move(options));
  client->ask({"BLPOP", "none", "0"}, "", test::long_ms,
              [&](got reply) { answers.push_back(told(reply)); });
  on.run_once();
  server.kill();
  ASSERT_TRUE(until([&] { return client == nullptr && answers.size() == 3; }));
}

struct a_login : test::redis_test {};

TEST_F(a_login, is_a_password_alone) {
  const test::redis_server server({"--requirepass", "a:b@c/d"});
  connect(to("redis://:a%3Ab%40c%2Fd@127.0.0.1:" + std::to_string(server.port())));
  EXPECT_EQ(ask({"PING"}), "+PONG");
}

TEST_F(a_login, that_is_missing_or_wrong_is_told) {
  const test::redis_server server({"--requirepass", "secret"});
  make(to(server.url()));
  ASSERT_TRUE(until([&] { return !lost.empty(); }));
  EXPECT_EQ(lost.back().why.rule, "noauth");
  auto options = to(server.url());
  options.who.password = "guess";
  make(std::move(options));
  ASSERT_TRUE(until([&] { return lost.size() == 2; }));
  EXPECT_EQ(lost.back().why.rule, "wrongpass");
  EXPECT_EQ(lost.back().detail.find("guess"), std::string::npos);
}

TEST_F(a_login, that_is_replaced_is_used_for_the_next_connection) {
  const test::redis_server server({"--requirepass", "first"});
  auto options = to(server.url());
  options.who.password = "first";
  connect(std::move(options));
  client->replace_login({"", "second"});
  EXPECT_EQ(ask({"PING"}), "+PONG");  // the connection stays
  server.cli({"-a", "first", "CONFIG", "SET", "requirepass", "second"});
  server.cli({"-a", "second", "CLIENT", "KILL", "TYPE", "normal"});
  ASSERT_TRUE(until([&] { return connected.size() == 2; })) << last_loss();
  EXPECT_EQ(ask({"PING"}), "+PONG");
}

/// The user "node" with the password "secret" and these rights, and no other.
test::redis_server::arguments only_user(const std::string& rights) {
  test::redis_server::arguments made = {"--user", "default", "off",    "--user",
                                        "node",   "on",      ">secret"};
  std::istringstream words(rights);
  for (std::string word; words >> word;) made.push_back(word);
  return made;
}

TEST_F(a_login, needs_few_rights) {
  const test::redis_server server(
      only_user("~p:* -@all +ping +info +role +client|setname +get +set"));
  auto options = to(server.url());
  options.who = {"node", "secret"};
  connect(std::move(options));
  EXPECT_EQ(connected[0].role, "master");
  EXPECT_EQ(ask({"SET", "p:1", "x"}), "+OK");
  EXPECT_EQ(ask({"SET", "q:1", "x"}), "STORE_UNAVAILABLE noperm");
  EXPECT_EQ(ask({"FLUSHALL"}), "STORE_UNAVAILABLE noperm");
}

TEST_F(a_login, without_the_right_to_be_checked_is_told) {
  const test::redis_server server(only_user("~* -@all +ping +client|setname +get"));
  auto options = to(server.url());
  options.who = {"node", "secret"};
  make(options);
  ASSERT_TRUE(until([&] { return !lost.empty(); }));
  EXPECT_EQ(lost.back().why.rule, "noperm");
  EXPECT_THAT(lost.back().detail, HasSubstr("INFO"));
  options.asks = redis::check::ping;
  connect(std::move(options));
}

TEST(a_clients_options, are_refused_by_rule) {
  test::real_clock clock;
  loop on(clock);
  const auto rule = [&](redis::client_options options) {
    options.random = [] { return std::uint64_t{0}; };
    const auto made = redis::client::make(on, std::move(options));
    return made ? "made" : std::string(made.error().rule);
  };
  const auto of = [](const std::string& text) { return *redis::parse_url(text); };
  EXPECT_EQ(rule({}), "servers");
  EXPECT_EQ(rule({.servers = {of("redis://a"), of("redis://b")}}), "servers");
  EXPECT_EQ(rule({.servers = {of("rediss://a")}}), "tls");
  EXPECT_EQ(rule({.topology = redis::topology::sentinel, .servers = {of("redis://a")}}),
            "master_name");
  EXPECT_EQ(rule({.topology = redis::topology::cluster, .servers = {of("unix:///a")}}), "servers");
}

}  // namespace
}  // namespace portcullis::net
