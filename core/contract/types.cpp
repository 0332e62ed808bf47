#include "core/contract/types.hpp"

#include <arpa/inet.h>

namespace portcullis::core {
namespace {

constexpr byte_array<12> v4_mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool same_bits(const std::uint8_t* a, const std::uint8_t* b, int bits) noexcept {
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (std::memcmp(a, b, whole) != 0) return false;
  const int rest = bits % 8;
  return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

}  // namespace

void to_text(const session_handle& handle, char (&out)[handle_text_size]) noexcept {
  out[0] = 's';
  out[1] = '_';
  to_base64url(handle.bytes, out + 2);
}

std::string to_text(const session_handle& handle) {
  char text[handle_text_size];
  to_text(handle, text);
  return {text, sizeof text};
}

bool has_handle_form(std::string_view text) noexcept {
  if (text.size() != handle_text_size || !text.starts_with("s_")) return false;
  // With two characters more, no bits are past the last byte: only the alphabet is checked.
  byte_array<18> decoded;
  char padded[handle_text_size];
  std::memcpy(padded, text.data() + 2, handle_text_size - 2);
  padded[handle_text_size - 2] = padded[handle_text_size - 1] = 'A';
  return from_base64url({padded, sizeof padded}, decoded);
}

std::optional<session_handle> parse_handle(std::string_view text) noexcept {
  session_handle handle;
  if (!text.starts_with("s_") || !from_base64url(text.substr(2), handle.bytes)) return std::nullopt;
  return handle;
}

bool ip_address::is_v4() const noexcept {
  return std::memcmp(bytes.data(), v4_mapped.data(), v4_mapped.size()) == 0;
}

std::optional<ip_address> parse_ip(std::string_view text) noexcept {
  char terminated[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof terminated) return std::nullopt;
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  std::memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';
  ip_address address;
  // Only IPv6 has colons; asking the right parser at once matters on the way of every validation.
  if (text.find(':') != std::string_view::npos) {
    if (inet_pton(AF_INET6, terminated, address.bytes.data()) == 1) return address;
    return std::nullopt;
  }
  std::memcpy(address.bytes.data(), v4_mapped.data(), v4_mapped.size());
  if (inet_pton(AF_INET, terminated, address.bytes.data() + 12) == 1) return address;
  return std::nullopt;
}

std::string to_text(const ip_address& address) {
  char text[INET6_ADDRSTRLEN];
  const bool v4 = address.is_v4();
  inet_ntop(v4 ? AF_INET : AF_INET6, address.bytes.data() + (v4 ? 12 : 0), text, sizeof text);
  return text;
}

bool same_network(const ip_address& a, const ip_address& b, int prefix_v4, int prefix_v6) noexcept {
  if (a.is_v4() != b.is_v4()) return false;
  return a.is_v4() ? same_bits(a.bytes.data() + 12, b.bytes.data() + 12, prefix_v4)
                   : same_bits(a.bytes.data(), b.bytes.data(), prefix_v6);
}

std::optional<context_field> parse_context_field(std::string_view name) noexcept {
  for (std::size_t i = 0; i < context_field_count; ++i)
    if (context_field_names[i] == name) return static_cast<context_field>(i);
  return std::nullopt;
}

std::string_view to_string(invalid_reason reason) noexcept {
  switch (reason) {
    case invalid_reason::not_found:
      return "not_found";
    case invalid_reason::expired:
      return "expired";
    case invalid_reason::revoked:
      return "revoked";
    case invalid_reason::ip_mismatch:
      return "ip_mismatch";
    case invalid_reason::fingerprint_mismatch:
      return "fingerprint_mismatch";
    case invalid_reason::locked_out:
      return "locked_out";
  }
  __builtin_unreachable();
}

std::string_view to_string(signal_action action) noexcept {
  switch (action) {
    case signal_action::observe:
      return "observe";
    case signal_action::challenge:
      return "challenge";
  }
  __builtin_unreachable();
}

}  // namespace portcullis::core
