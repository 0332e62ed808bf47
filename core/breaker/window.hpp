// The recent calls of one breaker: those of the last seconds, in buckets, or the last so many.
#pragma once
#include <vector>

#include "core/breaker/policy.hpp"

namespace portcullis::core {

/// Adding and advancing allocate nothing. One thread. Times may stand still, and going back counts
/// as standing still.
class call_window {
 public:
  /// Empty, and of the policy's shape.
  void reset(const breaker_policy& policy, millis now_ms);
  [[nodiscard]] bool fits(const breaker_policy& policy) const noexcept;

  /// Calls that took place, `times` of the same. `slow` is for timeouts: the other results say it.
  void add(call_result result, bool slow, std::uint32_t times, millis now_ms) noexcept;
  /// Calls that took place, in no order: of more than it can hold each result keeps its share.
  void add(const call_counts& calls, millis now_ms) noexcept;
  /// Forgets what is too old.
  void advance(millis now_ms) noexcept;

  /// As of the last add or advance; ignored and rejected are 0.
  [[nodiscard]] call_counts counts() const noexcept;
  [[nodiscard]] std::uint64_t calls() const noexcept { return total_.calls; }
  [[nodiscard]] std::uint64_t failures() const noexcept { return total_.failures; }
  [[nodiscard]] std::uint64_t slow() const noexcept { return total_.slow; }

 private:
  struct cell {
    std::uint64_t calls = 0, failures = 0, slow = 0;
    std::array<std::uint64_t, call_result_count> by_result{};
  };
  struct call {
    millis at_ms = 0;
    call_result result = call_result::success;
    bool slow = false;
  };
  static void count(cell& in, call_result result, bool slow, std::uint64_t times) noexcept;
  void forget_oldest() noexcept;

  window_kind kind_ = window_kind::time;
  cell total_;
  // time
  std::vector<cell> buckets_;  // a ring
  std::int64_t window_s_ = 0;
  millis bucket_ms_ = 1, newest_ends_ms_ = 0;
  std::size_t newest_ = 0;
  // count
  std::vector<call> ring_;
  std::size_t first_ = 0, used_ = 0;
  millis age_ms_ = 0, now_ms_ = 0;
};

}  // namespace portcullis::core
