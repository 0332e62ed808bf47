#include "apps/cli/signal_queue.hpp"

#include <sys/signalfd.h>
#include <unistd.h>

#include <initializer_list>

namespace portcullis::apps {

signal_queue::signal_queue() {
  sigemptyset(&all_);
  for (const int each : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT})
    sigaddset(&all_, each);
  pthread_sigmask(SIG_BLOCK, &all_, &before_);
  descriptor_ = signalfd(-1, &all_, SFD_CLOEXEC | SFD_NONBLOCK);
}

signal_queue::~signal_queue() {
  close(descriptor_);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

int signal_queue::next() const noexcept {
  signalfd_siginfo info;
  return read(descriptor_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)
             ? static_cast<int>(info.ssi_signo)
             : 0;
}

}  // namespace portcullis::apps
