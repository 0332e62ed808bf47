// Where a forwarded request comes from.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "core/contract/address_set.hpp"
#include "net/http/header_field.hpp"

namespace portcullis::net {

/// The text of an address; no memory of its own.
class address_text {
 public:
  address_text() = default;
  explicit address_text(const core::ip_address& address) noexcept;
  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  std::array<char, 46> text_;  // INET6_ADDRSTRLEN
  std::size_t size_ = 0;
};

/// The address of an entry of X-Forwarded-For: IPv4 or IPv6, IPv4 with a port, IPv6 in brackets
/// with or without one. Absent for anything else, such as "unknown", quotes and zones.
[[nodiscard]] std::optional<core::ip_address> parse_forwarded_address(
    std::string_view entry) noexcept;

/// The client's address: that of the connection (`from`), unless it is one of `trusted`. Then the
/// fields named X-Forwarded-For are read as one list, from its end, where the nearest proxy added
/// what it saw: the first address that is not trusted itself; where all are, the leftmost; where
/// there is none, the connection's. Empty entries do not count (RFC 9110, 5.6.1.2).
/// Absent when an entry that is reached cannot be parsed: going past it would believe what stands
/// left of it, stopping before it would take a proxy for a client.
[[nodiscard]] std::optional<core::ip_address> client_address(
    const core::ip_address& from, std::span<const header_field> fields,
    const core::address_set& trusted) noexcept;

}  // namespace portcullis::net
