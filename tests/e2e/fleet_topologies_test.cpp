// Nodes over Redis servers of which another becomes the master, under load: they serve again by
// themselves and what was acknowledged stands, or they stop as docs/cluster.md says.
#include "redis_topologies.hpp"
#include "session_load.hpp"

namespace portcullis::e2e {
namespace {

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
    EXPECT_THAT(nodes.node(i).log(), HasSubstr("The shared log has failed: STORE_INTEGRITY"));
    const auto mine = nodes.copy_of(i);
    std::printf("node %zu stopped: it had read up to %lu, the log of the new master ends at %lu\n",
                i, mine.seq, end);
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

}  // namespace
}  // namespace portcullis::e2e
