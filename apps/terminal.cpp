#include "apps/terminal.hpp"

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
constexpr std::array bug_signals = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

// For the handler, which has nothing else.
termios modes_before;
volatile std::sig_atomic_t has_modes = 0, is_taken = 0;

bool write_all(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto written = write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// Calls only what a signal handler may (POSIX, 2.4.3).
void give_back() noexcept {
  if (is_taken == 0) return;
  is_taken = 0;
  // Before the text: writing may wait, and whoever sees it finds the terminal as it was.
  if (has_modes != 0) tcsetattr(STDIN_FILENO, TCSANOW, &modes_before);
  static_cast<void>(write_all(give_text));
}

void on_bug(int number) {
  give_back();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void take() noexcept {
  if (has_modes != 0) {
    auto modes = modes_before;
    modes.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &modes);
  }
  is_taken = 1;
  static_cast<void>(write_all(take_text));
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
  has_modes = tcgetattr(STDIN_FILENO, &modes_before) == 0 ? 1 : 0;
  for (const int each : bug_signals) std::signal(each, on_bug);
  take();
}

terminal_screen::~terminal_screen() {
  give_back();
  for (const int each : bug_signals) std::signal(each, SIG_DFL);
}

bool terminal_screen::draw(const std::vector<std::string>& lines) const {
  return write_all(screen_text(lines));
}

frame_size terminal_screen::size() const noexcept {
  winsize now{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &now) != 0 || now.ws_col == 0 || now.ws_row == 0) return {};
  return {now.ws_col, now.ws_row};
}

void terminal_screen::stop_here() {
  give_back();
  kill(getpid(), SIGSTOP);
  take();
}

void terminal_screen::take_again() {
  give_back();
  take();
}

}  // namespace portcullis::apps
