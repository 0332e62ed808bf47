#include "apps/config_loader.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace portcullis::apps {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

const std::string development = "[server]\nenvironment = \"development\"\n";

class config_loader : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("portcullis_loader_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& text) {
    const auto path = (folder_ / "c.toml").string();
    std::ofstream(path) << text;
    return path;
  }
  core::parsed_config load(const std::string& text, std::vector<std::string> environment = {},
                           std::vector<std::string> flags = {}) {
    return load_config({file(text), std::move(environment), std::move(flags)});
  }
  static std::vector<std::string> texts(const core::parsed_config& parsed) {
    std::vector<std::string> all;
    for (const auto& problem : parsed.problems) all.push_back(to_text(problem));
    return all;
  }
  std::filesystem::path folder_;
};

TEST_F(config_loader, flags_win_over_the_environment_over_the_file_over_defaults) {
  const auto text = development + "[lockout]\nthreshold = 2\nwindow_s = 2\nduration_s = 2\n";
  const auto parsed =
      load(text, {"PORTCULLIS_LOCKOUT__THRESHOLD=3", "PORTCULLIS_LOCKOUT__WINDOW_S=3"},
           {"lockout.threshold=4"});
  ASSERT_THAT(texts(parsed), IsEmpty());
  EXPECT_EQ(parsed.value.lockout.threshold, 4U);
  EXPECT_EQ(parsed.value.lockout.window_s, 3);
  EXPECT_EQ(parsed.value.lockout.duration_s, 2);
  EXPECT_EQ(parsed.value.lockout.user_threshold, 100U);
  EXPECT_EQ(parsed.origins.at("lockout.threshold"), "--set");
  EXPECT_EQ(parsed.origins.at("lockout.window_s"), "environment PORTCULLIS_LOCKOUT__WINDOW_S");
  EXPECT_THAT(parsed.origins.at("lockout.duration_s"), testing::EndsWith("c.toml:6"));
}

TEST_F(config_loader, the_last_of_two_equal_flags_wins) {
  EXPECT_EQ(
      load(development, {}, {"lockout.threshold=4", "lockout.threshold=5"}).value.lockout.threshold,
      5U);
}

TEST_F(config_loader, problems_name_file_and_line) {
  EXPECT_THAT(texts(load(development + "\n[session]\nidle_ttl_s = \"long\"\nnonsense = 1\n")),
              ElementsAre(HasSubstr("c.toml:5: session.idle_ttl_s: must be an integer"),
                          HasSubstr("c.toml:6: session.nonsense: there is no such key")));
}

TEST_F(config_loader, text_that_is_not_toml_is_one_problem_with_its_line) {
  const auto problems = texts(load(development + "[session\n"));
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(problems[0], HasSubstr("c.toml:3: syntax: "));
}

TEST_F(config_loader, a_file_that_cannot_be_read_is_a_problem) {
  EXPECT_THAT(texts(load_config({(folder_ / "none.toml").string(), {}, {}})),
              ElementsAre(HasSubstr("--config: cannot be read: No such file")));
  EXPECT_THAT(texts(load_config({folder_.string(), {}, {}})),
              ElementsAre(HasSubstr("cannot be read: Is a directory")));
}

TEST_F(config_loader, tokens_and_tenants_of_a_file_arrive_whole) {
  const auto hash = std::string(64, 'c');
  const auto parsed =
      load(development + "[[auth.token]]\nname = \"web\"\nrole = \"app\"\nsha256 = \"" + hash +
           "\"\ntenants = [\"a\", \"b.c\"]\n[[auth.token]]\nname = \"ops\"\nrole = "
           "\"admin\"\nsha256 = \"" +
           std::string(64, 'd') + "\"\n[tenant.\"b.c\".session]\nidle_ttl_s = 120\n");
  ASSERT_THAT(texts(parsed), IsEmpty());
  ASSERT_THAT(parsed.value.auth.tokens, SizeIs(2));
  EXPECT_THAT(parsed.value.auth.tokens[0].tenants, ElementsAre("a", "b.c"));
  EXPECT_EQ(parsed.value.auth.tokens[1].role, core::role::admin);
  EXPECT_EQ(parsed.value.tenants.at("b.c").idle_ttl_s, 120);
}

