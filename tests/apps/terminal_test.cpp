// The screen of `portcullis top` on a terminal that takes what is written only now and then.
#include "apps/terminal.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sched.h>
#include <array>
#include <cerrno>
#include <fstream>

namespace portcullis::apps {
namespace {

/// As in /proc/PID/stat: S sleeps, Z has ended, R runs.
char state_of(pid_t process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  std::getline(in, text);
  const auto at = text.rfind(") ");
  return at == std::string::npos ? '?' : text[at + 2];
}

/// Found in review: EAGAIN ended the view as if nobody looked any more.
TEST(terminal_screen, waits_for_a_terminal_that_takes_no_more_and_does_not_block) {
  const winsize size{24, 80, 0, 0};
  int terminal = -1;
  const pid_t view = forkpty(&terminal, nullptr, nullptr, &size);
  if (view == 0) {
    fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    bool drawn = false;
    {
      const terminal_screen screen;
      drawn = screen.draw({std::string(1 << 20, 'x'), "done"});
    }
    _exit(drawn ? 0 : 1);
  }
  // It is full when the view sleeps, or has given up.
  while (state_of(view) != 'S' && state_of(view) != 'Z') sched_yield();
  std::string seen;
  for (std::array<char, 4096> block;;) {
    const auto got = read(terminal, block.data(), block.size());
    if (got <= 0) break;  // EIO: the other end is closed
    seen.append(block.data(), static_cast<std::size_t>(got));
  }
  int status = 0;
  ASSERT_EQ(waitpid(view, &status, 0), view);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(seen, testing::HasSubstr("done"));
  EXPECT_THAT(seen, testing::EndsWith("\x1b[?1049l"));
  close(terminal);
}

/// Nobody reads what it writes, and yet it ends: the terminal is not waited for for ever.
TEST(terminal_screen, is_ended_by_a_signal_while_the_terminal_takes_no_more) {
  const winsize size{24, 80, 0, 0};
  int terminal = -1;
  const pid_t view = forkpty(&terminal, nullptr, nullptr, &size);
  if (view == 0) {
    fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, nullptr);
    const terminal_screen screen;
    const bool drawn = screen.draw({std::string(1 << 20, 'x')});
    screen.~terminal_screen();
    _exit(drawn ? 0 : 1);
  }
  while (state_of(view) != 'S' && state_of(view) != 'Z') sched_yield();
  kill(view, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(view, &status, 0), view);
  EXPECT_EQ(status, 0) << "the view goes on, and hears of the signal";
  close(terminal);
}

}  // namespace
}  // namespace portcullis::apps
