#include "net/proxy/header.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

namespace portcullis::net {
namespace {

using core::byte_view;
using status = proxy_header::status;

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) noexcept {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// 2.1: a decimal number up to `max`, without heading zeroes.
std::optional<std::uint32_t> parse_number(std::string_view text, std::uint32_t max) noexcept {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text.front() == '0'))
    return std::nullopt;
  std::uint32_t value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return value <= max ? std::optional(value) : std::nullopt;
}

// Whether a field that has not come to its end can still become a valid one.

bool can_begin_number(std::string_view text, std::uint32_t max) noexcept {
  return text.empty() || parse_number(text, max).has_value();
}

bool can_begin_ipv4(std::string_view text) noexcept {
  for (int octets = 1;; ++octets) {
    const auto dot = text.find('.');
    if (dot == text.npos) return can_begin_number(text, 255);
    if (octets == 4 || !parse_number(text.substr(0, dot), 255)) return false;
    text.remove_prefix(dot + 1);
  }
}

/// 2.1 knows groups of hexadecimal digits and one double colon. The dotted end (RFC 4291, 2.2) is
/// not in it, but it is how inet_ntop, and with it the senders, write an IPv4-mapped address.
bool can_begin_ipv6(std::string_view text) noexcept {
  std::size_t groups = 0;  // that have ended
  std::size_t begin = 0;   // of the group under way
  bool shortened = false;  // there was a double colon; it stands for one group at least
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::size_t most = shortened ? 7 : 8;
    const auto digits = at - begin;
    if (is_hex_digit(text[at])) {
      if (groups == most || digits == 4 || (at == 1 && text[0] == ':')) return false;
    } else if (text[at] == '.') {
      // It stands for two groups, and can be neither first nor, without a double colon, early.
      const bool fits = shortened ? groups <= 5 : groups == 6;
      return fits && digits > 0 && can_begin_ipv4(text.substr(begin));
    } else if (text[at] == ':') {
      groups += digits > 0 ? 1 : 0;
      if (digits == 0 && at > 0) {
        if (shortened) return false;
        shortened = true;
      }
      if (groups == most || (shortened && groups > 7)) return false;
      begin = at + 1;
    } else {
      return false;
    }
  }
  return true;
}

/// The fields after "TCP4 " or "TCP6 ": addresses, then ports, one space between two of them.
/// Whether they are valid, or, unless `whole`, can become so.
bool read_fields(std::string_view text, bool v6, bool whole, proxy_header& into) noexcept {
  const std::array ends{&into.source, &into.destination};
  for (std::size_t field = 0; field < 4; ++field) {
    const bool is_address = field < 2, is_last = field == 3;
    auto& end = *ends[field % 2];
    const auto space = text.find(' ');
    const auto value = text.substr(0, space);
    const bool begun = !is_address ? can_begin_number(value, 65'535)
                       : v6        ? can_begin_ipv6(value)
                                   : can_begin_ipv4(value);
    if (!begun || (is_last && space != text.npos)) return false;
    if (space == text.npos && !(is_last && whole)) return !whole;
    if (is_address) {
      const auto address = core::parse_ip(value);
      if (!address || (value.find(':') != value.npos) != v6) return false;
      end.address = *address;
    } else {
      const auto port = parse_number(value, 65'535);
      if (!port) return false;
      end.port = static_cast<std::uint16_t>(*port);
    }
    text.remove_prefix(is_last ? text.size() : space + 1);
  }
  return true;
}

/// 2.1, a line without its CRLF: whether it is valid, or, unless `whole`, can become so.
bool read_line(std::string_view text, bool whole, proxy_header& into) noexcept {
  for (const std::string_view beginning : {"PROXY UNKNOWN", "PROXY TCP4 ", "PROXY TCP6 "}) {
    if (!whole && beginning.starts_with(text)) return true;
    if (!text.starts_with(beginning)) continue;
    const auto rest = text.substr(beginning.size());
    if (beginning.back() == ' ') return read_fields(rest, beginning[9] == '6', whole, into);
    into.local = true;  // whatever follows must be ignored
    return rest.empty() || rest.front() == ' ';
  }
  return false;
}

proxy_header read_v1(byte_view bytes) noexcept {
  const proxy_header malformed{.state = status::malformed};
  const auto text = core::as_text(bytes.first(std::min(bytes.size(), proxy_v1_bytes_max)));
  const auto end = text.find_first_of("\r\n");
  const auto line = text.substr(0, end);
  const bool whole = end != text.npos;
  proxy_header found;
  if (line.size() > proxy_v1_bytes_max - 2 || !read_line(line, whole, found)) return malformed;
  if (!whole) return {};
  // 2.1: a single CR or LF must not end the line.
  if (text[end] != '\r') return malformed;
  if (end + 1 == text.size()) return {};
  if (text[end + 1] != '\n') return malformed;
  found.state = status::complete;
  found.consumed = end + 2;
  return found;
}

// 2.2
constexpr core::byte_array<12> signature = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                            0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr std::size_t fixed_bytes = 16;
enum command : std::uint8_t { local = 0, proxy = 1 };
enum family : std::uint8_t { unspec_family = 0, inet = 1, inet6 = 2, unix_sockets = 3 };
enum transport : std::uint8_t { unspec_transport = 0, stream = 1, datagram = 2 };
constexpr std::uint8_t type_crc32c = 0x03;

std::size_t u16_at(byte_view bytes, std::size_t at) noexcept {
  return static_cast<std::size_t>(bytes[at]) << 8U | bytes[at + 1];
}

/// CRC32c (RFC 4960, appendix B), a byte at a time: headers are short and come once a connection.
class crc32c {
 public:
  crc32c& add(byte_view bytes) noexcept {
    for (const auto byte : bytes) state_ = state_ >> 8U ^ table[(state_ ^ byte) & 0xffU];
    return *this;
  }
  [[nodiscard]] std::uint32_t value() const noexcept { return ~state_; }

 private:
  static constexpr std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < made.size(); ++i) {
      made[i] = i;
      for (int bit = 0; bit < 8; ++bit)
        made[i] = made[i] >> 1U ^ ((made[i] & 1U) != 0 ? 0x82f63b78U : 0U);
    }
    return made;
  }();
  std::uint32_t state_ = ~0U;
};

