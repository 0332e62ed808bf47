// Aliases of sessions where several nodes share a log: every node knows them, and one of several
// that give the same one at the same time succeeds.
#include <map>

#include "faulty_fleet.hpp"

namespace portcullis::e2e {
namespace {

using which = tcp_proxy::which;

const std::string alias = "sess:Zm9vYmFyYmF6cXV4 of the framework";

std::string request(int id, const std::string& method, const json& params) {
  return json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}}.dump() + "\n";
}
json named(const std::string& by = alias) {
  return {{"alias", by}, {"tenant_id", "acme"}, {"context", context()}};
}
json creating(const std::string& who, const std::string& by = alias) {
  auto params = user(who);
  params.update({{"context", context()}, {"alias", by}});
  return params;
}
void expect_unique(const json& answer) {
  EXPECT_EQ(error_of(answer), "INVALID_PARAMS") << answer;
  EXPECT_EQ(answer["error"]["data"]["details"]["rule"], "unique") << answer;
}

struct aliases_of_several_nodes : testing::Test {
  void stop_reading() { nodes.network(1).freeze(which::reader); }
  void go_on_reading() { nodes.network(1).pass(); }
  faulty_fleet nodes{
      2, {"store.redis.timeout_ms=10000", "store.redis.staleness_ms_max=20000", "server.loops=2"}};
  line_client a = nodes.connect(0), b = nodes.connect(1);
};

TEST_F(aliases_of_several_nodes, are_known_to_all_as_soon_as_they_are_acknowledged) {
  for (int round = 0; round < 100; ++round) {
    const auto by = alias + std::to_string(round);
    const auto made = a.result("session.create", creating("ada" + std::to_string(round), by));
    const auto seen = b.result("session.validate", named(by));
    ASSERT_EQ(seen["valid"], true) << seen;
    ASSERT_EQ(seen["handle"], made["handle"]);
    expect_unique(b.call("session.create", creating("bob", by)));
  }
  nodes.expect_agreement();
}

TEST_F(aliases_of_several_nodes, carry_data_updates_rotations_and_ends_from_node_to_node) {
  auto params = creating("ada");
  params["data"] = {{"a", 1}};
  a.result("session.create", params);
  auto update = named();
  update["data"] = {{"b", 2}};
  EXPECT_EQ(b.result("session.update", update), (json{{"version", 2}}));
  EXPECT_TRUE(eventually([&] {
    return a.result("session.validate", named())["data"] == json{{"b", 2}};
  }));
  a.result("session.rotate", named());
  EXPECT_TRUE(
      eventually([&] { return b.result("session.validate", named()).contains("rotated"); }));
  EXPECT_EQ(b.result("session.revoke", {{"alias", alias}, {"tenant_id", "acme"}}),
            (json{{"revoked", 1}}));
  EXPECT_TRUE(eventually([&] { return a.result("session.validate", named())["valid"] == false; }));
  EXPECT_EQ(a.result("session.validate", named())["reason"], "revoked");
  expect_unique(a.call("session.create", creating("ada")));
  nodes.expect_agreement();
}

// Two users, at two nodes, at the same time: whatever shard of which node each is in.
TEST_F(aliases_of_several_nodes, go_to_exactly_one_of_two_creates_at_once) {
  int won_by_a = 0;
  for (int round = 0; round < 60; ++round) {
    const auto by = alias + std::to_string(round);
    a.send(request(1, "session.create", creating("ada" + std::to_string(round), by)));
    b.send(request(1, "session.create", creating("bob" + std::to_string(round), by)));
    const auto one = a.reply(), two = b.reply();
    ASSERT_NE(one.contains("result"), two.contains("result")) << one << two;
    expect_unique(one.contains("result") ? two : one);
    won_by_a += one.contains("result");
    const auto& winner = one.contains("result") ? one : two;
    for (auto* each : {&a, &b})
      EXPECT_EQ(each->result("session.validate", named(by))["handle"], winner["result"]["handle"]);
  }
  std::printf("the first node won %d of 60\n", won_by_a);
  nodes.expect_agreement();
}

// The second node cannot have read the first one's create when it decides: the log refuses it.
TEST_F(aliases_of_several_nodes, are_refused_by_the_log_to_a_node_that_has_not_read_who_has_them) {
  b.result("session.create", creating("known", alias + " of another"));
  nodes.expect_agreement();
  for (const std::string who : {"bob", "known", "ada"}) {
    const auto by = alias + " of " + who;
    stop_reading();
    const auto made = a.result("session.create", creating("ada", by));
    b.send(request(1, "session.create", creating(who, by)));
    lasts(100);
    go_on_reading();
    expect_unique(b.reply());
    EXPECT_EQ(b.result("session.validate", named(by))["handle"], made["handle"]);
  }
  nodes.expect_agreement();
}

