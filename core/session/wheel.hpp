// A timer wheel of whole seconds. An entry fires at its second or, when that is further away than
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
  explicit timer_wheel(std::size_t width_s = 4096) : seconds_(width_s) {}

  /// Fires not before `due_ms`, at the latest one second after (or at the wheel's edge).
  void add(std::uint32_t entry, millis due_ms, millis now_ms) {
    if (next_second_ == 0) next_second_ = now_ms / 1000;
    const auto last = next_second_ + static_cast<std::int64_t>(seconds_.size()) - 1;
    const auto second = std::clamp((due_ms + 999) / 1000, next_second_, last);
    seconds_[static_cast<std::size_t>(second) % seconds_.size()].push_back(entry);
  }

  /// Calls `fire(entry)` for what is due, at most `limit` times. True: more is due, call again
  /// soon. `fire` may add.
  template <class Fire>
  bool advance(millis now_ms, std::size_t limit, Fire&& fire) {
    if (next_second_ == 0) next_second_ = now_ms / 1000;
    // After a long stop one turn of the wheel visits every entry; the seconds in between hold
    // nothing else.
    const auto width = static_cast<std::int64_t>(seconds_.size());
    next_second_ = std::max(next_second_, now_ms / 1000 - width + 1);
    while (next_second_ <= now_ms / 1000) {
      auto& due = seconds_[static_cast<std::size_t>(next_second_) % seconds_.size()];
      while (!due.empty()) {
        if (limit-- == 0) return true;
        const auto entry = due.back();
        due.pop_back();
        fire(entry);
      }
      ++next_second_;
    }
    return false;
  }

 private:
  std::vector<std::vector<std::uint32_t>> seconds_;
  std::int64_t next_second_ = 0;
};

}  // namespace portcullis::core
