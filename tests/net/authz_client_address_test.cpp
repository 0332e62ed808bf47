// Where a forwarded request comes from: which entries of X-Forwarded-For are believed.
#include "net/authz/client_address.hpp"

#include <gmock/gmock.h>

#include <random>
#include <string>
#include <vector>

namespace portcullis::net {
namespace {

core::ip_address ip(std::string_view text) { return core::parse_ip(text).value(); }

core::address_set proxies() {
  core::address_set set;
  for (const auto* each : {"127.0.0.1", "10.0.0.0/8", "::1"})
    set.add(core::address_set::parse_one(each).value());
  return set;
}

/// The client's address; "refused" where it cannot be known.
std::string client(std::string_view from, const std::vector<std::string_view>& lists) {
  std::vector<header_field> fields;
  for (const auto each : lists) {
    fields.push_back({"X-Forwarded-For", each});
    fields.push_back({"X-Other", "198.51.100.99"});
  }
  const auto found = client_address(ip(from), fields, proxies());
  return found ? to_text(*found) : "refused";
}

TEST(the_client, is_the_connections_peer_where_nobody_is_trusted) {
  EXPECT_EQ(client("203.0.113.7", {}), "203.0.113.7");
  EXPECT_EQ(client("203.0.113.7", {"198.51.100.1"}), "203.0.113.7") << "forged";
  EXPECT_EQ(client("203.0.113.7", {"rubbish"}), "203.0.113.7") << "not even looked at";
  const header_field forged{"X-Forwarded-For", "198.51.100.1"};
  EXPECT_EQ(client_address(ip("127.0.0.1"), {&forged, 1}, {}), ip("127.0.0.1"));
}

TEST(the_client, is_the_rightmost_entry_that_is_no_proxy) {
  EXPECT_EQ(client("127.0.0.1", {"203.0.113.7"}), "203.0.113.7");
  EXPECT_EQ(client("127.0.0.1", {"198.51.100.1, 203.0.113.7"}), "203.0.113.7");
  EXPECT_EQ(client("127.0.0.1", {"198.51.100.1, 203.0.113.7, 10.1.2.3"}), "203.0.113.7");
  EXPECT_EQ(client("::1", {"2001:db8::7, 10.1.2.3,::1"}), "2001:db8::7");
  EXPECT_EQ(client("::ffff:127.0.0.1", {"::ffff:203.0.113.7, ::ffff:10.0.0.1"}), "203.0.113.7");
}

// What Envoy asks with: the user's address, and behind it its own (envoyproxy/envoy#21519).
TEST(the_client, is_in_front_of_a_proxys_own_address_where_that_is_trusted) {
  std::vector<header_field> fields = {{"x-forwarded-for", "198.51.100.7, 172.16.44.100"}};
  auto trusted = proxies();
  EXPECT_EQ(client_address(ip("127.0.0.1"), fields, trusted), ip("172.16.44.100"));
  trusted.add(*core::address_set::parse_one("172.16.44.100"));
  EXPECT_EQ(client_address(ip("127.0.0.1"), fields, trusted), ip("198.51.100.7"));
}

TEST(the_client, is_found_over_several_fields_in_their_order) {
  EXPECT_EQ(client("127.0.0.1", {"198.51.100.1", "203.0.113.7"}), "203.0.113.7");
  EXPECT_EQ(client("127.0.0.1", {"198.51.100.1, 203.0.113.7", "10.1.2.3, 10.1.2.4"}),
            "203.0.113.7");
  const std::vector<header_field> any_case = {{"x-forwarded-for", "203.0.113.7"},
                                              {"X-FORWARDED-FOR", "10.1.1.1"}};
  EXPECT_EQ(client_address(ip("127.0.0.1"), any_case, proxies()), ip("203.0.113.7"));
}

TEST(the_client, is_the_leftmost_where_all_are_proxies) {
  EXPECT_EQ(client("127.0.0.1", {"10.1.2.3"}), "10.1.2.3");
  EXPECT_EQ(client("127.0.0.1", {"10.1.2.3, 10.1.2.4, ::1"}), "10.1.2.3");
}

TEST(the_client, is_the_proxy_itself_where_it_names_nobody) {
  EXPECT_EQ(client("127.0.0.1", {}), "127.0.0.1");
  EXPECT_EQ(client("127.0.0.1", {"", " , ,"}), "127.0.0.1");
}

TEST(the_client, is_unknown_where_an_entry_that_is_reached_is_no_address) {
  for (const auto* text : {"unknown",
                           "_hidden",
                           "\"203.0.113.7\"",
                           "203.0.113",
                           "203.0.113.7:",
                           "203.0.113.7:port",
                           "203.0.113.7:123456",
                           "203.0.113.7 10.0.0.1",
                           "[2001:db8::1",
                           "2001:db8::1]",
                           "[2001:db8::1]x",
                           "[2001:db8::1]:",
                           "[203.0.113.7]",
                           "[]",
                           "fe80::1%eth0",
                           "for=10.0.0.1",
                           "0x7f.1",
                           "10.0.0.1/8",
                           "localhost",
                           "203.0.113.7;203.0.113.8"}) {
    EXPECT_EQ(client("127.0.0.1", {text}), "refused") << text;
    EXPECT_EQ(client("127.0.0.1", {"203.0.113.7, " + std::string(text) + ", 10.0.0.1"}), "refused")
        << text;
    EXPECT_EQ(client("127.0.0.1", {std::string(text) + ", 203.0.113.7"}), "203.0.113.7")
        << text << " is not reached";
  }
}

TEST(a_forwarded_address, may_have_a_port_and_brackets) {
  EXPECT_EQ(client("127.0.0.1", {"203.0.113.7:50123"}), "203.0.113.7");
  EXPECT_EQ(client("127.0.0.1", {"[2001:db8::7]"}), "2001:db8::7");
  EXPECT_EQ(client("127.0.0.1", {"[2001:db8::7]:443"}), "2001:db8::7");
  EXPECT_EQ(client("127.0.0.1", {"[::ffff:203.0.113.7]:443"}), "203.0.113.7");
  EXPECT_EQ(client("127.0.0.1", {"203.0.113.7, 10.0.0.1:9, [::1]:9"}), "203.0.113.7");
}

TEST(the_text_of_an_address, is_the_canonical_one) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int round = 0; round < 1'000; ++round) {
    core::ip_address address = ip("0.0.0.0");
    for (std::size_t i = round % 2 == 0 ? 12 : 0; i < 16; ++i)
      address.bytes[i] = static_cast<std::uint8_t>(random() % 3 == 0 ? 0 : random());
    EXPECT_EQ(address_text(address).view(), to_text(address)) << "seed " << seed;
  }
}

// A list of our own proxies' entries behind what a client may have written: what the client wrote
// never matters.
TEST(the_client, cannot_choose_what_it_is_taken_for) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  const std::string alphabet = "0123456789abcdef.:,[]\" \t%;=x";
  for (int round = 0; round < 5'000; ++round) {
    std::string written;
    for (auto size = random() % 40; size > 0; --size)
      written += alphabet[random() % alphabet.size()];
    std::vector<std::string_view> lists = {written, "203.0.113.7"};
    std::string joined = written + "," + "203.0.113.7";
    for (auto hops = random() % 3; hops > 0; --hops) {
      lists.emplace_back("10.7.7.7");
      joined += " , 10.7.7.7:80";
    }
    EXPECT_EQ(client("127.0.0.1", lists), "203.0.113.7") << written << ", seed " << seed;
    EXPECT_EQ(client("127.0.0.1", {joined}), "203.0.113.7") << joined << ", seed " << seed;
  }
}

}  // namespace
}  // namespace portcullis::net
