// The clock of a node: wall time as it was when this boot's first node started, moved on by the
// boot-time clock. A step of the system's clock, in either direction, changes nothing while the
// machine runs (hazards H18).
#pragma once
#include <string>

#include "core/clock.hpp"
#include "store/journal.hpp"

namespace portcullis::apps {

class boot_clock final : public core::clock {
 public:
  boot_clock();
  [[nodiscard]] core::millis now_ms() noexcept override;
  [[nodiscard]] std::int64_t mono_ns() noexcept override;

  /// Takes this boot's time from the store, or keeps it there when it is the boot's first; never
  /// behind the log. Before other threads use the clock. Returns by how much the system's clock is
  /// ahead (ms).
  [[nodiscard]] core::result<core::millis> settle(store::journal& log);

 private:
  core::millis wall_at_boot_ms_;
};

}  // namespace portcullis::apps
