#include "core/contract/texts.hpp"

#include <algorithm>
#include <array>

namespace portcullis::core {
namespace {

constexpr unsigned char byte_at(std::string_view text, std::size_t at) noexcept {
  return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
}

// The text is valid UTF-8, so two and three byte sequences can be recognised by their bytes.
bool is_c1(std::string_view text, std::size_t at) noexcept {
  return byte_at(text, at) == 0xC2 && byte_at(text, at + 1) < 0xA0;
}
bool is_bidirectional_override(std::string_view text, std::size_t at) noexcept {
  if (byte_at(text, at) != 0xE2) return false;
  const unsigned second = byte_at(text, at + 1);
  const unsigned third = byte_at(text, at + 2);
  return (second == 0x80 && third >= 0xAA && third <= 0xAE) ||
         (second == 0x81 && third >= 0xA6 && third <= 0xA9);
}

// By table: a correlation id is looked at in every request.
constexpr auto name_bytes = [] {
  std::array<bool, 256> set{};
  for (int c = 0; c < 256; ++c)
    set[static_cast<std::size_t>(c)] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                       (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  return set;
}();
constexpr bool is_name_byte(char c) noexcept { return name_bytes[static_cast<unsigned char>(c)]; }

}  // namespace

bool is_name(std::string_view text, std::size_t bytes_max) noexcept {
  return !text.empty() && text.size() <= bytes_max &&
         std::all_of(text.begin(), text.end(), is_name_byte);
}

bool has_no_controls(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const unsigned byte = byte_at(text, at);
    if (byte < 0x20 || byte == 0x7F || is_c1(text, at)) return false;
  }
  return true;
}

bool is_identifier_text(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const unsigned byte = byte_at(text, at);
    if (byte < 0x20) return false;
    if (byte >= 0xC2 && (is_c1(text, at) || is_bidirectional_override(text, at))) return false;
  }
  return true;
}

}  // namespace portcullis::core
