// The manual pages: what Debian's own checkers say of them, and that they leave nothing out.
#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "shell.hpp"

namespace portcullis::apps {
namespace {

using testing::HasSubstr;

class man : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    file_ = std::filesystem::temp_directory_path() /
            ("portcullis_man_" + std::to_string(getpid()) + "_" + GetParam());
    text_ = run("docs " + std::string(GetParam())).out;
    std::ofstream(file_) << text_;
  }
  void TearDown() override { std::filesystem::remove(file_); }
  std::filesystem::path file_;
  std::string text_;
};

INSTANTIATE_TEST_SUITE_P(page, man, testing::Values("man", "man-config"), [](const auto& one) {
  return std::string(one.param) == "man" ? "portcullis_1" : "portcullis_toml_5";
});

TEST_P(man, is_formatted_without_a_warning) {
  const auto told = shell(
      "LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l "
      "-Tutf8 -Z " +
      file_.string() + " >/dev/null");
  EXPECT_EQ(told.status, 0) << "Debian packages man-db and groff-base are needed";
  EXPECT_EQ(told.out, "");
}

TEST_P(man, passes_mandoc_without_a_word) {
  ASSERT_EQ(shell("command -v mandoc").status, 0) << "Debian package mandoc is needed";
  const auto told = shell("mandoc -Tlint " + file_.string());
  EXPECT_EQ(told.out, "");
  EXPECT_EQ(told.status, 0);
}

TEST_P(man, is_the_same_twice_with_a_date_that_is_given) {
  const auto make = [&] {
    return run("docs " + std::string(GetParam()), "SOURCE_DATE_EPOCH=0").out;
  };
  EXPECT_THAT(make(), HasSubstr(" 1970-01-01 "));
  EXPECT_EQ(make(), make());
}

/// The page as a person reads it.
std::string read_as_text(const std::filesystem::path& file) {
  return shell("LC_ALL=C.UTF-8 mandoc -Tutf8 -O width=78 " + file.string() + " | col -bx").out;
}

TEST_P(man, names_every_command_and_option_or_every_key) {
  if (std::string(GetParam()) == "man-config") {
    for (const auto* key :
         {"listen.http.auth", "breaker.open_wait_s", "log.levels", "auth.token.sha256"})
      EXPECT_THAT(read_as_text(file_), HasSubstr(key));
    return;
  }
  const auto page = read_as_text(file_);
  // What --help lists, all the way down.
  const auto names_of = [](const std::string& help) {
    std::vector<std::string> names;
    for (auto at = help.find("Subcommands:"); at != std::string::npos;) {
      at = help.find("\n  ", at);
      if (at == std::string::npos) break;
      at += 3;
      if (help[at] != ' ') names.push_back(help.substr(at, help.find_first_of(" \n", at) - at));
    }
    return names;
  };
  std::size_t commands = 0;
  for (const auto& name : names_of(run("--help").out)) {
    EXPECT_THAT(page, HasSubstr("portcullis " + name + "\n")) << name;
    ++commands;
    const auto help = run(name + " --help").out;
    for (const auto& below : names_of(help))
      EXPECT_THAT(page, HasSubstr("portcullis " + name + " " + below + "\n"));
    for (auto at = help.find("\n  --"); at != std::string::npos; at = help.find("\n  --", at + 1))
      EXPECT_THAT(page,
                  HasSubstr(help.substr(at + 3, help.find_first_of(" ,\n", at + 3) - at - 3)));
  }
  EXPECT_GT(commands, 20U) << "the help was not read";
  for (const auto* section : {"NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXIT STATUS",
                              "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"})
    EXPECT_THAT(page, HasSubstr(std::string("\n") + section + "\n")) << section;
}

/// Where the unit has its files: the page may not name others.
TEST(man_files, are_those_of_the_systemd_unit) {
  std::set<std::string> used;
  std::ifstream unit(PORTCULLIS_UNIT);
  ASSERT_TRUE(unit);
  for (std::string line; std::getline(unit, line);) {
    if (line.starts_with('#')) continue;
    if (const std::string key = "StateDirectory="; line.starts_with(key))
      used.insert("/var/lib/" + line.substr(key.size()));
    const std::string folder = "/etc/portcullis/";
    for (auto at = line.find(folder); at != std::string::npos; at = line.find(folder, at + 1))
      used.insert(line.substr(at, line.find_first_of(" :", at) - at));
  }
  EXPECT_GE(used.size(), 3U) << "the unit was not read";
  const auto page = run("docs man").out;
  const auto from = page.find("\n.SH \"FILES\"\n") + 1, to = page.find("\n.SH ", from);
  ASSERT_NE(from, 0U);
  std::set<std::string> named;
  const std::string path = "\\fI/";
  for (auto at = page.find(path, from); at < to; at = page.find(path, at + 1)) {
    auto one = page.substr(at + 3, page.find("\\fR", at) - at - 3);
    for (auto escape = one.find('\\'); escape != std::string::npos; escape = one.find('\\'))
      one.erase(escape, one[escape + 1] == '&' ? 2 : 1);
    named.insert(one);
  }
  EXPECT_EQ(named, used);
}

TEST(man_environment, names_all_that_the_program_reads) {
  const auto page = run("docs man").out;
  for (const auto* each : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                           "CREDENTIALS_DIRECTORY", "GLIBC_TUNABLES", "NO_COLOR", "COLUMNS"})
    EXPECT_THAT(page, HasSubstr(each));
}

}  // namespace
}  // namespace portcullis::apps
