// Redis servers that take one another's place: behind Sentinels, and as a Redis Cluster. Real
// processes on free ports, killed with their object.
#pragma once
#include <map>
#include <sstream>

#include "faulty_fleet.hpp"

namespace portcullis::e2e {

/// What a change of masters may take on a busy machine.
constexpr auto failover_patience = 90s;

/// Where the log of the default prefix ends on this server; 0: it has none.
inline std::uint64_t end_of_log(const redis_server& on) {
  const auto said = on.cli("xrevrange 'portcullis:{portcullis}:log' + - count 1");
  return std::strtoull(said.c_str(), nullptr, 10);
}

/// One of several servers has the log.
class redis_topology {
 public:
  virtual ~redis_topology() = default;
  redis_topology(const redis_topology&) = delete;
  redis_topology& operator=(const redis_topology&) = delete;

  /// Of nodes.
  [[nodiscard]] virtual std::vector<std::string> settings() const = 0;
  /// Which has the log now, by what most say; null: nobody knows.
  [[nodiscard]] virtual redis_server* master() const = 0;
  /// Waits until all servers take part, and all know of each other.
  virtual void await_whole() = 0;

 protected:
  redis_topology() = default;
  [[nodiscard]] redis_server* on_port(std::uint16_t port) const {
    for (const auto& each : servers_)
      if (each->port == port) return each.get();
    return nullptr;
  }
  std::vector<std::unique_ptr<redis_server>> servers_;
};

/// One master, two replicas, three Sentinels.
class behind_sentinels : public redis_topology {
 public:
  /// `more`: arguments of each server with data.
  explicit behind_sentinels(const std::vector<std::string>& more = {}) {
    for (int i = 0; i < 3; ++i) {
      std::vector<std::string> words{"--appendonly",
                                     "yes",
                                     "--repl-diskless-sync-delay",
                                     "0",
                                     "--repl-ping-replica-period",
                                     "1"};
      words.insert(words.end(), more.begin(), more.end());
      if (i > 0)
        words.insert(words.end(),
                     {"--replicaof", "127.0.0.1 " + std::to_string(servers_[0]->port)});
      servers_.push_back(std::make_unique<redis_server>(words));
    }
    for (int i = 0; i < 3; ++i) start_sentinel();
    await_whole();
  }

  [[nodiscard]] std::vector<std::string> settings() const override {
    std::string list;
    for (const auto& each : sentinels_) list += (list.empty() ? "" : ",") + each->url();
    return {"store.redis.url=redis://master", "store.redis.sentinels=" + list,
            "store.redis.master_name=main"};
  }
  [[nodiscard]] redis_server* master() const override {
    std::map<std::uint16_t, int> named;
    for (const auto& each : sentinels_) ++named[named_by(*each)];
    for (const auto& [port, times] : named)
      if (times >= 2) return on_port(port);
    return nullptr;
  }
  void await_whole() override {
    EXPECT_TRUE(eventually(
        [&] {
          const auto* now = master();
          if (now == nullptr) return false;
          for (const auto& each : sentinels_) {
            const auto known = each->cli("info sentinel");
            if (named_by(*each) != now->port || known.find("status=ok") == std::string::npos ||
                known.find("slaves=2,sentinels=3") == std::string::npos)
              return false;
          }
          const auto replicas = now->cli("info replication");
          return replicas.find("role:master") != std::string::npos &&
                 replicas.find("slave0:") != std::string::npos &&
                 replicas.find("slave1:") != std::string::npos &&
                 replicas.find("state=wait_bgsave") == std::string::npos &&
                 replicas.find("state=send_bulk") == std::string::npos;
        },
        failover_patience))
        << logs();
  }
  /// Whether nothing is on its way to replicas; the master takes no writes.
  [[nodiscard]] bool replicas_have_all(const redis_server& master) const {
    const auto end = end_of_log(master);
    return std::all_of(servers_.begin(), servers_.end(),
                       [&](const auto& each) { return end_of_log(*each) == end; });
  }
  /// Asks for another master while all are well.
  [[nodiscard]] std::string fail_over() const {
    return sentinels_[0]->cli("sentinel failover main");
  }
  /// What Sentinels have told.
  [[nodiscard]] std::string logs() const {
    std::string all;
    for (const auto& each : sentinels_)
      all += run("cat " + folder_.file(std::to_string(each->port) + ".log")).out + "\n";
    return all;
  }

 private:
  void start_sentinel() {
    const auto at = free_port();
    const auto name = std::to_string(at);
    const auto file =
        folder_.write(name + ".conf",
                      "port " + name + "\nbind 127.0.0.1\ndir " + folder_.file(".") + "\nlogfile " +
                          folder_.file(name + ".log") + "\nsentinel monitor main 127.0.0.1 " +
                          std::to_string(servers_[0]->port) +
                          " 2\nsentinel down-after-milliseconds main 1000"
                          "\nsentinel failover-timeout main 5000\n");
    sentinels_.push_back(
        std::make_unique<redis_server>(std::vector<std::string>{file, "--sentinel"}, at));
  }
  /// 0: none.
  [[nodiscard]] static std::uint16_t named_by(const redis_server& sentinel) {
    const auto said = sentinel.cli("sentinel get-master-addr-by-name main");
    const auto line = said.find('\n');
    return line == std::string::npos
               ? std::uint16_t{0}
               : static_cast<std::uint16_t>(std::strtoul(said.c_str() + line, nullptr, 10));
  }

