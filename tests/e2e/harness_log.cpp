// How the harness reads a server's log.
#include <poll.h>
#include <unistd.h>

#include <array>

#include "harness.hpp"

namespace portcullis::e2e {

void server::read_log(int fd) {
  std::array<char, 65536> block;
  for (;;) {
    const auto got = read(fd, block.data(), block.size());
    std::lock_guard guard{mutex_};
    if (got > 0)
      log_.append(block.data(), static_cast<std::size_t>(got));
    else
      log_ended_ = true;
    changed_.notify_all();
    if (got <= 0) break;
  }
  ::close(fd);
}

void server::read_elsewhere(const std::stop_token& over) {
  for (bool last = false; !last;) {
    last = over.stop_requested();  // once more after the end of the process
    const auto lines = options_.more_log();
    if (lines.empty() && !last) poll(nullptr, 0, 2);  // files tell nobody
    std::lock_guard guard{mutex_};
    log_ += lines;
    changed_.notify_all();
  }
}

std::string server::log() const {
  std::lock_guard guard{mutex_};
  return log_;
}

bool server::logged(std::string_view text, std::chrono::milliseconds within) {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, within, [&] {
    return log_.find(text) != std::string::npos || log_ended_;
  }) && log_.find(text) != std::string::npos;
}

}  // namespace portcullis::e2e
