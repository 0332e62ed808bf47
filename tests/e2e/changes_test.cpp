// What changes under a session's feet: the policy, the clock of a stopped node, others who act on
// it at the same time.
#include <algorithm>
#include <atomic>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

server_options configured(const std::string& text) { return {.set = {}, .config = text}; }

TEST(changes, a_changed_list_of_fields_locks_nobody_out_and_holds_at_once) {
  server node(configured("[session]\nfingerprint_fields = [\"user_agent\"]\n"));
  auto client = node.connect();
  const json full{{"ip", "192.0.2.1"}, {"user_agent", "ua"}, {"accept", "a"}, {"ja4", "j"}};
  const auto id = create(client, "ada", {{"context", full}})["session_id"];
  auto other = full;
  other["accept"] = "b";
  EXPECT_EQ(state_of(client, id, other), "valid");
  node.configure(
      "[session]\nfingerprint_fields = [\"user_agent\", \"accept\"]\nip_binding = \"off\"\n");
  client.result("admin.reload");
  EXPECT_EQ(state_of(client, id, full), "valid");
  EXPECT_EQ(state_of(client, id, other), "fingerprint_mismatch")
      << "kept at creation, compared now";
  auto moved = full;
  moved["ip"] = "198.51.100.1";
  EXPECT_EQ(state_of(client, id, moved), "valid");
  node.restart();
  auto again = node.connect();
  EXPECT_EQ(state_of(again, id, full), "valid");
  EXPECT_EQ(state_of(again, id, other), "fingerprint_mismatch");
}

TEST(changes, a_sessions_times_to_live_are_fixed_at_its_creation) {
  server node(configured("[session]\nidle_ttl_s = 500\n"));
  auto client = node.connect();
  const auto made = create(client, "ada");
  node.configure("[session]\nidle_ttl_s = 5\n");
  client.result("admin.reload");
  EXPECT_EQ(validate(client, made["session_id"])["expires_at_ms"], made["expires_at_ms"]);
  const auto next = create(client, "ada");
  EXPECT_EQ(next["idle_expires_at_ms"].get<std::int64_t>(),
            next["created_at_ms"].get<std::int64_t>() + 5'000);
}

TEST(changes, a_broken_configuration_changes_no_answer_and_shows_in_the_metrics) {
  server node(configured("[session]\nip_binding = \"enforce\"\n"));
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  const auto reloads = [&](const std::string& result) {
    return node.metric("portcullis_config_reloads_total{result=\"" + result + "\"}");
  };
  EXPECT_EQ(node.metric("portcullis_config_last_reload_success"), 1) << "that of the start";
  node.configure("[session\nip_binding = \"off\"\n");
  node.signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return reloads("failure") == 1; }));
  EXPECT_EQ(client.error("admin.reload"), "CONFIG_INVALID");
  EXPECT_EQ(reloads("failure"), 2);
  EXPECT_EQ(node.metric("portcullis_config_last_reload_success"), 0);
  EXPECT_EQ(state_of(client, id), "valid");
  EXPECT_EQ(state_of(client, id, context("198.51.100.1")), "ip_mismatch");
  node.configure("[session]\nip_binding = \"off\"\n");
  client.result("admin.reload");
  EXPECT_EQ(node.metric("portcullis_config_last_reload_success"), 1);
  EXPECT_EQ(reloads("success"), 1);
  EXPECT_EQ(state_of(client, id, context("198.51.100.1")), "valid");
}

TEST(changes, what_ran_out_while_the_node_was_down_has_expired) {
  server node;
  auto client = node.connect();
  const auto made = create(client, "ada", {{"idle_ttl_s", 1}});
  const auto kept = create(client, "ada");
  node.kill_at_once();
  EXPECT_TRUE(eventually([&] { return now_ms() > made["expires_at_ms"].get<std::int64_t>(); }));
  ASSERT_TRUE(node.start()) << node.log();
  auto again = node.connect();
  EXPECT_EQ(state_of(again, made["session_id"]), "expired");
  EXPECT_EQ(state_of(again, kept["session_id"]), "valid");
  const auto found = events_at_least(again, 1, {{"types", {"session_expired"}}});
  EXPECT_EQ(found[0]["handle"], made["handle"]);
  EXPECT_EQ(again.result("session.list", user("ada"))["sessions"].size(), 1U);
}

