// Nodes in network namespaces of their own, cut off from Redis and healed: packets are lost, no
// connection is told.
#include <fcntl.h>
#include <sched.h>

#include "session_load.hpp"

namespace portcullis::e2e {
namespace {

/// Namespaces of this thread's own, and of what it starts: nothing of the machine's network is
/// touched.
class networks {
 public:
  explicit networks(std::size_t nodes) {
    if (unshare(CLONE_NEWNET) != 0) {
      why_not_ = "network namespaces are not permitted: " + std::string(strerror(errno));
      return;
    }
    middle_ = here();
    if (!sh("ip link set lo up")) return;
    for (std::size_t i = 0; i < nodes; ++i) {
      if (unshare(CLONE_NEWNET) != 0) return;
      ends_.push_back(here());
      if (!sh("ip link set lo up")) return;
      enter(middle_);
      const auto n = std::to_string(i);
      if (!sh("ip link add m" + n + " type veth peer name n" + n) ||
          !sh("ip link set n" + n + " netns /proc/" + std::to_string(getpid()) + "/fd/" +
              std::to_string(ends_[i])) ||
          !sh("ip addr add 10.77." + n + ".1/24 dev m" + n) || !sh("ip link set m" + n + " up"))
        return;
      enter(ends_[i]);
      if (!sh("ip addr add 10.77." + n + ".2/24 dev n" + n) || !sh("ip link set n" + n + " up"))
        return;
      enter(middle_);
    }
  }
  ~networks() {
    if (home_ >= 0) enter(home_);
    for (const auto fd : ends_) ::close(fd);
    if (middle_ >= 0) ::close(middle_);
    ::close(home_);
  }
  networks(const networks&) = delete;
  networks& operator=(const networks&) = delete;

  /// Empty: they are there.
  [[nodiscard]] const std::string& why_not() const { return why_not_; }
  /// What `what` opens and starts is of node i's network.
  template <class What>
  auto in(std::size_t i, What&& what) const {
    const int before = here();
    enter(ends_.at(i));
    auto made = what();
    enter(before);
    ::close(before);
    return made;
  }
  [[nodiscard]] static std::string redis_as_seen_by(std::size_t i) {
    return "10.77." + std::to_string(i) + ".1";
  }
  void cut(std::size_t i) { (void)sh("ip link set m" + std::to_string(i) + " down"); }
  void heal(std::size_t i) { (void)sh("ip link set m" + std::to_string(i) + " up"); }

 private:
  static int here() { return ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }
  static void enter(int which) { EXPECT_EQ(setns(which, CLONE_NEWNET), 0) << strerror(errno); }
  bool sh(const std::string& command) {
    const auto did = run(command);
    if (did.status != 0) why_not_ = command + ": " + did.out;
    return did.status == 0;
  }

  int home_ = here(), middle_ = -1;
  std::vector<int> ends_;
  std::string why_not_;
};

TEST(sessions_of_several_nodes, are_linearizable_over_partitions_and_heals) {
  networks net(3);
  if (!net.why_not().empty()) GTEST_SKIP() << net.why_not();
  const auto seed = fault_seed();
  std::mt19937 dice(seed);
  faulty_fleet nodes(faulty_fleet::elsewhere{
      3, networks::redis_as_seen_by,
      [&](std::size_t i, std::function<bool()> start) { return net.in(i, start); },
      [&](std::size_t i, std::uint16_t port) {
        return net.in(i, [&] { return line_client(port); });
      }});
  for (int round = 0; round < fault_runs(3, 20) && !HasFailure(); ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
    session_load load(nodes, dice(), "p" + std::to_string(round));
    load.begin(6);
    lasts(150);
    const auto first = dice() % 3, second = dice() % 3;
    net.cut(first);
    lasts(static_cast<std::int64_t>(dice() % 1'500));
    net.cut(second);  // maybe the same
    lasts(static_cast<std::int64_t>(dice() % 500));
    net.heal(first);
    net.heal(second);
    nodes.expect_recovery();
    lasts(200);
    load.stop();
    nodes.expect_agreement();
    load.look_at_all();
    load.check();
    nodes.expect_agreement();
    std::printf(
        "partition: %lu calls, %lu without an answer, %lu revocations, the last valid %ld "
        "us after one\n",
        load.counts().calls, load.counts().unknown, load.counts().revocations,
        load.counts().slowest_revocation_ns / 1'000);
  }
}

}  // namespace
}  // namespace portcullis::e2e
