// Places that lines go to, for tests: a folder, a disk without room, a journald.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
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

/// This process's descriptors of the file `path`: their numbers.
inline std::vector<int> descriptors_of(const std::string& path) {
  std::vector<int> found;
  for (const auto& each : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (fs::read_symlink(each.path(), gone) == path)
      found.push_back(std::stoi(each.path().filename()));
  }
  return found;
}

/// A FIFO that takes nothing until it is read.
class stuffed_fifo {
 public:
  explicit stuffed_fifo(const std::string& path) {
    if (mkfifo(path.c_str(), 0600) != 0) std::abort();
    // Both ends: nobody else has to be there.
    fd_ = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    const std::string page(4'096, '.');
    while (write(fd_, page.data(), page.size()) > 0) {
    }
  }
  ~stuffed_fifo() { close(fd_); }
  stuffed_fifo(const stuffed_fifo&) = delete;
  stuffed_fifo& operator=(const stuffed_fifo&) = delete;
  /// Makes room for one page.
  void read_page() {
    std::string page(4'096, '\0');
    if (read(fd_, page.data(), page.size()) != 4'096) std::abort();
  }
  /// Bytes that can be read.
  [[nodiscard]] int waiting() const {
    int bytes = 0;
    ioctl(fd_, FIONREAD, &bytes);
    return bytes;
  }
  /// All that can be read now, without what it was stuffed with.
  std::string read_all() {
    std::string text;
    char piece[4'096];
    for (ssize_t got = 0; (got = read(fd_, piece, sizeof piece)) > 0;)
      text.append(piece, static_cast<std::size_t>(got));
    return text.substr(std::min(text.find_first_not_of('.'), text.size()));
  }

 private:
  int fd_ = -1;
};

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
  /// Sends to it until it takes no more.
  void stuff() const {
    const int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    while (sendto(from, "X=1\n", 4, 0, reinterpret_cast<const sockaddr*>(&address),
                  sizeof address) > 0) {
    }
    close(from);
  }
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
