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

TEST(policy_of_the_log, is_another_one_with_other_settings) {
  std::string why;
  const auto read = parse_policy(core::to_json(a_policy()),
                                 {"lockout.threshold=5", "session.ip_binding=off"}, why);
  ASSERT_TRUE(read) << why;
  EXPECT_EQ(read->lockout.threshold, 5U);
  EXPECT_EQ(read->session.ip_binding, core::ip_binding::off);
  EXPECT_EQ(read->session.idle_ttl_s, 600);
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
