#include "core/config/parse.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/config/names.hpp"
#include "core/config/table.hpp"
#include "entries.hpp"

namespace portcullis::core {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// The full path of a row, with a name or index where the row needs one.
std::string path_text(const config_key& row) {
  if (row.scope == key_scope::named) return std::string(row.name) + ".net";
  if (row.scope == key_scope::token) return "auth.token.0." + std::string(last_part(row.name));
  if (row.scope == key_scope::certificate)
    return "auth.certificate.0." + std::string(last_part(row.name));
  return std::string(row.name);
}

std::vector<config_entry> with_whole_callers(config_entry entry) {
  std::vector<config_entry> entries = {given("auth.token.0.name", "t"),
                                       given("auth.token.0.role", "app"),
                                       given("auth.token.0.sha256", a_sha256.c_str())};
  if (entry.path.size() > 1 && entry.path[1] == "certificate")
    for (const auto& [key, value] : {std::pair{"auth.certificate.0.name", "c"},
                                     {"auth.certificate.0.role", "app"},
                                     {"auth.certificate.0.san", "DNS:c.test"},
                                     {"tls.client_certificates", "optional"},
                                     {"tls.client_ca_file", "/ca.pem"}})
      entries.push_back(given(key, value));
  entries.push_back(std::move(entry));
  return entries;
}

TEST(config_parse, nothing_given_is_the_defaults) {
  const auto parsed = parse({});
  EXPECT_THAT(parsed.problems, IsEmpty());
  EXPECT_EQ(parsed.value.listen.rpc.address, "127.0.0.1:7420");
  EXPECT_EQ(parsed.value.session, session_policy{});
  EXPECT_EQ(parsed.value.lockout, lockout_policy{});
}

TEST(config_parse, every_key_refuses_a_value_of_another_type_and_says_what_it_takes) {
  for (const auto& row : config_table()) {
    SCOPED_TRACE(row.name);
    const auto key = path_text(row);
    const auto parsed = parse(with_whole_callers(given(key, foreign_value{"a date"}, "a.toml:7")));
    EXPECT_THAT(texts(parsed.problems),
                Contains(AllOf(HasSubstr("a.toml:7: "), HasSubstr(allowed_text(row)),
                               HasSubstr("not a date"))));
  }
}

TEST(config_parse, every_integer_takes_its_bounds_and_refuses_what_is_past_them) {
  int integers = 0;
  for (const auto& row : config_table()) {
    if (row.form != key_form::integer) continue;
    ++integers;
    SCOPED_TRACE(row.name);
    const auto refused = [&](std::int64_t value) {
      const auto parsed = parse({given(row.name, config_value{value})});
      return std::any_of(parsed.problems.begin(), parsed.problems.end(),
                         [&](const config_problem& problem) {
                           return problem.key == row.name &&
                                  problem.message.find(allowed_text(row)) != std::string::npos;
                         });
    };
    EXPECT_FALSE(refused(row.least));
    EXPECT_FALSE(refused(row.most));
    EXPECT_TRUE(refused(row.least - 1));
    EXPECT_TRUE(refused(row.most + 1));
  }
  EXPECT_GT(integers, 20);
}

TEST(config_parse, every_number_takes_integers_and_its_bounds_and_refuses_what_is_past_them) {
  int numbers = 0;
  for (const auto& row : config_table()) {
    if (row.form != key_form::number) continue;
    ++numbers;
    SCOPED_TRACE(row.name);
    const auto& range = row.range;
    const auto refused = [&](config_value value) {
      const auto problems = texts(parse({given(row.name, std::move(value))}).problems);
      return std::any_of(problems.begin(), problems.end(), [&](const std::string& problem) {
        return problem.find(allowed_text(row)) != std::string::npos;
      });
    };
    EXPECT_EQ(refused(range.least), range.above);
    EXPECT_EQ(refused(static_cast<std::int64_t>(range.least)), range.above);
    EXPECT_FALSE(refused(std::nextafter(range.least, range.most)));
    EXPECT_FALSE(refused(range.most));
    EXPECT_TRUE(refused(std::nextafter(range.least, range.least - 1)));
    EXPECT_TRUE(refused(std::nextafter(range.most, range.most + 1)));
    for (const auto no_number :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
          -std::numeric_limits<double>::infinity()})
      EXPECT_TRUE(refused(no_number));
    EXPECT_TRUE(refused(std::int64_t{2}));
    EXPECT_TRUE(refused(std::string("0.5")));
  }
  EXPECT_EQ(numbers, 3);
}

