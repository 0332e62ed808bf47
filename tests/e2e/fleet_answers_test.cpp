// What a node says that has not read yet what another one did a moment ago: it looks before it says
// that there is nothing. And what it says, and does later, when it cannot look.
#include "faulty_fleet.hpp"
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using which = tcp_proxy::which;

/// Two nodes, the second of which can be kept from reading the log for as long as a test takes.
struct answers_of_several_nodes : testing::Test {
  json make(const std::string& name) {
    const auto id = create(a, name)["session_id"];
    EXPECT_EQ(state_of(b, id), "valid");
    return id;
  }
  json end(const json& id) {
    const auto ended = a.result("session.revoke", {{"session_id", id}});
    nodes.expect_agreement();
    return ended;
  }
  void stop_reading() { nodes.network(1).freeze(which::reader); }
  /// What the second node answers that could read the log again only after it had been asked.
  json asked_before_reading(const std::string& method, const json& params) {
    auto client = nodes.connect(1);
    client.send(message(method, params).dump() + "\n");
    EXPECT_EQ(state_of(b, bob), "valid") << "nor does it ask anybody about what it knows";
    nodes.network(1).pass();
    return client.reply();
  }

  faulty_fleet nodes{2,
                     {"store.redis.timeout_ms=10000", "store.redis.staleness_ms_max=20000",
                      "server.loops=1", "session.max_sessions_per_user=2", "lockout.threshold=2"}};
  line_client a = nodes.connect(0), b = nodes.connect(1);
  json bob = make("bob");
};

// Regression: a user without sessions by what had been read had none: "revoked": 0, and the session
// lived on.
TEST_F(answers_of_several_nodes, to_revoking_a_known_user_end_what_was_made_elsewhere) {
  end(make("ada"));
  stop_reading();
  const auto made = create(a, "ada")["session_id"];
  auto answer = asked_before_reading("session.revoke_user", user("ada"));
  EXPECT_EQ(answer["result"]["revoked"], 1) << answer;
  EXPECT_TRUE(eventually([&] { return state_of(a, made) == "revoked"; }));
}

TEST_F(answers_of_several_nodes, to_revoking_a_tenant_end_what_was_made_elsewhere) {
  stop_reading();
  const auto made = create(a, "ada", {{"tenant_id", "new"}})["session_id"];
  auto answer = asked_before_reading("session.revoke_tenant", {{"tenant_id", "new"}});
  EXPECT_EQ(answer["result"]["revoked"], 1) << answer;
  EXPECT_TRUE(eventually([&] { return state_of(a, made) == "revoked"; }));
}

TEST_F(answers_of_several_nodes, to_a_create_at_the_cap_know_what_ended_elsewhere) {
  const auto one = make("ada"), two = make("ada");
  stop_reading();
  EXPECT_EQ(a.result("session.revoke", {{"session_id", one}})["revoked"], 1);
  auto params = user("ada");
  params["context"] = context();
  auto answer = asked_before_reading("session.create", params);
  EXPECT_TRUE(answer.contains("result")) << answer;
  EXPECT_EQ(b.error("session.create", params), "SESSION_CAP_REACHED");
}

TEST_F(answers_of_several_nodes, to_an_update_know_the_version_that_was_made_elsewhere) {
  const auto id = make("ada");
  stop_reading();
  json params{{"session_id", id}, {"context", context()}, {"data", {{"n", 1}}}, {"version", 1}};
  EXPECT_EQ(a.result("session.update", params)["version"], 2);
  params["version"] = 2;
  auto answer = asked_before_reading("session.update", params);
  EXPECT_EQ(answer["result"]["version"], 3) << answer;
  EXPECT_EQ(b.error("session.update", params), "SESSION_VERSION_CONFLICT");
}

