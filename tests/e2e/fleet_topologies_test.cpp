// Nodes over Redis servers of which another becomes the master, under load: they serve again by
// themselves and what was acknowledged stands, or they stop as docs/cluster.md says.
#include "redis_topologies.hpp"
#include "session_load.hpp"

namespace portcullis::e2e {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using which = tcp_proxy::which;

std::int64_t ms_since(clock::time_point then) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - then).count();
}

/// Waits until each node serves or has stopped; how long that took the last one.
std::int64_t await_service(nodes_over& nodes, clock::time_point since) {
  for (std::size_t i = 0; i < nodes.size(); ++i)
    EXPECT_TRUE(
        eventually([&] { return nodes.stopped().contains(i) || !nodes.try_to_make(i).is_null(); },
                   failover_patience))
        << "node " << i << " takes nothing";
  return ms_since(since);
}

/// A node may stop where Redis has lost what it had read, and only there. What goes on has the
/// log's truth, and those that stopped can begin anew by it.
void expect_true_loss(nodes_over& nodes, const redis_server& master) {
  const auto stopped = nodes.stopped();
  const auto end = end_of_log(master);
  nodes.expect_agreement(stopped);
  for (std::size_t other = 0; other < nodes.size(); ++other)
    if (!stopped.contains(other)) (void)nodes.node(other).terminate();
  for (const auto i : stopped) {
    const auto told = nodes.node(i).log();
    EXPECT_THAT(told, AnyOf(HasSubstr("STORE_INTEGRITY log_is_shorter"),
                            HasSubstr("STORE_INTEGRITY entries_are_lost")));
    const auto mine = nodes.copy_of(i);
    const auto* const rule =
        told.find("entries_are_lost") == std::string::npos ? "log_is_shorter" : "entries_are_lost";
    std::printf(
        "node %zu stopped (%s): it had read up to %lu, the log of the new master ends at %lu\n", i,
        rule, mine.seq, end);
    if (mine.seq > end) continue;  // with nobody left who writes
    for (std::size_t other = 0; other < nodes.size(); ++other)
      if (!stopped.contains(other))
        EXPECT_NE(nodes.copy_of(other, mine.seq), mine) << "nothing was lost";
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (stopped.contains(i))
      nodes.start_empty(i);
    else
      nodes.start(i);
  }
}

struct sums {
  std::uint64_t calls = 0, unknown = 0, revocations = 0;
  int rounds = 0, with_losses = 0;
  std::int64_t slowest_revocation_ns = 0, slowest_ms = 0;

  void add(const session_load::tallies& of) {
    calls += of.calls;
    unknown += of.unknown;
    revocations += of.revocations;
    slowest_revocation_ns = std::max(slowest_revocation_ns, of.slowest_revocation_ns);
  }
  void print(const char* name) const {
    std::printf(
        "%s: %d rounds, %d of them with lost entries, %lu calls, %lu without an answer, "
        "%lu revocations, the last valid %ld us after one, all nodes serve again after %ld ms "
        "at most\n",
        name, rounds, with_losses, calls, unknown, revocations, slowest_revocation_ns / 1'000,
        slowest_ms);
  }
};

/// Load, another master by `fail_over`, and what came of it. `bound_ms`: on revocations.
void live_through(nodes_over& nodes, const redis_topology& store, std::mt19937& dice, sums& all,
                  std::int64_t bound_ms, const std::function<void(redis_server&)>& fail_over) {
  auto* const before = store.master();
  ASSERT_NE(before, nullptr);
  session_load load(nodes, dice(), "r" + std::to_string(all.rounds++), bound_ms);
  load.begin(6);
  lasts(500 + static_cast<std::int64_t>(dice() % 300));
  const auto since = clock::now();
  fail_over(*before);
  EXPECT_TRUE(eventually(
      [&] {
        const auto* now = store.master();
        return now != nullptr && now != before;
      },
      failover_patience));
  std::printf("another master after %ld ms\n", ms_since(since));
  const auto took_ms = await_service(nodes, since);
  all.slowest_ms = std::max(all.slowest_ms, took_ms);
  std::printf("all nodes serve or have stopped after %ld ms\n", took_ms);
  lasts(300);
  load.stop();
  const auto* const now = store.master();
  ASSERT_NE(now, nullptr);
  if (!nodes.stopped().empty()) {
    ++all.with_losses;
    expect_true_loss(nodes, *now);
    all.add(load.counts());
  } else {
    nodes.expect_agreement();
    load.look_at_all();
    load.check();
    all.add(load.counts());
    EXPECT_GT(load.counts().revocations, 0u);
  }
  nodes.expect_recovery();
  nodes.expect_agreement();
}

