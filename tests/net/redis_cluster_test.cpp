// The client in a Redis Cluster: three masters, three replicas, all of them real.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "net/redis/slots.hpp"
#include "tests/net/redis_fake.hpp"

namespace portcullis::net {
namespace {

using test::got;
using test::told;
using testing::HasSubstr;

struct a_client_in_a_cluster : test::redis_test {
  static void SetUpTestSuite() {
    servers = new std::vector<std::unique_ptr<test::redis_server>>;
    std::vector<std::string> create = {"redis-cli", "--cluster", "create"};
    for (int i = 0; i < 6; ++i) {
      servers->push_back(std::make_unique<test::redis_server>(
          test::redis_server::arguments{"--cluster-enabled", "yes", "--cluster-node-timeout",
                                        "10000", "--repl-diskless-sync-delay", "0"}));
      create.push_back("127.0.0.1:" + std::to_string(servers->back()->port()));
    }
    create.insert(create.end(), {"--cluster-replicas", "1", "--cluster-yes"});
    EXPECT_THAT(test::run_program(create), HasSubstr("All 16384 slots covered"));
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (const auto& each : *servers)
      while (each->cli({"CLUSTER", "INFO"}).find("cluster_state:ok") == std::string::npos)
        ASSERT_LT(std::chrono::steady_clock::now(), give_up) << each->cli({"CLUSTER", "INFO"});
  }
  static void TearDownTestSuite() { delete servers; }

  redis::client_options in_cluster() {
    redis::client_options made;
    made.topology = redis::topology::cluster;
    // Not all of them, and one that is none.
    made.servers.push_back(*redis::parse_url("redis://127.0.0.1:1"));
    for (const std::size_t i : {3U, 1U})
      made.servers.push_back(*redis::parse_url((*servers)[i]->url()));
    return complete(std::move(made));
  }
  std::string ask_key(const std::string& verb, const std::string& key, const std::string& value) {
    redis::command what{verb, key};
    if (!value.empty()) what.add(value);
    return ask(std::move(what), test::long_ms, key);
  }
  static test::redis_server& on_port(std::uint16_t port) {
    for (const auto& each : *servers)
      if (each->port() == port) return *each;
    throw std::runtime_error("no such server");
  }
  /// The master that has the slot, as a master says.
  static test::redis_server& owner(std::uint16_t slot) {
    for (const auto& each : *servers) {
      const auto said = each->cli({"CLUSTER", "NODES"});
      std::istringstream lines(said);
      for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string id, at, flags, master, ping, pong, epoch, link, range;
        words >> id >> at >> flags >> master >> ping >> pong >> epoch >> link;
        if (flags.find("master") == flags.npos || flags.find("fail") != flags.npos) continue;
        while (words >> range) {
          if (range.starts_with('[')) continue;
          const auto first = std::stoi(range);
          const auto dash = range.find('-');
          const auto last = dash == range.npos ? first : std::stoi(range.substr(dash + 1));
          if (slot < first || slot > last) continue;
          const auto colon = at.find(':');
          return on_port(static_cast<std::uint16_t>(
              std::stoi(at.substr(colon + 1, at.find('@') - colon - 1))));
        }
      }
      if (!said.empty() && said.find("myself") != said.npos) break;
    }
    throw std::runtime_error("nobody has the slot");
  }
  static std::string id_of(const test::redis_server& of) { return of.cli({"CLUSTER", "MYID"}); }
  /// A master that has not the slot.
  static test::redis_server& stranger(std::uint16_t slot) {
    auto& home = owner(slot);
    for (const std::uint16_t other : {0, 6000, 16000})
      if (&owner(other) != &home) return owner(other);
    throw std::runtime_error("no other master");
  }

