// session.rotate: one successor, a grace, and what is left of an id after it.
#include <atomic>
#include <map>
#include <set>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

struct rotation : testing::Test {
  server node;
  line_client client = node.connect();

  json with(const json& id, json more = json::object()) {
    json params{{"session_id", id}, {"context", context()}};
    params.update(more);
    return params;
  }
  json rotate(const json& id, json more = json::object()) {
    return client.result("session.rotate", with(id, more));
  }
};

/// A server whose policy is the test's own.
struct reuse : testing::Test {
  void begin(std::vector<std::string> set) {
    node.emplace(server_options{.set = std::move(set)});
    client.emplace(node->connect());
  }
  std::optional<server> node;
  std::optional<line_client> client;
};

TEST_F(rotation, rotation_keeps_the_handle_the_data_and_the_absolute_end) {
  const auto made = create(client, "ada", {{"data", {{"a", 1}}}});
  const auto next = rotate(made["session_id"]);
  EXPECT_NE(next["session_id"], made["session_id"]);
  for (const auto* key : {"handle", "version", "created_at_ms", "absolute_expires_at_ms"})
    EXPECT_EQ(next[key], made[key]) << key;
  EXPECT_EQ(next.size(), 7U);
  const auto old = validate(client, made["session_id"]);
  EXPECT_EQ(old["rotated"], true);
  EXPECT_EQ(old["data"], (json{{"a", 1}}));
  const auto fresh = validate(client, next["session_id"]);
  EXPECT_FALSE(fresh.contains("rotated"));
  EXPECT_EQ(fresh["data"], (json{{"a", 1}}));
  EXPECT_EQ(events_at_least(client, 1, {{"types", {"session_successor_used"}}}).size(), 1U);
}

TEST_F(rotation, parallel_rotations_in_grace_give_the_same_successor) {
  const auto id = create(client, "ada")["session_id"];
  std::mutex mutex;
  std::set<std::string> successors;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 16; ++i)
      threads.emplace_back([&] {
        auto own = node.connect();
        const auto next =
            own.result("session.rotate", {{"session_id", id}, {"context", context()}});
        std::lock_guard guard{mutex};
        successors.insert(next["session_id"]);
      });
  }
  EXPECT_EQ(successors.size(), 1U);
  EXPECT_EQ(events_at_least(client, 1, {{"types", {"session_rotated"}}}).size(), 1U);
}

TEST_F(rotation, rotating_the_successor_ends_its_predecessor_quietly) {
  const auto first = create(client, "ada")["session_id"];
  const auto second = rotate(first)["session_id"];
  const auto third = rotate(second)["session_id"];
  EXPECT_EQ(state_of(client, first), "revoked");
  EXPECT_EQ(client.error("session.rotate", with(first)), "SESSION_REVOKED");
  EXPECT_EQ(validate(client, second)["rotated"], true);
  EXPECT_EQ(state_of(client, third), "valid") << "the session itself goes on";
  EXPECT_EQ(events(client, {{"types", {"session_reuse_detected"}}}).size(), 0U);
}

TEST_F(rotation, rotation_without_grace_ends_every_earlier_id_at_once) {
  const auto first = create(client, "ada", {{"data", {{"a", 1}}}})["session_id"];
  const auto successor = rotate(first)["session_id"];
  // From the predecessor: its successor is an earlier id too.
  const auto fresh = rotate(first, {{"grace", false}})["session_id"];
  EXPECT_NE(fresh, successor);
  EXPECT_EQ(validate(client, fresh)["data"], (json{{"a", 1}}));
  EXPECT_EQ(state_of(client, successor), "revoked");
  EXPECT_EQ(state_of(client, first), "revoked");
}

TEST_F(rotation, update_through_the_old_id_in_grace_is_seen_through_the_new_one) {
  const auto first = create(client, "ada", {{"data", {{"a", 1}}}})["session_id"];
  const auto second = rotate(first)["session_id"];
  EXPECT_EQ(client.result("session.update", with(first, {{"data", {{"a", 2}}}}))["version"], 2);
  EXPECT_EQ(validate(client, second)["data"], (json{{"a", 2}}));
  EXPECT_EQ(client.result("session.update", with(second, {{"data", {{"a", 3}}}}))["version"], 3);
  EXPECT_EQ(validate(client, first)["data"], (json{{"a", 3}}));
}

TEST_F(reuse, invariant_02_an_old_id_after_its_grace_revokes_the_session_and_nothing_revives_it) {
  begin({"session.rotation_grace_s=1"});
  const auto made = create(*client, "ada");
  const auto rotate = [&](const json& id, bool grace) {
    return client->result("session.rotate",
                          {{"session_id", id}, {"context", context()}, {"grace", grace}});
  };
  const auto next = rotate(made["session_id"], true)["session_id"];
  EXPECT_EQ(state_of(*client, next), "valid");  // the first use: the grace ends a second later
  std::string last;
  EXPECT_TRUE(
      eventually([&] { return (last = state_of(*client, made["session_id"])) != "valid"; }));
  EXPECT_EQ(last, "revoked");
  EXPECT_EQ(state_of(*client, next), "revoked") << "the thief or the owner: both are out";
  EXPECT_EQ(client->error("session.update",
                          {{"session_id", next}, {"context", context()}, {"data", json::object()}}),
            "SESSION_REVOKED");
  EXPECT_EQ(client->error("session.rotate", {{"session_id", next}, {"context", context()}}),
            "SESSION_REVOKED");
  const auto found = events_at_least(*client, 1, {{"types", {"session_reuse_detected"}}});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["handle"], made["handle"]);
  EXPECT_EQ(node->metric("portcullis_session_reuse_detected_total"), 1);
  node->restart();
  auto again = node->connect();
  EXPECT_EQ(state_of(again, next), "revoked");
  EXPECT_EQ(state_of(again, made["session_id"]), "revoked");
}

TEST_F(reuse, a_reused_id_is_an_error_to_rotate) {
  begin({"session.rotation_grace_s=0"});
  const auto id = create(*client, "ada")["session_id"];
  const auto next =
      client->result("session.rotate", {{"session_id", id}, {"context", context()}})["session_id"];
  EXPECT_EQ(state_of(*client, next), "valid");
  EXPECT_EQ(client->error("session.rotate", {{"session_id", id}, {"context", context()}}),
            "SESSION_REUSE_DETECTED");
  EXPECT_EQ(state_of(*client, next), "revoked");
}

TEST_F(reuse, the_successors_first_use_also_without_touch_starts_the_end_of_the_grace) {
  begin({"session.rotation_grace_s=1"});
  const auto id = create(*client, "ada")["session_id"];
  const auto next =
      client->result("session.rotate", {{"session_id", id}, {"context", context()}})["session_id"];
  EXPECT_EQ(
      client->result("session.validate",
                     {{"session_id", next}, {"context", context()}, {"touch", false}})["valid"],
      true);
  EXPECT_EQ(events_at_least(*client, 1, {{"types", {"session_successor_used"}}}).size(), 1U);
}

}  // namespace
}  // namespace portcullis::e2e
