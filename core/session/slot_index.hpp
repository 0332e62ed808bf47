// An open-addressing hash table from a well-mixed 32-bit hash to slot numbers; the caller compares
// what a slot holds. Eight bytes an entry, between half and three quarters of them used: the size
// grows by half, so a hash's home is a share of the table's length and no mask. Keys are outputs of
// a keyed hash or of the random number generator, so nobody can aim at a chain.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/bytes.hpp"

namespace portcullis::core {

class slot_index {
 public:
  static constexpr std::uint32_t none = 0xffff'ffff;

  /// The first slot with this hash for which `same(slot)` holds, or none.
  template <class Same>
  [[nodiscard]] std::uint32_t find(std::uint32_t hash, Same&& same) const {
    if (entries_.empty()) return none;
    for (auto at = home(hash);; at = next(at)) {
      const auto& there = entries_[at];
      if (there.slot == none) return none;
      if (there.hash == hash && same(there.slot)) return there.slot;
    }
  }
  /// Brings the chain's head towards the cache; for batches.
  [[gnu::always_inline]] void prefetch(std::uint32_t hash) const noexcept {
    if (!entries_.empty()) __builtin_prefetch(&entries_[home(hash)]);
  }
  /// The first slot with this hash, or none: only a hint.
  [[nodiscard]] std::uint32_t candidate(std::uint32_t hash) const noexcept {
    return find(hash, [](std::uint32_t) { return true; });
  }

  /// (hash, slot) must not be there yet.
  void insert(std::uint32_t hash, std::uint32_t slot) {
    if ((size_ + 1) * 4 > entries_.size() * 3) grow();
    place(hash, slot);
    ++size_;
  }

  /// Nothing happens when (hash, slot) is not there.
  void erase(std::uint32_t hash, std::uint32_t slot) {
    if (entries_.empty()) return;
    auto at = home(hash);
    while (!(entries_[at].hash == hash && entries_[at].slot == slot)) {
      if (entries_[at].slot == none) return;
      at = next(at);
    }
    // Backward shift: no grave stones that would lengthen later searches.
    for (auto after = next(at); entries_[after].slot != none; after = next(after)) {
      if (distance(home(entries_[after].hash), after) < distance(at, after)) continue;
      entries_[at] = entries_[after];
      at = after;
    }
    entries_[at] = {0, none};
    --size_;
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  void reserve(std::size_t count) {
    if (count * 4 > entries_.size() * 3) rehash(count / 2 * 3 + 64);
  }

 private:
  struct entry {
    std::uint32_t hash = 0;
    std::uint32_t slot = none;
  };
  // hash / 2^32 of the length (Lemire, "A fast alternative to the modulo reduction").
  [[nodiscard]] std::size_t home(std::uint32_t hash) const noexcept {
    return static_cast<std::size_t>(std::uint64_t{hash} * entries_.size() >> 32);
  }
  [[nodiscard]] std::size_t next(std::size_t at) const noexcept {
    return at + 1 == entries_.size() ? 0 : at + 1;
  }
  [[nodiscard]] std::size_t distance(std::size_t from, std::size_t to) const noexcept {
    return to >= from ? to - from : to + entries_.size() - from;
  }
  void place(std::uint32_t hash, std::uint32_t slot) {
    auto at = home(hash);
    while (entries_[at].slot != none) at = next(at);
    entries_[at] = {hash, slot};
  }
  void grow() { rehash(entries_.empty() ? 64 : entries_.size() / 2 * 3); }
  void rehash(std::size_t length) {
    auto old = std::move(entries_);
    entries_.assign(length, entry{});
    for (const auto& e : old)
      if (e.slot != none) place(e.hash, e.slot);
  }
  std::vector<entry> entries_;
  std::size_t size_ = 0;
};

/// Four bytes of a keyed hash or random value, from `offset`.
[[nodiscard]] inline std::uint32_t hash_at(byte_view bytes, std::size_t offset) noexcept {
  std::uint32_t hash;
  std::memcpy(&hash, bytes.data() + offset, sizeof hash);
  return hash;
}

}  // namespace portcullis::core
