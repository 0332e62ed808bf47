#include "apps/cli/last_word.hpp"

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <utility>

namespace portcullis::apps {
namespace {

// For the handler, which has nothing else; set before it can be called.
const char* said = nullptr;
std::size_t said_bytes = 0;
int status_then = 0, status_unwritten = 0;

/// Calls only what a signal handler may (POSIX, 2.4.3).
void on_alarm(int) {
  for (std::size_t at = 0; at < said_bytes;) {
    const auto written = write(STDOUT_FILENO, said + at, said_bytes - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(status_unwritten);
    at += static_cast<std::size_t>(written);
  }
  _exit(status_then);
}

void set_timer(std::chrono::milliseconds after) {
  itimerval to{};
  to.it_value.tv_sec = after.count() / 1000;
  to.it_value.tv_usec = after.count() % 1000 * 1000;
  setitimer(ITIMER_REAL, &to, nullptr);
}

}  // namespace

last_word::last_word(std::chrono::milliseconds after, std::string text, int status, int unwritten)
    : text_(std::move(text)) {
  said = text_.data();
  said_bytes = text_.size();
  status_then = status;
  status_unwritten = unwritten;
  struct sigaction how {};
  how.sa_handler = on_alarm;
  sigemptyset(&how.sa_mask);
  sigaction(SIGALRM, &how, nullptr);
  // Whoever started the process may have had it blocked.
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &alarms, nullptr);
  set_timer(after);
}

last_word::~last_word() {
  set_timer(std::chrono::milliseconds(0));
  signal(SIGALRM, SIG_DFL);
}

}  // namespace portcullis::apps