TEST_F(config_loader, values_of_toml_that_no_key_holds_are_named) {
  EXPECT_THAT(
      texts(load(development + "[session]\nidle_ttl_s = 2020-01-01\nfingerprint_fields = [1]\n")),
      ElementsAre(HasSubstr("not a list of other things than texts"), HasSubstr("not a date")));
}

TEST_F(config_loader, words_in_flags_need_no_quotes) {
  const auto parsed =
      load("", {},
           {"server.environment=development", "server.node_id=7", "auth.mode=none",
            "session.fingerprint_fields=[\"ja3\"]", "session.observe_fields=user_agent,accept",
            "tenant.\"a.b=c\".session.idle_ttl_s=60", "lockout.revoke_offending=true",
            "server.data_dir=/a b/c=d"});
  ASSERT_THAT(texts(parsed), IsEmpty());
  EXPECT_EQ(parsed.value.server.node_id, "7");
  EXPECT_EQ(parsed.value.session.enforced, core::bit(core::context_field::ja3));
  EXPECT_EQ(parsed.value.tenants.at("a.b=c").idle_ttl_s, 60);
  EXPECT_TRUE(parsed.value.lockout.revoke_offending);
  EXPECT_EQ(parsed.value.server.data_dir, "/a b/c=d");
}

TEST_F(config_loader, breakers_are_ruled_by_file_environment_and_flags) {
  const auto parsed =
      load(development +
               "[breaker]\nopen_wait_s = 5\nfailure_rate_threshold = 1\n"
               "[breaker.\"search/*\"]\nslow_rate_threshold = 0.25\n",
           {"PORTCULLIS_BREAKER__MIN_CALLS=7", "PORTCULLIS_BREAKER__OPEN_WAIT_JITTER=0"},
           {"breaker.\"payments/*\".min_calls=5", "breaker.\"payments/*\".window=count"});
  ASSERT_THAT(texts(parsed), IsEmpty());
  const auto& book = parsed.value.breakers;
  EXPECT_EQ(book.fallback.min_calls, 7U);
  EXPECT_EQ(book.fallback.open_wait_ms, 5'000);
  EXPECT_EQ(book.fallback.open_wait_jitter, 0.0);
  EXPECT_EQ(book.of({"search", "x"}).slow_rate_threshold, 0.25);
  EXPECT_EQ(book.of({"search", "x"}).min_calls, 7U);
  EXPECT_EQ(book.of({"payments", "x"}).min_calls, 5U);
  EXPECT_EQ(book.of({"payments", "x"}).window, core::window_kind::count);
}

TEST_F(config_loader, a_flag_without_key_or_equals_is_a_problem) {
  for (const auto* bad : {"x", "=1", "a..b=1", "\"a=1", ".a=1"})
    EXPECT_THAT(texts(load(development, {}, {bad})),
                Contains(HasSubstr("must be section.key=value")))
        << bad;
}

TEST_F(config_loader, other_variables_of_the_environment_are_not_ours) {
  EXPECT_THAT(texts(load(development, {"PORTCULLIS_LONG_TESTS=1", "HOME=/root", "PATH__X=1"})),
              IsEmpty());
  EXPECT_THAT(
      texts(load(development, {"PORTCULLIS_LOCKOUT__TRESHOLD=1"})),
      ElementsAre(StartsWith(
          "environment PORTCULLIS_LOCKOUT__TRESHOLD: lockout.treshold: there is no such key; "
          "did you mean lockout.threshold?")));
}

TEST_F(config_loader, the_configurations_that_are_shipped_have_no_problem) {
  for (const auto* name : {"dev.toml", "production.toml", "cluster/node.toml"})
    EXPECT_THAT(
        texts(load_config({std::string(PORTCULLIS_SOURCE_DIR) + "/configs/" + name, {}, {}})),
        IsEmpty())
        << name;
}

}  // namespace
}  // namespace portcullis::apps
