// What loaded users' rows have wrapped, by the users' slots, until each is first needed: a start
// reads a million of them, so that they stand one after the other in blocks.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis::core {

class sealed_users {
 public:
  struct row {
    std::uint32_t ring_key = 0;
    std::string_view wrapped;  // until the next put() or drop()
  };

  /// The slot must be empty.
  void put(std::uint32_t slot, std::uint32_t ring_key, std::string_view wrapped) {
    const auto block = slot / block_size;
    if (block >= blocks_.size()) blocks_.resize(block + 1);
    if (!blocks_[block]) blocks_[block] = std::make_unique<rows>();
    auto& to = *blocks_[block];
    to.at[slot % block_size] = static_cast<std::uint32_t>(to.bytes.size()) + 1;
    ++to.left;
    const header head{ring_key, static_cast<std::uint32_t>(wrapped.size())};
    to.bytes.append(reinterpret_cast<const char*>(&head), sizeof head);
    to.bytes.append(wrapped);
  }
  [[nodiscard]] bool has(std::uint32_t slot) const noexcept {
    const auto block = slot / block_size;
    return block < blocks_.size() && blocks_[block] && blocks_[block]->at[slot % block_size] != 0;
  }
  /// Only where has().
  [[nodiscard]] row get(std::uint32_t slot) const noexcept {
    const auto& from = *blocks_[slot / block_size];
    const auto* at = from.bytes.data() + from.at[slot % block_size] - 1;
    header head;
    std::memcpy(&head, at, sizeof head);
    return {head.ring_key, {at + sizeof head, head.size}};
  }
  /// Only where has(). The memory goes with the last of a block.
  void drop(std::uint32_t slot) noexcept {
    auto& from = blocks_[slot / block_size];
    from->at[slot % block_size] = 0;
    if (--from->left == 0) from.reset();
  }

 private:
  static constexpr std::uint32_t block_size = 1024;
  struct header {
    std::uint32_t ring_key, size;
  };
  struct rows {
    std::array<std::uint32_t, block_size> at{};  // past the place in `bytes`; 0: none
    std::string bytes;
    std::uint32_t left = 0;
  };
  std::vector<std::unique_ptr<rows>> blocks_;
};

}  // namespace portcullis::core
