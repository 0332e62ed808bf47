// The rules of circuit breakers: [breaker], and [breaker."SERVICE/BREAKER"].
#include "core/breaker/policy.hpp"

#include <set>

#include "core/config/render.hpp"
#include "core/config/table.hpp"
#include "core/session/policy_book.hpp"
#include "entries.hpp"

namespace portcullis::core {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

config_entry given_for(std::string pattern, std::string key, config_value value) {
  return {{"breaker", std::move(pattern), std::move(key)}, std::move(value), "a.toml:4"};
}
config_entry given_for(std::string pattern, std::string key, int value) {
  return given_for(std::move(pattern), std::move(key), config_value{std::int64_t{value}});
}

std::string default_of(std::string_view key) {
  for (const auto& [name, value] : flatten(config{}))
    if (name == key) return toml_text(value.value);
  return "(no such key)";
}

TEST(config_breaker, defaults_are_those_of_the_design) {
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"max", "500"},
      {"window", "\"time\""},
      {"window_s", "60"},
      {"window_buckets", "10"},
      {"window_calls", "100"},
      {"window_age_s", "600"},
      {"min_calls", "20"},
      {"failure_rate_threshold", "0.5"},
      {"slow_call_ms", "60000"},
      {"slow_rate_threshold", "1.0"},
      {"consecutive_failures", "0"},
      {"open_wait_s", "60"},
      {"open_wait_max_s", "300"},
      {"open_wait_jitter", "0.2"},
      {"half_open_permits", "10"},
      {"half_open_concurrency", "1"},
      {"max_half_open_s", "30"},
      {"permit_ttl_s", "30"},
      {"auto_half_open", "true"},
      {"retire_after_s", "86400"},
      {"trip_quorum", "2"},
      {"store_down", "\"local\""}};
  for (const auto& [key, value] : expected) EXPECT_EQ(default_of("breaker." + key), value) << key;
  std::size_t keys = 0;
  for (const auto& row : config_table()) {
    if (!row.name.starts_with("breaker.")) continue;
    ++keys;
    EXPECT_TRUE(row.reloadable) << row.name;
  }
  EXPECT_EQ(keys, expected.size());
  EXPECT_EQ(default_of("metrics.breakers_max"), "500");
}

TEST(config_breaker, each_key_reaches_a_member_of_its_own) {
  std::set<std::string> seen;
  for (const auto& row : config_table()) {
    if (row.scope != key_scope::breaker) continue;
    SCOPED_TRACE(row.name);
    breaker_policy policy;
    const config_place at{.breaker = &policy};
    const auto before = row.access.read(at);
    auto value = before;
    if (auto* flag = std::get_if<bool>(&value)) *flag = !*flag;
    if (auto* integer = std::get_if<std::int64_t>(&value)) *integer += 1;
    if (auto* real = std::get_if<double>(&value)) *real /= 2;
    if (auto* text = std::get_if<std::string>(&value)) *text = row.allowed.back();
    row.access.write(at, value);
    EXPECT_EQ(row.access.read(at), value);
    EXPECT_NE(policy, breaker_policy{});
    row.access.write(at, before);
    EXPECT_EQ(policy, breaker_policy{});
    seen.emplace(row.name);
  }
  EXPECT_EQ(seen.size(), 21U);
}

