// Networks as configuration lists them, and which addresses are in them.
#include "core/contract/address_set.hpp"

#include <gmock/gmock.h>

#include <random>
#include <string>

namespace portcullis::core {
namespace {

bool add(address_set& set, std::string_view text) {
  const auto network = address_set::parse_one(text);
  if (network) set.add(*network);
  return network.has_value();
}

bool holds(std::initializer_list<std::string_view> prefixes, std::string_view address) {
  address_set set;
  for (const auto each : prefixes) EXPECT_TRUE(add(set, each)) << each;
  return set.contains(parse_ip(address).value());
}

TEST(an_address_set, holds_single_addresses_and_networks) {
  EXPECT_TRUE(holds({"192.0.2.1"}, "192.0.2.1"));
  EXPECT_FALSE(holds({"192.0.2.1"}, "192.0.2.2"));
  EXPECT_TRUE(holds({"10.0.0.0/8"}, "10.255.0.1"));
  EXPECT_FALSE(holds({"10.0.0.0/8"}, "11.0.0.0"));
  EXPECT_TRUE(holds({"192.0.2.128/25"}, "192.0.2.200"));
  EXPECT_FALSE(holds({"192.0.2.128/25"}, "192.0.2.127"));
  EXPECT_TRUE(holds({"::1"}, "::1"));
  EXPECT_FALSE(holds({"::1"}, "::2"));
  EXPECT_TRUE(holds({"2001:db8::/33"}, "2001:db8:7fff::1"));
  EXPECT_FALSE(holds({"2001:db8::/33"}, "2001:db8:8000::1"));
  EXPECT_TRUE(holds({"::1", "10.0.0.0/8"}, "10.1.1.1"));
}

TEST(an_address_set, that_is_empty_holds_nothing) {
  const address_set none;
  EXPECT_TRUE(none.empty());
  EXPECT_FALSE(none.contains(ip_address{}));
  EXPECT_FALSE(none.contains(parse_ip("127.0.0.1").value()));
}

TEST(an_address_set, takes_mapped_addresses_for_what_they_map) {
  EXPECT_TRUE(holds({"10.0.0.0/8"}, "::ffff:10.1.2.3"));
  EXPECT_TRUE(holds({"::ffff:10.0.0.0/104"}, "10.1.2.3"));
  EXPECT_FALSE(holds({"::ffff:10.0.0.0/104"}, "11.1.2.3"));
  EXPECT_TRUE(holds({"::ffff:192.0.2.1"}, "192.0.2.1"));
}

TEST(an_address_set, with_all_of_one_family_holds_nothing_of_the_other) {
  EXPECT_TRUE(holds({"::/0"}, "2001:db8::1"));
  EXPECT_FALSE(holds({"::/0"}, "192.0.2.1"));
  EXPECT_TRUE(holds({"0.0.0.0/0"}, "192.0.2.1"));
  EXPECT_FALSE(holds({"0.0.0.0/0"}, "2001:db8::1"));
  // The deprecated IPv4-compatible addresses are IPv6 (RFC 4291, 2.5.5.1).
  EXPECT_FALSE(holds({"0.0.0.0/0"}, "::192.0.2.1"));
}

TEST(an_address_set, refuses_what_is_no_address_and_no_prefix) {
  for (const auto* text : {"",
                           "/",
                           "/8",
                           "10.0.0.0/",
                           "10.0.0.0/33",
                           "10.0.0.0/-1",
                           "0.0.0.0/-0",
                           "10.0.0.0/+8",
                           "10.0.0.0/08",
                           "10.0.0.0/8 ",
                           " 10.0.0.0/8",
                           "10.0.0.0/8/8",
                           "10.0.0.0/255.0.0.0",
                           "10.0.0/8",
                           "10",
                           "localhost",
                           "::1/129",
                           "::/",
                           "fe80::1%eth0",
                           "[::1]",
                           "10.0.0.1:80",
                           "*",
                           "10.0.0.0/8x",
                           "::1/999999999999999999999"}) {
    EXPECT_FALSE(address_set::parse_one(text)) << text;
  }
}

TEST(an_address_set, refuses_a_prefix_with_bits_past_its_end) {
  for (const auto* text : {"10.0.0.1/8", "192.0.2.129/25", "128.0.0.0/0", "2001:db8::1/32", "::1/0",
                           "::ffff:0.0.0.0/80"}) {
    EXPECT_FALSE(address_set::parse_one(text)) << text;
  }
}

// The same by counting common bits, one at a time.
TEST(an_address_set, holds_what_shares_the_prefixs_bits) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int round = 0; round < 2'000; ++round) {
    const bool v4 = random() % 2 == 0;
    const int width = v4 ? 32 : 128;
    const int first = 128 - width;
    const int bits = static_cast<int>(random() % static_cast<unsigned>(width + 1));
    ip_address network = parse_ip(v4 ? "0.0.0.0" : "4000::").value();
    for (int i = first; i < first + bits; ++i)
      if (i > 2 && random() % 2 == 0)
        network.bytes[static_cast<std::size_t>(i / 8)] |=
            static_cast<std::uint8_t>(0x80U >> (i % 8));
    // 4000:: itself is a bit that a short prefix may not have.
    if (!v4 && bits < 2) continue;
    ip_address other = network;
    const int flipped = first + static_cast<int>(random() % static_cast<unsigned>(width));
    other.bytes[static_cast<std::size_t>(flipped / 8)] ^=
        static_cast<std::uint8_t>(0x80U >> (flipped % 8));
    const auto text = to_text(network) + "/" + std::to_string(bits);
    EXPECT_TRUE(holds({text}, to_text(network))) << text << ", seed " << seed;
    EXPECT_EQ(holds({text}, to_text(other)), flipped - first >= bits)
        << text << " " << to_text(other) << ", seed " << seed;
  }
}

}  // namespace
}  // namespace portcullis::core
