// The PROXY protocol's header: both versions, every way to come in pieces, and what is none.
#include "net/proxy/header.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "tests/net/hello_builder.hpp"

namespace portcullis::net {
namespace {

using status = proxy_header::status;
using test::number;
using test::sized;

proxy_header read(const std::string& bytes) {
  // Exact bounds for the sanitizer.
  const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
  return read_proxy_header(exact);
}
status state(const std::string& bytes) { return read(bytes).state; }
/// How many bytes it takes until it is malformed; 0 when it never is.
std::size_t malformed_at(const std::string& bytes) {
  for (std::size_t size = 1; size <= bytes.size(); ++size)
    if (state(bytes.substr(0, size)) == status::malformed) return size;
  return 0;
}
/// "source:port destination:port", or why there is none.
std::string told(const std::string& bytes) {
  const auto found = read(bytes);
  if (found.state != status::complete) return found.state == status::malformed ? "bad" : "more";
  if (found.local) return "local";
  const auto shown = [](const proxy_endpoint& end) {
    return core::to_text(end.address) + ' ' + std::to_string(end.port);
  };
  return shown(found.source) + ' ' + shown(found.destination);
}

const std::string signature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string v2(std::size_t command, std::size_t family, const std::string& block) {
  return signature + number(command, 1) + number(family, 1) + sized(block, 2);
}
std::string tlv(std::size_t type, const std::string& value) {
  return number(type, 1) + sized(value, 2);
}
const std::string ipv4_block =
    number(0xc0a80001, 4) + number(0xc0a8000b, 4) + number(56324, 2) + number(443, 2);
const std::string ipv6_block = number(0x20010db8, 4) + number(0, 8) + number(1, 4) +
                               number(0x20010db8, 4) + number(0, 8) + number(2, 4) +
                               number(65535, 2) + number(0, 2);
const std::string ipv4_told = "192.168.0.1 56324 192.168.0.11 443";

/// Bit by bit, where the parser has a table.
std::uint32_t slow_crc32c(const std::string& bytes) {
  std::uint32_t state = ~0U;
  for (const char byte : bytes) {
    state ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) state = state >> 1U ^ ((state & 1U) != 0 ? 0x82f63b78U : 0U);
  }
  return ~state;
}
/// With a checksum behind `before` and before `after`.
std::string summed(std::size_t family, const std::string& addresses, const std::string& before = {},
                   const std::string& after = {}) {
  auto header = v2(0x21, family, addresses + before + tlv(3, number(0, 4)) + after);
  const auto sum = number(slow_crc32c(header), 4);
  return header.replace(16 + addresses.size() + before.size() + 3, 4, sum);
}

TEST(a_line_of_version_1, names_both_ends) {
  EXPECT_EQ(told("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), ipv4_told);
  EXPECT_EQ(told("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n"),
            "255.255.255.255 65535 0.0.0.0 0");
  EXPECT_EQ(told("PROXY TCP6 2001:db8::1 ::2 1 2\r\n"), "2001:db8::1 1 ::2 2");
  EXPECT_EQ(told("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                 "FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF 65535 65535\r\n"),
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535");
  EXPECT_EQ(told("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:a00:2 1 2\r\n"), "10.0.0.1 1 10.0.0.2 2");
  EXPECT_EQ(told("PROXY TCP6 1:2:3:4:5:6:7.8.9.1 1:2:3:4:5:6:7:: 1 2\r\n"),
            "1:2:3:4:5:6:708:901 1 1:2:3:4:5:6:7:0 2");
}

TEST(a_line_of_version_1, of_an_unknown_protocol_keeps_the_connections_own_addresses) {
  EXPECT_EQ(told("PROXY UNKNOWN\r\n"), "local");
  EXPECT_EQ(told("PROXY UNKNOWN 1.2.3.4 x\xff anything \r\n"), "local");
  EXPECT_EQ(told("PROXY UNKNOWN\t\r\n"), "bad");
  EXPECT_EQ(told("PROXY UNKNOWNS\r\n"), "bad");
}

TEST(a_line_of_version_1, has_107_bytes_at_most) {
  const std::string beginning = "PROXY UNKNOWN ";
  EXPECT_EQ(told(beginning + std::string(107 - 16, 'x') + "\r\n"), "local");
  EXPECT_EQ(malformed_at(beginning + std::string(107 - 15, 'x') + "\r\n"), 106U);
  EXPECT_EQ(read(beginning + std::string(107 - 16, 'x') + "\r\nGET").consumed, 107U);
}

TEST(a_line_of_version_1, is_malformed_with_the_first_byte_that_no_line_has) {
  // The text, and how many of its bytes are needed to know.
  const std::vector<std::pair<std::string, std::size_t>> cases = {
      {"GET / HTTP/1.1\r\n", 1},
      {"POST / HTTP/1.1\r\n", 2},
      {"proxy TCP4", 1},
      {"PROXY  TCP4", 7},
      {"PROXY\r\n", 6},
      {"PROXY TCP5 ", 10},
      {"PROXY UDP4 ", 8},
      {"PROXY TCP4\r\n", 11},
      {"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", 12},
      {"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", 13},
      {"PROXY TCP4 256.2.3.4 1.2.3.4 1 2\r\n", 14},
      {"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", 17},
      {"PROXY TCP4 1..3.4 1.2.3.4 1 2\r\n", 14},
      {"PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n", 19},
      {"PROXY TCP4 ::1 ::1 1 2\r\n", 12},
      {"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", 20},
      {"PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n", 19},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", 28},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", 29},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", 32},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 655350\r\n", 35},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", 31},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", 29},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", 30},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", 31},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", 32},
      {"PROXY UNKNOWN a\nb\r\n", 16},
      {"PROXY UNKNOWN a\rb\r\n", 17},
      {"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", 13},
      {"PROXY TCP6 :1::2 ::1 1 2\r\n", 13},
      {"PROXY TCP6 ::: ::1 1 2\r\n", 14},
      {"PROXY TCP6 1::2::3 ::1 1 2\r\n", 17},
      {"PROXY TCP6 12345:: ::1 1 2\r\n", 16},
      {"PROXY TCP6 1:2:3:4:5:6:7:8: ::1 1 2\r\n", 27},
      {"PROXY TCP6 1:2:3:4:5:6:7::8 ::1 1 2\r\n", 27},
      {"PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n", 25},
      {"PROXY TCP6 1:2:3.4.5.6 ::1 1 2\r\n", 17},
      {"PROXY TCP6 1::3:4:5:6:7:8.1.2.3 ::1 1 2\r\n", 26},
      {"PROXY TCP6 ::f.1.2.3 ::1 1 2\r\n", 15},
      {"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", 19},
      {"PROXY TCP6 g::1 ::1 1 2\r\n", 12},
  };
  for (const auto& [text, needed] : cases) EXPECT_EQ(malformed_at(text), needed) << text;
}

TEST(a_header_of_version_2, names_both_ends) {
  EXPECT_EQ(told(v2(0x21, 0x11, ipv4_block)), ipv4_told);
  EXPECT_EQ(told(v2(0x21, 0x21, ipv6_block)), "2001:db8::1 65535 2001:db8::2 0");
  const auto mapped = number(0, 10) + number(0xffff0a000001, 6) + number(0, 10) +
                      number(0xffff0a000002, 6) + number(1, 2) + number(2, 2);
  EXPECT_EQ(told(v2(0x21, 0x21, mapped)), "10.0.0.1 1 10.0.0.2 2");
}

TEST(a_header_of_version_2, that_names_nobody_keeps_the_connections_own_addresses) {
  EXPECT_EQ(told(v2(0x20, 0x00, "")), "local");
  EXPECT_EQ(told(v2(0x20, 0x11, ipv4_block)), "local");
  EXPECT_EQ(told(v2(0x20, 0xff, "ignored")), "local");  // "the family which is ignored"
  EXPECT_EQ(told(v2(0x21, 0x00, "")), "local");
  EXPECT_EQ(told(v2(0x21, 0x00, "what this is nobody knows")), "local");
  EXPECT_EQ(told(v2(0x21, 0x01, "")), "local");
  EXPECT_EQ(told(v2(0x21, 0x10, ipv4_block)), "local");
  EXPECT_EQ(told(v2(0x21, 0x12, ipv4_block)), "local");  // UDP
  EXPECT_EQ(told(v2(0x21, 0x22, ipv6_block)), "local");
  EXPECT_EQ(told(v2(0x21, 0x31, std::string(216, 'u'))), "local");
  EXPECT_EQ(told(v2(0x21, 0x32, std::string(216, 'u'))), "local");
  EXPECT_EQ(read(v2(0x20, 0x11, ipv4_block) + "GET /").consumed, 28U);
}

TEST(a_header_of_version_2, is_malformed_with_the_first_byte_that_no_header_has) {
  for (std::size_t at = 0; at < signature.size(); ++at) {
    auto changed = v2(0x21, 0x11, ipv4_block);
    changed[at] = static_cast<char>(changed[at] ^ 0x80);
    EXPECT_EQ(malformed_at(changed), at + 1);
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const bool known = byte == 0x20 || byte == 0x21;
    EXPECT_EQ(malformed_at(v2(byte, 0x00, "")), known ? 0U : 13U) << byte;
    const bool valid = (byte >> 4U) <= 3 && (byte & 0xfU) <= 2;
    EXPECT_EQ(malformed_at(v2(0x21, byte, std::string(216, '\0'))), valid ? 0U : 14U) << byte;
  }
  EXPECT_EQ(malformed_at(v2(0x21, 0x11, ipv4_block.substr(1))), 16U);
  EXPECT_EQ(malformed_at(v2(0x21, 0x12, "")), 16U);
  EXPECT_EQ(malformed_at(v2(0x21, 0x21, ipv6_block.substr(1))), 16U);
  EXPECT_EQ(malformed_at(v2(0x21, 0x31, std::string(215, 'u'))), 16U);
}

TEST(a_header_of_version_2, has_4_KiB_at_most) {
  const auto with = [](std::size_t size) {
    return v2(0x21, 0x11, ipv4_block + tlv(4, std::string(size - 16 - 12 - 3, 'x')));
  };
  EXPECT_EQ(told(with(4096)), ipv4_told);
  EXPECT_EQ(read(with(4096) + "more").consumed, 4096U);
  EXPECT_EQ(malformed_at(with(4097)), 16U);
  EXPECT_EQ(malformed_at(with(4096 + 16)), 15U);  // the length's first byte is enough
}

TEST(vectors, are_skipped_by_their_lengths) {
  const auto with = [](const std::string& tlvs) { return told(v2(0x21, 0x11, ipv4_block + tlvs)); };
  EXPECT_EQ(with(tlv(4, "")), ipv4_told);
  EXPECT_EQ(with(tlv(1, "h2") + tlv(2, "a.example") + tlv(0xee, std::string(300, 'x'))), ipv4_told);
  // What is inside of the one for TLS is not looked at (2.2.6).
  EXPECT_EQ(with(tlv(0x20, std::string("\x01\0\0\0\0", 5) + "\x21\xff\xff")), ipv4_told);
  EXPECT_EQ(with("\x04"), "bad");
  EXPECT_EQ(with(std::string("\x04\0", 2)), "bad");
  EXPECT_EQ(with(std::string("\x04\0\x01", 3)), "bad");
  EXPECT_EQ(with(tlv(4, "x") + std::string("\x04\0\x02x", 4)), "bad");
  EXPECT_EQ(with("\x04\xff\xff"), "bad");
  // Also behind addresses that are not used.
  EXPECT_EQ(told(v2(0x21, 0x12, ipv4_block + "\x04")), "bad");
  EXPECT_EQ(told(v2(0x21, 0x31, std::string(216, 'u') + "\x04")), "bad");
}

TEST(a_checksum, is_verified_wherever_it_stands) {
  ASSERT_EQ(slow_crc32c("123456789"), 0xe3069283U);  // the check value of CRC-32C
  for (const auto& header : {summed(0x11, ipv4_block), summed(0x11, ipv4_block, tlv(4, "abc")),
                             summed(0x11, ipv4_block, "", tlv(2, "a.example")),
                             summed(0x11, ipv4_block, tlv(1, "h2"), tlv(0x30, "namespace"))}) {
    EXPECT_EQ(told(header), ipv4_told);
    EXPECT_EQ(told(header + "GET / HTTP/1.1\r\n"), ipv4_told);  // it covers the header only
  }
  EXPECT_EQ(told(summed(0x21, ipv6_block)), "2001:db8::1 65535 2001:db8::2 0");
  EXPECT_EQ(told(summed(0x31, std::string(216, 'u'))), "local");
}

TEST(a_checksum, that_haproxy_2_6_has_made_is_right) {
  const auto block = [](std::string_view hex) {
    std::string bytes(hex.size() / 2, '\0');
    EXPECT_TRUE(core::from_hex(hex, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}));
    return bytes;
  };
  EXPECT_EQ(told(v2(0x21, 0x11, block("7f0000017f000001b33ab0d1030004913dbd60"))),
            "127.0.0.1 45882 127.0.0.1 45265");
  // An IPv4 client of a dual-stack listener, and a unique id behind the checksum.
  EXPECT_EQ(told(v2(0x21, 0x21,
                    block("00000000000000000000ffff7f00000100000000000000000000ffff7f000001a594c22f"
                          "030004593ab4f10500023131"))),
            "127.0.0.1 42388 127.0.0.1 49711");
}

