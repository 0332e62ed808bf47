// A log that is gone under running nodes, and one that is long: what they may still say.
#include "faulty_fleet.hpp"
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using which = tcp_proxy::which;

/// An id that nobody has: well formed.
const char* const strange_id = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What a node says of an id: "valid", a reason, an error's name, or "no reply".
std::string said(faulty_fleet& nodes, std::size_t node, const json& id) {
  auto client = nodes.connect(node);
  const auto answer = client.call("session.validate", {{"session_id", id}, {"context", context()}});
  if (!answer.is_object() || !answer.contains("result")) return error_of(answer);
  if (answer["result"]["valid"] == true) return "valid";
  return answer["result"]["reason"];
}

struct known {
  json kept, revoked;
};
/// A busy machine's disk may take longer than the store's timeout: again, then.
json made_at_last(line_client& client, const std::string& name) {
  json made;
  EXPECT_TRUE(eventually([&] {
    auto params = user(name);
    params["context"] = context();
    made = client.call("session.create", params);
    return made.is_object() && made.contains("result");
  })) << made;
  return made["result"]["session_id"];
}
known live_a_little(faulty_fleet& nodes) {
  auto a = nodes.connect(0), b = nodes.connect(1);
  known made;
  for (int i = 0; i < 10; ++i) (void)made_at_last(a, "user-" + std::to_string(i));
  made.kept = made_at_last(a, "ada");
  made.revoked = made_at_last(b, "bob");
  EXPECT_EQ(b.result("session.revoke", {{"session_id", made.revoked}})["revoked"], 1);
  nodes.expect_agreement();
  return made;
}
/// Until each node has stopped, which is to come: nothing untrue is said.
void expect_end(faulty_fleet& nodes, const known& what) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    bool ended = false;
    EXPECT_TRUE(eventually([&] {
      EXPECT_THAT(said(nodes, i, what.kept),
                  testing::AnyOf("valid", "STORE_UNAVAILABLE", "no reply"));
      EXPECT_THAT(said(nodes, i, what.revoked),
                  testing::AnyOf("revoked", "STORE_UNAVAILABLE", "no reply"));
      ended = nodes.node(i).wait(0ms).value_or(0) != 0;
      return ended || testing::Test::HasFailure();
    })) << "node "
        << i << " goes on";
    EXPECT_THAT(nodes.node(i).log(), HasSubstr("STORE_INTEGRITY"));
  }
}

TEST(a_log_that_is_gone, ends_the_nodes_that_had_read_it) {
  faulty_fleet nodes(3);
  const auto what = live_a_little(nodes);
  EXPECT_THAT(nodes.redis.cli("flushall"), HasSubstr("OK"));
  expect_end(nodes, what);
  EXPECT_FALSE(nodes.node(0).start()) << "it has a past that the store has not";
}

TEST(a_log_that_is_gone, with_its_server_started_empty_ends_the_nodes) {
  faulty_fleet nodes(3);
  const auto what = live_a_little(nodes);
  nodes.redis.kill_at_once();
  EXPECT_EQ(run("rm -r " + nodes.redis.folder().file("appendonlydir")).status, 0);
  nodes.redis.start();
  expect_end(nodes, what);
}

TEST(a_log_that_is_gone, and_was_begun_anew_by_a_stranger_ends_the_nodes) {
  faulty_fleet nodes(2);
  const auto what = live_a_little(nodes);
  EXPECT_THAT(nodes.redis.cli("flushall"), HasSubstr("OK"));
  nodes.add();
  auto c = nodes.connect(2);
  for (int i = 0; i < 40; ++i) (void)create(c, "new-" + std::to_string(i));
  nodes.kill_node(2);
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_TRUE(eventually([&] {
      EXPECT_NE(said(nodes, i, what.revoked), "valid");
      return nodes.node(i).wait(0ms).value_or(0) != 0;
    })) << i;
}

/// The last entries are lost, as in a failover to a replica that was behind.
void lose(const redis_server& redis, int entries) {
  EXPECT_THAT(
      redis.cli("eval \"local l=redis.call('xrevrange',KEYS[1],'+','-','COUNT',ARGV[1]+1) "
                "for i=1,ARGV[1] do redis.call('xdel',KEYS[1],l[i][1]) end "
                "return redis.call('xsetid',KEYS[1],l[#l][1])\" 1 'portcullis:{portcullis}:log' " +
                std::to_string(entries)),
      HasSubstr("OK"));
}

