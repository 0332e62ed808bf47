#include "apps/terminal.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

namespace portcullis::apps {
namespace {

// Alternate screen (xterm's 1049), cursor hidden, cleared; and back.
constexpr std::string_view take_text = "\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H";
constexpr std::string_view give_text = "\x1b[0m\x1b[?25h\x1b[?1049l";
constexpr int write_wait_ms = 50;    // between two looks at what is waiting
constexpr int give_back_waits = 40;  // then the terminal is left as it is
constexpr std::array end_signals = {SIGTERM, SIGHUP, SIGINT, SIGQUIT};
constexpr std::array bug_signals = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

// For the handler, which has nothing else.
termios modes_before;
volatile std::sig_atomic_t has_modes = 0, is_taken = 0;

/// Whether a signal waits that is to end the view, which reads them from a descriptor.
bool end_is_waiting() noexcept {
  sigset_t waiting;
  if (sigpending(&waiting) != 0) return false;
  for (const int each : end_signals)
    if (sigismember(&waiting, each) == 1) return true;
  return false;
}

/// Somebody else has the terminal. Not so where it says nothing of that, as when it is gone.
bool in_background() noexcept {
  const auto group = tcgetpgrp(STDOUT_FILENO);
  return group >= 0 && group != getpgrp();
}

enum class waits { bounded, until_end };

/// False when the terminal is gone, or takes nothing for long where that is `bounded`. Also true
/// when a signal to end came before all was written.
bool write_all(std::string_view text, waits how) noexcept {
  for (int waited = 0; !text.empty();) {
    const auto written = write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    // The one who gave us the terminal had it not block: that holds for all who have it open.
    if (written < 0 && errno == EAGAIN) {
      if (how == waits::bounded && ++waited > give_back_waits) return false;
      if (how == waits::until_end && end_is_waiting()) return true;
      pollfd out{STDOUT_FILENO, POLLOUT, 0};
      poll(&out, 1, write_wait_ms);
      continue;
    }
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// Calls only what a signal handler may (POSIX, 2.4.3).
void give_back() noexcept {
  if (is_taken == 0) return;
  is_taken = 0;
  // In the background each of the two would stop the process, and again whenever it is continued.
  sigset_t outputs, before;
  sigemptyset(&outputs);
  sigaddset(&outputs, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &outputs, &before);
  // Before the text: writing may wait, and whoever sees it finds the terminal as it was.
  if (has_modes != 0) tcsetattr(STDIN_FILENO, TCSANOW, &modes_before);
  static_cast<void>(write_all(give_text, waits::bounded));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void on_bug(int number) {
  give_back();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void take() noexcept {
  has_modes = tcgetattr(STDIN_FILENO, &modes_before) == 0 ? 1 : 0;
  if (has_modes != 0) {
    auto modes = modes_before;
    modes.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &modes);
  }
  is_taken = 1;
  static_cast<void>(write_all(take_text, waits::until_end));
}

/// Stops until the terminal is ours, as the kernel would have it; but a signal to end is heard,
/// and then it is not taken.
void take_in_foreground() noexcept {
  for (; !end_is_waiting(); std::raise(SIGSTOP))
    if (!in_background()) return take();
}

}  // namespace

std::string screen_text(const std::vector<std::string>& lines) {
  std::string out = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    // Cleared before it is written, the last one with all below it: behind a full line the cursor
    // still stands on the last column.
    const bool last = i + 1 == lines.size();
    out.append(last ? "\x1b[J" : "\x1b[2K").append(lines[i]).append(last ? "" : "\r\n");
  }
  return out;
}

terminal_screen::terminal_screen() {
  for (const int each : bug_signals) std::signal(each, on_bug);
  take_in_foreground();
}

terminal_screen::~terminal_screen() {
  give_back();
  for (const int each : bug_signals) std::signal(each, SIG_DFL);
}

bool terminal_screen::draw(const std::vector<std::string>& lines) const {
  return is_taken == 0 || write_all(screen_text(lines), waits::until_end);
}

frame_size terminal_screen::size() const noexcept {
  winsize now{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &now) != 0 || now.ws_col == 0 || now.ws_row == 0) return {};
  return {now.ws_col, now.ws_row};
}

void terminal_screen::stop_here() {
  give_back();
  std::raise(SIGSTOP);
  take_in_foreground();
}

void terminal_screen::take_again() {
  give_back();
  take_in_foreground();
}

}  // namespace portcullis::apps
