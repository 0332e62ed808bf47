// Fixed-size records by slot number, in blocks that never move: growing copies nothing, and a
// reference stays good.
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

/// Values by a slot number that somebody else gives out, in blocks that never move.
template <class T>
class slot_values {
 public:
  /// The slot's value, a fresh one at first.
  [[nodiscard]] T& need(std::uint32_t slot) {
    const auto block = slot / block_size;
    if (block >= blocks_.size()) blocks_.resize(block + 1);
    if (!blocks_[block]) blocks_[block] = std::make_unique<T[]>(block_size);
    return blocks_[block][slot % block_size];
  }
  /// Null where need() never was.
  [[nodiscard]] T* find(std::uint32_t slot) noexcept {
    const auto block = slot / block_size;
    if (block >= blocks_.size() || !blocks_[block]) return nullptr;
    return &blocks_[block][slot % block_size];
  }
  [[nodiscard]] const T* find(std::uint32_t slot) const noexcept {
    return const_cast<slot_values*>(this)->find(slot);
  }
  /// Past every slot that has a value.
  [[nodiscard]] std::uint32_t end_slot() const noexcept {
    return static_cast<std::uint32_t>(blocks_.size()) * block_size;
  }

 private:
  static constexpr std::uint32_t block_size = 1024;
  std::vector<std::unique_ptr<T[]>> blocks_;
};

}  // namespace portcullis::core
