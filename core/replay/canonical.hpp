// How an entity of the state is written as bytes, for digests and snapshots: integers little
// endian, texts with their length in front. Private to core/replay.
#pragma once
#include <cstring>
#include <string>

#include "core/bytes.hpp"

namespace portcullis::core {

class canonical_writer {
 public:
  template <class Int>
  void put(Int value) {
    static_assert(std::is_integral_v<Int>);
    for (std::size_t i = 0; i < sizeof(Int); ++i)
      bytes_.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i)));
  }
  void put_bytes(byte_view bytes) { bytes_.append(as_text(bytes)); }
  void put_text(std::string_view text) {
    put(static_cast<std::uint32_t>(text.size()));
    bytes_.append(text);
  }
  [[nodiscard]] std::string_view view() const noexcept { return bytes_; }
  [[nodiscard]] std::string take() noexcept { return std::move(bytes_); }
  void clear() noexcept { bytes_.clear(); }

 private:
  std::string bytes_;
};

}  // namespace portcullis::core
