// Signals of a terminal as reads of a descriptor.
#pragma once
#include <signal.h>

namespace portcullis::apps {

/// SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP and SIGCONT, in the thread that makes it and
/// in all that begin while it lives. One at a time; made and ended by the same thread.
class signal_queue {
 public:
  signal_queue();
  /// As it was before; what still waits does then what it always does.
  ~signal_queue();
  signal_queue(const signal_queue&) = delete;
  signal_queue& operator=(const signal_queue&) = delete;
  /// For poll(): readable when next() has one.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  /// 0: none is waiting.
  [[nodiscard]] int next() const noexcept;

 private:
  sigset_t all_{}, before_{};
  int descriptor_ = -1;
};

}  // namespace portcullis::apps
