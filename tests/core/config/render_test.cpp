#include "core/config/render.hpp"

#include <fstream>
#include <sstream>

#include "core/config/table.hpp"
#include "core/error/catalogue.hpp"
#include "entries.hpp"

namespace portcullis::core {
namespace {

using testing::HasSubstr;

std::string read_page(const std::string& name) {
  std::ifstream file(std::string(PORTCULLIS_SOURCE_DIR) + "/docs/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(config_pages, the_configuration_page_is_what_the_table_gives) {
  EXPECT_EQ(read_page("configuration.md"), configuration_page())
      << "run: portcullis docs config > docs/configuration.md";
}

TEST(config_pages, the_errors_page_is_what_the_catalogue_gives) {
  EXPECT_EQ(read_page("errors.md"), errors_page())
      << "run: portcullis docs errors > docs/errors.md";
}

TEST(config_pages, every_key_and_every_error_is_on_its_page) {
  const auto keys = configuration_page(), errors = errors_page();
  for (const auto& row : config_table()) {
    EXPECT_THAT(keys, HasSubstr("`" + std::string(row.name)));
    EXPECT_FALSE(row.help.empty()) << row.name;
  }
  for (const auto& row : error_catalogue())
    EXPECT_THAT(errors, HasSubstr("`" + std::string(row.name) + "`"));
}

TEST(config_pages, the_errors_page_says_which_are_never_sent) {
  const auto page = errors_page();
  const auto begin = page.find("Never sent");
  ASSERT_NE(begin, std::string::npos);
  const auto sentence = page.substr(begin, page.find('\n', begin) - begin);
  for (const auto& row : error_catalogue()) {
    const bool named = sentence.find("`" + std::string(row.name) + "`") != std::string::npos;
    EXPECT_EQ(named, is_reserved(row.id)) << row.name;
  }
}

TEST(effective_config, shows_each_value_and_where_it_was_given) {
  const auto parsed =
      parse({given("lockout.threshold", 3, "a.toml:8"),
             given("auth.token.0.name", "web", "a.toml:9"), given("auth.token.0.role", "app"),
             given("auth.token.0.sha256", std::string(64, 'a').c_str())});
  const auto text = effective_config(parsed.value, parsed.origins);
  EXPECT_THAT(text, HasSubstr("lockout.threshold = 3  # a.toml:8\n"));
  EXPECT_THAT(text, HasSubstr("session.idle_ttl_s = 900  # default\n"));
  EXPECT_THAT(text, HasSubstr("[[auth.token]]\nname = \"web\"  # a.toml:9\n"));
}

}  // namespace
}  // namespace portcullis::core
