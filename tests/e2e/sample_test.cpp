// The log that ships, and what README shows of it; and logs of earlier versions, which stay
// readable.
#include <fstream>

#include "history.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

const std::string sample = PORTCULLIS_SOURCE_DIR "/docs/sample/";

class the_sample : public testing::Test {
 protected:
  void SetUp() override {
    const auto ran =
        run(binary() + " events import --in " + sample + "attack.ndjson.gz --keys-file " + sample +
            "attack.keys --data-dir " + folder.file("log"));
    ASSERT_EQ(ran.status, 0) << ran.out;
    imported = last_line(ran.out);
  }
  [[nodiscard]] ran ask(const std::string& what) const {
    return run(binary() + " " + what + " --data-dir " + folder.file("log") + " --keys-file " +
               sample + "attack.keys");
  }
  temp_folder folder;
  std::string imported;
};

TEST_F(the_sample, is_whole) {
  const auto checked = ask("verify");
  EXPECT_EQ(checked.status, 0) << checked.out;
  EXPECT_EQ(last_line(checked.out), imported);
  EXPECT_EQ(last_line(ask("replay").out), imported);
}

TEST_F(the_sample, every_event_of_it_is_what_the_rules_give) {
  const auto all = ask("explain --all");
  EXPECT_EQ(all.status, 0);
  EXPECT_THAT(last_line(all.out), HasSubstr(" 0 disagree"));
}

TEST_F(the_sample, a_lower_threshold_that_counts_browsers_only_spares_two_and_catches_three) {
  const auto told = json::parse(
      ask("what-if --json --set lockout.threshold=5 --set session.ip_binding=observe").out, nullptr,
      false);
  const auto& lockouts = told["totals"]["lockouts"];
  EXPECT_EQ(lockouts["recorded"], 5);
  EXPECT_EQ(lockouts["other"], 6);
  EXPECT_EQ(lockouts["more"], 3);
  EXPECT_EQ(lockouts["fewer"], 2);
}

TEST_F(the_sample, what_readme_shows_of_it_is_what_it_is) {
  std::ifstream file(PORTCULLIS_SOURCE_DIR "/README.md");
  const std::string readme(std::istreambuf_iterator<char>(file), {});
  const auto shown = ask("what-if --set lockout.threshold=5 --set session.ip_binding=observe").out;
  EXPECT_THAT(readme, HasSubstr(shown));
  EXPECT_THAT(readme, HasSubstr(ask("verify").out));
}

/// A folder that an earlier version left: its log, its tables, its key file.
struct earlier {
  std::string schema, digest;
};
void PrintTo(const earlier& of, std::ostream* to) { *to << "schema " << of.schema; }
class earlier_versions : public testing::TestWithParam<earlier> {};

TEST_P(earlier_versions, logs_are_replayed_as_they_are_and_go_on_with_this_version) {
  server node({.start = false});
  std::filesystem::copy(
      PORTCULLIS_SOURCE_DIR "/tests/e2e/golden/schema_" + GetParam().schema, node.data_dir(),
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  const auto before = run(binary() + " replay --data-dir " + node.data_dir());
  EXPECT_EQ(before.status, 0) << before.out;
  EXPECT_EQ(last_line(before.out), GetParam().digest);
  EXPECT_THAT(verify(node.data_dir()).out, HasSubstr("start the node once"));
  const auto explained = run(binary() + " explain --all --data-dir " + node.data_dir());
  EXPECT_EQ(explained.status, 0) << explained.out;
  ASSERT_TRUE(node.start()) << node.log();
  auto client = node.connect();
  EXPECT_EQ(client.result("breaker.status", {{"service", "pay"}})["state"], "forced_open");
  create(client, "new");
  const json named{{"alias", "an alias of its own choice"}};
  const auto made = create(client, "named", named);
  ASSERT_EQ(node.terminate(), 0);
  const auto after = verify(node.data_dir());
  EXPECT_EQ(after.status, 0) << after.out;
  ASSERT_TRUE(node.start()) << node.log();
  client = node.connect();
  json params{{"tenant_id", "acme"}, {"context", context()}};
  params.update(named);
  EXPECT_EQ(client.result("session.validate", params)["handle"], made["handle"]);
}
INSTANTIATE_TEST_SUITE_P(
    , earlier_versions,
    testing::Values(
        earlier{"2", "7c236c9b5aa8c60ad5ef62316976143bd89c6c77e053f4cb4a5ebb5fa034ca93"},
        earlier{"3", "978887936081a9de76a481cece3bdc5c191f31c8ee4bcfb24ceb320268476a7a"}),
    [](const auto& of) { return "schema_" + of.param.schema; });

}  // namespace
}  // namespace portcullis::e2e
