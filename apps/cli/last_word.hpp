// The bound of a command that others wait for: what it says when something in it does not end.
#pragma once
#include <chrono>
#include <string>

namespace portcullis::apps {

/// Ends the process with `status` when `after` has passed while it lives, with `text` on standard
/// output, whatever the process waits for (resolving a name, opening a file); with `unwritten`
/// where that cannot be written. By SIGALRM and ITIMER_REAL, which nothing else may use; one at a
/// time.
class last_word {
 public:
  last_word(std::chrono::milliseconds after, std::string text, int status, int unwritten);
  /// Nothing happens any more.
  ~last_word();
  last_word(const last_word&) = delete;
  last_word& operator=(const last_word&) = delete;

 private:
  const std::string text_;
};

}  // namespace portcullis::apps
