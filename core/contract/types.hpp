// The values that the contract is made of (protocol.md, Types). Plain data, no behaviour beyond
// text forms.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.hpp"

namespace portcullis::core {

/// Milliseconds since the Unix epoch, or a duration in milliseconds where the name says so.
using millis = std::int64_t;

/// A session id as the client holds it, decoded: the routing byte, then 31 random bytes. Secret:
/// never logged or stored.
struct session_id {
  byte_array<32> bytes{};
  friend auto operator<=>(const session_id&, const session_id&) = default;
};

/// A session's public name: the routing byte, then 15 random bytes; shown as s_ + 22 characters of
/// base64url.
struct session_handle {
  byte_array<16> bytes{};
  friend auto operator<=>(const session_handle&, const session_handle&) = default;
};
inline constexpr std::size_t handle_text_size = 24;
/// Stands for a text that names nothing: no session's is drawn as all zeros (one in 2^120).
inline constexpr session_handle nothings_handle{};

/// A user's pseudonym in the log: the routing byte, then 15 random bytes, made at first sight.
struct subject_id {
  byte_array<16> bytes{};
  friend auto operator<=>(const subject_id&, const subject_id&) = default;
};

void to_text(const session_handle& handle, char (&out)[handle_text_size]) noexcept;
[[nodiscard]] std::string to_text(const session_handle& handle);
/// Whether the text is one of a handle, also one with bits past the last byte, which names nothing.
[[nodiscard]] bool has_handle_form(std::string_view text) noexcept;
/// Strict: one text for one handle. Absent also for a text that only has the form.
[[nodiscard]] std::optional<session_handle> parse_handle(std::string_view text) noexcept;

/// An address in IPv6 form; IPv4 and IPv4-mapped IPv6 are the same value (::ffff:a.b.c.d).
struct ip_address {
  byte_array<16> bytes{};
  friend auto operator<=>(const ip_address&, const ip_address&) = default;
  [[nodiscard]] bool is_v4() const noexcept;
};
/// IPv4 dotted quad or IPv6 text, without zone, port or prefix.
[[nodiscard]] std::optional<ip_address> parse_ip(std::string_view text) noexcept;
/// The canonical text (RFC 5952; dotted quad for IPv4).
[[nodiscard]] std::string to_text(const ip_address& address);
/// Whether the first bits of both agree: `prefix_v4` (0..32) when both are IPv4, `prefix_v6`
/// (0..128) when both are not.
[[nodiscard]] bool same_network(const ip_address& a, const ip_address& b, int prefix_v4,
                                int prefix_v6) noexcept;

/// The fields of a context that describe the device; `ip` is apart.
enum class context_field : std::uint8_t {
  user_agent,
  accept,
  accept_language,
  accept_encoding,
  ja3,
  ja4
};
inline constexpr std::size_t context_field_count = 6;
inline constexpr std::array<std::string_view, context_field_count> context_field_names = {
    "user_agent", "accept", "accept_language", "accept_encoding", "ja3", "ja4"};
[[nodiscard]] std::optional<context_field> parse_context_field(std::string_view name) noexcept;

/// A set of context fields; bit i is context_field i. Bit 7 stands for `ip` where findings are
/// meant.
using field_set = std::uint8_t;
inline constexpr field_set ip_bit = 1U << 7;
[[nodiscard]] constexpr field_set bit(context_field field) noexcept {
  return static_cast<field_set>(1U << static_cast<unsigned>(field));
}

/// What a caller knows of the request that it asks about. Views; empty fields count as absent.
struct context {
  ip_address ip;
  std::array<std::string_view, context_field_count> fields;
};

enum class invalid_reason : std::uint8_t {
  not_found,
  expired,
  revoked,
  ip_mismatch,
  fingerprint_mismatch,
  locked_out
};
[[nodiscard]] std::string_view to_string(invalid_reason reason) noexcept;

enum class signal_action : std::uint8_t { observe, challenge };
[[nodiscard]] std::string_view to_string(signal_action action) noexcept;

enum class role : std::uint8_t { none, app, observer, admin };
inline constexpr std::array<std::string_view, 4> role_names = {"none", "app", "observer", "admin"};
[[nodiscard]] constexpr std::string_view to_string(role value) noexcept {
  return role_names[static_cast<std::size_t>(value)];
}

}  // namespace portcullis::core
