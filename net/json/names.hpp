// A fixed set of names with a collision-free hash that the compiler finds: one probe, one
// comparison.
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace portcullis::net::json {

template <std::size_t N>
class name_table {
 public:
  /// Does not compile when two names agree in length, first four and last four bytes.
  consteval explicit name_table(const std::array<std::string_view, N>& names) : names_(names) {
    while (!try_seed()) seed_ = seed_ * 6364136223846793005ULL + 1442695040888963407ULL;
  }

  /// The name's place in the list, or N.
  [[nodiscard]] constexpr std::size_t find(std::string_view name) const noexcept {
    const std::size_t index = slots_[slot_of(name)];
    return index < N && same(names_[index], name) ? index : N;
  }
  [[nodiscard]] constexpr std::string_view operator[](std::size_t index) const noexcept {
    return names_[index];
  }

 private:
  static constexpr unsigned slot_bits = std::bit_width(N * 4);
  static_assert(N < 255);

  /// Names are short: two overlapping loads each instead of a call.
  static constexpr bool same(std::string_view a, std::string_view b) noexcept {
    const std::size_t size = a.size();
    if (size != b.size()) return false;
    if (std::is_constant_evaluated() || size < 4 || size > 16) return a == b;
    if (size < 8)
      return load4(a.data()) == load4(b.data()) &&
             load4(a.data() + size - 4) == load4(b.data() + size - 4);
    return load8(a.data()) == load8(b.data()) &&
           load8(a.data() + size - 8) == load8(b.data() + size - 8);
  }
  static std::uint64_t load8(const char* at) noexcept {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    return word;
  }

  static constexpr std::uint32_t load4(const char* at) noexcept {
    if (!std::is_constant_evaluated()) {
      std::uint32_t word;
      std::memcpy(&word, at, 4);
      if constexpr (std::endian::native == std::endian::little) return word;
      return __builtin_bswap32(word);
    }
    std::uint32_t word = 0;
    for (unsigned i = 0; i < 4; ++i)
      word |= static_cast<std::uint32_t>(static_cast<unsigned char>(at[i])) << (8 * i);
    return word;
  }

  constexpr std::size_t slot_of(std::string_view name) const noexcept {
    const std::size_t size = name.size();
    std::uint64_t word = size;
    if (size >= 4) {
      word ^= load4(name.data()) ^ static_cast<std::uint64_t>(load4(name.data() + size - 4)) << 32;
    } else if (size > 0) {
      word ^= static_cast<std::uint64_t>(static_cast<unsigned char>(name[0])) << 8 |
              static_cast<std::uint64_t>(static_cast<unsigned char>(name[size / 2])) << 16 |
              static_cast<std::uint64_t>(static_cast<unsigned char>(name[size - 1])) << 24;
    }
    return static_cast<std::size_t>((word * seed_) >> (64 - slot_bits));
  }

  consteval bool try_seed() {
    for (auto& slot : slots_) slot = 255;
    for (std::size_t i = 0; i < N; ++i) {
      auto& slot = slots_[slot_of(names_[i])];
      if (slot != 255) return false;
      slot = static_cast<std::uint8_t>(i);
    }
    return true;
  }

  std::array<std::string_view, N> names_;
  std::array<std::uint8_t, std::size_t{1} << slot_bits> slots_{};
  std::uint64_t seed_ = 0x9E3779B97F4A7C15ULL;
};

template <std::size_t N>
name_table(const std::array<std::string_view, N>&) -> name_table<N>;

}  // namespace portcullis::net::json
