// What a browser that was lured here may not do: DNS rebinding, requests across sites.
#include "net/http/host_rules.hpp"

#include <gmock/gmock.h>

namespace portcullis::net {
namespace {

host_rules listening_on(std::string_view address, std::vector<std::string> hosts = {},
                        std::vector<std::string> origins = {}) {
  return host_rules({std::move(hosts), std::move(origins), core::parse_ip(address)});
}

TEST(host, on_loopback_is_loopback_in_all_its_spellings) {
  const auto rules = listening_on("127.0.0.1");
  for (const auto* host :
       {"127.0.0.1", "127.0.0.1:7480", "127.0.0.53", "localhost", "localhost:7480", "LocalHost",
        "[::1]", "[::1]:7480", "[::ffff:127.0.0.1]", "127.0.0.1:"})
    EXPECT_TRUE(rules.host_allowed(host)) << host;
  EXPECT_TRUE(listening_on("::1").host_allowed("localhost:7480"));
}

TEST(host, of_another_site_is_refused_though_its_name_was_resolved_to_us) {
  const auto rules = listening_on("127.0.0.1", {"auth.example.com"});
  for (const auto* host :
       {"evil.example", "evil.example:7480", "127.0.0.1.evil.example", "localhost.evil.example",
        "localhost.", "notlocalhost", "example.com", "a.auth.example.com", "auth.example.com.",
        "128.0.0.1", "[::2]", "0.0.0.0", "[::]"})
    EXPECT_FALSE(rules.host_allowed(host)) << host;
}

TEST(host, that_is_malformed_is_refused) {
  const auto rules = listening_on("127.0.0.1", {"a.example"});
  for (const auto* host : {"",
                           ":",
                           ":7480",
                           "[",
                           "[]",
                           "]",
                           "[::1",
                           "[::1]x",
                           "[::1]:x",
                           "[127.0.0.1]",
                           "[localhost]",
                           "[a.example]",
                           "::1",
                           "localhost:x",
                           "localhost:123456",
                           "localhost:80:80",
                           "user@localhost",
                           " localhost",
                           "localhost ",
                           "127.1",
                           "0x7f.0.0.1",
                           "2130706433",
                           "a.example, localhost",
                           "localhost/"})
    EXPECT_FALSE(rules.host_allowed(host)) << host;
}

TEST(host, that_is_listed_is_allowed_with_any_port_and_in_any_case) {
  const auto rules = listening_on(
      "192.0.2.1", {"Auth.Example.com", "198.51.100.4", "2001:db8::1", "[2001:db8::2]"});
  for (const auto* host : {"auth.example.com", "AUTH.example.COM:443", "198.51.100.4",
                           "[2001:db8::1]:80", "[2001:db8:0::1]", "[2001:db8::2]"})
    EXPECT_TRUE(rules.host_allowed(host)) << host;
  EXPECT_TRUE(rules.host_allowed("192.0.2.1:7480")) << "the listener's own";
  for (const auto* host : {"localhost", "127.0.0.1", "[::1]", "192.0.2.2"})
    EXPECT_FALSE(rules.host_allowed(host)) << host;
}

TEST(host, on_all_addresses_is_only_what_is_listed) {
  const host_rules rules({{"auth.example.com"}, {}, std::nullopt});
  EXPECT_TRUE(rules.host_allowed("auth.example.com"));
  EXPECT_FALSE(rules.host_allowed("localhost"));
  EXPECT_FALSE(rules.host_allowed("192.0.2.1"));
}

TEST(origin, is_refused_unless_it_is_listed_byte_for_byte) {
  const auto rules = listening_on("127.0.0.1", {},
                                  {"https://console.example.com", "null", "http://localhost:3000"});
  EXPECT_TRUE(rules.origin_allowed("https://console.example.com"));
  EXPECT_TRUE(rules.origin_allowed("http://localhost:3000"));
  for (const auto* origin :
       {"", "null", "*", "https://console.example.com/", "http://console.example.com",
        "https://console.example.com:443", "https://CONSOLE.example.com",
        "https://console.example.com.evil.example", "https://evil.example", "http://localhost",
        "https://console.example.com https://evil.example"})
    EXPECT_FALSE(rules.origin_allowed(origin)) << origin;
  EXPECT_FALSE(listening_on("127.0.0.1").origin_allowed("http://127.0.0.1:7480"));
}

TEST(a_media_type, is_json_with_or_without_parameters) {
  for (const auto* type : {"application/json", "APPLICATION/Json", " application/json\t",
                           "application/json;charset=utf-8", "application/json ; charset=\"UTF-8\"",
                           "application/json;"})
    EXPECT_TRUE(is_json_media_type(type)) << type;
}

TEST(a_media_type, that_a_page_may_send_without_asking_is_not_json) {
  for (const auto* type :
       {"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "text/plain; application/json", "text/plain;charset=application/json",
        "application/json, text/plain", "application/json;x, text/plain", "application/jsonp",
        "application/json+x", "application", "application/", "application/json text/plain", "json"})
    EXPECT_FALSE(is_json_media_type(type)) << type;
}

TEST(loopback, is_127_and_one) {
  for (const auto* text : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"})
    EXPECT_TRUE(is_loopback(core::parse_ip(text).value())) << text;
  for (const auto* text : {"126.255.255.255", "128.0.0.0", "::", "::2", "::7f00:1", "0.0.0.0"})
    EXPECT_FALSE(is_loopback(core::parse_ip(text).value())) << text;
}

}  // namespace
}  // namespace portcullis::net
