// Where finished lines go: a descriptor, a file that may be moved away, the journal of systemd.
// What is queued before them, and counted, is the log's business (log.hpp).
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace portcullis::monitoring {

/// What others want of the thread that writes, which looks at it also while it waits for a reader.
/// Any thread.
class log_demands {
 public:
  /// Nobody waits for a reader any more: a process that ends. Never taken back.
  void give_up() noexcept { over_.store(true, std::memory_order_relaxed); }
  /// Whether give_up() was called: what is not written yet is to be dropped.
  [[nodiscard]] bool given_up() const noexcept { return over_.load(std::memory_order_relaxed); }

  /// The place that lines go to is to be opened anew.
  void reopen() noexcept { reopen_.store(true, std::memory_order_release); }
  /// Whether reopen() was called since take_reopen() last said so.
  [[nodiscard]] bool reopen_wanted() const noexcept {
    return reopen_.load(std::memory_order_relaxed);
  }
  /// The same, once for each time that it was wanted: who is told does it.
  [[nodiscard]] bool take_reopen() noexcept {
    return reopen_wanted() && reopen_.exchange(false, std::memory_order_acquire);
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<bool> reopen_{false};
};

/// Takes finished lines. All members but reopening_failed() are for one thread at a time.
class log_sink {
 public:
  enum class outcome {
    taken,
    refused,   // the system does not take it: no space, no reader, no journald
    given_up,  // its reader did not read, and nobody waits for it any more
  };
  virtual ~log_sink() = default;

  /// One whole line or entry. Waits while its reader is slow, until `wanted` says to give up; a
  /// demand to reopen is met before the line, and while it waits: then the line goes to the place
  /// that is there now, whole. What was not taken is gone; a later line may be taken again.
  [[nodiscard]] virtual outcome put(std::string_view line, log_demands& wanted) noexcept = 0;

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
/// as long as that has a name. Where a file ends within a line (of a process that died), the first
/// line begins a new one. Fails with CONFIG_INVALID and says in `why` what the system said.
[[nodiscard]] core::result<std::unique_ptr<log_sink>> make_file_sink(const std::string& path,
                                                                     std::string& why);

/// Sends each entry (render_journal) as a datagram to the socket of journald, by its native
/// protocol. Where nobody listens, the entry is refused and the next one tries anew: journald may
/// come later, go and come back. One larger than a datagram may be (net.core.wmem_max) is refused.
/// Waits while journald does not read.
[[nodiscard]] std::unique_ptr<log_sink> make_journal_sink(const std::string& path);

}  // namespace portcullis::monitoring
