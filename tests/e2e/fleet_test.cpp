// Several nodes over Redis: what one of them is told, all know.
#include "fleet.hpp"
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

TEST(several_nodes, know_each_others_sessions_at_once) {
  fleet nodes(3);
  auto a = nodes[0].connect(), b = nodes[1].connect(), c = nodes[2].connect();
  for (int i = 0; i < 50; ++i) {
    const auto made = create(a, "ada-" + std::to_string(i), {{"data", {{"n", i}}}});
    const auto seen = validate(b, made["session_id"]);
    EXPECT_EQ(seen["valid"], true) << i << ": " << seen;
    EXPECT_EQ(seen["data"]["n"], i);
    EXPECT_EQ(seen["user_id"], "ada-" + std::to_string(i));
    EXPECT_EQ(state_of(c, made["session_id"]), "valid");
  }
}

TEST(several_nodes, revoke_what_another_one_made) {
  fleet nodes(2);
  auto a = nodes[0].connect(), b = nodes[1].connect();
  const auto one = create(a, "ada"), two = create(a, "ada"), other = create(b, "bob");
  EXPECT_EQ(b.result("session.revoke", {{"session_id", one["session_id"]}})["revoked"], 1);
  EXPECT_EQ(b.result("session.revoke_user", user("ada"))["revoked"], 1);
  EXPECT_EQ(b.result("session.revoke_user", user("nobody"))["revoked"], 0);
  EXPECT_TRUE(eventually([&] { return state_of(a, two["session_id"]) == "revoked"; }));
  EXPECT_EQ(state_of(a, one["session_id"]), "revoked");
  EXPECT_EQ(a.result("session.revoke_tenant", {{"tenant_id", "acme"}})["revoked"], 1);
  EXPECT_TRUE(eventually([&] { return state_of(b, other["session_id"]) == "revoked"; }));
}

TEST(several_nodes, make_a_user_once) {
  fleet nodes(3);
  std::vector<line_client> clients;
  for (std::size_t i = 0; i < 3; ++i) clients.push_back(nodes[i].connect());
  for (int round = 0; round < 30; ++round) {
    const auto name = "user-" + std::to_string(round);
    for (auto& each : clients)
      each.send(message("session.create",
                        {{"tenant_id", "acme"}, {"user_id", name}, {"context", context()}})
                    .dump() +
                "\n");
    std::vector<json> ids;
    for (auto& each : clients) {
      const auto reply = each.reply();
      ASSERT_TRUE(reply.contains("result")) << reply;
      ids.push_back(reply["result"]["session_id"]);
    }
    for (auto& each : clients)
      for (const auto& id : ids) EXPECT_EQ(state_of(each, id), "valid") << name;
    nodes.settle();
    for (auto& each : clients)
      EXPECT_EQ(each.result("session.list", user(name))["sessions"].size(), 3u) << name;
  }
}

TEST(several_nodes, count_failed_attempts_together_and_exactly) {
  fleet nodes(3, {"lockout.threshold=10"});
  std::vector<line_client> clients;
  for (std::size_t i = 0; i < 3; ++i) clients.push_back(nodes[i].connect());
  const auto made = create(clients[0], "ada");
  for (auto& each : clients) EXPECT_EQ(state_of(each, made["session_id"]), "valid");
  const auto attempt = message("session.validate", {{"session_id", made["session_id"]},
                                                    {"context", context("198.51.100.7")}})
                           .dump() +
                       "\n";
  for (auto& each : clients)
    for (int i = 0; i < 10; ++i) each.send(attempt);
  std::map<std::string, int> reasons;
  for (auto& each : clients)
    for (int i = 0; i < 10; ++i) ++reasons[each.reply()["result"]["reason"]];
  EXPECT_EQ(reasons["ip_mismatch"], 10);
  EXPECT_EQ(reasons["locked_out"], 20);
  for (auto& each : clients)
    EXPECT_TRUE(eventually([&] { return state_of(each, made["session_id"]) == "locked_out"; }));
  nodes.settle();
  EXPECT_EQ(clients[1].result("lockout.status", user("ada"))["failed_attempts"], 10);
  auto clear = user("ada");
  clear["reason"] = "a test";
  EXPECT_EQ(clients[2].result("lockout.clear", clear)["cleared"], true);
  for (auto& each : clients)
    EXPECT_TRUE(eventually([&] { return state_of(each, made["session_id"]) == "valid"; }));
}

