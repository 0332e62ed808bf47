#include "core/breaker/types.hpp"

#include <cstring>

#include "core/breaker/policy.hpp"
#include "core/bytes.hpp"
#include "core/contract/texts.hpp"
#include "core/limits.hpp"

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

std::uint32_t tag_of(const breaker_name& name) noexcept {
  // FNV-1a: https://www.rfc-editor.org/rfc/rfc9923
  std::uint32_t hash = 2166136261U;
  const auto mix = [&hash](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  };
  mix(name.service);
  mix("/");
  mix(name.breaker);
  return hash;
}

const breaker_policy& breaker_book::of(const breaker_name& name) const {
  if (patterns.empty()) return fallback;
  std::string key;
  for (const auto& [service, breaker] :
       {breaker_name{name.service, name.breaker}, {name.service, "*"}, {"*", name.breaker}}) {
    key.assign(service).append(1, '/').append(breaker);
    if (const auto found = patterns.find(key); found != patterns.end()) return found->second;
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
