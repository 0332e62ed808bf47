// The log that nodes share over time: what is old is cut, and a snapshot stands for it.
#include "fleet.hpp"
#include "history.hpp"
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kept_for_an_hour = {
    "store.event_retention_h=1", "session.idle_ttl_s=86400", "session.absolute_ttl_s=864000"};

server_options with_own_clock(server_options options) {
  options.own_clock = true;
  return options;
}

std::string log_length(const redis_server& redis) {
  return redis.cli("xlen 'portcullis:{portcullis}:log'");
}

TEST(a_log_of_nodes, is_cut_and_who_comes_later_begins_with_the_snapshot) {
  fleet nodes(0, kept_for_an_hour);
  server first(with_own_clock(nodes.options(0)));
  auto client = first.connect();
  const auto kept = create(client, "kept", {{"data", {{"n", 1}}}})["session_id"];
  const auto ended = create(client, "ended")["session_id"];
  EXPECT_EQ(client.result("session.revoke", {{"session_id", ended}})["revoked"], 1);
  for (int i = 0; i < 10'200; i += 100) {  // a signed checkpoint comes after ten thousand
    std::string batch;
    for (int j = i; j < i + 100; ++j)
      batch += message("session.create", {{"tenant_id", "acme"},
                                          {"user_id", "u" + std::to_string(j % 500)},
                                          {"context", context()}})
                   .dump() +
               "\n";
    ASSERT_TRUE(client.send(batch));
    for (int j = 0; j < 100; ++j) ASSERT_TRUE(client.reply().contains("result"));
  }
  ASSERT_TRUE(eventually([&] { return !events(client, {{"types", {"checkpoint"}}}).empty(); }));
  ASSERT_EQ(first.terminate(), 0);
  boot_later(first, std::chrono::hours(3));
  ASSERT_TRUE(first.start()) << first.log();
  client = first.connect();
  const auto before = log_length(nodes.redis);
  ASSERT_TRUE(eventually([&] {
    create(client, "more");
    return nodes.redis.cli("hget 'portcullis:{portcullis}:meta' snapshot").size() > 1;
  })) << first.log();
  EXPECT_LT(log_length(nodes.redis).size(), before.size()) << "most of it is gone";
  auto& later = nodes.add();
  auto other = later.connect();
  EXPECT_EQ(validate(other, kept)["data"]["n"], 1) << "created in an event that is gone";
  EXPECT_EQ(state_of(other, ended), "revoked");
  EXPECT_EQ(client.result("server.info", {{"digest", true}})["digest"],
            other.result("server.info", {{"digest", true}})["digest"]);
  EXPECT_EQ(other.result("session.list", user("u7"))["sessions"].size(),
            client.result("session.list", user("u7"))["sessions"].size());
}

TEST(a_log_of_nodes, gets_what_is_decided_together_in_few_steps) {
  fleet nodes(1);
  auto client = nodes[0].connect();
  const auto before = nodes[0].metric("portcullis_redis_commands_total");
  std::string many;
  for (int i = 0; i < 1'000; ++i)
    many += message("session.create", {{"tenant_id", "acme"},
                                       {"user_id", "u" + std::to_string(i)},
                                       {"context", context()}})
                .dump() +
            "\n";
  ASSERT_TRUE(client.send(many));
  for (int i = 0; i < 1'000; ++i) ASSERT_TRUE(client.reply().contains("result"));
  EXPECT_LT(nodes[0].metric("portcullis_redis_commands_total") - before, 500);
}

TEST(a_log_of_nodes, may_hold_more_than_one_reply_of_its_server_does) {
  const std::vector<std::string> large = {"limits.data_bytes=65536", "limits.value_bytes=131072"};
  fleet nodes(2, large);
  auto a = nodes[0].connect();
  nodes[1].signal(SIGSTOP);
  const std::string data(60'000, 'x');
  json last;
  for (int i = 0; i < 320; ++i)  // 19 MB
    last = create(a, "u" + std::to_string(i), {{"data", {{"text", data}}}})["session_id"];
  nodes[1].signal(SIGCONT);
  auto b = nodes[1].connect();
  const json ask{{"session_id", last}, {"context", context()}};
  EXPECT_TRUE(eventually([&] {
    const auto told = b.call("session.validate", ask);  // STORE_UNAVAILABLE until it has caught up
    return told.contains("result") && told["result"]["valid"] == true;
  })) << nodes[1].log();
  auto c = nodes.add().connect();
  EXPECT_EQ(state_of(c, last), "valid");
}

TEST(a_log_of_nodes, is_signed_also_while_all_nodes_write_without_a_pause) {
  fleet nodes(2, {"store.event_retention_h=24"});
  std::atomic<bool> over{false};
  const auto write = [&](std::size_t node) {
    auto client = nodes[node].connect();
    for (int round = 0; !over; ++round) {
      std::string many;
      for (int i = 0; i < 50; ++i)
        many += message("session.create",
                        {{"tenant_id", "acme"},
                         {"user_id", std::to_string(node) + "-" + std::to_string(round % 100)},
                         {"context", context()}})
                    .dump() +
                "\n";
      if (!client.send(many)) return;
      for (int i = 0; i < 50; ++i) EXPECT_TRUE(client.reply().contains("result"));
    }
  };
  std::thread a(write, 0), b(write, 1);
  auto client = nodes[0].connect();
  EXPECT_TRUE(eventually(
      [&] {
        return !events(client, {{"types", {"checkpoint"}}}).empty();
      },
      std::chrono::minutes(2)))
      << "after ten thousand events";
  over = true;
  a.join();
  b.join();
}

TEST(a_log_of_nodes, may_begin_with_one_that_was_cut) {
  cut_node cut;
  cut.make();
  ASSERT_EQ(cut.node.terminate(), 0);
  fleet nodes(0, kept_for_an_hour);
  const auto keys = cut.node.data_dir() + "/portcullis.keys";
  const auto shared = nodes.folder().file("shared");
  std::filesystem::copy_file(keys, shared);
  nodes.use_keys(shared);
  const auto moved =
      run(tested_binary() + " migrate --set store.mode=redis --set store.redis.url=" +
          nodes.redis.url() + " --set crypto.keys_file=" + shared +
          " --set server.environment=development --set auth.mode=none --set server.data_dir=" +
          cut.node.data_dir());
  ASSERT_EQ(moved.status, 0) << moved.out;
  auto& fresh = nodes.add();
  auto other = fresh.connect();
  EXPECT_EQ(validate(other, cut.kept_id)["data"]["n"], 1);
  // What it was at its very end; time, and what it brings, goes on in the new one.
  const auto at_end = [&](const std::string& folder, const std::string& more) {
    const auto told =
        run(tested_binary() + " replay --data-dir " + folder + " --keys-file " + keys + more).out;
    return told.substr(told.find("seq "));
  };
  const auto was = at_end(cut.node.data_dir(), "");
  EXPECT_EQ(fresh.terminate(), 0);
  const auto seq = std::to_string(std::stoull(was.substr(4)));
  EXPECT_EQ(at_end(fresh.data_dir(), " --until " + seq), was);
}

}  // namespace
}  // namespace portcullis::e2e
