// server.* and admin.*: what an operator asks for and does while everything runs.
#include <signal.h>

#include <sstream>

#include "load.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

struct operating : testing::Test {
  server node;
  line_client client = node.connect();
};

TEST_F(operating, version_and_info_give_every_documented_field) {
  const auto version = client.result("server.version");
  EXPECT_EQ(version["name"], "portcullis");
  EXPECT_EQ(version["protocol"], 1);
  EXPECT_EQ(version.size(), 3U);
  create(client, "ada");
  const auto info = client.result("server.info");
  EXPECT_EQ(info["node_id"], "node-1");
  EXPECT_EQ(info["mode"], "embedded");
  EXPECT_EQ(info["version"], version["version"]);
  EXPECT_EQ(info["store"], (json{{"kind", "sqlite"}, {"degraded", false}}));
  EXPECT_EQ(info["sessions"], 1);
  EXPECT_EQ(info["connections"], 1);
  EXPECT_GE(info["loops"], 1);
  EXPECT_GE(info["uptime_ms"], 0);
  EXPECT_GE(info["seq"], 2);
}

TEST_F(operating, the_process_has_its_malloc_settings_and_its_own_name) {
  EXPECT_EQ(node.shown_by_proc("comm"), "portcullis\n");
  EXPECT_THAT(node.shown_by_proc("environ"), HasSubstr("GLIBC_TUNABLES=glibc.malloc.hugetlb=1"));
}

TEST_F(operating, the_start_is_an_event_with_the_policy_in_force) {
  const auto found = events_at_least(client, 1, {{"types", {"node_started"}}});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["seq"], 1);
  EXPECT_TRUE(found[0].contains("version"));
  ASSERT_TRUE(found[0].contains("policy"));
  EXPECT_THAT(found[0]["policy"].dump(), HasSubstr("idle_ttl_s"));
  ASSERT_EQ(node.terminate(), 0);
  ASSERT_TRUE(node.start());
  auto again = node.connect();
  EXPECT_EQ(events(again, {{"types", {"node_stopped"}}}).size(), 1U);
}

TEST_F(operating, a_backup_is_taken_under_load_and_is_a_whole_store) {
  load writing(node, 2, "busy");
  ASSERT_TRUE(eventually([&] { return writing.acknowledged() > 200; }));
  const auto path = node.folder().file("backup.db");
  const auto kept = create(client, "kept", {{"data", {{"a", 1}}}})["session_id"];
  const auto made = client.result("admin.backup", {{"path", path}});
  writing.stop();
  EXPECT_EQ(made["path"], path);
  EXPECT_EQ(made["bytes"], std::filesystem::file_size(path));
  EXPECT_GT(made["seq"], 200);
  EXPECT_EQ(integrity(path), "ok");
  for (const auto& taken : std::vector<std::string>{
           path, node.data_dir(), node.folder().file("no/such/folder/backup.db")}) {
    const auto refused = client.call("admin.backup", {{"path", taken}});
    EXPECT_EQ(error_of(refused), "INVALID_PARAMS") << taken;
    EXPECT_EQ(refused["error"]["data"]["details"]["field"], "path");
  }
  // It is a store: a node starts from it.
  const auto restored = node.folder().file("restored");
  std::filesystem::create_directory(restored);
  std::filesystem::permissions(restored, std::filesystem::perms::owner_all);
  std::filesystem::copy(path, restored + "/portcullis.db");
  std::filesystem::copy(node.data_dir() + "/portcullis.keys", restored + "/portcullis.keys");
  server again({.data_dir = restored});
  auto other = again.connect();
  EXPECT_EQ(validate(other, kept)["data"], (json{{"a", 1}}));
}

