#include "net/tls/fingerprint.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/crypto/hmac.hpp"

namespace portcullis::net {
namespace {

constexpr std::uint16_t server_name = 0;
constexpr std::uint16_t alpn_extension = 16;
constexpr std::string_view hash_of_nothing = "000000000000";

std::vector<std::uint16_t> without_grease(std::vector<std::uint16_t> values) {
  std::erase_if(values, is_grease);
  return values;
}

template <class Values>
std::string decimal_list(const Values& values) {
  std::string text;
  for (const auto value : values) {
    if (!text.empty()) text += '-';
    text += std::to_string(value);
  }
  return text;
}

/// "002f,0035": what JA4 sorts, shows and hashes.
std::string hex_list(const std::vector<std::uint16_t>& values) {
  std::string text;
  text.reserve(values.size() * 5);
  for (const auto value : values) {
    if (!text.empty()) text += ',';
    text += core::to_hex(core::byte_array<2>{static_cast<std::uint8_t>(value >> 8U),
                                             static_cast<std::uint8_t>(value & 0xffU)});
  }
  return text;
}

/// JA4.md, "TLS and DTLS Version".
std::string_view version_code(std::uint16_t version) {
  switch (version) {
    case 0x0304:
      return "13";
    case 0x0303:
      return "12";
    case 0x0302:
      return "11";
    case 0x0301:
      return "10";
    case 0x0300:
      return "s3";
    case 0x0002:
      return "s2";
    case 0xfeff:
      return "d1";
    case 0xfefd:
      return "d2";
    case 0xfefc:
      return "d3";
    default:
      return "00";
  }
}

std::uint16_t offered_version(const client_hello& hello) {
  const auto offered = without_grease(hello.supported_versions);
  return offered.empty() ? hello.legacy_version : *std::max_element(offered.begin(), offered.end());
}

bool is_alphanumeric(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool is_ascii(char c) noexcept { return static_cast<unsigned char>(c) < 0x80; }

/// JA4.md, "ALPN Extension Value": the first and the last character of the name, or of its hex form
/// when one of them is not alphanumeric. Where both are outside ASCII the specification's text has
/// the hex form, too, but FoxIO's own programs and the values published with its captures
/// (tls-non-ascii-alpn) have "99": what others wrote down of such a client is that.
std::string alpn_code(std::string_view name) {
  if (name.empty()) return "00";
  if (is_alphanumeric(name.front()) && is_alphanumeric(name.back()))
    return {name.front(), name.back()};
  if (name.size() > 1 && !is_ascii(name.front()) && !is_ascii(name.back())) return "99";
  const auto hex = core::to_hex(core::as_bytes(name));
  return {hex.front(), hex.back()};
}

/// Two digits, 99 for all that is more.
std::string count_code(std::size_t count) {
  const auto shown = std::min<std::size_t>(count, 99);
  return {static_cast<char>('0' + shown / 10), static_cast<char>('0' + shown % 10)};
}

std::string hash12(std::string_view text) {
  return core::to_hex(core::cut<6>(core::sha256(core::as_bytes(text))));
}

struct parts {
  std::string a;
  std::string ciphers;
  std::string extensions;     // with the signature algorithms
  bool no_extensions = true;  // none but server_name and ALPN
};

/// JA4.md: the order of signature algorithms is the hello's in every form; without any of them
/// there is no '_'.
parts parts_of(const client_hello& hello, bool sorted) {
  auto ciphers = without_grease(hello.ciphers);
  auto extensions = without_grease(hello.extensions);
  parts made;
  made.a = "t";
  made.a += version_code(offered_version(hello));
  made.a += hello.names_host ? 'd' : 'i';
  made.a += count_code(ciphers.size()) + count_code(extensions.size()) + alpn_code(hello.alpn);
  const auto is_in_a = [](auto type) { return type == server_name || type == alpn_extension; };
  made.no_extensions = std::all_of(extensions.begin(), extensions.end(), is_in_a);
  if (sorted) {
    std::sort(ciphers.begin(), ciphers.end());
    std::sort(extensions.begin(), extensions.end());
    std::erase_if(extensions, is_in_a);
  }
  made.ciphers = hex_list(ciphers);
  made.extensions = hex_list(extensions);
  const auto algorithms = without_grease(hello.signature_algorithms);
  if (!algorithms.empty()) made.extensions += '_' + hex_list(algorithms);
  return made;
}

/// JA4.md, "Extension hash": zeros when the sorted list is empty; that goes for ja4_o, too, whose
/// own list then can have server_name and ALPN.
std::string hashed(const parts& of) {
  const auto none = std::string(hash_of_nothing);
  return of.a + '_' + (of.ciphers.empty() ? none : hash12(of.ciphers)) + '_' +
         (of.no_extensions ? none : hash12(of.extensions));
}
std::string raw(const parts& of) { return of.a + '_' + of.ciphers + '_' + of.extensions; }

}  // namespace

std::string ja3_text(const client_hello& hello) {
  return std::to_string(hello.legacy_version) + ',' + decimal_list(without_grease(hello.ciphers)) +
         ',' + decimal_list(without_grease(hello.extensions)) + ',' +
         decimal_list(without_grease(hello.groups)) + ',' + decimal_list(hello.point_formats);
}

std::string ja3(const client_hello& hello) {
  const auto text = ja3_text(hello);
  core::byte_array<16> hash;
  unsigned size = 0;
  // What a failure leaves in the thread's queue would be taken for the next connection's.
  ERR_set_mark();
  const bool made =
      EVP_Digest(text.data(), text.size(), hash.data(), &size, EVP_md5(), nullptr) == 1;
  ERR_pop_to_mark();
  return made && size == hash.size() ? core::to_hex(hash) : std::string();
}

std::string ja4(const client_hello& hello) { return hashed(parts_of(hello, true)); }
std::string ja4_o(const client_hello& hello) { return hashed(parts_of(hello, false)); }
std::string ja4_r(const client_hello& hello) { return raw(parts_of(hello, true)); }
std::string ja4_ro(const client_hello& hello) { return raw(parts_of(hello, false)); }

}  // namespace portcullis::net