TEST_F(answers_of_several_nodes, about_lockouts_know_those_from_elsewhere) {
  const auto id = make("ada");
  const auto lock = [&] {
    for (int i = 0; i < 2; ++i) EXPECT_EQ(state_of(a, id, context("198.51.100.7")), "ip_mismatch");
  };
  stop_reading();
  lock();
  auto status = asked_before_reading("lockout.status", user("ada"));
  EXPECT_EQ(status["result"]["locked"], true) << status;
  auto clear = user("ada");
  clear["reason"] = "a test";
  EXPECT_EQ(b.result("lockout.clear", clear)["cleared"], true);
  nodes.expect_agreement();
  stop_reading();
  lock();
  auto cleared = asked_before_reading("lockout.clear", clear);
  EXPECT_EQ(cleared["result"]["cleared"], true) << cleared;
  EXPECT_EQ(b.result("lockout.clear", clear)["cleared"], false);
}

TEST_F(answers_of_several_nodes, that_list_nothing_have_looked) {
  end(make("ada"));
  stop_reading();
  (void)create(a, "ada");
  auto answer = asked_before_reading("session.list", user("ada"));
  EXPECT_EQ(answer["result"]["sessions"].size(), 1U) << answer;
}

// Regression: what a use brings was applied at once, whatever the log had of the user by then.
struct uses_of_several_nodes : answers_of_several_nodes {
  json rotate(const json& id) {
    auto made = a.result("session.rotate", {{"session_id", id}, {"context", context()}});
    return made["session_id"];
  }
  /// So many in the log, the last one of the session's present id.
  void expect_uses(std::size_t count, const json& id) {
    nodes.network(1).pass();
    nodes.expect_agreement();
    EXPECT_TRUE(eventually([&] {
      EXPECT_EQ(state_of(b, id), "valid");
      return events(a, {{"types", {"session_successor_used"}}}).size() >= count;
    }));
    nodes.expect_agreement();
    EXPECT_EQ(events(a, {{"types", {"session_successor_used"}}}).size(), count);
  }
  json second = rotate(make("ada"));
};

TEST_F(uses_of_several_nodes, are_in_the_log_or_nowhere) {
  nodes.expect_agreement();
  stop_reading();
  (void)create(a, "ada");
  EXPECT_EQ(state_of(b, second), "valid");
  expect_uses(1, second);
}

TEST_F(uses_of_several_nodes, of_an_old_rotation_are_none_of_the_new) {
  nodes.expect_agreement();
  stop_reading();
  const auto third = rotate(second);  // which is a use of the second
  EXPECT_EQ(state_of(b, second), "valid") << "by what it has read";
  expect_uses(2, third);
}

// Regression: what waited behind a decision was judged by what was fresh when it came.
TEST(answers_of_a_node_that_hears_nothing, are_none_by_what_was_fresh_when_the_question_came) {
  fleet nodes(2);
  auto a = nodes[0].connect(), b = nodes[1].connect();
  const auto id = create(a, "ada")["session_id"];
  EXPECT_EQ(state_of(b, id), "valid");
  const auto ask = [&](const std::string& ip) {
    return message("session.validate", {{"session_id", id}, {"context", context(ip)}}).dump() +
           "\n";
  };
  nodes.redis.signal(SIGSTOP);
  // The first is a decision that the store is to be told of; the others wait for it.
  b.send(ask("198.51.100.7") + ask("192.0.2.1") + ask("192.0.2.1"));
  for (int i = 0; i < 3; ++i) {
    const auto reply = b.reply();
    EXPECT_THAT(error_of(reply), testing::AnyOf("STORE_UNAVAILABLE", "STORE_TIMEOUT")) << reply;
  }
  nodes.redis.signal(SIGCONT);
}