TEST_F(operating,
       sessions_survive_key_rotations_and_restarts_and_the_oldest_key_is_kept_while_in_use) {
  const auto unused = create(client, "unused", {{"data", {{"a", 1}}}});
  const auto used = create(client, "used", {{"data", {{"b", 2}}}});
  EXPECT_EQ(client.result("admin.rotate_keys")["keys"], 2);
  EXPECT_EQ(validate(client, used["session_id"])["data"], (json{{"b", 2}}));
  auto rekeyed = events_at_least(client, 1, {{"types", {"session_rekeyed"}}});
  EXPECT_EQ(rekeyed[0]["handle"], used["handle"]);
  EXPECT_EQ(client.result("admin.rotate_keys")["keys"], 3);
  EXPECT_EQ(validate(client, used["session_id"])["valid"], true);
  events_at_least(client, 2, {{"types", {"session_rekeyed"}}});
  const auto refused = client.call("admin.rotate_keys");
  EXPECT_EQ(error_of(refused), "KEYRING_MISMATCH") << "a session is still under the oldest";
  EXPECT_EQ(refused["error"]["data"]["details"]["rule"], "oldest_key_in_use");
  node.restart();
  auto again = node.connect();
  EXPECT_EQ(validate(again, used["session_id"])["data"], (json{{"b", 2}}));
  EXPECT_EQ(validate(again, unused["session_id"])["data"], (json{{"a", 1}}));
  EXPECT_EQ(again.result("session.list", user("unused"))["sessions"][0]["user_agent"], "agent/1");
  // Used once under the newest, nothing is left under the oldest.
  EXPECT_TRUE(eventually([&] { return again.error("admin.rotate_keys").empty(); }));
  EXPECT_EQ(validate(again, unused["session_id"])["valid"], true);
  EXPECT_EQ(validate(again, used["session_id"])["valid"], true);
}

TEST_F(operating, a_rotated_id_in_grace_survives_a_key_rotation) {
  const auto first = create(client, "ada", {{"data", {{"a", 1}}}})["session_id"];
  const auto second = client.result("session.rotate",
                                    {{"session_id", first}, {"context", context()}})["session_id"];
  client.result("admin.rotate_keys");
  EXPECT_EQ(validate(client, first)["data"], (json{{"a", 1}}));
  EXPECT_EQ(client.result("session.rotate",
                          {{"session_id", first}, {"context", context()}})["session_id"],
            second)
      << "the same successor";
  EXPECT_EQ(validate(client, second)["data"], (json{{"a", 1}}));
  EXPECT_EQ(validate(client, first)["rotated"], true);
}

struct crash : testing::TestWithParam<std::string> {};

TEST_P(crash, of_an_actor_under_load_loses_nothing_and_tells_no_untruth) {
  server node;
  auto client = node.connect();
  auto reader = node.connect();
  reader.result("events.subscribe", {{"types", {"session_created"}}});
  const auto id = create(client, "watched", {{"data", {{"a", 1}}}})["session_id"];
  const auto revoked = create(client, "watched")["session_id"];
  client.result("session.revoke", {{"session_id", revoked}});
  std::vector<promised> kept;
  {
    load writing(node, 4, "busy");
    for (std::size_t round = 1; round <= 4; ++round) {
      ASSERT_TRUE(eventually([&] { return writing.acknowledged() >= 60 * round; }));
      EXPECT_EQ(client.error("admin.crash", {{"actor", GetParam()}}), "");
      // While it is down and after: the truth, or that the server cannot say.
      bool right = false;
      EXPECT_TRUE(eventually([&] {
        const auto live =
            client.call("session.validate", {{"session_id", id}, {"context", context()}});
        const auto over =
            client.call("session.validate", {{"session_id", revoked}, {"context", context()}});
        for (const auto& each : {live, over})
          EXPECT_TRUE(each.contains("result") || error_of(each) == "OVERLOADED" ||
                      error_of(each) == "STORE_UNAVAILABLE")
              << each;
        right = live.contains("result") && over.contains("result");
        if (live.contains("result")) EXPECT_EQ(live["result"]["valid"], true) << live;
        if (over.contains("result")) EXPECT_EQ(over["result"]["reason"], "revoked") << over;
        return right;
      }));
    }
    const auto before = writing.acknowledged();
    ASSERT_TRUE(eventually([&] { return writing.acknowledged() >= before + 60; }))
        << "work goes on";
    writing.stop();
    kept = writing.take();
  }
  expect_kept(client, kept);
  EXPECT_EQ(validate(client, id)["data"], (json{{"a", 1}}));
  EXPECT_EQ(http_get(node.http_port, "/readyz").status, 200);
  node.restart();
  auto again = node.connect();
  expect_kept(again, kept);
  expect_rotated_away(again, kept);
}