  temp_folder folder_;
  std::vector<std::unique_ptr<redis_server>> sentinels_;
};

/// Three masters, each with a replica.
class as_redis_cluster : public redis_topology {
 public:
  as_redis_cluster() {
    std::string create = "redis-cli --cluster create";
    for (int i = 0; i < 6; ++i) {
      servers_.push_back(std::make_unique<redis_server>(
          std::vector<std::string>{"--appendonly", "yes", "--cluster-enabled", "yes",
                                   "--cluster-node-timeout", "1500", "--repl-diskless-sync-delay",
                                   "0"},
          free_port_with_bus()));
      create += " 127.0.0.1:" + std::to_string(servers_.back()->port);
    }
    const auto made = run(create + " --cluster-replicas 1 --cluster-yes").out;
    EXPECT_THAT(made, testing::HasSubstr("All 16384 slots covered"));
    await_whole();
  }

  [[nodiscard]] std::vector<std::string> settings() const override {
    return {"store.redis.url=" + servers_[0]->url(), "store.redis.cluster=true"};
  }
  /// That has the slot of the log.
  [[nodiscard]] redis_server* master() const override {
    for (const auto& each : servers_) {
      const auto slot = std::strtol(
          each->cli("cluster keyslot 'portcullis:{portcullis}:log'").c_str(), nullptr, 10);
      std::istringstream lines(each->cli("cluster nodes"));
      for (std::string line; std::getline(lines, line);)
        if (const auto port = serves(line, slot); port != 0) return on_port(port);
    }
    return nullptr;
  }
  void await_whole() override {
    EXPECT_TRUE(eventually(
        [&] {
          for (const auto& each : servers_) {
            const auto all = each->cli("cluster nodes");
            if (each->cli("cluster info").find("cluster_state:ok") == std::string::npos ||
                count(all, " connected") != 6 || count(all, "slave ") != 3 ||
                all.find("fail") != std::string::npos)
              return false;
            const auto role = each->cli("role");
            if (role.starts_with("slave") && role.find("connected") == std::string::npos)
              return false;
          }
          return true;
        },
        failover_patience))
        << servers_[0]->cli("cluster nodes");
  }

 private:
  /// The bus has the port that is 10,000 higher.
  static std::uint16_t free_port_with_bus() {
    for (;;)
      if (const auto port = free_port(); port < 55'000) return port;
  }
  static int count(const std::string& in, const std::string& what) {
    int found = 0;
    for (auto at = in.find(what); at != std::string::npos; at = in.find(what, at + 1)) ++found;
    return found;
  }
  /// Of a line of CLUSTER NODES: the port, where it is of a master that has the slot; else 0.
  static std::uint16_t serves(const std::string& line, long slot) {
    std::istringstream words(line);
    std::string id, at, flags, skipped, range;
    words >> id >> at >> flags;
    for (int i = 0; i < 5; ++i) words >> skipped;
    if (flags.find("master") == flags.npos || flags.find("fail") != flags.npos) return 0;
    while (words >> range) {
      if (range.starts_with('[')) continue;
      const auto dash = range.find('-');
      const auto first = std::strtol(range.c_str(), nullptr, 10);
      const auto last =
          dash == range.npos ? first : std::strtol(range.c_str() + dash + 1, nullptr, 10);
      if (first <= slot && slot <= last)
        return static_cast<std::uint16_t>(std::strtoul(at.c_str() + at.find(':') + 1, nullptr, 10));
    }
    return 0;
  }
};

/// Nodes over servers that may change.
class nodes_over : public several_nodes {
 public:
  explicit nodes_over(std::size_t nodes, const redis_topology& store) {
    for (std::size_t i = 0; i < nodes; ++i) add_node(store.settings(), {});
  }
  /// Those that have ended by themselves, up to now.
  const std::set<std::size_t>& stopped() {
    for (std::size_t i = 0; i < size(); ++i)
      if (!stopped_.contains(i) && node(i).wait(0ms)) stopped_.insert(i);
    return stopped_;
  }
  /// What a stopped node's own copy of the log comes to.
  struct copy {
    std::uint64_t seq = 0;  // that it ends with
    std::string digest;

    friend bool operator==(const copy&, const copy&) = default;
  };
  /// All of it, or up to `seq`.
  [[nodiscard]] copy copy_of(std::size_t i, std::optional<std::uint64_t> seq = std::nullopt) {
    auto command =
        tested_binary() + " replay --data-dir " + node(i).data_dir() + " --keys-file " + keys();
    if (seq) command += " --until " + std::to_string(*seq);
    const auto said = run(command);
    EXPECT_EQ(said.status, 0) << said.out;
    const auto at = said.out.find("\nseq ");
    if (at == std::string::npos) return {};
    const auto digest = said.out.rfind('\n', said.out.size() - 2) + 1;
    return {std::strtoull(said.out.c_str() + at + 5, nullptr, 10),
            said.out.substr(digest, said.out.size() - digest - 1)};
  }
  /// As one does who takes what Redis has for the truth.
  void start_empty(std::size_t i) {
    std::filesystem::remove_all(node(i).data_dir());
    start(i);
    stopped_.erase(i);
  }

 private:
  std::set<std::size_t> stopped_;
};

}  // namespace portcullis::e2e