TEST(config_breaker, seconds_are_kept_in_milliseconds) {
  const auto parsed =
      parse({given("breaker.open_wait_s", 2), given("breaker.permit_ttl_s", 3),
             given("breaker.max_half_open_s", 4), given("breaker.retire_after_s", 5)});
  const auto& policy = parsed.value.breakers.fallback;
  EXPECT_EQ(policy.open_wait_ms, 2'000);
  EXPECT_EQ(policy.permit_ttl_ms, 3'000);
  EXPECT_EQ(policy.max_half_open_ms, 4'000);
  EXPECT_EQ(policy.retire_after_ms, 5'000);
}

TEST(config_breaker, a_pattern_has_from_breaker_what_it_does_not_set) {
  const auto parsed =
      parse({given_for("payments/*", "min_calls", 5), given_for("payments/eu", "min_calls", 6),
             given("breaker.slow_call_ms", 700), given("breaker.max", 9)});
  ASSERT_THAT(texts(parsed.problems), IsEmpty());
  const auto& book = parsed.value.breakers;
  EXPECT_EQ(book.breakers_max, 9U);
  EXPECT_EQ(book.of({"payments", "default"}).min_calls, 5U);
  EXPECT_EQ(book.of({"payments", "default"}).slow_call_ms, 700);
  EXPECT_EQ(book.of({"payments", "eu"}).min_calls, 6U);
  EXPECT_EQ(book.of({"search", "default"}).min_calls, 20U);
}

TEST(config_breaker, the_most_specific_pattern_holds_as_a_whole) {
  const auto parsed =
      parse({given_for("payments/*", "min_calls", 5), given_for("payments/*", "slow_call_ms", 100),
             given_for("*/eu", "min_calls", 7), given_for("payments/eu", "slow_call_ms", 200)});
  ASSERT_THAT(texts(parsed.problems), IsEmpty());
  const auto& book = parsed.value.breakers;
  EXPECT_EQ(book.of({"payments", "eu"}).min_calls, 20U) << "not from payments/*, nor from */eu";
  EXPECT_EQ(book.of({"payments", "us"}).slow_call_ms, 100);
  EXPECT_EQ(book.of({"search", "eu"}).min_calls, 7U);
}

TEST(config_breaker, a_pattern_is_two_names_or_one_and_a_star) {
  for (const auto* good : {"a/b", "*/b", "a/*", "A_z.0-9/x"})
    EXPECT_THAT(texts(parse({given_for(good, "min_calls", 1)}).problems), IsEmpty()) << good;
  for (const std::string bad :
       {"a", "a/", "/b", "a/b/c", "pay*/b", "*/*", "", "a b/c", "a/\xc3\xa4"})
    EXPECT_THAT(texts(parse({given_for(bad, "min_calls", 1)}).problems),
                ElementsAre(HasSubstr("the name must be \"SERVICE/BREAKER\"")))
        << bad;
  EXPECT_THAT(texts(parse({given_for(std::string(65, 'a') + "/b", "min_calls", 1)}).problems),
              ElementsAre(HasSubstr("the name must be")));
}

TEST(config_breaker, an_unknown_key_of_a_pattern_names_the_nearest_one) {
  EXPECT_THAT(
      texts(parse({given_for("payments/*", "min_call", 5)}).problems),
      ElementsAre("a.toml:4: breaker.\"payments/*\".min_call: there is no such key; did you "
                  "mean breaker.\"payments/*\".min_calls?"));
  EXPECT_THAT(texts(parse({given("breaker.min_call", 5)}).problems),
              ElementsAre(HasSubstr("did you mean breaker.min_calls?")));
  EXPECT_THAT(texts(parse({given("min_calls", 5)}).problems),
              ElementsAre(HasSubstr("did you mean breaker.min_calls?")));
  const config_entry section{{"breaker", "payments/*"}, config_value{true}, "a.toml:4"};
  EXPECT_THAT(texts(parse({section}).problems), ElementsAre(HasSubstr("is a section")));
}

TEST(config_breaker, how_many_there_may_be_is_the_nodes_and_no_patterns) {
  EXPECT_THAT(texts(parse({given_for("a/b", "max", 5)}).problems),
              ElementsAre(HasSubstr("there is no such key")));
  EXPECT_THAT(texts(parse({given("breaker.max", 100'001)}).problems),
              ElementsAre(HasSubstr("breaker.max: must be an integer from 1 to 100000")));
}

TEST(config_breaker, a_rate_is_above_0_and_at_most_1) {
  EXPECT_THAT(texts(parse({given("breaker.failure_rate_threshold", 1.5)}).problems),
              ElementsAre("a.toml:1: breaker.failure_rate_threshold: must be a number greater than "
                          "0 and at most 1, not 1.5"));
  EXPECT_THAT(texts(parse({given("breaker.open_wait_jitter", 1)}).problems),
              ElementsAre(HasSubstr("must be a number from 0 to 0.5, not 1")));
  const auto parsed = parse({given("breaker.failure_rate_threshold", 1)});
  EXPECT_THAT(texts(parsed.problems), IsEmpty());
  EXPECT_EQ(parsed.value.breakers.fallback.failure_rate_threshold, 1.0);
}

TEST(config_breaker, the_bound_that_is_not_given_follows_the_one_that_is) {
  const auto policy = [](std::vector<config_entry> entries) {
    const auto parsed = parse(std::move(entries));
    EXPECT_THAT(texts(parsed.problems), IsEmpty());
    return parsed.value.breakers.fallback;
  };
  EXPECT_EQ(policy({given("breaker.open_wait_s", 400)}).open_wait_max_ms, 400'000);
  EXPECT_EQ(policy({given("breaker.open_wait_max_s", 5)}).open_wait_ms, 5'000);
  EXPECT_EQ(policy({given("breaker.half_open_concurrency", 20)}).half_open_permits, 20U);
  const auto few = policy({given("breaker.half_open_concurrency", 5)});
  EXPECT_EQ(few.half_open_permits, 10U);
  EXPECT_EQ(policy({given("breaker.window_s", 1)}).window_buckets, 10U);

  const auto parsed =
      parse({given("breaker.half_open_concurrency", 8), given("breaker.window_buckets", 60),
             given_for("a/b", "half_open_permits", 2), given_for("a/b", "window_s", 2),
             given_for("a/b", "open_wait_s", 600)});
  EXPECT_THAT(texts(parsed.problems), IsEmpty());
  const auto& own = parsed.value.breakers.of({"a", "b"});
  EXPECT_EQ(own.half_open_concurrency, 2U);
  EXPECT_EQ(own.window_buckets, 20U);
  EXPECT_EQ(own.open_wait_max_ms, 600'000);
}

TEST(config_breaker, bounds_that_are_given_and_contradict_each_other_are_refused) {
  EXPECT_THAT(
      texts(
          parse({given("breaker.open_wait_s", 10), given("breaker.open_wait_max_s", 9)}).problems),
      ElementsAre("a.toml:1: breaker.open_wait_max_s: must be at least open_wait_s (10)"));
  EXPECT_THAT(
      texts(
          parse({given("breaker.half_open_permits", 3), given("breaker.half_open_concurrency", 4)})
              .problems),
      ElementsAre(
          "a.toml:1: breaker.half_open_concurrency: must be at most half_open_permits (3)"));
  EXPECT_THAT(
      texts(parse({given("breaker.window_s", 2), given("breaker.window_buckets", 21)}).problems),
      ElementsAre(
          "a.toml:1: breaker.window_buckets: must be at most 20: 100 ms each in a window of "
          "2 s"));
  EXPECT_THAT(
      texts(parse({given_for("a/b", "open_wait_s", 10), given_for("a/b", "open_wait_max_s", 9)})
                .problems),
      ElementsAre("a.toml:4: breaker.\"a/b\".open_wait_max_s: must be at least open_wait_s (10)"));
}

TEST(config_breaker, patterns_are_written_read_again_and_compared) {
  const auto first = parse({given_for("payments/*", "failure_rate_threshold", 1.0),
                            given_for("payments/*", "window", std::string("count")),
                            given("breaker.open_wait_jitter", 0.125)});
  ASSERT_THAT(texts(first.problems), IsEmpty());
  std::vector<config_entry> again;
  for (const auto& [key, value] : flatten(first.value)) {
    if (const auto quote = key.find('"'); quote != std::string::npos) {
      const auto end = key.find('"', quote + 1);
      again.push_back(
          given_for(key.substr(quote + 1, end - quote - 1), key.substr(end + 2), value.value));
    } else {
      again.push_back(given(key, value.value));
    }
  }
  const auto second = parse_config(again);
  EXPECT_THAT(texts(second.problems), IsEmpty());
  EXPECT_THAT(config_diff(first.value, second.value), IsEmpty());

  std::vector<std::string> changed;
  for (const auto& change : config_diff(parse({}).value, first.value)) {
    EXPECT_TRUE(change.reloadable) << change.key;
    changed.push_back(change.key);
  }
  EXPECT_THAT(changed, Contains("breaker.\"payments/*\".window"));
  EXPECT_THAT(changed, Contains("breaker.open_wait_jitter"));
  const auto text = effective_config(first.value, first.origins);
  EXPECT_THAT(text, HasSubstr("breaker.\"payments/*\".failure_rate_threshold = 1.0  # a.toml:4\n"));
  EXPECT_THAT(text, HasSubstr("breaker.\"payments/*\".min_calls = 20  # default\n"));
}

TEST(config_breaker, the_policies_that_the_log_keeps_have_the_breakers_default_and_patterns) {
  policy_book book;
  book.breakers =
      parse({given("breaker.open_wait_s", 7), given_for("a/*", "min_calls", 3)}).value.breakers;
  const auto text = to_json(book);
  EXPECT_THAT(
      text,
      HasSubstr(
          R"("breaker":{"max":500,"default":{"window":"time","window_s":60,"window_buckets":10,)"
          R"("window_calls":100,"window_age_s":600,"min_calls":20,"failure_rate_threshold":0.5,)"
          R"("slow_call_ms":60000,"slow_rate_threshold":1,"consecutive_failures":0,)"
          R"("open_wait_s":7,"open_wait_max_s":300,"open_wait_jitter":0.2,"half_open_permits":10,)"
          R"("half_open_concurrency":1,"max_half_open_s":30,"permit_ttl_s":30,)"
          R"("auto_half_open":true,"retire_after_s":86400},"patterns":{"a/*":{"window":"time",)"));
  EXPECT_THAT(text, HasSubstr(R"("min_calls":3,)"));
  EXPECT_TRUE(text.ends_with("}}}}")) << text;
}

}  // namespace
}  // namespace portcullis::core