TEST(config_parse, every_choice_is_taken_and_read_back) {
  for (const auto& row : config_table()) {
    if (row.form != key_form::choice) continue;
    for (const auto& choice : row.allowed) {
      SCOPED_TRACE(std::string(row.name) + " = " + std::string(choice));
      const auto parsed =
          parse(with_whole_callers(given(path_text(row), std::string(choice).c_str())));
      auto key = path_text(row);
      if (row.scope == key_scope::token) key = "auth.token.t." + std::string(last_part(row.name));
      if (row.scope == key_scope::certificate)
        key = "auth.certificate.c." + std::string(last_part(row.name));
      EXPECT_EQ(flatten(parsed.value).at(key).value, config_value{std::string(choice)});
    }
    const auto parsed = parse(with_whole_callers(given(path_text(row), "nonsense")));
    EXPECT_THAT(texts(parsed.problems), Contains(HasSubstr(allowed_text(row))));
  }
}

TEST(config_parse, an_unknown_key_names_the_nearest_one) {
  EXPECT_THAT(
      texts(parse({given("session.idle_ttl", 5, "a.toml:3")}).problems),
      ElementsAre(
          "a.toml:3: session.idle_ttl: there is no such key; did you mean session.idle_ttl_s?"));
  EXPECT_THAT(texts(parse({given("idle_ttl_s", 5)}).problems),
              ElementsAre(HasSubstr("mean session.idle_ttl_s?")));
  EXPECT_THAT(texts(parse({given("tenant.acme.session.iddle_ttl_s", 5)}).problems),
              Contains(HasSubstr("did you mean tenant.acme.session.idle_ttl_s?")));
  EXPECT_THAT(texts(parse({given("completely.else", 5)}).problems),
              ElementsAre("a.toml:1: completely.else: there is no such key"));
}

TEST(config_parse, a_section_given_as_a_value_is_told_apart_from_an_unknown_key) {
  EXPECT_THAT(texts(parse({given("session", 5)}).problems), ElementsAre(HasSubstr("is a section")));
}

TEST(config_parse, later_entries_win_over_earlier_ones_and_are_where_it_was_given) {
  const auto parsed =
      parse({given("lockout.threshold", 3, "a.toml:1"), given("lockout.threshold", 4, "--set")});
  EXPECT_EQ(parsed.value.lockout.threshold, 4U);
  EXPECT_EQ(parsed.origins.at("lockout.threshold"), "--set");
  const auto hidden =
      parse({given("lockout.threshold", "three"), given("lockout.threshold", 4, "--set")});
  EXPECT_THAT(hidden.problems, IsEmpty());
}

TEST(config_parse, a_text_typed_in_a_flag_needs_no_quotes_even_when_it_looks_like_a_number) {
  auto entry = given("server.node_id", 5, "--set");
  entry.raw = "5";
  EXPECT_EQ(parse({entry}).value.server.node_id, "5");
  auto list = given("session.fingerprint_fields", "user_agent, accept", "--set");
  list.raw = "user_agent, accept";
  const auto parsed = parse({list});
  EXPECT_EQ(parsed.value.session.enforced,
            bit(context_field::user_agent) | bit(context_field::accept));
  EXPECT_THAT(parse({given("session.fingerprint_fields", "user_agent")}).problems, SizeIs(1));
}