/// The two that a production has: configs/cluster/redis.conf.
std::vector<std::string> as_in_production() {
  return {"--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"};
}
/// A master whose replicas are gone takes no writes, and a node whose word is not taken serves for
/// a second and the bound: docs/cluster.md.
constexpr std::int64_t bound_of_failovers_ms = 1'000 + several_nodes::bound_ms;

TEST(nodes_behind_sentinels, serve_again_when_the_master_is_killed) {
  const auto seed = fault_seed();
  std::mt19937 dice(seed);
  behind_sentinels store;
  nodes_over nodes(3, store);
  sums all;
  for (int left = fault_runs(1, 10); left > 0 && !HasFailure(); --left) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(all.rounds));
    redis_server* killed = nullptr;
    live_through(nodes, store, dice, all, several_nodes::bound_ms, [&](redis_server& master) {
      killed = &master;
      master.kill_at_once();
    });
    if (killed == nullptr || left == 1) continue;
    killed->start();  // as a master that nobody knows
    store.await_whole();
  }
  all.print("sentinels, killed");
  if (HasFailure()) std::printf("%s\n", store.logs().c_str());
}

TEST(nodes_behind_sentinels, serve_again_or_stop_when_a_failover_is_asked_for) {
  const auto seed = fault_seed();
  std::mt19937 dice(seed);
  behind_sentinels store(as_in_production());
  nodes_over nodes(3, store);
  sums all;
  for (int left = fault_runs(1, 10); left > 0 && !HasFailure(); --left) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(all.rounds));
    live_through(nodes, store, dice, all, bound_of_failovers_ms,
                 [&](redis_server&) { EXPECT_EQ(store.fail_over(), "OK\n"); });
    if (left > 1) store.await_whole();
  }
  all.print("sentinels, asked for");
  if (HasFailure()) std::printf("%s\n", store.logs().c_str());
}

/// What docs/cluster.md has for a master that is to be taken out of service.
TEST(nodes_behind_sentinels, lose_nothing_when_writes_wait_for_the_failover) {
  const auto seed = fault_seed();
  std::mt19937 dice(seed);
  behind_sentinels store(as_in_production());
  nodes_over nodes(3, store);
  sums all;
  for (int left = fault_runs(1, 10); left > 0 && !HasFailure(); --left) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(all.rounds));
    live_through(nodes, store, dice, all, bound_of_failovers_ms, [&](redis_server& master) {
      EXPECT_EQ(master.cli("client pause 10000 write"), "OK\n");
      EXPECT_TRUE(eventually([&] { return store.replicas_have_all(master); }));
      EXPECT_EQ(store.fail_over(), "OK\n");
    });
    if (left > 1) store.await_whole();
  }
  EXPECT_EQ(all.with_losses, 0);
  all.print("sentinels, writes paused");
  if (HasFailure()) std::printf("%s\n", store.logs().c_str());
}

TEST(nodes_over_a_redis_cluster, serve_again_when_the_master_of_the_log_is_killed) {
  const auto seed = fault_seed();
  std::mt19937 dice(seed);
  as_redis_cluster store;
  nodes_over nodes(3, store);
  sums all;
  for (int left = fault_runs(1, 10); left > 0 && !HasFailure(); --left) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(all.rounds));
    redis_server* killed = nullptr;
    live_through(nodes, store, dice, all, several_nodes::bound_ms, [&](redis_server& master) {
      killed = &master;
      master.kill_at_once();
    });
    if (killed == nullptr || left == 1) continue;
    killed->start();
    store.await_whole();
  }
  all.print("cluster, killed");
}

/// A master with two replicas, and two nodes. Each network can be cut; the other side chooses a
/// master of its own.
struct two_sides {
  static constexpr std::int64_t lag_s_max = 1;  // min-replicas-max-lag

