// How long one step of a reader may go on. Private to store.
#pragma once
#include <chrono>

#include "core/limits.hpp"

namespace portcullis::store {

class slice {
 public:
  /// Asks the clock only now and then: rows take well under a microsecond.
  [[nodiscard]] bool is_over() noexcept {
    if (++rows_ % rows_between_looks != 0) return false;
    return std::chrono::steady_clock::now() - start_ >=
           std::chrono::microseconds(core::limits::read_slice_us);
  }

 private:
  static constexpr unsigned rows_between_looks = 32;
  unsigned rows_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace portcullis::store
