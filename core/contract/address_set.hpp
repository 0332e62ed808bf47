// A small set of networks, as configuration lists them: proxies that are believed about where a
// request comes from.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/contract/types.hpp"

namespace portcullis::core {

/// An address and how many of its first bits count.
class address_prefix {
 public:
  /// "192.0.2.1", "::1", "10.0.0.0/8", "2001:db8::/32", "::ffff:10.0.0.0/104" (which is
  /// 10.0.0.0/8). Absent for anything else, also where bits past the prefix are set ("10.0.0.1/8"):
  /// whether an address or its network is meant would be a guess, and trust hangs on it.
  [[nodiscard]] static std::optional<address_prefix> parse(std::string_view text) noexcept;

  /// IPv4-mapped IPv6 equals its IPv4. "::/0" holds no IPv4 address: who trusts all of IPv6 has not
  /// said so of IPv4.
  [[nodiscard]] bool contains(const ip_address& address) const noexcept;

 private:
  ip_address network_;
  std::uint8_t bits_ = 128;  // of the IPv6 form: IPv4 prefixes are 96 and more
};

/// Looks at one prefix after the other: made for a dozen, bounded where it is configured.
class address_set {
 public:
  /// False, and nothing changed, when the text is no address and no prefix.
  [[nodiscard]] bool add(std::string_view text);
  [[nodiscard]] bool contains(const ip_address& address) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return prefixes_.empty(); }

 private:
  std::vector<address_prefix> prefixes_;
};

}  // namespace portcullis::core
