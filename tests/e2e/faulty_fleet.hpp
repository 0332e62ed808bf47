// Nodes that share a Redis server, each over a network of its own that can be broken.
#pragma once
#include <atomic>
#include <random>
#include <set>

#include "fleet.hpp"
#include "tcp_proxy.hpp"

namespace portcullis::e2e {

/// A seed of PORTCULLIS_FAULT_SEED, else of the machine. Printed, so that a run can be had again.
inline std::uint32_t fault_seed() {
  const auto* given = std::getenv("PORTCULLIS_FAULT_SEED");
  const auto seed =
      given != nullptr ? static_cast<std::uint32_t>(std::stoul(given)) : std::random_device{}();
  std::printf("PORTCULLIS_FAULT_SEED=%u\n", seed);
  return seed;
}
/// How often each fault comes: PORTCULLIS_FAULT_RUNS of the environment, in long tests.
inline int fault_runs(int in_short, int in_long) {
  const auto* given = std::getenv("PORTCULLIS_FAULT_RUNS");
  if (given != nullptr) return std::stoi(given);
  return long_tests() ? in_long : in_short;
}
/// Time that is to pass: a fault lasts as long as it is to last.
inline void lasts(std::int64_t ms) { poll(nullptr, 0, static_cast<int>(ms)); }

/// Nodes that share a store, wherever that is, and a key file.
class several_nodes {
 public:
  static constexpr std::int64_t bound_ms = 500;  // store.redis.staleness_ms_max
  static constexpr std::int64_t timeout_ms = 250;

  virtual ~several_nodes() = default;
  several_nodes(const several_nodes&) = delete;
  several_nodes& operator=(const several_nodes&) = delete;

  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] server& node(std::size_t i) { return *nodes_.at(i); }
  /// From any thread, while the nodes come and go.
  [[nodiscard]] virtual line_client connect(std::size_t i) const {
    return line_client(ports_.at(i));
  }
  void start(std::size_t i) {
    EXPECT_TRUE(begin(i)) << "node " << i;
    ports_[i] = nodes_[i]->rpc_port;
  }
  void kill_node(std::size_t i) { nodes_[i]->kill_at_once(); }

  /// Waits until all nodes but those have read the same log, and compares what they made of it.
  void expect_agreement(const std::set<std::size_t>& without = {}) {
    std::vector<json> seen;
    EXPECT_TRUE(eventually([&] {
      seen.clear();
      for (std::size_t i = 0; i < size(); ++i) {
        if (without.contains(i)) continue;
        auto client = connect(i);
        const auto answer = client.call("server.info", {{"digest", true}});
        if (!answer.is_object() || !answer.contains("result")) return false;
        seen.push_back({{"seq", answer["result"]["seq"]}, {"digest", answer["result"]["digest"]}});
      }
      return std::all_of(seen.begin(), seen.end(),
                         [&](const json& each) { return each["seq"] == seen[0]["seq"]; });
    })) << json(seen);
    for (const auto& each : seen) EXPECT_EQ(each, seen[0]);
  }
  /// Whether the node makes a session now; its id, else null.
  [[nodiscard]] json try_to_make(std::size_t i) {
    auto client = connect(i);
    auto params = user("canary-" + std::to_string(++canaries_));
    params["context"] = context();
    const auto made = client.call("session.create", params);
    if (!made.is_object() || !made.contains("result")) return nullptr;
    return made["result"]["session_id"];
  }
  /// Waits until every node takes part again: what is made on one is valid on all.
  void expect_recovery() {
    for (std::size_t i = 0; i < size(); ++i) {
      json id;
      ASSERT_TRUE(eventually([&] { return !(id = try_to_make(i)).is_null(); }))
          << "node " << i << " takes nothing";
      for (std::size_t j = 0; j < size(); ++j)
        ASSERT_TRUE(eventually([&] {
          auto client = connect(j);
          const auto seen =
              client.call("session.validate", {{"session_id", id}, {"context", context()}});
          return seen.is_object() && seen.contains("result") && seen["result"]["valid"] == true;
        })) << "node "
            << j << " does not see what node " << i << " made";
    }
  }

