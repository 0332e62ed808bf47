// A timer wheel of equal ticks. An entry fires at its tick or, when that is further away than
// the wheel is wide, at the wheel's edge; whoever owns it looks whether it is really due and puts
// it back if not. So moving a deadline costs nothing.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/contract/types.hpp"

namespace portcullis::core {

class timer_wheel {
 public:
  explicit timer_wheel(std::size_t width = 4096, millis tick_ms = 1000)
      : ticks_(width), tick_ms_(tick_ms) {}

  /// Fires not before `due_ms`, at the latest one tick after (or at the wheel's edge).
  void add(std::uint32_t entry, millis due_ms, millis now_ms) {
    if (next_tick_ == 0) next_tick_ = now_ms / tick_ms_;
    const auto last = next_tick_ + static_cast<std::int64_t>(ticks_.size()) - 1;
    const auto tick = std::clamp((due_ms + tick_ms_ - 1) / tick_ms_, next_tick_, last);
    ticks_[static_cast<std::size_t>(tick) % ticks_.size()].push_back(entry);
  }

  /// Calls `fire(entry)` for what is due, at most `limit` times. True: more is due, call again
  /// soon. `fire` may add.
  template <class Fire>
  bool advance(millis now_ms, std::size_t limit, Fire&& fire) {
    if (next_tick_ == 0) next_tick_ = now_ms / tick_ms_;
    // After a long stop one turn of the wheel visits every entry; the ticks in between hold
    // nothing else.
    const auto width = static_cast<std::int64_t>(ticks_.size());
    next_tick_ = std::max(next_tick_, now_ms / tick_ms_ - width + 1);
    while (next_tick_ <= now_ms / tick_ms_) {
      auto& due = ticks_[static_cast<std::size_t>(next_tick_) % ticks_.size()];
      while (!due.empty()) {
        if (limit-- == 0) return true;
        const auto entry = due.back();
        due.pop_back();
        fire(entry);
      }
      ++next_tick_;
    }
    return false;
  }

 private:
  std::vector<std::vector<std::uint32_t>> ticks_;
  millis tick_ms_;
  std::int64_t next_tick_ = 0;
};

}  // namespace portcullis::core
