// One mixing of 64 bits, for what must look random and need not be secret.
#pragma once
#include <cstdint>

namespace portcullis::core {

/// What splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) adds
/// to its state at each step.
inline constexpr std::uint64_t mix64_step = 0x9E37'79B9'7F4A'7C15;

/// The finalizer of splitmix64: one to one, each bit of the input changes half of the output's.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t bits) noexcept {
  bits = (bits ^ (bits >> 30)) * 0xBF58'476D'1CE4'E5B9;
  bits = (bits ^ (bits >> 27)) * 0x94D0'49BB'1331'11EB;
  return bits ^ (bits >> 31);
}

}  // namespace portcullis::core