// Regression: what waited behind that create was answered not_found and revoked:0, by the id of a
// session that was never made.
TEST_F(aliases_of_several_nodes, that_a_create_lost_lead_what_waited_behind_it_to_who_has_them) {
  for (int round = 0; round < 20; ++round) {
    const auto by = alias + std::to_string(round);
    stop_reading();
    const auto made = a.result("session.create", creating("ada" + std::to_string(round % 4), by));
    const auto revoking = json{{"alias", by}, {"tenant_id", "acme"}};
    const bool revokes = round % 2 == 1;
    b.send(request(1, "session.create", creating("bob" + std::to_string(round % 5), by)) +
           (revokes ? request(2, "session.revoke", revoking)
                    : request(2, "session.validate", named(by))));
    go_on_reading();
    std::map<int, json> got;
    for (int i = 0; i < 2; ++i) {
      auto reply = b.reply();
      got[reply["id"].get<int>()] = reply;
    }
    expect_unique(got[1]);
    if (revokes)
      EXPECT_EQ(got[2]["result"], (json{{"revoked", 1}})) << round;
    else
      EXPECT_EQ(got[2]["result"].value("handle", json()), made["handle"]) << round << got[2];
  }
  nodes.expect_agreement();
}

// Regression: its connection did not know to which shard it had gone, and told nobody for ten
// seconds, or ever.
TEST_F(aliases_of_several_nodes, that_nobody_knows_hide_no_death_of_a_shard_from_what_is_behind) {
  // Whom the first of the two shards has, which is the one that crashes.
  std::string who;
  for (int i = 0; who.empty(); ++i) {
    const auto name = "ada" + std::to_string(i);
    const auto id =
        b.result("session.create", creating(name, alias + std::to_string(i)))["session_id"];
    if (std::stoi(id.get<std::string>().substr(0, 2), nullptr, 16) < 128) who = name;
  }
  nodes.expect_agreement();
  // The log can be read, and takes nothing more.
  const auto redis = "redis-cli -p " + std::to_string(nodes.redis.port) + " client ";
  ASSERT_EQ(run(redis + "pause 60000 write").status, 0);
  auto other = nodes.connect(1);
  b.send(request(1, "session.validate", named(alias + " that nobody has")) +
         request(2, "session.create", creating(who, alias + " anew")));
  EXPECT_EQ(b.reply()["result"]["reason"], "not_found");
  EXPECT_EQ(other.error("admin.crash", {{"actor", "session"}}), "");
  EXPECT_EQ(error_of(b.reply()), "OVERLOADED");
  ASSERT_EQ(run(redis + "unpause").status, 0);
  nodes.expect_recovery();
  nodes.expect_agreement();
}

TEST_F(aliases_of_several_nodes, that_a_node_has_not_read_are_looked_for_in_the_order_sent) {
  b.result("session.create", creating("ada", alias + " that it knows"));
  nodes.expect_agreement();
  stop_reading();
  const auto made = a.result("session.create", creating("ada"));
  auto other = nodes.connect(1);
  b.send(request(1, "session.validate", named()) + request(2, "session.revoke_user", user("ada")) +
         request(3, "session.validate", named(alias + " that it knows")) +
         request(4, "session.validate", named()) +
         request(5, "session.validate", named(alias + " that nobody has")));
  EXPECT_EQ(other.result("session.validate", named(alias + " that it knows"))["valid"], true)
      << "another connection is not held up";
  EXPECT_FALSE(b.line(200ms)) << "nothing overtakes the first";
  go_on_reading();
  std::map<int, json> got;
  for (int i = 0; i < 5; ++i) {
    auto reply = b.reply();
    got[reply["id"].get<int>()] = reply["result"];
  }
  EXPECT_EQ(got[1]["handle"], made["handle"]);
  EXPECT_EQ(got[2], (json{{"revoked", 2}}));
  EXPECT_EQ(got[3]["reason"], "revoked");
  EXPECT_EQ(got[4]["reason"], "revoked");
  EXPECT_EQ(got[5]["reason"], "not_found");
}

TEST_F(aliases_of_several_nodes, that_cannot_be_looked_for_are_told_so) {
  b.result("session.create", creating("ada"));
  nodes.expect_agreement();
  nodes.redis.kill_at_once();
  EXPECT_TRUE(eventually([&] {
    return b.error("session.validate", named(alias + " that nobody has")) == "STORE_UNAVAILABLE";
  }));
  nodes.redis.start();
  nodes.expect_recovery();
  EXPECT_TRUE(eventually([&] {
    const auto seen = b.call("session.validate", named(alias + " that nobody has"));
    return seen.contains("result") && seen["result"]["reason"] == "not_found";
  }));
  EXPECT_EQ(b.result("session.validate", named())["valid"], true);
}

TEST_F(aliases_of_several_nodes, are_known_to_one_that_comes_later_or_again) {
  const auto made = a.result("session.create", creating("ada"));
  nodes.expect_agreement();
  nodes.add();
  auto c = nodes.connect(2);
  EXPECT_EQ(c.result("session.validate", named())["handle"], made["handle"]);
  nodes.kill_node(1);
  a.result("session.create", creating("bob", alias + "2"));
  nodes.start(1);
  b = nodes.connect(1);
  EXPECT_EQ(b.result("session.validate", named())["handle"], made["handle"]);
  EXPECT_EQ(b.result("session.validate", named(alias + "2"))["valid"], true);
  expect_unique(b.call("session.create", creating("eve")));
  nodes.expect_agreement();
}

}  // namespace
}  // namespace portcullis::e2e