struct revocations_of_a_node_that_hears_nothing : testing::Test {
  explicit revocations_of_a_node_that_hears_nothing(
      std::vector<std::string> set = {"store.degraded=serve_cached", "store.degraded_max_s=60",
                                      "server.loops=3"})
      : nodes(2, std::move(set)) {}
  json make(const std::string& name) {
    const auto id = create(a, name)["session_id"];
    EXPECT_EQ(state_of(b, id), "valid");
    return id;
  }
  void lose_store() {
    nodes.redis.signal(SIGSTOP);
    EXPECT_TRUE(eventually([&] { return b.result("server.info")["store"]["degraded"] == true; }));
  }
  static void expect_all_revoked(line_client& client, const std::vector<json>& ids) {
    for (const auto& each : ids)
      EXPECT_TRUE(eventually([&] {  // not fresh again at once
        const auto answer =
            client.call("session.validate", {{"session_id", each}, {"context", context()}});
        return answer.contains("result") && answer["result"].value("reason", "") == "revoked";
      })) << each;
  }
  fleet nodes;
  line_client a = nodes[0].connect(), b = nodes[1].connect();
};

// Regression: the session that a user's revocation leaves alone was as if revoked on that node,
// until it was started again.
TEST_F(revocations_of_a_node_that_hears_nothing, of_a_user_leave_alone_what_they_are_to) {
  const auto kept = make("ada"), other = make("ada");
  lose_store();
  auto params = user("ada");
  params["except_session_id"] = kept;
  EXPECT_EQ(b.error("session.revoke_user", params), "STORE_UNAVAILABLE");
  EXPECT_EQ(state_of(b, other), "revoked");
  EXPECT_EQ(state_of(b, kept), "valid");
  nodes.redis.signal(SIGCONT);
  expect_all_revoked(a, {other});
  EXPECT_EQ(state_of(a, kept), "valid");
  nodes.settle();
  EXPECT_EQ(state_of(b, kept), "valid");
}

// Regression: only the shard that owns the tenant's name knew of it.
TEST_F(revocations_of_a_node_that_hears_nothing, of_a_tenant_hold_in_all_shards) {
  std::vector<json> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(make("user-" + std::to_string(i)));
  lose_store();
  EXPECT_EQ(b.error("session.revoke_tenant", {{"tenant_id", "acme"}}), "STORE_UNAVAILABLE");
  for (const auto& each : ids) EXPECT_EQ(state_of(b, each), "revoked");
  nodes.redis.signal(SIGCONT);
  expect_all_revoked(a, ids);
  nodes.settle();
  EXPECT_EQ(state_of(b, make("user-0")), "valid") << "made since";
}

// Regression: one that was on its way when the store went was not carried out.
TEST_F(revocations_of_a_node_that_hears_nothing, hold_also_when_nobody_knew_of_it_yet) {
  const auto ada = make("ada"), bob = make("bob");
  nodes.redis.signal(SIGSTOP);
  auto other = nodes[1].connect();
  b.send(message("session.revoke_tenant", {{"tenant_id", "acme"}}).dump() + "\n");
  const auto answer = b.reply();
  EXPECT_THAT(error_of(answer), testing::AnyOf("STORE_UNAVAILABLE", "STORE_TIMEOUT")) << answer;
  for (const auto& each : {ada, bob}) EXPECT_EQ(state_of(other, each), "revoked");
  nodes.redis.signal(SIGCONT);
  expect_all_revoked(a, {ada, bob});
}

struct revocations_of_a_node_that_is_stale : revocations_of_a_node_that_hears_nothing {
  revocations_of_a_node_that_is_stale() : revocations_of_a_node_that_hears_nothing({}) {}
};

// Regression: they were refused as stale like everything else, and forgotten.
TEST_F(revocations_of_a_node_that_is_stale, are_carried_out_when_the_store_is_back) {
  const auto one = make("ada"), two = make("bob");
  lose_store();
  EXPECT_TRUE(eventually([&] {
    return b.error("session.validate", {{"session_id", one}, {"context", context()}}) ==
           "STORE_UNAVAILABLE";
  }));
  EXPECT_EQ(b.error("session.revoke", {{"session_id", one}}), "STORE_UNAVAILABLE");
  EXPECT_EQ(b.error("session.revoke_user", user("bob")), "STORE_UNAVAILABLE");
  nodes.redis.signal(SIGCONT);
  expect_all_revoked(a, {one, two});
}

}  // namespace
}  // namespace portcullis::e2e