TEST(changes, invariant_02_after_an_acknowledged_revoke_no_id_of_the_session_validates) {
  server node({.set = {"session.touch_granularity_s=0"}});
  for (int round = 0; round < 10; ++round) {
    auto client = node.connect();
    const auto made = create(client, "ada");
    std::mutex mutex;
    std::vector<json> ids{made["session_id"]};
    std::atomic<bool> stop = false;
    std::vector<std::jthread> threads;
    threads.emplace_back([&] {  // rotates as fast as it can
      auto own = node.connect();
      json id = made["session_id"];
      while (!stop) {
        const auto reply = own.call("session.rotate", {{"session_id", id}, {"context", context()}});
        if (!error_of(reply).empty()) break;
        id = reply["result"]["session_id"];
        std::lock_guard guard{mutex};
        ids.push_back(id);
      }
    });
    for (int i = 0; i < 2; ++i)
      threads.emplace_back([&] {  // touches and updates whatever is newest
        auto own = node.connect();
        while (!stop) {
          json id;
          {
            std::lock_guard guard{mutex};
            id = ids.back();
          }
          const auto reply = own.call(
              "session.update", {{"session_id", id}, {"context", context()}, {"data", {{"a", 1}}}});
          if (error_of(reply) == "SESSION_REVOKED") break;
          own.call("session.validate", {{"session_id", id}, {"context", context()}});
        }
      });
    EXPECT_TRUE(eventually([&] {
      std::lock_guard guard{mutex};
      return ids.size() > 5;
    }));
    EXPECT_EQ(client.result("session.revoke", {{"handle", made["handle"]}})["revoked"], 1);
    std::vector<json> known;
    {
      std::lock_guard guard{mutex};
      known = ids;
    }
    for (const auto& id : known) EXPECT_EQ(state_of(client, id), "revoked");
    stop = true;
    threads.clear();
    for (const auto& id : ids) EXPECT_EQ(state_of(client, id), "revoked");
    EXPECT_EQ(client.result("session.list", user("ada"))["sessions"], json::array());
  }
}

TEST(changes,
     invariant_07_no_session_of_the_user_outlives_revoke_user_however_many_are_being_made) {
  server node;
  std::atomic<bool> stop = false;
  std::mutex mutex;
  std::vector<json> made;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      auto own = node.connect();
      while (!stop) {
        const auto one = create(own, "ada");
        std::lock_guard guard{mutex};
        made.push_back(one["session_id"]);
      }
    });
  auto client = node.connect();
  for (int round = 0; round < 10; ++round) {
    std::vector<json> before;
    EXPECT_TRUE(eventually([&] {
      std::lock_guard guard{mutex};
      before = std::exchange(made, {});
      return before.size() > 3;
    }));
    client.result("session.revoke_user", user("ada"));
    if (before.size() > 20)
      before.erase(before.begin(), before.end() - 20);  // asking takes turns with the creates
    for (const auto& id : before) EXPECT_EQ(state_of(client, id), "revoked");
  }
  stop = true;
}

TEST(changes, the_except_of_revoke_user_may_be_an_old_id_in_its_grace) {
  server node;
  auto client = node.connect();
  const auto first = create(client, "ada")["session_id"];
  create(client, "ada");
  const auto second = client.result("session.rotate",
                                    {{"session_id", first}, {"context", context()}})["session_id"];
  auto params = user("ada");
  params["except_session_id"] = first;
  EXPECT_EQ(client.result("session.revoke_user", params)["revoked"], 1);
  EXPECT_EQ(state_of(client, second), "valid");
}

TEST(changes, many_clients_that_come_and_go_leave_nothing_behind) {
  server node;
  const auto id = [&] {
    auto client = node.connect();
    return create(client, "ada")["session_id"];
  }();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 250; ++j) {
        auto own = node.connect();
        EXPECT_EQ(state_of(own, id), "valid");
      }
    });
  threads.clear();
  auto client = node.connect();
  EXPECT_TRUE(eventually([&] { return client.result("server.info")["connections"] == 1; }));
  EXPECT_GE(node.metric(R"(portcullis_connections_total{listener="rpc"})"), 1001);
}

}  // namespace
}  // namespace portcullis::e2e
