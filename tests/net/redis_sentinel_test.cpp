// The client behind Sentinel: one master, two replicas, three Sentinels, all of them real.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "tests/net/redis_harness.hpp"

namespace portcullis::net {
namespace {

using test::got;
using test::told;

struct a_client_behind_sentinel : test::redis_test {
  a_client_behind_sentinel() {
    for (int i = 0; i < 3; ++i) {
      test::redis_server::arguments more = {"--repl-diskless-sync-delay", "0",
                                            "--repl-ping-replica-period", "1"};
      if (i > 0) more.insert(more.end(), {"--replicaof", "127.0.0.1 " + std::to_string(port(0))});
      servers.push_back(std::make_unique<test::redis_server>(more));
    }
    for (std::size_t i = 0; i < 3; ++i) start_sentinel();
    const auto known = [&](const test::redis_server& at) {
      return at.cli({"SENTINEL", "CKQUORUM", "main"}).starts_with("OK 3 usable") &&
             at.cli({"INFO", "sentinel"}).find("slaves=2,sentinels=3") != std::string::npos;
    };
    for (const auto& each : sentinels) EXPECT_TRUE(until([&] { return known(*each); }));
  }

  void start_sentinel() {
    const auto at = test::free_port();
    const auto file = folder.path() + "/" + std::to_string(at) + ".conf";
    std::ofstream(file) << "port " << at << "\nbind 127.0.0.1\ndir " << folder.path()
                        << "\nsentinel monitor main 127.0.0.1 " << port(0)
                        << " 2\nsentinel down-after-milliseconds main 1500"
                        << "\nsentinel failover-timeout main 3000\nlogfile " << file << ".log\n";
    sentinels.push_back(std::make_unique<test::redis_server>(
        test::redis_server::arguments{file, "--sentinel"}, at));
  }

  redis::client_options through_sentinels() {
    redis::client_options made;
    made.topology = redis::topology::sentinel;
    made.master_name = "main";
    for (const auto& each : sentinels) made.servers.push_back(*redis::parse_url(each->url()));
    made.master_check_ms = 100;
    return complete(std::move(made));
  }
  [[nodiscard]] std::uint16_t port(std::size_t i) const { return servers[i]->port(); }
  [[nodiscard]] std::uint16_t master() const {
    return connected.empty() ? std::uint16_t{0} : connected.back().at.port;
  }
  /// Keeps asking, each time with a word of its own, and counts what comes back wrong.
  void ask_on() {
    const auto word = std::to_string(asked++);
    client->ask({"ECHO", word}, "", 1'000, [this, word](got reply) {
      if (!reply)
        ++failed;
      else if (reply->text != word)
        ++wrong;
      ++answered;
    });
  }
  bool until_asking(const std::function<bool()>& holds) {
    return until(
        [&] {
          ask_on();
          return holds();
        },
        60);
  }
  [[nodiscard]] std::string sentinel_logs() const {
    std::string made;
    for (const auto& each : std::filesystem::directory_iterator(folder.path()))
      if (each.path().extension() == ".log") {
        std::ifstream from(each.path());
        made.append(std::istreambuf_iterator<char>(from), {}).append("\n");
      }
    return made;
  }

  test::scratch_folder folder;
  std::vector<std::unique_ptr<test::redis_server>> servers, sentinels;
  int asked = 0, answered = 0, failed = 0, wrong = 0;
};

TEST_F(a_client_behind_sentinel, finds_the_master_and_follows_a_failover_after_a_kill) {
  connect(through_sentinels());
  EXPECT_EQ(master(), port(0));
  EXPECT_EQ(ask({"SET", "key", "value"}), "+OK");
  servers[0]->kill();
  ASSERT_TRUE(until_asking([&] { return connected.size() == 2; })) << last_loss();
  EXPECT_NE(master(), port(0));
  EXPECT_EQ(connected[1].role, "master");
  EXPECT_EQ(ask({"SET", "key", "other"}), "+OK");
  ASSERT_TRUE(until([&] { return answered == asked; }));
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(failed, 0);

  // The one that was killed comes back as a master that nobody knows; nothing is asked of it.
  servers[0]->start();
  int turns =
      0;  // a program for each would slow the Sentinels down, which then do nothing for long
  ASSERT_TRUE(until_asking([&] {
    return ++turns % 50 == 0 && servers[0]->cli({"ROLE"}).starts_with("slave");
  })) << sentinel_logs();
  for (std::size_t i = 1; i < connected.size(); ++i) EXPECT_NE(connected[i].at.port, port(0));
}

TEST_F(a_client_behind_sentinel, follows_a_failover_although_the_old_master_still_answers) {
  connect(through_sentinels());
  ASSERT_EQ(sentinels[0]->cli({"SENTINEL", "FAILOVER", "main"}), "OK");
  ASSERT_TRUE(until_asking([&] { return connected.size() >= 2 && client->connected(); }))
      << last_loss();
  EXPECT_NE(master(), port(0));
  EXPECT_EQ(ask({"SET", "key", "value"}), "+OK");
  ASSERT_TRUE(until([&] { return answered == asked; }));
  EXPECT_EQ(wrong, 0);
}

TEST_F(a_client_behind_sentinel, asks_another_sentinel_when_one_is_gone) {
  connect(through_sentinels());
  sentinels[0]->kill();
  sentinels[1]->kill();
  servers[0]->cli({"CLIENT", "KILL", "TYPE", "normal"});
  ASSERT_TRUE(until([&] { return connected.size() == 2; })) << last_loss();
  EXPECT_EQ(master(), port(0));
  sentinels[2]->kill();
  // Without any Sentinel a connection that is there goes on; one that is lost does not come back.
  EXPECT_EQ(ask({"PING"}), "+PONG");
  lost.clear();
  servers[0]->cli({"CLIENT", "KILL", "TYPE", "normal"});
  ASSERT_TRUE(until([&] { return !lost.empty() && lost.back().why.rule == "connect"; }))
      << last_loss();
  EXPECT_EQ(ask({"PING"}), "STORE_UNAVAILABLE not_connected");
  sentinels[0]->start();
  ASSERT_TRUE(until([&] { return client->connected(); })) << last_loss();
}

TEST_F(a_client_behind_sentinel, asks_again_when_the_master_says_that_it_is_read_only) {
  auto options = through_sentinels();
  options.master_check_ms = 1'000'000;  // not by chance
  connect(std::move(options));
  servers[0]->cli({"REPLICAOF", "127.0.0.1", std::to_string(port(1))});
  std::set<std::string> answers;
  ASSERT_TRUE(until([&] {
    if (client->connected())
      client->ask({"SET", "key", "value"}, "", 1'000,
                  [&](got reply) { answers.insert(told(reply)); });
    return answers.contains("STORE_UNAVAILABLE readonly");
  }));
  EXPECT_FALSE(client->connected());
  // The Sentinels still name it, and it says that it is none.
  ASSERT_TRUE(until([&] { return !lost.empty() && lost.back().why.rule == "role"; }))
      << last_loss();
  servers[0]->cli({"REPLICAOF", "NO", "ONE"});
  ASSERT_TRUE(until([&] { return connected.size() >= 2 && client->connected(); })) << last_loss();
}

TEST_F(a_client_behind_sentinel, is_told_that_there_is_no_such_group) {
  auto options = through_sentinels();
  options.master_name = "other";
  make(std::move(options));
  ASSERT_TRUE(until([&] { return !lost.empty(); }));
  EXPECT_EQ(lost.back().why.rule, "no_master");
  EXPECT_FALSE(client->connected());
}

}  // namespace
}  // namespace portcullis::net
