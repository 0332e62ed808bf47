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
#include <chrono>
#include <climits>
#include <cstring>
#include <optional>
#include <utility>

namespace portcullis::monitoring {
namespace {

using clock = std::chrono::steady_clock;

constexpr auto reopen_every = std::chrono::seconds(1);  // a file that cannot be opened
// How long a reader is waited for until demands are looked at.
constexpr int wait_step_ms = 20;
// Asked of the system for a datagram; it gives at most net.core.wmem_max. The largest line that the
// log makes is about a sixth of it.
constexpr int datagram_bytes = 1 << 20;

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

/// Waits a moment for room at `fd`; what poll() gave.
int await_room(int fd) noexcept {
  pollfd ready{fd, POLLOUT, 0};
  return poll(&ready, 1, wait_step_ms);
}

/// Writes lines to a descriptor as they come; nothing is buffered.
class line_writer {
 public:
  using outcome = log_sink::outcome;

  /// Writes `rest`, the end of `line`, and cuts off what was taken. Nothing: a demand comes first.
  std::optional<outcome> put(int fd, std::string_view line, std::string_view& rest,
                             const log_demands& wanted) noexcept {
    if (torn_) {
      // What is left of a line that did not fit must not run into this one.
      std::string_view end = "\n";
      const auto ended = write_all(fd, end, wanted);
      if (ended != outcome::taken) return ended;
      torn_ = false;
    }
    const auto how = write_all(fd, rest, wanted);
    // Without an outcome the rest comes yet, or the file is another one.
    if (how) torn_ = !rest.empty() && rest.size() != line.size();
    return how;
  }
  /// Another file: what stands before the next line is a line's beginning, or is not.
  void begin_anew(bool torn) noexcept { torn_ = torn; }

 private:
  static std::optional<outcome> write_all(int fd, std::string_view& text,
                                          const log_demands& wanted) noexcept {
    while (!text.empty()) {
      if (wanted.given_up()) return outcome::given_up;
      if (wanted.reopen_wanted()) return std::nullopt;
      // A pipe that polls writable takes PIPE_BUF bytes without blocking, and no more for sure.
      const int polled = await_room(fd);
      if (polled == 0 || (polled < 0 && errno == EINTR)) continue;
      if (polled < 0) return outcome::refused;
      const auto wrote = write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
      if (wrote > 0)
        text.remove_prefix(static_cast<std::size_t>(wrote));
      else if (wrote == 0 || (errno != EINTR && errno != EAGAIN))
        return outcome::refused;  // nobody reads it any more, or the disk is full
    }
    return outcome::taken;
  }

  bool torn_ = false;
};

class descriptor_sink final : public log_sink {
 public:
  explicit descriptor_sink(int fd) : fd_(fd) {}
  outcome put(std::string_view line, log_demands& wanted) noexcept override {
    for (auto rest = line;;) {
      (void)wanted.take_reopen();  // it is the caller's, and has no path
      if (const auto how = writer_.put(fd_, line, rest, wanted)) return *how;
    }
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
  bool torn = false;  // its last line has no end

  [[nodiscard]] bool is(const struct stat& other) const noexcept {
    return device == other.st_dev && inode == other.st_ino;
  }
};

/// Whether the file `at`, which has the name `path`, ends within a line. One that may not be read
/// is taken as whole.
bool ends_torn(const std::string& path, const struct stat& at) noexcept {
  if (!S_ISREG(at.st_mode) || at.st_size == 0) return false;
  const descriptor read_from(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat opened {};
  char last = '\n';
  return read_from.get() >= 0 && fstat(read_from.get(), &opened) == 0 &&
         opened.st_dev == at.st_dev && opened.st_ino == at.st_ino &&
         pread(read_from.get(), &last, 1, at.st_size - 1) == 1 && last != '\n';
}

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
  made.torn = ends_torn(path, at);
  made.fd = std::move(fd);
  return 0;
}

class file_sink final : public log_sink {
 public:
  file_sink(std::string path, opened_file file) : path_(std::move(path)), file_(std::move(file)) {
    writer_.begin_anew(file_.torn);
  }

  outcome put(std::string_view line, log_demands& wanted) noexcept override {
    for (auto rest = line;;) {
      const auto files = files_;
      look_after(wanted.take_reopen());
      if (files_ != files) rest = line;
      if (failed_.load(std::memory_order_relaxed) != 0 && nameless()) return outcome::refused;
      if (const auto how = writer_.put(file_.fd.get(), line, rest, wanted)) return *how;
    }
  }

  void look_after(bool anew) noexcept override {
    struct stat at {};
    const bool there = stat(path_.c_str(), &at) == 0 && file_.is(at);
    if (there && !anew) return failed_.store(0, std::memory_order_relaxed);
    const auto now = clock::now();
    if (!anew && failed_.load(std::memory_order_relaxed) != 0 && now < again_at_) return;
    again_at_ = now + reopen_every;
    opened_file next;
    const int error = open_for_lines(path_, next);
    failed_.store(error, std::memory_order_relaxed);
    if (error != 0) return;  // lines go on to where they went
    if (next.device != file_.device || next.inode != file_.inode) {
      writer_.begin_anew(next.torn);
      ++files_;
    }
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
  std::uint64_t files_ = 0;  // how many others there were
  std::atomic<int> failed_{0};
  clock::time_point again_at_{};
};

class journal_sink final : public log_sink {
 public:
  explicit journal_sink(const std::string& path) {
    // A longer path was refused with the configuration.
    address_.sun_family = AF_UNIX;
    path.copy(address_.sun_path, sizeof address_.sun_path - 1);
  }

  outcome put(std::string_view entry, log_demands& wanted) noexcept override {
    for (bool again = false;;) {
      if (wanted.take_reopen()) socket_.reset();
      const bool fresh = socket_.get() < 0;
      if (fresh && !connect_anew()) return outcome::refused;
      switch (send(entry, wanted)) {
        case sent::taken:
          return outcome::taken;
        case sent::too_large:
          return outcome::refused;
        case sent::given_up:
          return outcome::given_up;
        case sent::interrupted:
          break;
        case sent::broken:
          socket_.reset();
          // journald was started again since: its new socket has the same name.
          if (fresh || again) return outcome::refused;
          again = true;
          break;
      }
    }
  }

 private:
  enum class sent { taken, too_large, given_up, interrupted, broken };

  bool connect_anew() noexcept {
    descriptor made(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (made.get() < 0) return false;
    (void)setsockopt(made.get(), SOL_SOCKET, SO_SNDBUF, &datagram_bytes, sizeof datagram_bytes);
    if (connect(made.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) != 0)
      return false;
    socket_ = std::move(made);
    return true;
  }

  sent send(std::string_view entry, const log_demands& wanted) noexcept {
    for (;;) {
      if (::send(socket_.get(), entry.data(), entry.size(), MSG_NOSIGNAL) >= 0) return sent::taken;
      if (errno == EMSGSIZE) return sent::too_large;  // as it would be for another socket
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return sent::broken;
      if (wanted.given_up()) return sent::given_up;
      if (wanted.reopen_wanted()) return sent::interrupted;
      (void)await_room(socket_.get());
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
