// A policy comes back from the log as it was, and with other settings over it.
#include <gtest/gtest.h>

#include "apps/log/policy.hpp"

namespace portcullis::apps {
namespace {

core::policy_book a_policy() {
  core::policy_book book;
  book.session.idle_ttl_s = 600;
  book.session.ip_binding = core::ip_binding::observe;
  book.session.observed = 0;
  book.lockout.threshold = 7;
  book.lockout.scope = core::lockout_scope::user_source;
  book.tenants["a.b"] = book.session;
  book.tenants["a.b"].ip_prefix_v4 = 24;
  book.breakers.fallback.failure_rate_threshold = 0.25;
  book.breakers.breakers_max = 7;
  book.breakers.patterns["payments/*"] = book.breakers.fallback;
  book.breakers.patterns["payments/*"].min_calls = 5;
  return book;
}

TEST(policy_of_the_log, comes_back_as_it_was) {
  const auto book = a_policy();
  std::string why;
  const auto read = parse_policy(core::to_json(book), {}, why);
  ASSERT_TRUE(read) << why;
  EXPECT_EQ(core::to_json(*read), core::to_json(book));
}

TEST(policy_of_the_log, comes_back_with_the_stores_breaker_as_every_node_tells_it) {
  auto book = a_policy();
  const std::string store(core::store_breaker_pattern);
  book.breakers.patterns[store] = core::store_breaker_policy();
  std::string why;
  auto read = parse_policy(core::to_json(book), {}, why);
  ASSERT_TRUE(read) << why;
  EXPECT_EQ(core::to_json(*read), core::to_json(book));
  book.breakers.patterns[store].open_wait_ms = 2'000;
  read = parse_policy(core::to_json(book), {}, why);
  ASSERT_TRUE(read) << why;
  EXPECT_EQ(core::to_json(*read), core::to_json(book));
}

TEST(policy_of_the_log, is_another_one_with_other_settings) {
  std::string why;
  const auto read = parse_policy(core::to_json(a_policy()),
                                 {"lockout.threshold=5", "session.ip_binding=off"}, why);
  ASSERT_TRUE(read) << why;
  EXPECT_EQ(read->lockout.threshold, 5U);
  EXPECT_EQ(read->session.ip_binding, core::ip_binding::off);
  EXPECT_EQ(read->session.idle_ttl_s, 600);
}

TEST(policy_of_the_log, tenants_and_patterns_follow_what_is_tried_but_for_what_is_their_own) {
  std::string why;
  const auto read = parse_policy(core::to_json(a_policy()),
                                 {"session.ip_binding=enforce", "session.ip_prefix_v4=30",
                                  "breaker.failure_rate_threshold=0.75", "breaker.min_calls=50"},
                                 why);
  ASSERT_TRUE(read) << why;
  EXPECT_EQ(read->of("a.b").ip_binding, core::ip_binding::enforce);
  EXPECT_EQ(read->of("a.b").ip_prefix_v4, 24) << "its own";
  const auto& payments = read->breakers.of({"payments", "default"});
  EXPECT_EQ(payments.failure_rate_threshold, 0.75);
  EXPECT_EQ(payments.min_calls, 5U) << "its own";
}

TEST(policy_of_the_log, a_pattern_that_is_as_the_default_still_stands_before_wider_ones) {
  auto book = a_policy();
  book.breakers.patterns["payments/a"] = book.breakers.fallback;
  std::string why;
  const auto read = parse_policy(core::to_json(book), {"breaker.min_calls=50"}, why);
  ASSERT_TRUE(read) << why;
  EXPECT_EQ(read->breakers.of({"payments", "a"}).min_calls, 50U);
  EXPECT_EQ(read->breakers.of({"payments", "b"}).min_calls, 5U);
}

TEST(policy_of_the_log, times_that_bound_each_other_give_way_to_what_is_tried) {
  std::string why;
  const auto read =
      parse_policy(core::to_json(core::policy_book{}), {"session.idle_ttl_s=60"}, why);
  ASSERT_TRUE(read) << why;
  EXPECT_EQ(read->session.touch_granularity_s, 30);
  const auto shorter =
      parse_policy(core::to_json(core::policy_book{}), {"session.absolute_ttl_s=40"}, why);
  ASSERT_TRUE(shorter) << why;
  EXPECT_EQ(shorter->session.idle_ttl_s, 40);
  EXPECT_EQ(shorter->session.touch_granularity_s, 20);
}

TEST(policy_of_the_log, what_cannot_be_tried_is_refused_by_name) {
  std::string why;
  EXPECT_FALSE(parse_policy("", {"listen.rpc.address=1.2.3.4:5"}, why));
  EXPECT_NE(why.find("listen.rpc.address"), std::string::npos) << why;
  why.clear();
  EXPECT_FALSE(parse_policy("", {"lockout.threshold=0"}, why));
  EXPECT_NE(why.find("lockout.threshold"), std::string::npos) << why;
}

}  // namespace
}  // namespace portcullis::apps