TEST(a_checksum, that_is_wrong_misshapen_or_doubled_is_malformed) {
  EXPECT_EQ(told(v2(0x21, 0x11, ipv4_block + tlv(3, number(0, 4)))), "bad");
  EXPECT_EQ(told(v2(0x21, 0x12, ipv4_block + tlv(3, number(0, 4)))), "bad");
  EXPECT_EQ(told(v2(0x21, 0x11, ipv4_block + tlv(3, ""))), "bad");
  EXPECT_EQ(told(v2(0x21, 0x11, ipv4_block + tlv(3, number(0, 5)))), "bad");
  EXPECT_EQ(told(summed(0x11, ipv4_block, tlv(3, number(0, 4)))), "bad");
  const auto right = summed(0x11, ipv4_block, tlv(1, "h2"), tlv(2, "a.example"));
  for (std::size_t at = 0; at < right.size(); ++at)
    for (unsigned bit = 0; bit < 8; ++bit) {
      auto changed = right;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      const auto found = told(changed);
      // LOCAL and UNSPEC are discarded unread, and a type that is no longer the checksum's leaves
      // none; a longer length waits.
      const bool unread = at == 12 || at == 13;
      const bool unsummed = at == 16 + 12 + 5;
      EXPECT_TRUE(found == "bad" || (unread && found == "local") ||
                  (unsummed && found == ipv4_told) || (at >= 14 && at < 16 && found == "more"))
          << at << ' ' << bit << ' ' << found;
    }
}

