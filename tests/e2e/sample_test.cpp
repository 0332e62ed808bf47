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

}  // namespace
}  // namespace portcullis::e2e
