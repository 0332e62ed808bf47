// Fixed-size records by slot number, in blocks that never move.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace portcullis::core {

template <class T>
class slab {
 public:
  [[nodiscard]] T& operator[](std::uint32_t slot) noexcept {
    return blocks_[slot / block_size][slot % block_size];
  }
  [[nodiscard]] const T& operator[](std::uint32_t slot) const noexcept {
    return blocks_[slot / block_size][slot % block_size];
  }
  /// A slot with a fresh T.
  [[nodiscard]] std::uint32_t take() {
    ++live_;
    if (!free_.empty()) {
      const auto slot = free_.back();
      free_.pop_back();
      return slot;
    }
    if (used_ % block_size == 0) blocks_.push_back(std::make_unique<T[]>(block_size));
    return used_++;
  }
  void give_back(std::uint32_t slot) {
    (*this)[slot] = T{};
    free_.push_back(slot);
    --live_;
  }
  /// Slots ever used: all below may be read, those given back hold a fresh T.
  [[nodiscard]] std::uint32_t used() const noexcept { return used_; }
  [[nodiscard]] std::size_t live() const noexcept { return live_; }

 private:
  static constexpr std::uint32_t block_size = 1024;
  std::vector<std::unique_ptr<T[]>> blocks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t used_ = 0;
  std::size_t live_ = 0;
};

}  // namespace portcullis::core
