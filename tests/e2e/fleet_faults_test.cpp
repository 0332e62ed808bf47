// Several nodes, while Redis, the network and the nodes fail: what was acknowledged stands, what is
// answered is true within the stated bound.
#include "session_load.hpp"

namespace portcullis::e2e {
namespace {

class sessions_of_several_nodes : public testing::TestWithParam<fault> {};

TEST_P(sessions_of_several_nodes, are_linearizable_and_revoked_in_time_when_fails) {
  const auto seed = fault_seed();
  std::mt19937 dice(seed);
  faulty_fleet nodes(3);
  session_load::tallies all;
  for (int round = 0; round < fault_runs(2, 20) && !HasFailure(); ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    session_load load(nodes, dice(), "r" + std::to_string(round));
    load.begin(6);
    lasts(150);
    GetParam().happen(nodes, dice);
    lasts(150);
    nodes.expect_recovery();
    load.stop();
    nodes.expect_agreement();
    load.look_at_all();
    load.check();
    nodes.expect_agreement();
    const auto& counts = load.counts();
    all.calls += counts.calls;
    all.unknown += counts.unknown;
    all.sessions += counts.sessions;
    all.revocations += counts.revocations;
    all.slowest_revocation_ns = std::max(all.slowest_revocation_ns, counts.slowest_revocation_ns);
  }
  std::printf(
      "%s: %lu calls, %lu without an answer, %lu sessions, %lu revocations, "
      "the last valid %ld us after one\n",
      GetParam().name, all.calls, all.unknown, all.sessions, all.revocations,
      all.slowest_revocation_ns / 1'000);
  EXPECT_GT(all.revocations, 0u);
}

INSTANTIATE_TEST_SUITE_P(whatever, sessions_of_several_nodes, testing::ValuesIn(faults()),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace portcullis::e2e