INSTANTIATE_TEST_SUITE_P(each, crash,
                         testing::Values("session", "lockout", "directory", "subscriptions"),
                         [](const auto& each) { return each.param; });

TEST_F(operating, counters_and_locks_are_exact_after_a_crash_of_their_actor) {
  const auto id = create(client, "ada")["session_id"];
  for (int i = 0; i < 4; ++i) validate(client, id, context("198.51.100.1"));
  events_at_least(client, 4, {{"types", {"validation_failed"}}});
  client.result("admin.crash", {{"actor", "lockout"}});
  json status;
  EXPECT_TRUE(eventually([&] {
    const auto reply = client.call("lockout.status", user("ada"));
    if (!error_of(reply).empty()) return false;
    status = reply["result"];
    return true;
  }));
  EXPECT_TRUE(eventually([&] { return node.logged("The shard is back.", 0ms); }));
  EXPECT_EQ(client.result("lockout.status", user("ada"))["failed_attempts"], 4);
  EXPECT_EQ(client.error("admin.crash", {{"actor", "nobody"}}), "INVALID_PARAMS");
}

TEST_F(operating, sigterm_answers_what_is_in_flight_and_exits_0) {
  server held({.own_disk = true});
  auto busy = held.connect();
  auto idle = held.connect();
  EXPECT_EQ(idle.error("server.ping"), "");
  EXPECT_EQ(busy.error("server.ping"), "");
  held.disk("held");
  for (int i = 0; i < 20; ++i) {
    auto params = user("u" + std::to_string(i));
    params["context"] = context();
    busy.send(json{
        {"jsonrpc", "2.0"},
        {"id", "c" + std::to_string(i)},
        {"method", "session.create"},
        {"params",
         params}}.dump());
  }
  EXPECT_TRUE(eventually([&] { return held.metric("portcullis_requests_in_flight") >= 20; }));
  held.signal(SIGTERM);
  ASSERT_TRUE(held.logged("The node is draining."));
  held.disk("");
  std::vector<json> ids;
  for (int i = 0; i < 20; ++i) {
    const auto reply = busy.reply();
    EXPECT_EQ(error_of(reply), "") << reply;
    ids.push_back(reply["result"]["session_id"]);
  }
  EXPECT_TRUE(busy.ended());
  EXPECT_TRUE(idle.ended());
  EXPECT_EQ(held.wait(), 0);
  ASSERT_TRUE(held.start());
  auto again = held.connect();
  for (const auto& id : ids) EXPECT_EQ(state_of(again, id), "valid");
}

TEST_F(operating, while_draining_new_requests_are_refused_and_readiness_is_gone) {
  server held({.own_disk = true});
  auto busy = held.connect();
  auto late = held.connect();
  EXPECT_EQ(late.error("server.ping"), "");
  held.disk("held");
  auto params = user("ada");
  params["context"] = context();
  busy.send(json{{"jsonrpc", "2.0"}, {"id", "c"}, {"method", "session.create"}, {"params", params}}
                .dump());
  EXPECT_TRUE(eventually([&] { return held.metric("portcullis_requests_in_flight") >= 1; }));
  EXPECT_EQ(late.error("admin.drain"), "");
  ASSERT_TRUE(held.logged("The node is draining."));
  // Said before the gateways hear of it.
  json refused;
  EXPECT_TRUE(eventually([&] {
    refused = late.call("session.stats");
    return !refused.is_object() || error_of(refused) == "NODE_DRAINING";
  }));
  if (refused.is_object()) {
    EXPECT_EQ(error_of(refused), "NODE_DRAINING");
    EXPECT_EQ(refused["error"]["data"]["retryable"], true);
  }
  const auto readiness = http_get(held.http_port, "/readyz");
  if (readiness.status != 0) EXPECT_EQ(readiness.status, 503);
  held.disk("");
  EXPECT_EQ(error_of(busy.reply()), "");
  EXPECT_EQ(held.wait(), 0);
}

