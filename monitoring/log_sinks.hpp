// Where finished lines go: a descriptor, a file that may be moved away, the journal of systemd.
// What is queued before them, and counted, is the log's business (log.hpp).
#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace portcullis::monitoring {

/// The moment after which nobody waits for a reader any more: a process that ends brings it
/// forward. Any thread.
class log_deadline {
 public:
  using clock = std::chrono::steady_clock;
  [[nodiscard]] bool passed() const noexcept {
    return clock::now().time_since_epoch().count() >= at_.load(std::memory_order_relaxed);
  }
  void pass() noexcept { at_.store(clock::now().time_since_epoch().count()); }

 private:
  std::atomic<clock::rep> at_{clock::time_point::max().time_since_epoch().count()};
};

/// Takes finished lines. All members but reopening_failed() are the log's thread's.
class log_sink {
 public:
  enum class outcome {
    taken,
    refused,   // the system does not take it: no space, no reader, no journald
    given_up,  // the deadline passed while its reader did not read
  };
  virtual ~log_sink() = default;

  /// One whole line or entry. Waits while its reader is slow, until `deadline`. What was not taken
  /// is gone; a later line may be taken again.
  [[nodiscard]] virtual outcome put(std::string_view line,
                                    const log_deadline& deadline) noexcept = 0;

  /// Something may have happened to the place that lines go to. `anew`: to be opened again, whether
  /// or not.
  virtual void look_after([[maybe_unused]] bool anew) noexcept {}

  /// Why the place cannot be opened again, as errno has it; 0: it can. Lines still go to where they
  /// went. Any thread.
  [[nodiscard]] virtual int reopening_failed() const noexcept { return 0; }
};

/// Writes to `fd`, which stays the caller's.
[[nodiscard]] std::unique_ptr<log_sink> make_descriptor_sink(int fd);

/// Appends to the file `path`, made with mode 0640 where there is none; its folder is not made.
/// Regular files, character devices and FIFOs that somebody reads are taken. Before each line, and
/// in look_after(), the path is looked at: when another file or none has its place, it is opened
/// anew; what cannot be opened is tried again each second, and lines go to the file that there was
/// as long as that has a name. Fails with CONFIG_INVALID and says in `why` what the system said.
[[nodiscard]] core::result<std::unique_ptr<log_sink>> make_file_sink(const std::string& path,
                                                                     std::string& why);

/// Sends each entry (render_journal) as a datagram to the socket of journald, by its native
/// protocol. Where nobody listens, the entry is refused and the next one tries anew: journald may
/// come later, go and come back. Waits while journald does not read.
[[nodiscard]] std::unique_ptr<log_sink> make_journal_sink(const std::string& path);

}  // namespace portcullis::monitoring
