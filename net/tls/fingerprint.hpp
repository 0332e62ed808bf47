// Fingerprints of a ClientHello: which software a client is, as far as its offer tells. Pure, any
// thread. JA3: Salesforce, 2017. JA4: FoxIO, technical_details/JA4.md.
#pragma once
#include <cstdint>
#include <string>

#include "net/tls/client_hello.hpp"

namespace portcullis::net {

/// Whether the value is one of those that clients strew in so that servers learn to ignore what
/// they do not know: 0x0a0a, 0x1a1a ... 0xfafa (RFC 8701, 2).
[[nodiscard]] constexpr bool is_grease(std::uint16_t value) noexcept {
  return (value & 0x0f0fU) == 0x0a0aU && value >> 8U == (value & 0xffU);
}

/// What JA3 is the hash of: legacy version, ciphers, extensions, groups, point formats, decimal, in
/// the order of the hello and without GREASE. "771,4865-4866,0-10-11,29-23,0"; a list without
/// values is empty text.
[[nodiscard]] std::string ja3_text(const client_hello& hello);
/// MD5 of ja3_text(), 32 lower-case hex digits. Empty where OpenSSL has no MD5 (FIPS); that is no
/// error, and leaves nothing in OpenSSL's error queue.
[[nodiscard]] std::string ja3(const client_hello& hello);

/// 36 characters: "t13d1516h2_8daaf6152771_e5627efa2ab1". The order of ciphers and extensions does
/// not change it; what the client asks for (host name, protocol) changes only the first part.
[[nodiscard]] std::string ja4(const client_hello& hello);
/// As ja4(), but nothing sorted, and with server_name and ALPN among the extensions.
[[nodiscard]] std::string ja4_o(const client_hello& hello);
/// What ja4() and ja4_o() hash, instead of the hashes. As long as the hello makes it: for people.
[[nodiscard]] std::string ja4_r(const client_hello& hello);
[[nodiscard]] std::string ja4_ro(const client_hello& hello);

}  // namespace portcullis::net
