// Which of several states of one breaker, as its sources have them, is the one to show.
#pragma once
#include "core/breaker/types.hpp"

namespace portcullis::core {

/// The more a state says of trouble, the higher.
[[nodiscard]] constexpr int badness(breaker_state state) noexcept {
  switch (state) {
    case breaker_state::forced_open:
      return 4;
    case breaker_state::open:
      return 3;
    case breaker_state::half_open:
      return 2;
    case breaker_state::closed:
      return 1;
    case breaker_state::disabled:
    case breaker_state::metrics_only:
      return 0;
  }
  __builtin_unreachable();
}

/// The base state that an observed one is shown with.
[[nodiscard]] constexpr breaker_state base_of(breaker_state state) noexcept {
  if (static_cast<std::size_t>(state) < base_state_count) return state;
  return state == breaker_state::forced_open ? breaker_state::open : breaker_state::closed;
}

}  // namespace portcullis::core
