// A command of the binary while it runs.
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "tests/send_signal.hpp"

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
  /// Reads until `text` has come; what came up to its end is read and no more known. False: it did
  /// not come.
  bool shows(const std::string& text) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < until) {
      if (const auto at = text_.find(text); at != std::string::npos) {
        seen_ = text_.substr(0, at + text.size());
        text_.erase(0, at + text.size());
        return true;
      }
      if (!fill()) return false;
    }
    return false;  // it goes on for ever about other things
  }
  /// What the last shows() has read.
  [[nodiscard]] const std::string& seen() const { return seen_; }
  /// As typed on its terminal.
  void type(const std::string& keys) const {
    EXPECT_EQ(::write(fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  /// The terminal's new size, of which the process is told by SIGWINCH.
  void resize(unsigned short rows, unsigned short columns) const {
    const winsize size{rows, columns, 0, 0};
    EXPECT_EQ(ioctl(fd_, TIOCSWINSZ, &size), 0);
  }
  /// How its terminal is set now.
  [[nodiscard]] termios modes() const {
    termios now{};
    EXPECT_EQ(tcgetattr(fd_, &now), 0);
    return now;
  }
  void signal(int number) const { send_signal(pid_, number); }
  /// Waits until it is stopped (Ctrl-Z); false: it ended.
  [[nodiscard]] bool stopped() const {
    int status = 0;
    return waitpid(pid_, &status, WUNTRACED) == pid_ && WIFSTOPPED(status);
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
  std::string text_, seen_;
};

}  // namespace portcullis::e2e