const std::vector<std::string>& examples() {
  static const std::vector<std::string> all = {
      "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
      "PROXY TCP6 2001:db8::1 ::ffff:10.0.0.1 56324 0\r\n",
      "PROXY UNKNOWN\r\n",
      "PROXY UNKNOWN ffff:: what\r\n",
      v2(0x20, 0, ""),
      v2(0x21, 0x11, ipv4_block),
      v2(0x21, 0x21, ipv6_block + tlv(4, "x")),
      v2(0x21, 0x31, std::string(216, 'u')),
      summed(0x11, ipv4_block, tlv(1, "h2"), tlv(2, "a.example"))};
  return all;
}

TEST(a_header, is_complete_with_its_last_byte_and_not_before) {
  for (const auto& header : examples()) {
    for (std::size_t size = 0; size < header.size(); ++size)
      EXPECT_EQ(state(header.substr(0, size)), status::need_more) << header << size;
    const auto whole = read(header);
    EXPECT_EQ(whole.state, status::complete) << header;
    EXPECT_EQ(whole.consumed, header.size());
    const auto more = read(header + header);
    EXPECT_EQ(more.consumed, header.size());
    EXPECT_EQ(more.source, whole.source);
    EXPECT_EQ(more.destination, whole.destination);
  }
}

TEST(a_header, with_any_value_of_any_byte_gives_one_answer_that_stays) {
  for (const auto& header : examples())
    for (std::size_t at = 0; at < header.size(); ++at)
      for (int value = 0; value < 256; value += at < 60 ? 1 : 5) {
        auto changed = header;
        changed[at] = static_cast<char>(value);
        const auto whole = read(changed);
        ASSERT_LE(whole.consumed, changed.size());
        for (std::size_t size = at; size < changed.size(); size += 1 + (size - at) / 4) {
          const auto part = state(changed.substr(0, size));
          ASSERT_TRUE(part == status::need_more || part == whole.state) << changed;
        }
      }
}

