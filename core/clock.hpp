// Time as an argument: the only door through which the product learns what time it is.
#pragma once
#include <cstdint>

#include "core/contract/types.hpp"

namespace portcullis::core {

/// May be called from any thread; neither call blocks.
struct clock {
  clock() = default;
  clock(const clock&) = delete;
  clock& operator=(const clock&) = delete;
  virtual ~clock() = default;

  /// Milliseconds since the Unix epoch. Never decreases within a process, and a step of the
  /// system's clock does not show in it (docs/decisions/0008-one-boot-one-time.md).
  [[nodiscard]] virtual millis now_ms() noexcept = 0;
  /// Nanoseconds since some fixed moment; never decreases. For durations and deadlines only.
  [[nodiscard]] virtual std::int64_t mono_ns() noexcept = 0;
};

}  // namespace portcullis::core