TEST(config_parse, a_tenant_has_from_session_what_it_does_not_set) {
  const auto parsed =
      parse({given("session.idle_ttl_s", 600), given("session.ip_binding", "observe"),
             given("tenant.acme.session.idle_ttl_s", 300)});
  EXPECT_THAT(parsed.problems, IsEmpty());
  EXPECT_EQ(parsed.value.tenants.at("acme").idle_ttl_s, 300);
  EXPECT_EQ(parsed.value.tenants.at("acme").ip_binding, ip_binding::observe);
  EXPECT_EQ(parsed.value.session.idle_ttl_s, 600);
}

TEST(config_parse, a_tenant_that_no_request_can_name_is_refused) {
  for (const std::string name : {"a\x01", "a\xc2\x85", "a\xe2\x80\xae", ""}) {
    const config_entry entry{
        {"tenant", name, "session", "idle_ttl_s"}, config_value{std::int64_t{60}}, "a.toml:9"};
    EXPECT_THAT(parse({entry}).problems, SizeIs(1)) << name;
  }
  const config_entry last{{"tenant", std::string(128, 'a'), "session", "idle_ttl_s"},
                          config_value{std::int64_t{60}},
                          "a.toml:9"};
  EXPECT_THAT(parse({last}).problems, IsEmpty());
}

TEST(config_parse, a_tenants_name_may_hold_dots_and_is_quoted_in_messages) {
  const config_entry entry{
      {"tenant", "a.b", "session", "idle_ttl_s"}, config_value{true}, "a.toml:9"};
  EXPECT_THAT(
      texts(parse({entry}).problems),
      ElementsAre(
          "a.toml:9: tenant.\"a.b\".session.idle_ttl_s: must be an integer from 1 to 31536000, "
          "not true"));
}

TEST(config_parse, a_lifetime_given_alone_lowers_what_follows_from_it) {
  const auto parsed =
      parse({given("session.absolute_ttl_s", 30), given("tenant.acme.session.idle_ttl_s", 8)});
  EXPECT_THAT(parsed.problems, IsEmpty());
  EXPECT_EQ(parsed.value.session.idle_ttl_s, 30);
  EXPECT_EQ(parsed.value.session.touch_granularity_s, 15);
  EXPECT_EQ(parsed.value.tenants.at("acme").touch_granularity_s, 4);
}

TEST(config_parse, a_token_needs_name_role_and_hash) {
  const auto parsed = parse({given("auth.token.0.name", "web", "a.toml:5")});
  EXPECT_THAT(texts(parsed.problems), ElementsAre("a.toml:5: auth.token.0.role: is required",
                                                  "a.toml:5: auth.token.0.sha256: is required"));
}

TEST(config_parse, tokens_keep_their_order_and_lists) {
  auto entries = with_whole_callers(
      given("auth.token.0.tenants", config_value{std::vector<std::string>{"a", "b"}}));
  entries.push_back(given("auth.token.1.name", "ops"));
  entries.push_back(given("auth.token.1.role", "admin"));
  entries.push_back(given("auth.token.1.sha256", std::string(64, 'b').c_str()));
  const auto parsed = parse(entries);
  ASSERT_THAT(parsed.problems, IsEmpty());
  ASSERT_THAT(parsed.value.auth.tokens, SizeIs(2));
  EXPECT_THAT(parsed.value.auth.tokens[0].tenants, ElementsAre("a", "b"));
  EXPECT_EQ(parsed.value.auth.tokens[0].sha256[31], 0xaa);
  EXPECT_EQ(parsed.value.auth.tokens[1].role, role::admin);
}

TEST(config_parse, what_was_given_for_a_text_is_never_repeated_in_the_message) {
  const auto problems =
      texts(parse(with_whole_callers(given("auth.token.0.sha256", "hunter2"))).problems);
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(problems[0], testing::Not(HasSubstr("hunter2")));
}

