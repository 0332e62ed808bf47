// Real redis-server processes for tests: on free ports, in a folder of their own, killed with their
// object.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace portcullis::net::test {

/// A folder that goes with it.
class scratch_folder {
 public:
  scratch_folder();
  ~scratch_folder();
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// A port that nobody listens on now; as long as nobody takes it meanwhile.
[[nodiscard]] std::uint16_t free_port();

class redis_server {
 public:
  using arguments = std::vector<std::string>;

  /// Starts it on a free port of 127.0.0.1 and on a Unix socket, in memory only. `more` are
  /// arguments as of redis-server, later ones win.
  explicit redis_server(arguments more = {}, std::uint16_t port = 0);
  ~redis_server();
  redis_server(const redis_server&) = delete;
  redis_server& operator=(const redis_server&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] std::string socket() const { return folder_.path() + "/redis.sock"; }
  [[nodiscard]] const std::string& folder() const noexcept { return folder_.path(); }
  [[nodiscard]] std::string url() const;

  /// kill -9.
  void kill();
  void signal(int number) const;
  /// Again, on the same port.
  void start();
  /// What redis-cli says, without the last newline. Waits until the server accepts connections.
  std::string cli(const arguments& words) const;

 private:
  /// False: it ended.
  bool try_to_start();

  arguments more_;
  scratch_folder folder_;
  std::uint16_t port_;
  pid_t process_ = -1;
};

/// Runs a program to its end; its output.
std::string run_program(const std::vector<std::string>& words);

}  // namespace portcullis::net::test