TEST(several_nodes, keep_a_cap_together) {
  fleet nodes(3, {"session.max_sessions_per_user=5"});
  std::vector<line_client> clients;
  for (std::size_t i = 0; i < 3; ++i) clients.push_back(nodes[i].connect());
  const auto order =
      message("session.create", {{"tenant_id", "acme"}, {"user_id", "ada"}, {"context", context()}})
          .dump() +
      "\n";
  for (auto& each : clients)
    for (int i = 0; i < 4; ++i) each.send(order);
  int made = 0, refused = 0;
  for (auto& each : clients)
    for (int i = 0; i < 4; ++i) {
      const auto reply = each.reply();
      made += reply.contains("result");
      refused += error_of(reply) == "SESSION_CAP_REACHED";
    }
  EXPECT_EQ(made, 5);
  EXPECT_EQ(refused, 7);
}

TEST(several_nodes, rotate_and_update_in_one_order) {
  fleet nodes(2);
  auto a = nodes[0].connect(), b = nodes[1].connect();
  const auto made = create(a, "ada", {{"data", {{"n", 0}}}});
  json id = made["session_id"];
  for (int i = 1; i <= 20; ++i) {
    auto& turn = i % 2 == 0 ? a : b;
    const auto updated = turn.result(
        "session.update", {{"session_id", id}, {"context", context()}, {"data", {{"n", i}}}});
    EXPECT_EQ(updated["version"], i + 1);
    const auto rotated = turn.result(
        "session.rotate", {{"session_id", id}, {"context", context()}, {"grace", false}});
    id = rotated["session_id"];
    EXPECT_EQ(rotated["handle"], made["handle"]);
  }
  EXPECT_EQ(validate(a, id)["data"]["n"], 20);
  EXPECT_EQ(validate(b, id)["data"]["n"], 20);
}

TEST(several_nodes, have_one_log) {
  fleet nodes(3);
  auto a = nodes[0].connect(), b = nodes[1].connect(), c = nodes[2].connect();
  const auto subscription = c.result("events.subscribe", {{"types", {"session_created"}}});
  for (int i = 0; i < 10; ++i) (void)create(i % 2 == 0 ? a : b, "user-" + std::to_string(i));
  std::vector<std::string> told;
  for (int i = 0; i < 10; ++i) {
    const auto line = c.reply();
    told.push_back(line["params"]["event"]["user_id"]);
    EXPECT_EQ(line["params"]["event"]["node"], i % 2 == 0 ? "node-0" : "node-1");
  }
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(told[static_cast<std::size_t>(i)], "user-" + std::to_string(i));
  nodes.settle();
  const auto log = events(a);
  EXPECT_EQ(events(b), log);
  EXPECT_EQ(events(c), log);
  EXPECT_GE(log.size(), 13u);
}

TEST(several_nodes, who_comes_later_or_comes_back_knows_all) {
  fleet nodes(1);
  auto a = nodes[0].connect();
  std::vector<json> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(create(a, "user-" + std::to_string(i))["session_id"]);
  EXPECT_EQ(a.result("session.revoke", {{"session_id", ids[3]}})["revoked"], 1);
  auto b = nodes.add().connect();
  for (std::size_t i = 0; i < ids.size(); ++i)
    EXPECT_EQ(state_of(b, ids[i]), i == 3 ? "revoked" : "valid") << i;
  nodes[0].kill_at_once();
  EXPECT_EQ(b.result("session.revoke", {{"session_id", ids[4]}})["revoked"], 1);
  ASSERT_TRUE(nodes[0].start()) << nodes[0].log();
  a = nodes[0].connect();
  for (std::size_t i = 0; i < ids.size(); ++i)
    EXPECT_EQ(state_of(a, ids[i]), i == 3 || i == 4 ? "revoked" : "valid") << i;
}