/// 2.2.3: of the whole header, the field itself counted as zeroes. In network order.
bool checksum_holds(byte_view header, std::size_t at) noexcept {
  const core::byte_array<4> zeroes{};
  const auto sum = crc32c().add(header.first(at)).add(zeroes).add(header.subspan(at + 4)).value();
  return sum == (u16_at(header, at) << 16U | u16_at(header, at + 2));
}

/// 2.2: vectors of type, length and value fill the header from `at` to its end. Two checksums would
/// each count the other, which no sender makes.
bool tlvs_hold(byte_view header, std::size_t at) noexcept {
  std::optional<std::size_t> checksum_at;
  while (at < header.size()) {
    if (header.size() - at < 3) return false;
    const auto type = header[at];
    const auto size = u16_at(header, at + 1);
    at += 3;
    if (size > header.size() - at) return false;
    if (type == type_crc32c) {
      if (size != 4 || checksum_at) return false;
      checksum_at = at;
    }
    at += size;
  }
  return !checksum_at || checksum_holds(header, *checksum_at);
}

/// The bytes of both addresses and ports; absent where the protocol does not tell (UNSPEC).
std::optional<std::size_t> address_bytes(unsigned of_family, unsigned of_transport) noexcept {
  if (of_family == unspec_family || of_transport == unspec_transport) return std::nullopt;
  return of_family == inet ? 12 : of_family == inet6 ? 36 : 216;
}

core::ip_address address_at(byte_view bytes, std::size_t at, bool v6) noexcept {
  core::ip_address address;
  if (v6) {
    std::memcpy(address.bytes.data(), bytes.data() + at, 16);
  } else {
    address.bytes[10] = address.bytes[11] = 0xff;
    std::memcpy(address.bytes.data() + 12, bytes.data() + at, 4);
  }
  return address;
}

proxy_header read_v2(byte_view bytes) noexcept {
  const proxy_header malformed{.state = status::malformed};
  if (bytes.size() <= signature.size()) return {};
  const unsigned version = bytes[12] >> 4U, what = bytes[12] & 0xfU;
  if (version != 2 || what > proxy) return malformed;
  if (bytes.size() < 14) return {};
  const unsigned of_family = bytes[13] >> 4U, of_transport = bytes[13] & 0xfU;
  // LOCAL: the block must be discarded, "including the family which is ignored".
  if (what == proxy && (of_family > unix_sockets || of_transport > datagram)) return malformed;
  if (bytes.size() > 14 && bytes[14] > (proxy_v2_bytes_max - fixed_bytes) >> 8U) return malformed;
  if (bytes.size() < fixed_bytes) return {};
  const auto size = fixed_bytes + u16_at(bytes, 14);
  const auto addresses = what == proxy ? address_bytes(of_family, of_transport) : std::nullopt;
  if (size > proxy_v2_bytes_max || size < fixed_bytes + addresses.value_or(0)) return malformed;
  if (bytes.size() < size) return {};

  const auto header = bytes.first(size);
  proxy_header found{.state = status::complete, .consumed = size, .local = true};
  // Where addresses end is unknown, so nothing behind them can be read either.
  if (!addresses) return found;
  if (!tlvs_hold(header, fixed_bytes + *addresses)) return malformed;
  if (of_family == unix_sockets || of_transport != stream) return found;
  const bool v6 = of_family == inet6;
  const std::size_t width = v6 ? 16 : 4, ports = fixed_bytes + 2 * width;
  found.local = false;
  found.source = {address_at(header, fixed_bytes, v6),
                  static_cast<std::uint16_t>(u16_at(header, ports))};
  found.destination = {address_at(header, fixed_bytes + width, v6),
                       static_cast<std::uint16_t>(u16_at(header, ports + 2))};
  return found;
}

}  // namespace

proxy_header read_proxy_header(byte_view bytes) noexcept {
  if (bytes.empty()) return {};
  if (bytes[0] == 'P') return read_v1(bytes);
  const auto compared = std::min(bytes.size(), signature.size());
  if (!std::equal(signature.begin(), signature.begin() + compared, bytes.begin()))
    return {.state = status::malformed};
  return read_v2(bytes);
}

}  // namespace portcullis::net
