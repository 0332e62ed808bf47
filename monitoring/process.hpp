// What the kernel says of this process, for the process_* metrics.
#pragma once
#include <cstdint>
#include <optional>

namespace portcullis::monitoring {

struct process_figures {
  double cpu_seconds = 0;
  double start_time_seconds = 0;  // since the Unix epoch
  std::uint64_t resident_bytes = 0, virtual_bytes = 0;
  std::uint64_t open_fds = 0, max_fds = 0;
};

/// Reads /proc/self. Absent where /proc is not mounted or not readable: then the levels are 0. Any
/// thread.
[[nodiscard]] std::optional<process_figures> read_process_figures();

}  // namespace portcullis::monitoring