  two_sides() {
    const auto replica = [](const tcp_proxy& of) {
      auto words = server_words();
      words.insert(words.end(), {"--replicaof", "127.0.0.1 " + std::to_string(of.port)});
      return words;
    };
    for (std::size_t i = 0; i < 2; ++i) {
      links.push_back(std::make_unique<tcp_proxy>(master.port));
      replicas.push_back(std::make_unique<redis_server>(replica(*links[i])));
      networks.push_back(std::make_unique<tcp_proxy>(master.port));
    }
    EXPECT_TRUE(eventually([&] { return has_replicas(master, 2); }));
    nodes = std::make_unique<nodes_of>(networks);
  }
  static std::vector<std::string> server_words() {
    return {"--appendonly",
            "yes",
            "--min-replicas-to-write",
            "1",
            "--min-replicas-max-lag",
            std::to_string(lag_s_max),
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1"};
  }
  static bool has_replicas(const redis_server& of, int count) {
    return of.cli("info replication").find("min_slaves_good_slaves:" + std::to_string(count)) !=
           std::string::npos;
  }
  /// Node 0 stays with the old master; node 1 goes with the replicas, one of which is the new one.
  void cut() {
    EXPECT_TRUE(eventually([&] { return end_of_log(*replicas[0]) == end_of_log(master); }));
    for (auto& each : links) each->freeze(which::all);
    at = clock::now();
    EXPECT_EQ(replicas[0]->cli("replicaof no one"), "OK\n");
    EXPECT_EQ(replicas[1]->cli("replicaof 127.0.0.1 " + std::to_string(replicas[0]->port)), "OK\n");
    lead(1);
  }
  /// The node finds the new master.
  void lead(std::size_t node) {
    networks[node]->lead_to(replicas[0]->port);
    networks[node]->cut(which::all);
  }
  /// What a node says of an id: "valid", a reason, an error's name and rule, or "no reply".
  std::string said(std::size_t node, const json& id) {
    auto client = nodes->connect(node);
    const auto answer =
        client.call("session.validate", {{"session_id", id}, {"context", context()}});
    if (!answer.is_object() || !answer.contains("result"))
      return answer.is_object() ? answer.dump() : "no reply";
    if (answer["result"]["valid"] == true) return "valid";
    return answer["result"]["reason"];
  }

  struct nodes_of : several_nodes {
    explicit nodes_of(const std::vector<std::unique_ptr<tcp_proxy>>& networks) {
      for (const auto& each : networks)
        add_node({"store.redis.url=redis://127.0.0.1:" + std::to_string(each->port)}, {});
    }
    using several_nodes::keys;
  };

  redis_server master{server_words()};
  std::vector<std::unique_ptr<tcp_proxy>> links, networks;
  std::vector<std::unique_ptr<redis_server>> replicas;
  std::unique_ptr<nodes_of> nodes;
  clock::time_point at;
};

json made_at_last(several_nodes& nodes, std::size_t node) {
  json id;
  EXPECT_TRUE(eventually([&] { return !(id = nodes.try_to_make(node)).is_null(); }));
  return id;
}
/// Also where it was postponed: then it is found done when it is asked for again.
void expect_revoked_at_last(several_nodes& nodes, std::size_t node, const json& id) {
  json answer;
  EXPECT_TRUE(eventually([&] {
    auto client = nodes.connect(node);
    answer = client.call("session.revoke", {{"session_id", id}});
    return answer.is_object() && answer.contains("result");
  })) << answer;
}

TEST(a_node_cut_off_with_the_old_master, serves_nothing_that_the_others_have_revoked) {
  two_sides world;
  const auto kept = made_at_last(*world.nodes, 0), revoked = made_at_last(*world.nodes, 1);
  world.nodes->expect_agreement();
  world.cut();
  expect_revoked_at_last(*world.nodes, 1, revoked);
  const auto revoked_at = clock::now();
  std::printf("revoked %ld ms after the cut\n", ms_since(world.at));
  // Redis counts a replica's lag in whole seconds, and looks once a second.
  constexpr auto bound_ms = (two_sides::lag_s_max + 2) * 1'000 + bound_of_failovers_ms;
  std::int64_t last_valid_ms = 0;
  std::string now;
  EXPECT_TRUE(eventually(
      [&] {
        const auto asked_ms = ms_since(revoked_at);
        now = world.said(0, revoked);
        if (now == "valid") last_valid_ms = asked_ms;
        return now != "valid";
      },
      failover_patience));
  EXPECT_THAT(now, HasSubstr("stale"));
  std::printf("the last valid %ld ms after the revocation; now: %s\n", last_valid_ms, now.c_str());
  EXPECT_LE(last_valid_ms, bound_ms);
  // And so it stays: of what it knows, and of what it cannot know.
  const auto late = made_at_last(*world.nodes, 1);
  for (const auto until = clock::now() + 2s; clock::now() < until && !HasFailure();)
    for (const auto& id : {kept, revoked, late}) EXPECT_THAT(world.said(0, id), HasSubstr("stale"));
  EXPECT_EQ(world.said(1, kept), "valid");
}

TEST(a_node_that_has_read_what_was_lost, stops_although_the_log_is_longer_by_now) {
  two_sides world;
  (void)made_at_last(*world.nodes, 0);
  world.nodes->expect_agreement();
  world.cut();
  const auto lost = made_at_last(*world.nodes, 0);
  for (int i = 0; i < 20; ++i) (void)made_at_last(*world.nodes, 1);
  EXPECT_GT(end_of_log(*world.replicas[0]), end_of_log(world.master));
  world.lead(0);
  ASSERT_TRUE(eventually([&] { return world.nodes->node(0).wait(0ms).value_or(0) != 0; }))
      << "it goes on: " << world.said(0, lost);
  EXPECT_THAT(world.nodes->node(0).log(), HasSubstr("STORE_INTEGRITY entries_are_lost"));
  EXPECT_FALSE(world.nodes->node(0).start()) << "its folder has what was lost";
  EXPECT_THAT(world.nodes->node(0).log(), HasSubstr("Redis has lost events"));
}

TEST(a_node_that_has_read_what_was_lost, does_not_start_although_the_log_is_longer_by_now) {
  two_sides world;
  (void)made_at_last(*world.nodes, 0);
  world.nodes->expect_agreement();
  world.cut();
  (void)made_at_last(*world.nodes, 0);
  // In order: its folder has what it was told, then.
  EXPECT_EQ(world.nodes->node(0).terminate(), 0);
  for (int i = 0; i < 20; ++i) (void)made_at_last(*world.nodes, 1);
  world.lead(0);
  EXPECT_FALSE(world.nodes->node(0).start());
  EXPECT_THAT(world.nodes->node(0).log(), HasSubstr("Redis has lost events"));
}

/// One connection is told of a new master before the other is.
TEST(a_node_between_two_masters, is_not_fresh_by_what_it_writes_to_the_one_and_reads_of_the_other) {
  two_sides world;
  const auto kept = made_at_last(*world.nodes, 0), revoked = made_at_last(*world.nodes, 1);
  world.nodes->expect_agreement();
  world.cut();
  world.networks[0]->lead_to(world.replicas[0]->port);
  world.networks[0]->cut(which::commands);
  expect_revoked_at_last(*world.nodes, 1, revoked);
  const auto since = clock::now();
  const auto stale = [&] { return world.said(0, revoked).find("stale") != std::string::npos; };
  EXPECT_TRUE(eventually(stale));
  std::printf("stale after %ld ms\n", ms_since(since));
  EXPECT_THAT(world.said(0, kept), HasSubstr("stale"));
  world.networks[0]->cut(which::reader);
  world.nodes->expect_recovery();
  EXPECT_EQ(world.said(0, revoked), "revoked");
  EXPECT_EQ(world.said(0, kept), "valid");
  world.nodes->expect_agreement();
}

TEST(a_node_between_two_masters, goes_on_although_the_one_it_writes_to_has_less_than_it_has_read) {
  two_sides world;
  (void)made_at_last(*world.nodes, 0);
  world.nodes->expect_agreement();
  world.cut();
  world.networks[0]->lead_to(world.replicas[0]->port);
  world.networks[0]->cut(which::reader);
  json made;
  for (int i = 0; i < 20; ++i) made = made_at_last(*world.nodes, 1);
  EXPECT_GT(end_of_log(*world.replicas[0]), end_of_log(world.master));
  EXPECT_TRUE(eventually([&] { return world.said(0, made) == "valid"; }));
  // What it decides comes to no log that it reads: more than one heartbeat, and some decisions.
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(world.nodes->try_to_make(0).is_null());
  EXPECT_EQ(world.said(0, made), "valid");
  world.networks[0]->cut(which::commands);
  world.nodes->expect_recovery();
  world.nodes->expect_agreement();
}

}  // namespace
}  // namespace portcullis::e2e
