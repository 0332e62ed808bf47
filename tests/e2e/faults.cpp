// What can go wrong between nodes and Redis, one at a time and together.
#include <cmath>

#include "faulty_fleet.hpp"

namespace portcullis::e2e {
namespace {

using which = tcp_proxy::which;

std::int64_t between(std::mt19937& dice, std::int64_t least, std::int64_t most) {
  return std::uniform_int_distribution<std::int64_t>(least, most)(dice);
}
std::size_t any_node(const faulty_fleet& nodes, std::mt19937& dice) {
  return static_cast<std::size_t>(between(dice, 0, static_cast<std::int64_t>(nodes.size()) - 1));
}
which any_of(std::mt19937& dice) { return static_cast<which>(between(dice, 0, 2)); }

/// Without any: what the others are measured against.
void nothing(faulty_fleet&, std::mt19937& dice) { lasts(between(dice, 500, 1'000)); }
void redis_killed(faulty_fleet& nodes, std::mt19937& dice) {
  nodes.redis.kill_at_once();
  lasts(between(dice, 0, 400));
  nodes.redis.start();
}
void redis_stopped(faulty_fleet& nodes, std::mt19937& dice) {
  nodes.redis.signal(SIGSTOP);
  lasts(between(dice, 20, 1'500));
  nodes.redis.signal(SIGCONT);
}
void latency(faulty_fleet& nodes, std::mt19937& dice) {
  // 1 ms to 1 s, each power of ten as likely.
  const auto ms = std::llround(std::pow(10.0, static_cast<double>(between(dice, 0, 300)) / 100));
  const bool all = between(dice, 0, 1) == 0;
  const auto one = any_node(nodes, dice);
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (all || i == one) nodes.network(i).delay(std::chrono::milliseconds(ms));
  lasts(between(dice, 300, 1'200));
  for (std::size_t i = 0; i < nodes.size(); ++i) nodes.network(i).pass();
}
void connections_cut(faulty_fleet& nodes, std::mt19937& dice) {
  auto& network = nodes.network(any_node(nodes, dice));
  for (auto times = between(dice, 1, 4); times > 0; --times) {
    const bool commands_first = between(dice, 0, 1) == 0;
    network.cut(commands_first ? which::commands : which::reader);
    if (between(dice, 0, 3) != 0) {
      lasts(between(dice, 0, 60));
      network.cut(commands_first ? which::reader : which::commands);
    }
    lasts(between(dice, 0, 200));
  }
}
void replies_truncated(faulty_fleet& nodes, std::mt19937& dice) {
  auto& network = nodes.network(any_node(nodes, dice));
  for (auto times = between(dice, 1, 5); times > 0; --times) {
    network.truncate(any_of(dice), static_cast<std::size_t>(between(dice, 1, 2'000)));
    lasts(between(dice, 20, 200));
    network.pass();
    lasts(between(dice, 0, 60));
  }
}
void frozen(faulty_fleet& nodes, std::mt19937& dice) {
  auto& network = nodes.network(any_node(nodes, dice));
  network.freeze(any_of(dice));
  lasts(between(dice, 20, 1'500));
  network.pass();
}
/// Bytes that were on their way come late, when the node speaks over other connections already.
void old_connections_thaw(faulty_fleet& nodes, std::mt19937& dice) {
  auto& network = nodes.network(any_node(nodes, dice));
  network.hold();
  lasts(between(dice, faulty_fleet::timeout_ms, 1'500));
  network.pass();
  lasts(100);
}
void refused(faulty_fleet& nodes, std::mt19937& dice) {
  auto& network = nodes.network(any_node(nodes, dice));
  network.refuse();
  network.cut(any_of(dice));
  lasts(between(dice, 20, 1'000));
  network.pass();
}
void node_killed(faulty_fleet& nodes, std::mt19937& dice) {
  const auto node = any_node(nodes, dice);
  nodes.kill_node(node);
  lasts(between(dice, 0, 400));
  nodes.start(node);
}
void node_stopped(faulty_fleet& nodes, std::mt19937& dice) {
  auto& node = nodes.node(any_node(nodes, dice));
  node.signal(SIGSTOP);
  lasts(faulty_fleet::bound_ms + between(dice, 100, 1'000));
  node.signal(SIGCONT);
  lasts(100);
}
/// A network that does as it likes while Redis dies or stands still.
void together(faulty_fleet& nodes, std::mt19937& dice) {
  auto& network = nodes.network(any_node(nodes, dice));
  switch (between(dice, 0, 3)) {
    case 0:
      network.freeze(any_of(dice));
      break;
    case 1:
      network.hold();
      break;
    case 2:
      network.delay(std::chrono::milliseconds(between(dice, 1, 300)));
      break;
    default:
      network.truncate(any_of(dice), static_cast<std::size_t>(between(dice, 1, 2'000)));
  }
  lasts(between(dice, 0, 300));
  switch (between(dice, 0, 3)) {
    case 0:
      redis_killed(nodes, dice);
      break;
    case 1:
      redis_stopped(nodes, dice);
      break;
    case 2:
      node_stopped(nodes, dice);
      break;
    default:
      connections_cut(nodes, dice);
  }
  network.pass();
  lasts(100);
}

}  // namespace

std::vector<fault> faults() {
  return {{"nothing", nothing},
          {"redis_killed", redis_killed},
          {"redis_stopped", redis_stopped},
          {"latency", latency},
          {"connections_cut", connections_cut},
          {"replies_truncated", replies_truncated},
          {"frozen", frozen},
          {"old_connections_thaw", old_connections_thaw},
          {"refused", refused},
          {"node_killed", node_killed},
          {"node_stopped", node_stopped},
          {"together", together}};
}

}  // namespace portcullis::e2e
