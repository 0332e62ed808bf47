#include "net/redis/slots.hpp"

#include <array>
#include <charconv>

#include "net/redis/limits.hpp"

namespace portcullis::net::redis {
namespace {

/// Polynomial 0x1021, initial value 0, not reflected.
constexpr std::array<std::uint16_t, 256> make_crc_table() {
  std::array<std::uint16_t, 256> made{};
  for (unsigned byte = 0; byte < made.size(); ++byte) {
    unsigned crc = byte << 8U;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc & 0x8000U) != 0 ? (crc << 1U) ^ 0x1021U : crc << 1U;
    made[byte] = static_cast<std::uint16_t>(crc);
  }
  return made;
}
constexpr auto crc_table = make_crc_table();

template <class T>
bool read_number(std::string_view text, T most, T& into) {
  const auto* end = text.data() + text.size();
  const auto got = std::from_chars(text.data(), end, into);
  return got.ec == std::errc() && got.ptr == end && into <= most;
}

bool is_slot(const reply& what) {
  return what.is(reply_type::integer) && what.integer >= 0 &&
         what.integer < static_cast<std::int64_t>(limits::slots);
}

}  // namespace

std::uint16_t slot_of(std::string_view key) noexcept {
  if (const auto open = key.find('{'); open != key.npos) {
    const auto close = key.find('}', open + 1);
    if (close != key.npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
  }
  unsigned crc = 0;
  for (const char c : key)
    crc = (crc << 8U) ^ crc_table[((crc >> 8U) ^ static_cast<unsigned char>(c)) & 0xffU];
  return static_cast<std::uint16_t>(crc % limits::slots);
}

std::optional<redirection> redirection_of(const reply& what, const address& from) {
  const auto code = what.error_code();
  if (code != "MOVED" && code != "ASK") return std::nullopt;
  redirection made;
  made.ask = code == "ASK";
  auto rest = std::string_view(what.text).substr(code.size());
  if (!rest.starts_with(' ')) return std::nullopt;
  rest.remove_prefix(1);
  const auto space = rest.find(' ');
  if (space == rest.npos ||
      !read_number<std::uint16_t>(rest.substr(0, space), limits::slots - 1, made.slot))
    return std::nullopt;
  rest.remove_prefix(space + 1);
  const auto colon = rest.rfind(':');  // an IPv6 address has no brackets here
  if (colon == rest.npos ||
      !read_number<std::uint16_t>(rest.substr(colon + 1), 65'535, made.to.port) ||
      made.to.port == 0)
    return std::nullopt;
  made.to.host = colon == 0 ? from.host : std::string(rest.substr(0, colon));
  if (!is_host(made.to.host)) return std::nullopt;
  return made;
}

std::optional<std::vector<slot_range>> slots_of(const reply& what, const address& from) {
  if (!what.is(reply_type::array)) return std::nullopt;
  std::vector<slot_range> made;
  for (const auto& each : what.elements) {
    if (!each.is(reply_type::array) || each.elements.size() < 2 || !is_slot(each.elements[0]) ||
        !is_slot(each.elements[1]) || each.elements[0].integer > each.elements[1].integer)
      return std::nullopt;
    if (each.elements.size() < 3) continue;  // nobody serves it
    const auto& node = each.elements[2];
    if (!node.is(reply_type::array) || node.elements.size() < 2 ||
        !node.elements[1].is(reply_type::integer))
      return std::nullopt;
    const auto& host = node.elements[0];
    const auto port = node.elements[1].integer;
    slot_range range;
    range.first = static_cast<std::uint16_t>(each.elements[0].integer);
    range.last = static_cast<std::uint16_t>(each.elements[1].integer);
    range.master.host = host.is(reply_type::nil) || host.text.empty() ? from.host : host.text;
    if (port < 1 || port > 65'535 || !is_host(range.master.host)) continue;  // "?": not known yet
    range.master.port = static_cast<std::uint16_t>(port);
    made.push_back(std::move(range));
  }
  return made;
}

}  // namespace portcullis::net::redis
