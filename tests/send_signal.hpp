// Signals to processes under test.
#pragma once
#include <signal.h>
#include <sys/types.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <thread>

namespace portcullis {

/// Whether a thread of the process could still run. False also for one that ended.
inline bool is_running(pid_t process) {
  const auto threads = "/proc/" + std::to_string(process) + "/task";
  std::error_code none;
  for (std::filesystem::directory_iterator at(threads, none), end; !none && at != end;
       at.increment(none)) {
    std::ifstream file(at->path() / "stat");
    const std::string stat(std::istreambuf_iterator<char>(file), {});
    const auto name_ends = stat.rfind(')');  // `1 (name) S ...`
    if (name_ends == std::string::npos || name_ends + 2 >= stat.size()) continue;
    if (std::string("TtZX").find(stat[name_ends + 2]) == std::string::npos) return true;
  }
  return false;
}

/// kill(2). After SIGSTOP, returns when every thread stands still: on a busy machine one that has
/// not been told yet goes on for a while.
inline void send_signal(pid_t process, int number) {
  if (::kill(process, number) != 0) return;
  while (number == SIGSTOP && is_running(process)) std::this_thread::yield();
}

}  // namespace portcullis