core::ip_address any_address(bool v6) {
  core::ip_address made = *core::parse_ip("0.0.0.0");
  for (std::size_t at = v6 ? 0 : 12; at < 16; ++at)
    made.bytes[at] = *rc::gen::element<std::uint8_t>(0, 0, 1, 0x7f, 0xff);
  return made;
}

RC_GTEST_PROP(a_header, is_read_back_as_any_sender_writes_it, ()) {
  const bool v6 = *rc::gen::arbitrary<bool>();
  const proxy_endpoint source{any_address(v6), *rc::gen::arbitrary<std::uint16_t>()};
  const proxy_endpoint destination{any_address(v6), *rc::gen::arbitrary<std::uint16_t>()};
  std::string header;
  if (*rc::gen::arbitrary<bool>()) {
    const auto address = [&](const proxy_endpoint& end) {
      const auto text = core::to_text(end.address);
      return v6 && end.address.is_v4() ? "::ffff:" + text : text;
    };
    header = "PROXY TCP" + std::string(v6 ? "6 " : "4 ") + address(source) + ' ' +
             address(destination) + ' ' + std::to_string(source.port) + ' ' +
             std::to_string(destination.port) + "\r\n";
  } else {
    std::string block;
    for (const auto* end : {&source, &destination})
      block += core::as_text(core::byte_view(end->address.bytes).subspan(v6 ? 0 : 12));
    block += number(source.port, 2) + number(destination.port, 2);
    std::string tlvs;
    while (*rc::gen::inRange(0, 3) != 0)
      tlvs += tlv(*rc::gen::inRange<std::size_t>(4, 256), *rc::gen::arbitrary<std::string>());
    const bool with_sum = *rc::gen::arbitrary<bool>();
    header =
        with_sum ? summed(v6 ? 0x21 : 0x11, block, tlvs) : v2(0x21, v6 ? 0x21 : 0x11, block + tlvs);
  }
  for (std::size_t size = 0; size < header.size(); ++size)
    RC_ASSERT(state(header.substr(0, size)) == status::need_more);
  const auto found = read(header + *rc::gen::arbitrary<std::string>());
  RC_ASSERT(found.state == status::complete);
  RC_ASSERT(found.consumed == header.size());
  RC_ASSERT(!found.local);
  RC_ASSERT(found.source == source);
  RC_ASSERT(found.destination == destination);
}

/// Random texts of the characters that addresses are made of: what is not refused before its last
/// byte can be told from what is by going on.
RC_GTEST_PROP(a_line_of_version_1, is_refused_early_only_where_no_address_begins_so, ()) {
  auto text = *rc::gen::container<std::string>(rc::gen::element(':', ':', '1', 'a', '0', '.'));
  const auto address = text.substr(0, 45);
  const auto line = "PROXY TCP6 " + address + " ::1 1 2\r\n";
  const bool valid = address.find(':') != address.npos && core::parse_ip(address).has_value();
  if (line.size() > proxy_v1_bytes_max) return;
  RC_ASSERT(state(line) == (valid ? status::complete : status::malformed));
  if (valid) RC_ASSERT(malformed_at(line) == 0U);
}

}  // namespace
}  // namespace portcullis::net