TEST(several_nodes, hold_the_same_state) {
  fleet nodes(3, {"lockout.threshold=3"});
  std::vector<line_client> clients;
  for (std::size_t i = 0; i < 3; ++i) clients.push_back(nodes[i].connect());
  for (int i = 0; i < 60; ++i) {
    auto& turn = clients[static_cast<std::size_t>(i) % 3];
    const auto name = "user-" + std::to_string(i % 20);
    const auto made = create(turn, name);
    auto& next = clients[static_cast<std::size_t>(i + 1) % 3];
    if (i % 4 == 0) (void)next.result("session.revoke", {{"handle", made["handle"]}});
    if (i % 5 == 0)
      for (int j = 0; j < 3; ++j) (void)state_of(next, made["session_id"], context("198.51.100.7"));
    if (i % 7 == 0) (void)next.result("session.revoke_user", user(name));
    if (i % 11 == 0)
      (void)next.call("admin.forget",
                      {{"tenant_id", "acme"}, {"user_id", name}, {"reason", "a test"}});
  }
  (void)clients[1].result("session.revoke_tenant", {{"tenant_id", "other"}});
  nodes.settle();
  std::vector<json> told;
  for (auto& each : clients) told.push_back(each.result("server.info", {{"digest", true}}));
  EXPECT_EQ(told[0]["digest"], told[1]["digest"]);
  EXPECT_EQ(told[0]["digest"], told[2]["digest"]);
  EXPECT_EQ(told[0]["sessions"], told[2]["sessions"]);
  nodes[1].terminate();
  const auto replayed =
      run(tested_binary() + " replay --data-dir " + nodes[1].data_dir() + " --keys-file " +
          nodes.keys() + " --until " + std::to_string(told[1]["seq"].get<std::uint64_t>()));
  EXPECT_THAT(replayed.out, HasSubstr(told[1]["digest"].get<std::string>())) << replayed.out;
  const auto verified = run(tested_binary() + " verify --data-dir " + nodes[1].data_dir() +
                            " --keys-file " + nodes.keys());
  EXPECT_EQ(verified.status, 0) << verified.out;
}

// A node that was told to stop destroyed its hand on the log while that was telling it of the last
// decision.
TEST(several_nodes, stop_in_order_also_with_decisions_under_way) {
  for (int round = 0; round < 5; ++round) {
    fleet nodes(2);
    auto a = nodes[0].connect();
    const auto made = create(a, "ada");
    nodes.redis.signal(SIGSTOP);
    std::string attempts;
    for (int i = 0; i < 50; ++i)
      attempts += message("session.validate", {{"session_id", made["session_id"]},
                                               {"context", context("198.51.100.7")}})
                      .dump() +
                  "\n";
    a.send(attempts);
    nodes[0].signal(SIGTERM);
    EXPECT_TRUE(nodes[0].logged("draining"));
    nodes.redis.signal(SIGCONT);
    EXPECT_EQ(nodes[0].wait(), 0) << nodes[0].log();
    EXPECT_EQ(nodes[1].terminate(), 0) << nodes[1].log();
  }
}

TEST(several_nodes, see_each_other) {
  fleet nodes(3);
  auto a = nodes[0].connect();
  EXPECT_TRUE(eventually([&] { return a.result("server.info")["nodes"].size() == 3; }));
  const auto info = a.result("server.info");
  EXPECT_EQ(info["mode"], "redis");
  EXPECT_EQ(info["store"]["kind"], "redis");
  EXPECT_EQ(info["nodes"][0]["node_id"], "node-0") << "by their start";
}

