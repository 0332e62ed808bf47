// The bounded queue of finished lines and the thread that hands them to a sink.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "core/config/config.hpp"
#include "monitoring/log_sinks.hpp"

namespace portcullis::monitoring {

/// What became of lines, for all pipelines that a log has one after the other. Any thread.
struct log_progress {
  std::atomic<std::uint64_t> submitted{0};
  std::atomic<std::uint64_t> finished{0};  // written, or given up by the sink
  std::atomic<std::uint64_t> lost{0};      // not taken by the sink, or never queued
  std::atomic<std::uint64_t> refused{0};   // of these: by the system
  std::atomic<bool> refusing{false};       // the last line was
  std::mutex mutex;
  std::condition_variable moved;
};

/// Takes lines from any thread without waiting; its own thread hands them to the sink. When the
/// queue is full the oldest line is pushed out. Nothing but lines is in the queue.
class log_pipeline {
 public:
  enum class watch { no, yes };  // whether the sink is looked after while nothing is logged

  /// At most `queue_lines` wait, besides the one that is being written. `shared` outlives it.
  log_pipeline(std::unique_ptr<log_sink> sink, std::size_t queue_lines, log_progress& shared,
               watch watched);
  /// What waits is dropped, and counted in `shared`.
  ~log_pipeline();
  log_pipeline(const log_pipeline&) = delete;
  log_pipeline& operator=(const log_pipeline&) = delete;

  /// Queues a copy of `text`. Never waits for the sink. What cannot be queued counts as lost.
  void send(core::log_level level, std::string_view text);
  /// Has the sink open its place anew: before the next line, while it waits for its reader, and,
  /// where it is watched, soon. Any thread; does not wait.
  void reopen() noexcept;
  /// How many lines were pushed out. They are in none of the counts of `shared`.
  [[nodiscard]] std::uint64_t overrun() const;
  /// Whether the queue is at most half full.
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] const log_sink& sink() const noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace portcullis::monitoring