TEST(config_parse, names_of_components_and_labels_have_a_form) {
  EXPECT_EQ(parse({given("log.levels.net", "debug")}).value.log.levels.at("net"), log_level::debug);
  std::string names;
  for (const auto name : log_component_names) {
    EXPECT_THAT(parse({given("log.levels." + std::string(name), "debug")}).problems, SizeIs(0));
    names.append(names.empty() ? "" : ", ").append(name);
  }
  for (const auto* unknown : {"log.levels.Net", "log.levels.nett", "log.levels.breakers"})
    EXPECT_THAT(texts(parse({given(unknown, "debug")}).problems),
                ElementsAre(HasSubstr("one of " + names)));
  EXPECT_EQ(parse({given("metrics.labels.region", "eu")}).value.metrics.labels.at("region"), "eu");
  EXPECT_THAT(parse({given("metrics.labels.method", "eu")}).problems, SizeIs(1));
  EXPECT_THAT(parse({given("metrics.labels.__x", "eu")}).problems, SizeIs(1));
}

TEST(config_parse, addresses_are_checked_by_form) {
  for (const auto* good : {"127.0.0.1:0", "[::1]:7420", "localhost:65535"})
    EXPECT_THAT(parse({given("listen.rpc.address", good)}).problems, IsEmpty()) << good;
  for (const auto* bad : {"127.0.0.1", "::1:7420", "example.org:80", "127.0.0.1:65536",
                          "127.0.0.1:", ":80", "1.2.3.4:+5"})
    EXPECT_THAT(parse({given("listen.rpc.address", bad)}).problems, SizeIs(1)) << bad;
}

TEST(config_diff, names_what_changed_and_whether_a_reload_takes_it) {
  const auto before = parse({}).value;
  const auto after = parse({given("lockout.threshold", 3), given("server.loops", 2),
                            given("tenant.acme.session.idle_ttl_s", 300)})
                         .value;
  std::vector<std::string> fixed, changed;
  for (const auto& change : config_diff(before, after))
    (change.reloadable ? changed : fixed).push_back(change.key);
  EXPECT_THAT(fixed, ElementsAre("server.loops"));
  EXPECT_THAT(changed,
              AllOf(Contains("lockout.threshold"), Contains("tenant.acme.session.idle_ttl_s")));
  EXPECT_THAT(config_diff(after, after), IsEmpty());
}

TEST(config_diff, a_removed_token_is_a_change_that_a_reload_takes) {
  const auto before = parse(with_whole_callers(given("log.level", "info"))).value;
  const auto changes = config_diff(before, parse({}).value);
  ASSERT_THAT(changes, testing::Not(IsEmpty()));
  for (const auto& change : changes) {
    EXPECT_THAT(change.key, HasSubstr("auth.token.t."));
    EXPECT_TRUE(change.reloadable);
  }
}

TEST(config_diff, a_reload_of_a_fixed_key_is_refused_by_name_and_place) {
  const auto after =
      parse({given("server.data_dir", "./other", "a.toml:2"), given("lockout.threshold", 3)});
  EXPECT_THAT(
      texts(reload_problems(parse({}).value, after.value, after.origins)),
      ElementsAre("a.toml:2: server.data_dir: a running server cannot change this; restart it"));
}

TEST(config_values, every_value_survives_being_written_and_read_again) {
  auto entries = with_whole_callers(given("tenant.acme.session.max_sessions_per_user", 7));
  entries.push_back(given("log.levels.net", "trace"));
  const auto first = parse(entries);
  ASSERT_THAT(first.problems, IsEmpty());
  std::vector<config_entry> again = with_whole_callers(given("server.drain_s", 10));
  for (const auto& [key, value] : flatten(first.value))
    if (value.key->scope != key_scope::token) again.push_back({path_of(key), value.value, "again"});
  const auto second = parse_config(again);
  EXPECT_THAT(second.problems, IsEmpty());
  EXPECT_THAT(config_diff(first.value, second.value), IsEmpty());
}

TEST(edit_distance, counts_single_character_edits) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("abc", "abc"), 0U);
}

}  // namespace
}  // namespace portcullis::core
