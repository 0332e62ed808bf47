// A set of addresses and networks: whose word about somebody else's address is believed.
#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "core/contract/types.hpp"

namespace portcullis::core {

/// A network: the first `bits` of an address in its IPv6 form (an IPv4 network has 96 more).
struct address_prefix {
  ip_address address;
  int bits = 128;
  friend bool operator==(const address_prefix&, const address_prefix&) = default;
};

/// Few entries, looked through one by one. An IPv4-mapped IPv6 address equals its IPv4; networks of
/// IPv6 hold no other IPv4 addresses.
class address_set {
 public:
  /// "192.0.2.1", "10.0.0.0/8", "::1", "2001:db8::/32". Nothing for any other text, also where bits
  /// behind the prefix are set: that is most likely a slip.
  [[nodiscard]] static std::optional<address_prefix> parse_one(std::string_view text) noexcept;

  void add(const address_prefix& network) { networks_.push_back(network); }
  [[nodiscard]] bool contains(const ip_address& address) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return networks_.empty(); }

 private:
  std::vector<address_prefix> networks_;
};

}  // namespace portcullis::core