 protected:
  several_nodes() : keys_(folder_.file("keys")), ports_(nodes_max) {
    EXPECT_EQ(run(tested_binary() + " keys new --out " + keys_).status, 0);
  }
  /// While no other thread uses the fleet. `where`: the settings that say where the store is.
  void add_node(const std::vector<std::string>& where, const std::vector<std::string>& more) {
    const auto number = nodes_.size();
    server_options made;
    made.start = false;
    made.set = {"store.mode=redis", "store.redis.staleness_ms_max=" + std::to_string(bound_ms),
                "store.redis.timeout_ms=" + std::to_string(timeout_ms), "crypto.keys_file=" + keys_,
                "server.node_id=node-" + std::to_string(number)};
    made.set.insert(made.set.end(), where.begin(), where.end());
    made.set.insert(made.set.end(), more.begin(), more.end());
    nodes_.push_back(std::make_unique<server>(std::move(made)));
    start(number);
  }
  [[nodiscard]] virtual bool begin(std::size_t i) { return nodes_[i]->start(); }
  [[nodiscard]] std::uint16_t port_of(std::size_t i) const { return ports_.at(i); }
  [[nodiscard]] const std::string& keys() const { return keys_; }

 private:
  static constexpr std::size_t nodes_max = 8;

  temp_folder folder_;
  std::string keys_;
  std::vector<std::unique_ptr<server>> nodes_;
  std::vector<std::atomic<std::uint16_t>> ports_;
  int canaries_ = 0;
};

/// Over one Redis server, each node over a network of its own that can be broken.
class faulty_fleet : public several_nodes {
 public:
  explicit faulty_fleet(std::size_t nodes, std::vector<std::string> set = {})
      : faulty_fleet(std::vector<std::string>{}, std::move(set)) {
    for (std::size_t i = 0; i < nodes; ++i) add();
  }
  /// Without proxies: each node in a network of its own.
  struct elsewhere {
    std::size_t nodes;
    std::function<std::string(std::size_t)> redis;  // its address there
    std::function<bool(std::size_t, std::function<bool()>)> start;
    std::function<line_client(std::size_t, std::uint16_t)> connect;
  };
  explicit faulty_fleet(elsewhere where)
      : faulty_fleet(std::vector<std::string>{"--bind", "0.0.0.0", "--protected-mode", "no"}, {}) {
    where_ = std::move(where);
    for (std::size_t i = 0; i < where_->nodes; ++i) add();
  }
  void add() {
    std::string url;
    if (where_) {
      url = "redis://" + where_->redis(size()) + ":" + std::to_string(redis.port);
    } else {
      networks_.push_back(std::make_unique<tcp_proxy>(redis.port));
      url = "redis://127.0.0.1:" + std::to_string(networks_.back()->port);
    }
    add_node({"store.redis.url=" + url}, set_);
  }
  [[nodiscard]] tcp_proxy& network(std::size_t i) { return *networks_.at(i); }
  [[nodiscard]] line_client connect(std::size_t i) const override {
    return where_ ? where_->connect(i, port_of(i)) : several_nodes::connect(i);
  }

  redis_server redis;

 private:
  faulty_fleet(std::vector<std::string> server, std::vector<std::string> set)
      : redis(with_disk(std::move(server))), set_(std::move(set)) {}
  [[nodiscard]] bool begin(std::size_t i) override {
    const auto go = [&] { return several_nodes::begin(i); };
    return where_ ? where_->start(i, go) : go();
  }
  static std::vector<std::string> with_disk(std::vector<std::string> words) {
    words.insert(words.end(), {"--appendonly", "yes", "--appendfsync", "always"});
    return words;
  }

  std::vector<std::string> set_;
  std::optional<elsewhere> where_;
  std::vector<std::unique_ptr<tcp_proxy>> networks_;
};

/// One thing that goes wrong, and its end: afterwards all is as it was.
struct fault {
  const char* name;
  void (*happen)(faulty_fleet& nodes, std::mt19937& dice);
};
inline void PrintTo(const fault& which, std::ostream* to) { *to << which.name; }
[[nodiscard]] std::vector<fault> faults();

}  // namespace portcullis::e2e
