// Places that lines go to, for tests: a folder, a disk without room, a journald.
#pragma once
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace portcullis::monitoring {

namespace fs = std::filesystem;

class folder {
 public:
  folder() {
    auto pattern = (fs::temp_directory_path() / "portcullis-sinks-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  [[nodiscard]] std::string at(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

inline std::string content(const std::string& path) {
  std::ifstream from(path);
  return {std::istreambuf_iterator<char>(from), {}};
}

/// How large files of this process may become: a real write that takes only a part, then none, as
/// on a full disk.
class room_for {
 public:
  explicit room_for(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, SIG_IGN);
    const rlimit now{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
  }
  ~room_for() { setrlimit(RLIMIT_FSIZE, &before_); }
  room_for(const room_for&) = delete;
  room_for& operator=(const room_for&) = delete;

 private:
  rlimit before_{};
};

/// A journald that reads when it is told to.
class journald {
 public:
  explicit journald(std::string path)
      : path_(std::move(path)), fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) std::abort();
  }
  ~journald() {
    close(fd_);
    unlink(path_.c_str());
  }
  journald(const journald&) = delete;
  journald& operator=(const journald&) = delete;
  /// All that has come.
  std::vector<std::string> entries() {
    std::vector<std::string> all;
    std::string one(1 << 20, '\0');
    for (ssize_t got = 0; (got = recv(fd_, one.data(), one.size(), MSG_DONTWAIT)) >= 0;)
      all.push_back(one.substr(0, static_cast<std::size_t>(got)));
    return all;
  }

 private:
  std::string path_;
  int fd_;
};

}  // namespace portcullis::monitoring
