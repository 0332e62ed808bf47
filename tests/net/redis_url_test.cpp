#include "net/redis/url.hpp"

#include <gtest/gtest.h>

namespace portcullis::net::redis {
namespace {

std::string read(std::string_view text) {
  const auto got = parse_url(text);
  if (!got) {
    EXPECT_EQ(got.error().code, core::error_code::CONFIG_INVALID);
    return "refused: " + std::string(got.error().rule);
  }
  return std::string(got->tls ? "tls " : "") + to_text(got->at) + " db=" + std::to_string(got->db) +
         " user=" + got->who.user + " password=" + got->who.password;
}

TEST(a_redis_url, names_host_and_port) {
  EXPECT_EQ(read("redis://store"), "store:6379 db=0 user= password=");
  EXPECT_EQ(read("redis://store:7000/"), "store:7000 db=0 user= password=");
  EXPECT_EQ(read("rediss://10.0.0.7:1/12"), "tls 10.0.0.7:1 db=12 user= password=");
}

TEST(a_redis_url, has_an_ipv6_address_in_brackets) {
  EXPECT_EQ(read("redis://[::1]:7000"), "[::1]:7000 db=0 user= password=");
  EXPECT_EQ(read("redis://[2001:db8::7]/3"), "[2001:db8::7]:6379 db=3 user= password=");
  EXPECT_EQ(read("redis://::1:7000"), "refused: host");
  EXPECT_EQ(read("redis://[::1"), "refused: host");
  EXPECT_EQ(read("redis://[::1]7000"), "refused: host");
  EXPECT_EQ(read("redis://[store]"), "refused: host");
  EXPECT_EQ(read("redis://[127.0.0.1]"), "refused: host");
}

TEST(a_redis_url, names_user_and_password_percent_encoded) {
  EXPECT_EQ(read("redis://ada:b%40r%3a%2F@store"), "store:6379 db=0 user=ada password=b@r:/");
  EXPECT_EQ(read("redis://:secret@store"), "store:6379 db=0 user= password=secret");
  EXPECT_EQ(read("redis://ada@store"), "store:6379 db=0 user=ada password=");
  EXPECT_EQ(read("redis://ada:a:b@store"), "store:6379 db=0 user=ada password=a:b");
  EXPECT_EQ(read("redis://a%4@store"), "refused: percent_encoding");
  EXPECT_EQ(read("redis://a%4g@store"), "refused: percent_encoding");
  EXPECT_EQ(read("redis://@store"), "refused: user");
}

TEST(a_redis_url, names_a_unix_socket) {
  EXPECT_EQ(read("unix:///run/redis.sock"), "unix:/run/redis.sock db=0 user= password=");
  EXPECT_EQ(read("unix:///run/a%20b?db=4"), "unix:/run/a b db=4 user= password=");
  EXPECT_EQ(read("unix://run/redis.sock"), "refused: path");
  EXPECT_EQ(read("unix:///"), "refused: path");
  EXPECT_EQ(read("unix:///run/a%00b"), "refused: path");
  EXPECT_EQ(read("unix:///" + std::string(120, 'a')), "refused: path");
  EXPECT_EQ(read("unix:///run/r?password=x"), "refused: query");
  EXPECT_EQ(read("unix:///run/r?db=x"), "refused: db");
}

TEST(a_redis_url, is_refused_by_the_rule_that_it_breaks) {
  EXPECT_EQ(read(""), "refused: scheme");
  EXPECT_EQ(read("http://store"), "refused: scheme");
  EXPECT_EQ(read("redis:store"), "refused: scheme");
  EXPECT_EQ(read("redis://"), "refused: host");
  EXPECT_EQ(read("redis://a b"), "refused: host");
  EXPECT_EQ(read("redis://store:"), "refused: port");
  EXPECT_EQ(read("redis://store:0"), "refused: port");
  EXPECT_EQ(read("redis://store:65536"), "refused: port");
  EXPECT_EQ(read("redis://store:+1"), "refused: port");
  EXPECT_EQ(read("redis://store/a"), "refused: db");
  EXPECT_EQ(read("redis://store/-1"), "refused: db");
  EXPECT_EQ(read("redis://store/1/2"), "refused: db");
  EXPECT_EQ(read("redis://store/0?ssl=true"), "refused: query");
  EXPECT_EQ(read("redis://store#1"), "refused: query");
  EXPECT_EQ(read("redis://" + std::string(3'000, 'a')), "refused: length");
  EXPECT_EQ(read("redis://" + std::string(254, 'a')), "refused: host");
}

}  // namespace
}  // namespace portcullis::net::redis
