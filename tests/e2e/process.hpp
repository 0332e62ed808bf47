// A command of the binary while it runs.
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace portcullis::e2e {

/// A process whose output is read while it runs: from a pipe, or from a terminal of its own.
class running {
 public:
  enum class to { pipe, terminal };
  running(const std::vector<std::string>& words, to where) {
    std::vector<char*> arguments;
    for (const auto& each : words) arguments.push_back(const_cast<char*>(each.c_str()));
    arguments.push_back(nullptr);
    std::array<int, 2> ends{-1, -1};
    const winsize size{50, 200, 0, 0};
    if (where == to::pipe) {
      if (pipe2(ends.data(), O_CLOEXEC) != 0) return;
      pid_ = fork();
      if (pid_ == 0) dup2(ends[1], STDOUT_FILENO);
      if (pid_ == 0) dup2(ends[1], STDERR_FILENO);
    } else {
      pid_ = forkpty(&ends[0], nullptr, nullptr, &size);
    }
    if (pid_ == 0) {
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    if (ends[1] >= 0) ::close(ends[1]);
    fd_ = ends[0];
  }
  ~running() {
    end(SIGKILL);
    if (fd_ >= 0) ::close(fd_);
  }
  running(const running&) = delete;
  running& operator=(const running&) = delete;

  /// The next line, or what there is at the end.
  std::string line() {
    for (;;) {
      if (const auto at = text_.find('\n'); at != std::string::npos) {
        auto one = text_.substr(0, at);
        text_.erase(0, at + 1);
        if (one.ends_with('\r')) one.pop_back();
        return one;
      }
      if (!fill()) return std::exchange(text_, {});
    }
  }
  std::string rest() {
    while (fill()) {
    }
    std::erase(text_, '\r');
    return std::exchange(text_, {});
  }
  /// The exit status; 128 + the number for a signal.
  int end(int signal = 0) {
    if (pid_ <= 0) return -1;
    if (signal != 0) ::kill(pid_, signal);
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  bool fill() {
    pollfd which{fd_, POLLIN, 0};
    if (poll(&which, 1, 20'000) != 1) return false;
    std::array<char, 4096> block;
    const auto got = read(fd_, block.data(), block.size());  // EIO: the terminal's other end
    if (got <= 0) return false;
    text_.append(block.data(), static_cast<std::size_t>(got));
    return true;
  }
  pid_t pid_ = -1;
  int fd_ = -1;
  std::string text_;
};

}  // namespace portcullis::e2e
