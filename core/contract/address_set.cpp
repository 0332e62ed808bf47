#include "core/contract/address_set.hpp"

#include <algorithm>
#include <charconv>

namespace portcullis::core {
namespace {

constexpr int v4_bits_before = 96;

/// A decimal number without sign and leading zeros, at most `max`.
std::optional<int> parse_bits(std::string_view text, int max) noexcept {
  int bits = 0;
  if (text.empty() || (text.size() > 1 && text.front() == '0') || text.front() == '-')
    return std::nullopt;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || bits > max)
    return std::nullopt;
  return bits;
}

bool is_zero_from(const ip_address& address, int bit) noexcept {
  for (int i = bit; i < 128; ++i)
    if ((address.bytes[static_cast<std::size_t>(i / 8)] >> (7 - i % 8) & 1) != 0) return false;
  return true;
}

}  // namespace

std::optional<address_prefix> address_prefix::parse(std::string_view text) noexcept {
  const auto slash = text.find('/');
  const auto address_text = text.substr(0, slash);
  const auto address = parse_ip(address_text);
  if (!address) return std::nullopt;
  address_prefix made;
  made.network_ = *address;
  if (slash == std::string_view::npos) return made;
  // The number counts in the form that was written, whatever the address is equal to.
  const bool dotted_only = address_text.find(':') == std::string_view::npos;
  const int before = dotted_only ? v4_bits_before : 0;
  const auto bits = parse_bits(text.substr(slash + 1), 128 - before);
  if (!bits || !is_zero_from(*address, before + *bits)) return std::nullopt;
  made.bits_ = static_cast<std::uint8_t>(before + *bits);
  return made;
}

bool address_prefix::contains(const ip_address& address) const noexcept {
  return same_network(network_, address, std::max(bits_ - v4_bits_before, 0), bits_);
}

bool address_set::add(std::string_view text) {
  const auto prefix = address_prefix::parse(text);
  if (prefix) prefixes_.push_back(*prefix);
  return prefix.has_value();
}

bool address_set::contains(const ip_address& address) const noexcept {
  return std::any_of(prefixes_.begin(), prefixes_.end(),
                     [&](const address_prefix& each) { return each.contains(address); });
}

}  // namespace portcullis::core
