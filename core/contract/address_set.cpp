#include "core/contract/address_set.hpp"

#include <algorithm>
#include <charconv>

namespace portcullis::core {
namespace {

constexpr int v4_bits_before = 96;

bool starts_with(const ip_address& address, const address_prefix& network) noexcept {
  // Who trusts all of IPv6 (::/0) has not said so of IPv4, whose bits stand in the same form.
  if (address.is_v4() != network.address.is_v4()) return false;
  const auto whole = static_cast<std::size_t>(network.bits / 8);
  for (std::size_t i = 0; i < whole; ++i)
    if (address.bytes[i] != network.address.bytes[i]) return false;
  const int rest = network.bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<unsigned>(0xFF00 >> rest) & 0xFF;
  return ((address.bytes[whole] ^ network.address.bytes[whole]) & mask) == 0;
}

}  // namespace

std::optional<address_prefix> address_set::parse_one(std::string_view text) noexcept {
  const auto slash = text.find('/');
  const auto address = parse_ip(text.substr(0, slash));
  if (!address) return std::nullopt;
  address_prefix made{*address, 128};
  if (slash == std::string_view::npos) return made;
  const auto digits = text.substr(slash + 1);
  // A network in the IPv4-mapped form counts its bits as IPv6.
  const bool v4 = address->is_v4() && text.find(':') == std::string_view::npos;
  int bits = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (failed != std::errc{} || end != digits.data() + digits.size() || bits > (v4 ? 32 : 128) ||
      (digits.size() > 1 && digits.front() == '0') || digits.front() == '-')
    return std::nullopt;
  made.bits = bits + (v4 ? v4_bits_before : 0);
  ip_address masked{};
  std::copy_n(address->bytes.begin(), made.bits / 8, masked.bytes.begin());
  if (made.bits % 8 != 0) {
    const auto at = static_cast<std::size_t>(made.bits / 8);
    masked.bytes[at] = static_cast<std::uint8_t>(address->bytes[at] & (0xFF00 >> made.bits % 8));
  }
  if (masked.bytes != address->bytes) return std::nullopt;
  return made;
}

bool address_set::contains(const ip_address& address) const noexcept {
  return std::any_of(networks_.begin(), networks_.end(),
                     [&](const auto& each) { return starts_with(address, each); });
}

}  // namespace portcullis::core