  inline static std::vector<std::unique_ptr<test::redis_server>>* servers = nullptr;
};

TEST_F(a_client_in_a_cluster, connects_to_all_masters_and_asks_the_one_that_has_the_key) {
  connect(in_cluster());
  EXPECT_EQ(connected.size(), 3U);
  for (int i = 0; i < 200; ++i) {
    const auto key = "key" + std::to_string(i);
    EXPECT_EQ(ask_key("SET", key, std::to_string(i)), "+OK");
    EXPECT_EQ(ask_key("GET", key, ""), std::to_string(i));
  }
  EXPECT_EQ(client->counts().redirections, 0U);
  EXPECT_EQ(ask({"PING"}), "+PONG");  // of any
}

TEST_F(a_client_in_a_cluster, runs_scripts_where_their_keys_are) {
  connect(in_cluster());
  const auto add = redis::script::of("return redis.call('INCRBY', KEYS[1], ARGV[1]) + #KEYS");
  for (const auto* key : {"{a}n", "{b}n", "{c}n", "{d}n"}) {
    const auto other = std::string(key) + "2";
    EXPECT_EQ(eval(add, {key, other}, {"5"}), ":7");
    EXPECT_EQ(eval(add, {key, other}, {"5"}), ":12");
  }
}

TEST_F(a_client_in_a_cluster, follows_a_slot_that_moves) {
  connect(in_cluster());
  const auto slot = redis::slot_of("{moves}");
  auto &from = owner(slot), &to = stranger(slot);
  const auto number = std::to_string(slot);
  EXPECT_EQ(ask_key("SET", "{moves}old", "1"), "+OK");
  EXPECT_EQ(to.cli({"CLUSTER", "SETSLOT", number, "IMPORTING", id_of(from)}), "OK");
  EXPECT_EQ(from.cli({"CLUSTER", "SETSLOT", number, "MIGRATING", id_of(to)}), "OK");

  // New keys are there already: ASK.
  EXPECT_EQ(ask_key("SET", "{moves}new", "2"), "+OK");
  EXPECT_EQ(client->counts().redirections, 1U);
  EXPECT_EQ(ask_key("GET", "{moves}new", ""), "2");
  EXPECT_EQ(ask_key("GET", "{moves}old", ""), "1");
  EXPECT_EQ(client->counts().redirections, 2U);
  const auto add = redis::script::of("return redis.call('APPEND', KEYS[1], ARGV[1])");
  EXPECT_EQ(eval(add, {"{moves}script"}, {"abc"}), ":3");  // ASK, NOSCRIPT, ASK
  EXPECT_EQ(ask({"MGET", "{moves}old", "{moves}new"}, test::long_ms, "{moves}"),
            "STORE_UNAVAILABLE tryagain");

  EXPECT_EQ(
      from.cli({"MIGRATE", "127.0.0.1", std::to_string(to.port()), "{moves}old", "0", "5000"}),
      "OK");
  EXPECT_EQ(to.cli({"CLUSTER", "SETSLOT", number, "NODE", id_of(to)}), "OK");
  EXPECT_EQ(from.cli({"CLUSTER", "SETSLOT", number, "NODE", id_of(to)}), "OK");
  const auto before = client->counts().redirections;
  EXPECT_EQ(ask_key("GET", "{moves}old", ""), "1");  // MOVED
  EXPECT_EQ(client->counts().redirections, before + 1);
  EXPECT_EQ(ask_key("GET", "{moves}new", ""), "2");
  EXPECT_EQ(client->counts().redirections, before + 1);  // it remembers
}

TEST_F(a_client_in_a_cluster, mixes_up_nothing_while_slots_move_under_load) {
  connect(in_cluster());
  const auto slot = redis::slot_of("{load}");
  auto &from = owner(slot), &to = stranger(slot);
  int asked = 0, answered = 0, wrong = 0, failed = 0;
  const auto load = [&] {
    for (int i = 0; i < 50; ++i) {
      const auto word = std::to_string(asked++);
      const std::string key = i % 2 == 0 ? "{load}" + word : word;
      redis::command what{"SET", key, word, "GET"};
      client->ask(std::move(what), key, test::long_ms, [&, word](got reply) {
        ++answered;
        if (!reply) {
          ++failed;
        } else if (!reply->is(redis::reply_type::nil)) {  // there was none before
          ++wrong;
        }
      });
    }
    on.run_once();
  };
  for (int round = 0; round < 4; ++round) {
    auto& source = round % 2 == 0 ? from : to;
    auto& target = round % 2 == 0 ? to : from;
    const auto number = std::to_string(slot);
    EXPECT_EQ(target.cli({"CLUSTER", "SETSLOT", number, "IMPORTING", id_of(source)}), "OK");
    EXPECT_EQ(source.cli({"CLUSTER", "SETSLOT", number, "MIGRATING", id_of(target)}), "OK");
    for (int i = 0; i < 5; ++i) load();
    for (;;) {
      std::istringstream keys(source.cli({"CLUSTER", "GETKEYSINSLOT", number, "500"}));
      std::vector<std::string> words = {
          "MIGRATE", "127.0.0.1", std::to_string(target.port()), "", "0", "5000", "KEYS"};
      for (std::string key; std::getline(keys, key);)
        if (!key.empty()) words.push_back(key);
      if (words.size() == 7) break;
      EXPECT_EQ(source.cli(words), "OK");
      load();
    }
    EXPECT_EQ(target.cli({"CLUSTER", "SETSLOT", number, "NODE", id_of(target)}), "OK");
    EXPECT_EQ(source.cli({"CLUSTER", "SETSLOT", number, "NODE", id_of(target)}), "OK");
    for (int i = 0; i < 5; ++i) load();
  }
  ASSERT_TRUE(until([&] { return answered == asked; }));
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(failed, 0);
  EXPECT_GT(client->counts().redirections, 0U);
  EXPECT_EQ(client->counts().losses, 0U);
}

// The last one of the suite: it costs a server.
TEST_F(a_client_in_a_cluster, follows_a_failover) {
  connect(in_cluster());
  const auto slot = redis::slot_of("{lives}");
  auto& doomed = owner(slot);
  EXPECT_EQ(ask_key("SET", "{lives}", "1"), "+OK");
  for (const auto& each : *servers) each->cli({"CONFIG", "SET", "cluster-node-timeout", "1000"});
  doomed.kill();
  ASSERT_TRUE(until([&] { return !client->connected(); }));
  ASSERT_TRUE(until([&] { return client->connected(); }, 60)) << last_loss();
  EXPECT_EQ(ask_key("SET", "{lives}", "2"), "+OK");
  EXPECT_EQ(ask_key("GET", "{lives}", ""), "2");
}

/// One that is a whole cluster, and says what the test makes it say to each command.
struct a_client_in_a_faked_cluster : test::redis_test {
  void connect_to_fake() {
    redis::client_options made;
    made.topology = redis::topology::cluster;
    made.servers.push_back(*redis::parse_url("redis://127.0.0.1:" + std::to_string(server.port())));
    made.name.clear();
    make(complete(std::move(made)));
    // First the connection that asks for the map, then that of the commands.
    ASSERT_TRUE(until([&] { return server.accept(); }));
    ASSERT_TRUE(until_received("PING\r\n"));
    server.send("+PONG\r\n");
    ASSERT_TRUE(until_received("SLOTS\r\n"));
    server.send("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:" + std::to_string(server.port()) +
                "\r\n");
    ASSERT_TRUE(until([&] { return server.accept(); }));
    ASSERT_TRUE(until_received("ROLE\r\n"));
    server.send("+PONG\r\n$8\r\n# Server\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    ASSERT_TRUE(until([&] { return client->connected(); }));
  }
  bool until_received(const std::string& text) {
    return until([&] { return server.received().find(text) != std::string::npos; });
  }
  std::size_t asked() {
    std::size_t count = 0;
    const auto& all = server.received();
    for (auto at = all.find("GET"); at != all.npos; at = all.find("GET", at + 1)) ++count;
    return count;
  }
  void ask_for_key() {
    client->ask({"GET", "key"}, "key", test::long_ms, [&](got reply) { answer = told(reply); });
  }

  test::fake_redis server;
  std::string answer;
};

TEST_F(a_client_in_a_faked_cluster, follows_five_redirections_and_no_more) {
  connect_to_fake();
  ask_for_key();
  for (std::size_t i = 1; i <= 6; ++i) {
    ASSERT_TRUE(until([&] { return asked() == i; })) << i;
    EXPECT_EQ(answer, "");
    server.send("-ASK 1 127.0.0.1:" + std::to_string(server.port()) + "\r\n");
    if (i < 6) {
      ASSERT_TRUE(until([&] { return asked() == i + 1; }));
      server.send("+OK\r\n");  // to ASKING
    }
  }
  ASSERT_TRUE(until([&] { return !answer.empty(); }));
  EXPECT_EQ(answer, "STORE_UNAVAILABLE redirections");
  EXPECT_EQ(client->counts().redirections, 5U);
  EXPECT_EQ(client->counts().losses, 0U);
}

TEST_F(a_client_in_a_faked_cluster, is_told_what_it_cannot_wait_for) {
  connect_to_fake();
  for (const auto& [said, expected] :
       {std::pair("-CLUSTERDOWN The cluster is down", "STORE_UNAVAILABLE clusterdown"),
        std::pair("-TRYAGAIN Multiple keys", "STORE_UNAVAILABLE tryagain"),
        std::pair("-CROSSSLOT Keys", "-CROSSSLOT Keys"),
        std::pair("-MOVED 1 nonsense", "-MOVED 1 nonsense")}) {
    answer.clear();
    const auto before = asked();
    ask_for_key();
    ASSERT_TRUE(until([&] { return asked() == before + 1; }));
    server.send(std::string(said) + "\r\n");
    ASSERT_TRUE(until([&] { return !answer.empty(); }));
    EXPECT_EQ(answer, expected);
  }
}

TEST_F(a_client_in_a_faked_cluster, is_answered_where_a_redirection_leads_to_nobody) {
  connect_to_fake();
  ask_for_key();
  ASSERT_TRUE(until([&] { return asked() == 1; }));
  server.send("-MOVED 12539 127.0.0.1:1\r\n");
  ASSERT_TRUE(until([&] { return !answer.empty(); }));
  EXPECT_EQ(answer, "STORE_UNAVAILABLE not_sent");
}

TEST_F(a_client_in_a_faked_cluster, keeps_the_replies_of_others_apart_from_a_redirected_one) {
  connect_to_fake();
  ask_for_key();
  std::string other;
  client->ask({"GET", "other"}, "other", test::long_ms, [&](got reply) { other = told(reply); });
  ASSERT_TRUE(until([&] { return asked() == 2; }));
  server.send("-ASK 1 127.0.0.1:" + std::to_string(server.port()) + "\r\n$1\r\n2\r\n");
  ASSERT_TRUE(until([&] { return asked() == 3; }));
  EXPECT_NE(server.received().rfind("*1\r\n$6\r\nASKING\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"),
            std::string::npos);
  server.send("+OK\r\n$1\r\n1\r\n");
  ASSERT_TRUE(until([&] { return !answer.empty(); }));
  EXPECT_EQ(answer, "1");
  EXPECT_EQ(other, "2");
}

TEST(a_slot, is_that_of_the_hash_tag_or_of_the_whole_key) {
  using redis::slot_of;
  EXPECT_EQ(slot_of("123456789"), 0x31C3 % 16384);  // of the specification
  EXPECT_EQ(slot_of("foo"), 12182);
  EXPECT_EQ(slot_of(""), 0);
  EXPECT_EQ(slot_of("{foo}.bar"), slot_of("foo"));
  EXPECT_EQ(slot_of("a{foo}{bar}"), slot_of("foo"));
  EXPECT_NE(slot_of("{}foo"), slot_of(""));
  EXPECT_EQ(slot_of("foo{{bar}}zap"), slot_of("{bar"));
  EXPECT_NE(slot_of("{foo"), slot_of("foo"));
}

TEST(a_redirection, says_where_to_and_whether_for_good) {
  const auto of = [](std::string text) {
    const auto found = redis::redirection_of({.type = redis::reply_type::error, .text = text},
                                             {"10.0.0.1", 7000, {}});
    if (!found) return std::string("none");
    return (found->ask ? "ask " : "moved ") + std::to_string(found->slot) + " " +
           redis::to_text(found->to);
  };
  EXPECT_EQ(of("MOVED 3999 127.0.0.1:6381"), "moved 3999 127.0.0.1:6381");
  EXPECT_EQ(of("ASK 16383 ::1:6381"), "ask 16383 [::1]:6381");
  EXPECT_EQ(of("MOVED 0 store-1.example:1"), "moved 0 store-1.example:1");
  EXPECT_EQ(of("MOVED 1 :7001"), "moved 1 10.0.0.1:7001");
  for (const auto* text : {"MOVED", "MOVED ", "MOVED 1", "MOVED 16384 a:1", "MOVED -1 a:1",
                           "MOVED 1 a", "MOVED 1 a:", "MOVED 1 a:0", "MOVED 1 a:65536",
                           "MOVED 1 a b:1", "ASKING 1 a:1", "ERR MOVED 1 a:1", "MOVED 1 ?:1"})
    EXPECT_EQ(of(text), "none") << text;
}

TEST(a_map_of_slots, is_read_without_what_nobody_serves) {
  using redis::reply;
  using redis::reply_type;
  const auto number = [](std::int64_t value) {
    return reply{.type = reply_type::integer, .integer = value};
  };
  const auto list = [](std::vector<reply> of) {
    return reply{.type = reply_type::array, .elements = std::move(of)};
  };
  const auto text = [](std::string of) { return reply{.type = reply_type::text, .text = of}; };
  const redis::address from{"10.0.0.1", 7000, {}};
  const auto found = redis::slots_of(
      list({list({number(0), number(5), list({text("a"), number(1), text("id"), list({})}),
                  list({text("replica"), number(1)})}),
            list({number(6), number(7), list({text(""), number(2)})}),
            list({number(8), number(8), list({reply{}, number(3)})}),
            list({number(9), number(9), list({text("?"), number(3)})}),
            list({number(10), number(10)})}),
      from);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 3U);
  EXPECT_EQ(redis::to_text((*found)[0].master), "a:1");
  EXPECT_EQ((*found)[0].last, 5);
  EXPECT_EQ(redis::to_text((*found)[1].master), "10.0.0.1:2");
  EXPECT_EQ(redis::to_text((*found)[2].master), "10.0.0.1:3");
  for (const auto& bad : {text("x"), list({number(1)}), list({list({number(1)})}),
                          list({list({number(5), number(4), list({text("a"), number(1)})})}),
                          list({list({number(0), number(16'384), list({text("a"), number(1)})})}),
                          list({list({number(-1), number(1), list({text("a"), number(1)})})}),
                          list({list({number(0), number(1), text("a")})})})
    EXPECT_FALSE(redis::slots_of(bad, from)) << told(bad);
}

}  // namespace
}  // namespace portcullis::net
