#include "monitoring/log_sinks.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

namespace portcullis::monitoring {
namespace {

constexpr auto reopen_every = std::chrono::seconds(1);

/// A descriptor that is closed with the object.
class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  ~descriptor() { reset(); }
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    reset();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  void reset() noexcept {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

/// False: the deadline has passed. Returns now and then without cause, so that the deadline is
/// looked at.
bool await_writable(int fd, const log_deadline& deadline) noexcept {
  if (deadline.passed()) return false;
  pollfd ready{fd, POLLOUT, 0};
  (void)poll(&ready, 1, 20);
  return true;
}

/// Writes lines to a descriptor as they come; nothing is buffered.
class line_writer {
 public:
  using outcome = log_sink::outcome;

  outcome put(int fd, std::string_view line, const log_deadline& deadline) noexcept {
    if (torn_) {
      // What is left of a line that did not fit must not run into this one.
      const auto ended = write_all(fd, "\n", deadline);
      if (ended != outcome::taken) return ended;
      torn_ = false;
    }
    return write_all(fd, line, deadline);
  }
  /// Another file: nothing of ours stands before the next line.
  void begin_anew() noexcept { torn_ = false; }

 private:
  outcome write_all(int fd, std::string_view text, const log_deadline& deadline) noexcept {
    const auto whole = text.size();
    const auto stopped = [&](outcome how) {
      torn_ = torn_ || text.size() != whole;
      return how;
    };
    while (!text.empty()) {
      // A pipe that polls writable takes PIPE_BUF bytes without blocking, and no more for sure.
      pollfd ready{fd, POLLOUT, 0};
      if (deadline.passed()) return stopped(outcome::given_up);
      const int polled = poll(&ready, 1, 20);
      if (polled == 0 || (polled < 0 && errno == EINTR)) continue;
      if (polled < 0) return stopped(outcome::refused);
      const auto wrote = write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
      if (wrote > 0)
        text.remove_prefix(static_cast<std::size_t>(wrote));
      else if (wrote == 0 || (errno != EINTR && errno != EAGAIN))
        return stopped(outcome::refused);  // nobody reads it any more, or the disk is full
    }
    return outcome::taken;
  }

  bool torn_ = false;
};

class descriptor_sink final : public log_sink {
 public:
  explicit descriptor_sink(int fd) : fd_(fd) {}
  outcome put(std::string_view line, const log_deadline& deadline) noexcept override {
    return writer_.put(fd_, line, deadline);
  }

 private:
  int fd_;
  line_writer writer_;
};

/// An open file and which one that is.
struct opened_file {
  descriptor fd;
  dev_t device = 0;
  ino_t inode = 0;
};

/// errno in place of a file. O_NONBLOCK: a FIFO that nobody reads must not hold up the log.
int open_for_lines(const std::string& path, opened_file& made) noexcept {
  descriptor fd(open(path.c_str(),
                     O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                     S_IRUSR | S_IWUSR | S_IRGRP));
  struct stat at {};
  if (fd.get() < 0 || fstat(fd.get(), &at) != 0) return errno;
  if (S_ISBLK(at.st_mode)) return EINVAL;
  made.device = at.st_dev;
  made.inode = at.st_ino;
  made.fd = std::move(fd);
  return 0;
}

class file_sink final : public log_sink {
 public:
  file_sink(std::string path, opened_file file) : path_(std::move(path)), file_(std::move(file)) {}

  outcome put(std::string_view line, const log_deadline& deadline) noexcept override {
    look_after(false);
    if (failed_.load(std::memory_order_relaxed) != 0 && nameless()) return outcome::refused;
    return writer_.put(file_.fd.get(), line, deadline);
  }

  void look_after(bool anew) noexcept override {
    struct stat at {};
    const bool there =
        stat(path_.c_str(), &at) == 0 && at.st_dev == file_.device && at.st_ino == file_.inode;
    if (there && !anew) return failed_.store(0, std::memory_order_relaxed);
    const auto now = log_deadline::clock::now();
    if (!anew && failed_.load(std::memory_order_relaxed) != 0 && now < again_at_) return;
    again_at_ = now + reopen_every;
    opened_file next;
    const int error = open_for_lines(path_, next);
    failed_.store(error, std::memory_order_relaxed);
    if (error != 0) return;  // lines go on to where they went
    if (next.device != file_.device || next.inode != file_.inode) writer_.begin_anew();
    file_ = std::move(next);
  }

  [[nodiscard]] int reopening_failed() const noexcept override {
    return failed_.load(std::memory_order_relaxed);
  }

 private:
  // What is written to a file without a name is lost when it is closed.
  [[nodiscard]] bool nameless() const noexcept {
    struct stat at {};
    return fstat(file_.fd.get(), &at) != 0 || at.st_nlink == 0;
  }

  std::string path_;
  opened_file file_;
  line_writer writer_;
  std::atomic<int> failed_{0};
  log_deadline::clock::time_point again_at_{};
};

class journal_sink final : public log_sink {
 public:
  explicit journal_sink(const std::string& path) {
    // A longer path was refused with the configuration.
    address_.sun_family = AF_UNIX;
    path.copy(address_.sun_path, sizeof address_.sun_path - 1);
  }

  outcome put(std::string_view entry, const log_deadline& deadline) noexcept override {
    for (bool again = false;; again = true) {
      const bool fresh = socket_.get() < 0;
      if (fresh && !connect_anew()) return outcome::refused;
      const auto sent = send(entry, deadline);
      if (sent != outcome::refused) return sent;
      socket_.reset();
      // journald was started again since: its new socket has the same name.
      if (fresh || again) return outcome::refused;
    }
  }

 private:
  bool connect_anew() noexcept {
    descriptor made(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (made.get() < 0 ||
        connect(made.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) != 0)
      return false;
    socket_ = std::move(made);
    return true;
  }

  outcome send(std::string_view entry, const log_deadline& deadline) noexcept {
    for (;;) {
      // Entries are bounded by the fields that a line may have, far below what a socket takes.
      if (::send(socket_.get(), entry.data(), entry.size(), MSG_NOSIGNAL) >= 0)
        return outcome::taken;
      if (errno == EAGAIN) {
        if (!await_writable(socket_.get(), deadline)) return outcome::given_up;
      } else if (errno != EINTR) {
        return outcome::refused;
      }
    }
  }

  sockaddr_un address_{};
  descriptor socket_;
};

}  // namespace

std::unique_ptr<log_sink> make_descriptor_sink(int fd) {
  return std::make_unique<descriptor_sink>(fd);
}

core::result<std::unique_ptr<log_sink>> make_file_sink(const std::string& path, std::string& why) {
  opened_file file;
  if (const int error = open_for_lines(path, file); error != 0) {
    why = fmt::format("log.file: {}: {}", path, std::strerror(error));
    return core::fail(core::error_code::CONFIG_INVALID);
  }
  return std::unique_ptr<log_sink>(std::make_unique<file_sink>(path, std::move(file)));
}

std::unique_ptr<log_sink> make_journal_sink(const std::string& path) {
  return std::make_unique<journal_sink>(path);
}

}  // namespace portcullis::monitoring
