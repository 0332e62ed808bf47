// Randomness as an argument: the only door through which the product gets it.
#pragma once
#include <cstdint>
#include <functional>
#include <span>

namespace portcullis::core {

/// Fills its argument from a cryptographic random number generator (ASVS 11.5.1).
using random_source = std::function<void(std::span<std::uint8_t>)>;

}  // namespace portcullis::core