TEST(a_log_that_has_lost_entries, is_another_one_also_when_it_is_as_long_again) {
  faulty_fleet nodes(2);
  const auto what = live_a_little(nodes);
  nodes.node(1).signal(SIGSTOP);
  nodes.kill_node(0);
  lose(nodes.redis, 3);
  nodes.add();
  auto c = nodes.connect(2);
  for (int i = 0; i < 10; ++i) (void)create(c, "new-" + std::to_string(i));
  nodes.node(1).signal(SIGCONT);
  EXPECT_TRUE(eventually([&] {
    EXPECT_NE(said(nodes, 1, what.revoked), "valid");
    return nodes.node(1).wait(0ms).value_or(0) != 0;
  }));
  EXPECT_THAT(nodes.node(1).log(), HasSubstr("STORE_INTEGRITY"));
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_FALSE(nodes.node(i).start()) << i;
    EXPECT_THAT(nodes.node(i).log(), HasSubstr("is not in the log in Redis")) << i;
  }
}

TEST(a_log_that_has_lost_entries, leaves_nobody_waiting_for_them) {
  faulty_fleet nodes(1);
  auto a = nodes.connect(0);
  (void)create(a, "ada");
  nodes.network(0).freeze(which::reader);
  const auto length = [&] { return nodes.redis.cli("xlen 'portcullis:{portcullis}:log'"); };
  const auto before = length();
  auto params = user("ada");
  params["context"] = context();
  EXPECT_TRUE(a.send(message("session.create", params).dump() + "\n"));
  EXPECT_TRUE(eventually([&] { return length() != before; })) << "it was taken";
  lose(nodes.redis, 1);
  nodes.network(0).cut(which::all);
  nodes.network(0).pass();
  EXPECT_EQ(error_of(a.reply()), "STORE_TIMEOUT") << "nobody knows";
  EXPECT_TRUE(made_at_last(a, "ada").is_string());
}

TEST(a_log_that_is_gone, is_not_read_as_nobody_having_made_a_session) {
  for (int round = 0; round < 5; ++round) {
    faulty_fleet nodes(2);
    (void)live_a_little(nodes);
    auto a = nodes.connect(0);
    nodes.network(1).freeze(which::reader);  // what node 0 makes now, node 1 has to ask for
    const auto made = create(a, "late");
    EXPECT_THAT(nodes.redis.cli("flushall"), HasSubstr("OK"));
    EXPECT_NE(said(nodes, 1, made["session_id"]), "not_found");
    nodes.network(1).pass();
  }
}

TEST(what_is_not_known, is_looked_up_or_not_answered) {
  faulty_fleet nodes(2);
  const auto what = live_a_little(nodes);
  EXPECT_EQ(said(nodes, 1, strange_id), "not_found");
  auto a = nodes.connect(0);
  nodes.network(1).freeze(which::reader);
  auto made = create(a, "late");
  EXPECT_EQ(said(nodes, 1, made["session_id"]), "STORE_UNAVAILABLE");
  lasts(faulty_fleet::bound_ms);
  EXPECT_EQ(said(nodes, 1, what.kept), "STORE_UNAVAILABLE") << "stale by now";
  nodes.network(1).pass();
  nodes.expect_recovery();
  nodes.network(1).freeze(which::commands);
  made = create(a, "later");
  EXPECT_THAT(said(nodes, 1, strange_id), "STORE_UNAVAILABLE");
  nodes.network(1).pass();
  nodes.expect_recovery();
  EXPECT_EQ(said(nodes, 1, made["session_id"]), "valid");
}

/// A node that comes back to a long log has not read it all by having read some of it.
TEST(a_node_that_is_behind, answers_nothing_until_it_has_caught_up) {
  faulty_fleet nodes(2);
  auto a = nodes.connect(0);
  const auto ids = [&] {
    std::vector<json> made;
    for (int i = 0; i < 20; ++i) made.push_back(made_at_last(a, "u-" + std::to_string(i)));
    return made;
  }();
  nodes.expect_agreement();
  nodes.network(1).freeze(which::reader);
  // A long log, and what matters at its end.
  constexpr int many = 20'000;
  for (int sent = 0; sent < many; sent += 200) {
    for (int i = 0; i < 200; ++i)
      a.send(message("session.create", {{"tenant_id", "acme"},
                                        {"user_id", "m-" + std::to_string(sent + i)},
                                        {"context", context()}})
                 .dump() +
             "\n");
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(a.reply().contains("result"));
  }
  for (const auto& id : ids)
    EXPECT_EQ(a.result("session.revoke", {{"session_id", id}})["revoked"], 1);
  EXPECT_EQ(said(nodes, 1, ids[0]), "STORE_UNAVAILABLE");
  lasts(faulty_fleet::bound_ms);
  nodes.network(1).pass();
  // Longer ago than the bound: whoever answers now must know.
  int refused = 0;
  EXPECT_TRUE(eventually([&] {
    const auto word = said(nodes, 1, ids[static_cast<std::size_t>(refused) % ids.size()]);
    EXPECT_THAT(word, testing::AnyOf("revoked", "STORE_UNAVAILABLE"));
    refused += word == "STORE_UNAVAILABLE";
    return word != "STORE_UNAVAILABLE";
  }));
}

}  // namespace
}  // namespace portcullis::e2e