TEST(several_nodes, may_begin_with_what_a_node_alone_has) {
  fleet nodes(0);
  server alone({.set = {"crypto.keys_file=" + nodes.keys(), "server.node_id=alone"}});
  auto client = alone.connect();
  std::vector<json> ids;
  for (int i = 0; i < 150; ++i)
    ids.push_back(
        create(client, "user-" + std::to_string(i % 50), {{"data", {{"n", i}}}})["session_id"]);
  (void)client.result("session.revoke", {{"session_id", ids[3]}});
  (void)client.result("session.revoke_user", user("user-7"));
  for (int i = 0; i < 4; ++i) (void)state_of(client, ids[9], context("198.51.100.7"));
  const auto digest = client.result("server.info", {{"digest", true}})["digest"];
  const auto rotated = client.result(
      "session.rotate", {{"session_id", ids[11]}, {"context", context()}, {"grace", false}});
  EXPECT_EQ(alone.terminate(), 0);
  const auto settings =
      " --set store.mode=redis --set store.redis.url=" + nodes.redis.url() +
      " --set crypto.keys_file=" + nodes.keys() +
      " --set server.environment=development --set auth.mode=none --set server.data_dir=" +
      alone.data_dir();
  temp_folder older;  // a backup of before
  EXPECT_EQ(run("cp -r " + alone.data_dir() + " " + older.file("data")).status, 0);
  ASSERT_TRUE(alone.start());
  client = alone.connect();
  ids.push_back(create(client, "user-0")["session_id"]);
  EXPECT_EQ(alone.terminate(), 0);
  const auto moved = run(tested_binary() + " migrate" + settings);
  ASSERT_EQ(moved.status, 0) << moved.out;
  EXPECT_EQ(run(tested_binary() + " migrate" + settings).status, 1) << "only once";
  auto with = nodes.options(0);
  with.data_dir = alone.data_dir();
  server same(std::move(with));
  auto& other = nodes.add();
  auto a = same.connect(), b = other.connect();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i == 11) continue;  // to use it again would end what it was rotated into
    const std::string wanted = i == 3 || i % 50 == 7 ? "revoked" : "valid";
    EXPECT_EQ(state_of(a, ids[i]), wanted) << i;
    EXPECT_EQ(state_of(b, ids[i]), wanted) << i;
  }
  EXPECT_EQ(validate(b, ids[20])["data"]["n"], 20);
  EXPECT_EQ(state_of(b, rotated["session_id"]), "valid");
  EXPECT_EQ(b.result("lockout.status", user("user-9"))["failed_attempts"], 4);
  EXPECT_EQ(b.result("session.find",
                     {{"tenant_id", "acme"}, {"ip", "192.0.2.1"}, {"limit", 1000}})["sessions"]
                .size(),
            a.result("session.find",
                     {{"tenant_id", "acme"}, {"ip", "192.0.2.1"}, {"limit", 1000}})["sessions"]
                .size());
  nodes.settle();
  EXPECT_EQ(a.result("server.info", {{"digest", true}})["digest"],
            b.result("server.info", {{"digest", true}})["digest"]);
  (void)digest;
  auto stale = nodes.options(9);
  stale.data_dir = older.file("data");
  stale.start = false;
  server late(std::move(stale));
  EXPECT_FALSE(late.start());
  EXPECT_THAT(late.log(), HasSubstr("begin with an empty folder"));
}

TEST(a_store_of_nodes, that_cannot_be_reached_closes_the_doors_and_opens_them_again) {
  fleet nodes(2);
  auto a = nodes[0].connect(), b = nodes[1].connect();
  const auto made = create(a, "ada");
  EXPECT_EQ(state_of(b, made["session_id"]), "valid");
  nodes.redis.signal(SIGSTOP);
  EXPECT_TRUE(eventually([&] {
    return b.error("session.validate", {{"session_id", made["session_id"]},
                                        {"context", context()}}) == "STORE_UNAVAILABLE";
  }));
  EXPECT_TRUE(eventually([&] {
    return a.error("session.create",
                   {{"tenant_id", "acme"}, {"user_id", "bob"}, {"context", context()}}) ==
           "STORE_UNAVAILABLE";
  }));
  // Stale comes a moment before the connection is given up.
  EXPECT_TRUE(eventually([&] { return a.result("server.info")["store"]["degraded"] == true; }));
  nodes.redis.signal(SIGCONT);
  EXPECT_TRUE(eventually([&] {
    const auto seen =
        b.call("session.validate", {{"session_id", made["session_id"]}, {"context", context()}});
    return seen.contains("result") && seen["result"]["valid"] == true;
  }));
  EXPECT_TRUE(eventually([&] {
    return a
        .call("session.create", {{"tenant_id", "acme"}, {"user_id", "bob"}, {"context", context()}})
        .contains("result");
  }));
  nodes.settle();
  EXPECT_GE(events_at_least(a, 1, {{"types", {"store_degraded"}}}).size(), 1u);
}

TEST(a_store_of_nodes, that_dies_and_comes_back_has_lost_nothing_acknowledged) {
  fleet nodes(2, {}, {"--appendonly", "yes", "--appendfsync", "always"});
  auto a = nodes[0].connect(), b = nodes[1].connect();
  std::vector<json> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(create(a, "user-" + std::to_string(i))["session_id"]);
  nodes.redis.restart();
  EXPECT_TRUE(eventually([&] {
    return a
        .call("session.create", {{"tenant_id", "acme"}, {"user_id", "z"}, {"context", context()}})
        .contains("result");
  }));
  for (const auto& id : ids) {
    EXPECT_EQ(state_of(a, id), "valid");
    EXPECT_TRUE(eventually([&] {
      return b.call("session.validate", {{"session_id", id}, {"context", context()}})
          .contains("result");
    }));
    EXPECT_EQ(state_of(b, id), "valid");
  }
}

