// Several nodes over one Redis server, all real processes on free ports.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "harness.hpp"
#include "tests/send_signal.hpp"

namespace portcullis::e2e {

inline std::uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at);
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  ::close(fd);
  return ntohs(at.sin_port);
}

/// A redis-server of the test's own. Killed with the object.
class redis_server {
 public:
  /// `more`: arguments of redis-server, later ones win. A Sentinel's begin with its file,
  /// NAME.conf, which says all.
  explicit redis_server(std::vector<std::string> more = {}, std::uint16_t at = free_port())
      : port(at), more_(std::move(more)) {
    start();
  }
  ~redis_server() { kill_at_once(); }
  redis_server(const redis_server&) = delete;
  redis_server& operator=(const redis_server&) = delete;

  void start() {
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::vector<std::string> words{"redis-server",
                                     "--port",
                                     std::to_string(port),
                                     "--bind",
                                     "127.0.0.1",
                                     "--dir",
                                     folder_.file("."),
                                     "--save",
                                     "",
                                     "--logfile",
                                     folder_.file("log"),
                                     "--rdbcompression",
                                     "no"};
      if (!more_.empty() && more_.front().ends_with(".conf")) words = {"redis-server"};
      words.insert(words.end(), more_.begin(), more_.end());
      std::vector<char*> arguments;
      for (auto& each : words) arguments.push_back(each.data());
      arguments.push_back(nullptr);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    EXPECT_TRUE(eventually([&] {
      const auto said = cli("ping");
      return said == "PONG\n" || said.find("NOAUTH") != std::string::npos;
    })) << "redis-server";
  }
  void kill_at_once() {
    if (pid_ <= 0) return;
    kill(pid_, SIGCONT);
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  void restart() {
    kill_at_once();
    start();
  }
  void signal(int number) const { send_signal(pid_, number); }
  /// What redis-cli prints.
  [[nodiscard]] std::string cli(const std::string& command) const {
    return run("redis-cli -p " + std::to_string(port) + " " + command).out;
  }
  [[nodiscard]] std::string url() const { return "redis://127.0.0.1:" + std::to_string(port); }
  [[nodiscard]] const temp_folder& folder() const { return folder_; }

  const std::uint16_t port;

 private:
  std::vector<std::string> more_;
  temp_folder folder_;
  pid_t pid_ = -1;
};

/// Nodes that share a Redis server and a key file.
class fleet {
 public:
  explicit fleet(std::size_t nodes, std::vector<std::string> set = {},
                 std::vector<std::string> server = {"--appendonly", "yes"})
      : redis(std::move(server)), set_(std::move(set)) {
    keys_ = folder_.file("keys");
    EXPECT_EQ(run(tested_binary() + " keys new --out " + keys_).status, 0);
    for (std::size_t i = 0; i < nodes; ++i) add();
  }
  server& add() {
    nodes_.push_back(std::make_unique<server>(options(nodes_.size())));
    return *nodes_.back();
  }
  [[nodiscard]] server_options options(std::size_t number) const {
    server_options made;
    made.set = {"store.mode=redis", "store.redis.url=" + redis.url(), "crypto.keys_file=" + keys_,
                "server.node_id=node-" + std::to_string(number)};
    made.set.insert(made.set.end(), set_.begin(), set_.end());
    return made;
  }
  [[nodiscard]] server& operator[](std::size_t number) { return *nodes_.at(number); }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] const std::string& keys() const { return keys_; }
  /// Of nodes that are added from here on.
  void use_keys(const std::string& file) { keys_ = file; }
  [[nodiscard]] const temp_folder& folder() const { return folder_; }
  /// Waits until all nodes have read the same.
  void settle() {
    EXPECT_TRUE(eventually([&] {
      std::optional<json> first;
      for (auto& each : nodes_) {
        auto client = each->connect();
        const auto seq = client.result("server.info")["seq"];
        if (first && *first != seq) return false;
        first = seq;
      }
      return true;
    }));
  }

  redis_server redis;

 private:
  std::vector<std::string> set_;
  temp_folder folder_;
  std::string keys_;
  std::vector<std::unique_ptr<server>> nodes_;
};

}  // namespace portcullis::e2e
