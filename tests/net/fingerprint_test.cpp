// JA3 and JA4 of ClientHellos made by hand.
#include "net/tls/fingerprint.hpp"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <algorithm>
#include <random>

#include "tests/net/hello_builder.hpp"

namespace portcullis::net {
namespace {

using namespace test;

client_hello parsed(const hello_builder& made) {
  auto hello = parse_client_hello(core::as_bytes(made.body()));
  EXPECT_TRUE(hello.has_value());
  return hello.value_or(client_hello{});
}
std::string ja4_of(const hello_builder& made) { return ja4(parsed(made)); }
/// The first part, between `from` and its end.
std::string part_a(const hello_builder& made, std::size_t from = 0) {
  return ja4_of(made).substr(from, 10 - from);
}
std::string alpn_of(const std::string& name) {
  hello_builder made;
  made.alpn({name, "h2"});
  return part_a(made, 8);
}

constexpr std::string_view ciphers_sorted =
    "002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9";
constexpr std::string_view signatures = "0403,0804,0401,0503,0805,0501,0806,0601";

TEST(ja4, of_the_example_in_the_specification) {
  const auto hello = parsed(browser_hello());
  EXPECT_EQ(ja4(hello), "t13d1516h2_8daaf6152771_e5627efa2ab1");
  EXPECT_EQ(ja4_o(hello), "t13d1516h2_acb858a92679_18f69afefd3d");
  EXPECT_EQ(ja4_r(hello),
            "t13d1516h2_" + std::string(ciphers_sorted) +
                "_0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_" +
                std::string(signatures));
  EXPECT_EQ(ja4_ro(hello),
            "t13d1516h2_1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035_"
            "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015_" +
                std::string(signatures));
}

TEST(ja4, without_signature_algorithms_has_no_underscore_after_the_extensions) {
  // The example of JA4.md, where 000d stands in the list although nothing comes after it.
  auto made = browser_hello();
  for (auto& [type, content] : made.extensions)
    if (type == 13) content = sized("", 2);
  EXPECT_EQ(ja4_of(made), "t13d1516h2_8daaf6152771_6d807ffa2a79");
  EXPECT_TRUE(ja4_r(parsed(made)).ends_with(",4469,ff01"));
}

TEST(ja4, of_nothing_is_zeros) {
  hello_builder bare;
  bare.ciphers = {};
  bare.has_extensions = false;
  EXPECT_EQ(ja4_of(bare), "t12i000000_000000000000_000000000000");
  EXPECT_EQ(ja4_r(parsed(bare)), "t12i000000__");
  bare.ciphers = {0x0a0a};
  bare.has_extensions = true;
  bare.host("a.example").alpn({"h2"}).add(0x3a3a);
  EXPECT_EQ(ja4_of(bare), "t12d0002h2_000000000000_000000000000");
  EXPECT_EQ(ja4_o(parsed(bare)), "t12d0002h2_000000000000_000000000000");
  EXPECT_EQ(ja4_ro(parsed(bare)), "t12d0002h2__0000,0010");
}

TEST(ja4, takes_the_highest_version_offered_or_else_the_legacy_one) {
  const auto code = [](std::size_t legacy, const std::vector<std::uint16_t>& offered) {
    hello_builder made;
    made.version = legacy;
    if (!offered.empty()) made.versions(offered);
    return part_a(made).substr(1, 2);
  };
  EXPECT_EQ(code(0x0304, {}), "13");
  EXPECT_EQ(code(0x0303, {}), "12");
  EXPECT_EQ(code(0x0302, {}), "11");
  EXPECT_EQ(code(0x0301, {}), "10");
  EXPECT_EQ(code(0x0300, {}), "s3");
  EXPECT_EQ(code(0x0002, {}), "s2");
  EXPECT_EQ(code(0x0305, {}), "00");
  EXPECT_EQ(code(0x0303, {0x0302, 0x0304, 0x0303}), "13");
  EXPECT_EQ(code(0x0303, {0xfafa, 0x0301}), "10");  // GREASE is not the highest
  EXPECT_EQ(code(0x0303, {0xfafa}), "12");
  EXPECT_EQ(code(0x0303, {0x7f1c, 0x0303}), "00");  // a draft of TLS 1.3
}

TEST(ja4, counts_to_99) {
  hello_builder many;
  many.ciphers.assign(99, 0x002f);
  for (int i = 0; i < 9; ++i) many.add(0x4000);
  EXPECT_EQ(part_a(many), "t12i990900");
  many.ciphers.assign(100, 0x002f);
  for (int i = 0; i < 991; ++i) many.add(0x4000);
  EXPECT_EQ(part_a(many), "t12i999900");
}

TEST(ja4, counts_signalling_and_private_values) {
  hello_builder made;
  made.ciphers = {0x00ff, 0x5600, 0xfe00, 0xfeff};
  EXPECT_EQ(part_a(made), "t12i040000");
}

TEST(ja4, shows_the_ends_of_the_first_protocol_or_of_its_hex_form) {
  EXPECT_EQ(part_a(hello_builder(), 8), "00");
  hello_builder no_values;
  no_values.alpn({});
  EXPECT_EQ(part_a(no_values, 8), "00");
  EXPECT_EQ(alpn_of(""), "00");
  EXPECT_EQ(alpn_of("h2"), "h2");
  EXPECT_EQ(alpn_of("http/1.1"), "h1");
  EXPECT_EQ(alpn_of("dot"), "dt");
  EXPECT_EQ(alpn_of("Z"), "ZZ");
  // The table of JA4.md.
  EXPECT_EQ(alpn_of("\xab"), "ab");
  EXPECT_EQ(alpn_of(" "), "20");
  EXPECT_EQ(alpn_of(" a"), "21");
  EXPECT_EQ(alpn_of("0\xab"), "3b");
  EXPECT_EQ(alpn_of("a "), "60");
  EXPECT_EQ(alpn_of("\xab\x31"), "a1");
  EXPECT_EQ(alpn_of("01\xab\xcd"), "3d");
  EXPECT_EQ(alpn_of("0\xab\xcd\x31"), "01");
  EXPECT_EQ(alpn_of("/"), "2f");
  EXPECT_EQ(alpn_of(":"), "3a");
  EXPECT_EQ(alpn_of("@"), "40");
  EXPECT_EQ(alpn_of("["), "5b");
  EXPECT_EQ(alpn_of("`"), "60");
  EXPECT_EQ(alpn_of("{"), "7b");
  EXPECT_EQ(alpn_of(std::string(1, '\0')), "00");
  // Here the captures have the last word: see alpn_code().
  EXPECT_EQ(alpn_of("\xba\xad"), "99");
}

TEST(ja4, does_not_change_with_grease_and_order_but_ja4_o_does_with_order) {
  const auto plain = browser_hello();
  auto mixed = greased(plain);
  EXPECT_EQ(ja4_of(mixed), ja4_of(plain));
  EXPECT_EQ(ja4_o(parsed(mixed)), ja4_o(parsed(plain)));
  EXPECT_EQ(ja4_ro(parsed(mixed)), ja4_ro(parsed(plain)));
  std::reverse(mixed.ciphers.begin(), mixed.ciphers.end());
  std::reverse(mixed.extensions.begin(), mixed.extensions.end());
  EXPECT_EQ(ja4_of(mixed), ja4_of(plain));
  EXPECT_NE(ja4_o(parsed(mixed)), ja4_o(parsed(plain)));
}

TEST(ja4, keeps_the_order_of_signature_algorithms) {
  hello_builder one, other;
  one.signatures({0x0403, 0x0804});
  other.signatures({0x0804, 0x0403});
  EXPECT_NE(ja4_of(one), ja4_of(other));
}

TEST(ja4, has_36_characters_of_any_hello) {
  std::mt19937 random(4711);  // its values are the same everywhere
  for (int i = 0; i < 2000; ++i) {
    hello_builder made;
    made.ciphers.resize(random() % 300);
    for (auto& cipher : made.ciphers) cipher = static_cast<std::uint16_t>(random());
    for (auto left = random() % 40; left > 0; --left) {
      std::string content(random() % 20, '\0');
      for (auto& byte : content) byte = static_cast<char>(random());
      made.add(static_cast<std::uint16_t>(random() % 50), content);
    }
    const auto made_of = ja4_of(made);
    ASSERT_EQ(made_of.size(), 36U) << made_of << ", seed 4711";
    ASSERT_EQ(made_of[0], 't');
    ASSERT_TRUE(std::all_of(made_of.begin(), made_of.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '_';
    })) << made_of;
  }
}

TEST(ja3, of_a_hello_is_the_md5_of_its_five_fields) {
  // The text and its hash stand in the README of JA3.
  hello_builder made;
  made.version = 769;
  made.ciphers = {47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4};
  made.host("a.example").groups({23, 24, 25}).point_formats(std::string(1, '\0'));
  EXPECT_EQ(ja3_text(parsed(made)),
            "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0");
  EXPECT_EQ(ja3(parsed(made)), "ada70206e40642a3e4461f35503241d5");
}

TEST(ja3, without_extensions_has_empty_fields) {
  hello_builder made;
  made.version = 769;
  made.ciphers = {4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99};
  made.has_extensions = false;
  EXPECT_EQ(ja3_text(parsed(made)), "769,4-5-10-9-100-98-3-6-19-18-99,,,");
  EXPECT_EQ(ja3(parsed(made)), "de350869b8c85de67a350c8d186f11e6");
}

TEST(ja3, does_not_change_with_grease_but_with_order) {
  const auto plain = browser_hello();
  auto mixed = greased(plain);
  EXPECT_EQ(ja3_text(parsed(mixed)), ja3_text(parsed(plain)));
  std::swap(mixed.extensions[2], mixed.extensions[3]);
  EXPECT_NE(ja3(parsed(mixed)), ja3(parsed(plain)));
}

TEST(ja3, leaves_the_error_queue_of_openssl_as_it_was) {
  ERR_clear_error();
  ERR_put_error(ERR_LIB_USER, 0, 42, "", 0);
  EXPECT_EQ(ja3(parsed(browser_hello())).size(), 32U);
  EXPECT_EQ(ERR_GET_REASON(ERR_get_error()), 42);
  EXPECT_EQ(ERR_get_error(), 0U);
}

TEST(grease, is_the_sixteen_values_of_rfc_8701) {
  int found = 0;
  for (unsigned value = 0; value <= 0xffff; ++value)
    found += is_grease(static_cast<std::uint16_t>(value)) ? 1 : 0;
  EXPECT_EQ(found, 16);
  for (unsigned high = 0; high < 16; ++high)
    EXPECT_TRUE(is_grease(static_cast<std::uint16_t>((high << 4U | 0xaU) * 0x0101U)));
  EXPECT_FALSE(is_grease(0x0a1a));
}

}  // namespace
}  // namespace portcullis::net
