// Where a loop reads into: one block shared by all connections, replaced while others still view
// it.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

#include "net/ports.hpp"

namespace portcullis::net {

/// Single thread.
class read_space {
 public:
  read_space(std::size_t capacity, std::size_t blocks_max)
      : capacity_(capacity), blocks_max_(blocks_max), block_(new read_block(capacity)) {}

  /// At least `need` (<= capacity) free bytes; null while too many blocks are held by requests.
  [[nodiscard]] char* take(std::size_t need) {
    if (block_.unique()) used_ = 0;  // the same, cache-warm bytes again
    if (capacity_ - used_ < need && !replace()) return nullptr;
    return block_.get()->data() + used_;
  }
  [[nodiscard]] std::size_t room() const noexcept { return capacity_ - used_; }
  /// Keeps the first `n` bytes of what take() gave for as long as the block is referenced.
  void keep(std::size_t n) noexcept { used_ += n; }
  [[nodiscard]] const block_ref& block() const noexcept { return block_; }
  /// Whether take() would succeed for any need.
  [[nodiscard]] bool available() const noexcept {
    if (block_.unique() || read_block::live() < blocks_max_) return true;
    for (const auto& each : retired_)
      if (each.unique()) return true;
    return false;
  }

 private:
  // Fresh blocks would cost page faults at every turn that reads more than one block.
  static constexpr std::size_t retired_max = 8;

  bool replace() {
    for (auto& each : retired_) {
      if (!each.unique()) continue;
      std::swap(each, block_);
      used_ = 0;
      return true;
    }
    if (read_block::live() >= blocks_max_) return false;
    block_ref fresh(new read_block(capacity_));
    std::swap(block_, fresh);
    if (retired_.size() < retired_max) retired_.push_back(std::move(fresh));
    used_ = 0;
    return true;
  }

  std::size_t capacity_;
  std::size_t blocks_max_;
  std::size_t used_ = 0;
  block_ref block_;
  std::vector<block_ref> retired_;
};

}  // namespace portcullis::net
