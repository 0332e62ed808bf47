// A broken promise aborts; and the promise that how bytes are split over reads changes nothing.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace portcullis::fuzz {

inline void require(bool held) {
  if (!held) std::abort();
}

/// `run(text, step)` says what came of `text`, read `step` bytes at a time. The first byte of the
/// input chooses one of the steps.
template <class Run>
int same_in_any_pieces(const std::uint8_t* data, std::size_t size, Run run) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = run(text, text.size() + 1);
  require(run(text, 1 + data[0] % 64U) == whole);
  require(run(text, 1) == whole);
  return 0;
}

}  // namespace portcullis::fuzz
