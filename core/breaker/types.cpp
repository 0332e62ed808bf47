#include "core/breaker/types.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/breaker/policy.hpp"
#include "core/bytes.hpp"
#include "core/contract/texts.hpp"
#include "core/limits.hpp"
#include "core/mix.hpp"

namespace portcullis::core {
namespace {

void put(std::uint8_t* at, std::uint32_t value) noexcept {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}
std::uint32_t get(const std::uint8_t* at) noexcept {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | at[i];
  return value;
}

/// The same number on machines of either byte order.
template <class Int>
std::uint64_t little_endian(const char* at) noexcept {
  Int value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (std::endian::native == std::endian::big)
    value = sizeof(Int) == 8
                ? static_cast<Int>(__builtin_bswap64(value))
                : static_cast<Int>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
  return value;
}

std::uint64_t mixed_in(std::uint64_t hash, std::uint64_t word) noexcept {
  hash = (hash ^ word) * mix64_step;
  return hash ^ hash >> 32;
}

/// Word by word, the last two of which may overlap; the length is the caller's to mix in.
std::uint64_t mixed_in(std::uint64_t hash, std::string_view text) noexcept {
  const char* at = text.data();
  const auto size = text.size();
  if (size < 4) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < size; ++i)
      word |= std::uint64_t{static_cast<unsigned char>(at[i])} << (8 * i);
    return mixed_in(hash, word);
  }
  if (size < 8)
    return mixed_in(
        hash, little_endian<std::uint32_t>(at) | little_endian<std::uint32_t>(at + size - 4) << 32);
  for (const char* last = at + size - 8; at < last; at += 8)
    hash = mixed_in(hash, little_endian<std::uint64_t>(at));
  return mixed_in(hash, little_endian<std::uint64_t>(text.data() + size - 8));
}

}  // namespace

void to_text(const breaker_permit& permit, char (&out)[permit_text_size]) noexcept {
  byte_array<16> bytes;
  put(bytes.data(), permit.breaker);
  put(bytes.data() + 4, permit.epoch);
  put(bytes.data() + 8, permit.round);
  put(bytes.data() + 12, permit.number);
  out[0] = 'p';
  out[1] = '_';
  to_base64url(bytes, out + 2);
}

std::optional<breaker_permit> parse_permit(std::string_view text) noexcept {
  byte_array<16> bytes;
  if (text.size() != permit_text_size || !text.starts_with("p_") ||
      !from_base64url(text.substr(2), bytes))
    return std::nullopt;
  return breaker_permit{get(bytes.data()), get(bytes.data() + 4), get(bytes.data() + 8),
                        get(bytes.data() + 12)};
}

std::uint64_t hash_of(const breaker_name& name, std::uint64_t seed) noexcept {
  // FNV-1a was tried: byte by byte, a name of 64 bytes took a third of what a call may cost.
  const auto sizes = std::uint64_t{name.service.size()} << 32 | name.breaker.size();
  return mix64(mixed_in(mixed_in(mix64(sizes ^ seed), name.service), name.breaker));
}

std::uint32_t tag_of(const breaker_name& name) noexcept {
  return static_cast<std::uint32_t>(hash_of(name, 0) >> 32);
}

const breaker_policy& breaker_book::of(const breaker_name& name) const {
  if (patterns.empty()) return fallback;
  std::array<char, 2 * limits::breaker_name_bytes_max + 1> key;  // asked for at each call
  if (name.service.size() + name.breaker.size() >= key.size()) return fallback;
  for (const auto& [service, breaker] :
       {breaker_name{name.service, name.breaker}, {name.service, "*"}, {"*", name.breaker}}) {
    auto* end = std::copy(service.begin(), service.end(), key.begin());
    *end++ = '/';
    end = std::copy(breaker.begin(), breaker.end(), end);
    const std::string_view text(key.data(), static_cast<std::size_t>(end - key.begin()));
    if (const auto found = patterns.find(text); found != patterns.end()) return found->second;
  }
  return fallback;
}

bool is_breaker_pattern(std::string_view text) noexcept {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  const auto is_part = [](std::string_view part) {
    return part == "*" || is_name(part, limits::breaker_name_bytes_max);
  };
  return is_part(text.substr(0, slash)) && is_part(text.substr(slash + 1));
}

}  // namespace portcullis::core