TEST_F(operating, drain_ends_the_node_in_order_with_status_0) {
  const auto id = create(client, "ada")["session_id"];
  EXPECT_EQ(client.call("admin.drain")["result"], json::object());
  EXPECT_EQ(node.wait(), 0);
  EXPECT_THAT(node.log(), HasSubstr("The node has stopped."));
  ASSERT_TRUE(node.start());
  auto again = node.connect();
  EXPECT_EQ(state_of(again, id), "valid");
}

TEST_F(operating, sigint_ends_it_like_sigterm) {
  node.signal(SIGINT);
  EXPECT_EQ(node.wait(), 0);
}

TEST_F(operating, standard_error_is_json_lines_and_a_request_cannot_forge_one) {
  create(client, "ada\\n{\"log.level\":\"error\"}");
  auto params = user("x\u2028y \"quoted\" \\ ");
  params["context"] = context("192.0.2.1", "evil\n{\"forged\":true}\r\x1b[31m");
  client.call("session.create", params);
  client.call("no\nsuch\nmethod");
  client.send("{\"a\":\x01}\n");
  node.connect().send("GET /\n{\"forged\":true}\n");
  ASSERT_EQ(node.terminate(), 0);
  std::istringstream lines(node.log());
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto entry = json::parse(line, nullptr, false);
    EXPECT_TRUE(entry.is_object() && entry.contains("@timestamp") && entry.contains("message"))
        << line;
    EXPECT_FALSE(entry.is_object() && entry.contains("forged")) << line;
  }
  EXPECT_GT(count, 3U);
}

TEST(loops, more_than_one_loop_serves_the_same_sessions_in_the_same_way) {
  server node({.set = {"server.loops=3", "lockout.threshold=5"}});
  auto first = node.connect();
  EXPECT_EQ(first.result("server.info")["loops"], 3);
  std::vector<line_client> clients;
  for (int i = 0; i < 12; ++i) clients.push_back(node.connect());
  std::vector<json> made;
  for (int i = 0; i < 48; ++i)
    made.push_back(create(clients[static_cast<std::size_t>(i) % 12], "u" + std::to_string(i),
                          {{"data", {{"i", i}}}}));
  for (int i = 0; i < 48; ++i) {
    const auto& each = made[static_cast<std::size_t>(i)];
    EXPECT_EQ(validate(clients[static_cast<std::size_t>(i * 7 + 3) % 12],
                       each["session_id"])["data"]["i"],
              i);
  }
  for (int i = 0; i < 8; ++i)
    validate(clients[static_cast<std::size_t>(i)], made[0]["session_id"], context("198.51.100.1"));
  EXPECT_EQ(first.result("lockout.status", user("u0"))["failed_attempts"], 5);
  EXPECT_EQ(first.result("lockout.list")["lockouts"].size(), 1U);
  EXPECT_EQ(
      first.result("session.find", {{"tenant_id", "acme"}, {"ip", "192.0.2.1"}})["sessions"].size(),
      48U);
  EXPECT_EQ(first.result("session.stats")["live"], 48);
  EXPECT_EQ(first.result("server.connections")["connections"].size(), 13U);
  EXPECT_EQ(first.result("session.revoke_tenant", {{"tenant_id", "acme"}})["revoked"], 48);
  for (const auto& each : made) EXPECT_NE(state_of(first, each["session_id"]), "valid");
  node.restart();
  auto again = node.connect();
  for (const auto& each : made) EXPECT_NE(state_of(again, each["session_id"]), "valid");
}

}  // namespace
}  // namespace portcullis::e2e
