// The terminal while a full-screen view has it: alternate screen, no echo, and both given back
// however the process ends.
#pragma once
#include <string>
#include <vector>

#include "apps/metrics_page/frame.hpp"

namespace portcullis::apps {

/// One frame as a terminal takes it: each line in its place, all else cleared.
[[nodiscard]] std::string screen_text(const std::vector<std::string>& lines);

/// At most one at a time, of a process that reads SIGTERM, SIGHUP, SIGINT and SIGQUIT from a
/// descriptor. In the background (another process group has the terminal) it stops the process
/// until it is in the foreground; while one of those signals waits it does not take the terminal,
/// so that the view can end. The terminal is given back by the destructor, and by a signal that
/// tells of a bug (SIGSEGV, SIGABRT, ...), which then ends the process as it would have.
class terminal_screen {
 public:
  terminal_screen();
  /// Waits at most two seconds for a terminal that takes nothing.
  ~terminal_screen();
  terminal_screen(const terminal_screen&) = delete;
  terminal_screen& operator=(const terminal_screen&) = delete;

  /// The whole frame in one write. False when the terminal is gone. Waits for one that takes
  /// nothing until a signal comes that is to end the process. Not taken: nothing is drawn, which is
  /// no failure.
  [[nodiscard]] bool draw(const std::vector<std::string>& lines) const;
  /// Of now; 80 x 24 where it does not say.
  [[nodiscard]] frame_size size() const noexcept;
  /// Gives the terminal back and stops the process, as Ctrl-Z asks; returns when it goes on in the
  /// foreground, with the terminal taken again, or is to end.
  void stop_here();
  /// Takes the terminal again, after somebody else stopped and continued the process; as
  /// stop_here() in the background.
  void take_again();
};

}  // namespace portcullis::apps