TEST(a_store_of_nodes, holds_nothing_that_says_who_anybody_is) {
  fleet nodes(2);
  auto a = nodes[0].connect();
  const auto made =
      create(a, "a-user-to-be-found", {{"context", context("192.0.2.77", "an-agent-to-be-found")}});
  (void)state_of(a, made["session_id"], context("198.51.100.1"));
  EXPECT_THAT(nodes.redis.cli("save"), HasSubstr("OK"));
  const auto dump = run("cat " + nodes.redis.folder().file("dump.rdb") + " " +
                        nodes.redis.folder().file("appendonlydir/*"))
                        .out;
  EXPECT_GT(dump.size(), 500u);
  std::string raw;
  const std::string id = made["session_id"];
  for (std::size_t i = 0; i < id.size(); i += 2)
    raw.push_back(static_cast<char>(std::stoi(id.substr(i, 2), nullptr, 16)));
  for (const auto& what : {std::string("a-user-to-be-found"), std::string("an-agent-to-be-found"),
                           std::string("192.0.2.77"), std::string("acme"), id, raw})
    EXPECT_EQ(dump.find(what), std::string::npos) << what;
}

TEST(a_store_of_nodes, that_is_away_is_told_of_revocations_when_it_is_back) {
  fleet nodes(2, {"store.degraded=serve_cached", "store.degraded_max_s=60"});
  auto a = nodes[0].connect(), b = nodes[1].connect();
  const auto one = create(a, "ada"), two = create(a, "bob"), other = create(a, "eve");
  for (const auto& each : {one, two, other}) EXPECT_EQ(state_of(b, each["session_id"]), "valid");
  nodes.redis.signal(SIGSTOP);
  EXPECT_TRUE(eventually([&] { return b.result("server.info")["store"]["degraded"] == true; }));
  EXPECT_EQ(state_of(b, one["session_id"]), "valid") << "by what it last heard";
  EXPECT_EQ(
      b.error("session.validate", {{"session_id", std::string(64, 'a')}, {"context", context()}}),
      "STORE_UNAVAILABLE")
      << "never not_found for what it could not look up";
  EXPECT_EQ(b.error("session.revoke", {{"session_id", one["session_id"]}}), "STORE_UNAVAILABLE");
  EXPECT_EQ(b.error("session.revoke_user", user("bob")), "STORE_UNAVAILABLE");
  EXPECT_EQ(state_of(b, one["session_id"]), "revoked") << "here at once";
  EXPECT_EQ(state_of(b, two["session_id"]), "revoked");
  EXPECT_EQ(state_of(b, other["session_id"]), "valid");
  nodes.redis.signal(SIGCONT);
  EXPECT_TRUE(eventually([&] { return state_of(a, one["session_id"]) == "revoked"; }));
  EXPECT_TRUE(eventually([&] { return state_of(a, two["session_id"]) == "revoked"; }));
  EXPECT_EQ(state_of(a, other["session_id"]), "valid");
}

TEST(a_store_of_nodes, shows_in_metrics) {
  fleet nodes(2);
  auto a = nodes[0].connect(), b = nodes[1].connect();
  (void)create(a, "ada");
  nodes.settle();
  EXPECT_TRUE(eventually([&] { return nodes[1].metric("portcullis_fleet_nodes") == 2; }));
  EXPECT_GE(nodes[1].metric("portcullis_fleet_entries_total{source=\"other\"}"), 1);
  EXPECT_GE(nodes[0].metric("portcullis_fleet_entries_total{source=\"own\"}"), 2);
  EXPECT_EQ(nodes[1].metric("portcullis_sessions_created_total"), 1) << "of all nodes";
  EXPECT_LT(nodes[1].metric("portcullis_fleet_staleness_seconds"), 1);
  EXPECT_EQ(nodes[1].metric("portcullis_store_degraded"), 0);
}

TEST(a_store_of_nodes, that_was_changed_is_not_believed) {
  fleet nodes(1);
  auto a = nodes[0].connect();
  for (int i = 0; i < 5; ++i) (void)create(a, "user-" + std::to_string(i));
  const std::string log = "'portcullis:{portcullis}:log'";
  const auto third =
      nodes.redis.cli("eval \"return redis.call('xrange',KEYS[1],'-','+')[3][1]\" 1 " + log);
  EXPECT_THAT(nodes.redis.cli("xdel " + log + " " + third), HasSubstr("1"));
  auto options = nodes.options(1);
  options.start = false;
  server late(std::move(options));
  EXPECT_FALSE(late.start());
  EXPECT_THAT(late.log(), HasSubstr("was changed"));
}

}  // namespace
}  // namespace portcullis::e2e
