// One line stays one line, whatever its values hold.
#include "monitoring/escape.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace portcullis::monitoring {
namespace {

std::string escaped(std::string_view text, std::size_t bytes_max = 1'000) {
  core::byte_buffer out;
  append_escaped(out, text, bytes_max);
  return std::string(out.view());
}

std::size_t replacements(std::string_view text) {
  std::size_t count = 0;
  for (auto at = text.find("\uFFFD"); at != text.npos; at = text.find("\uFFFD", at + 3)) ++count;
  return count;
}

TEST(escape, plain_text_and_letters_of_any_script_stay_as_they_are) {
  EXPECT_EQ(escaped(""), R"("")");
  EXPECT_EQ(escaped("acme-1 /x"), R"("acme-1 /x")");
  EXPECT_EQ(escaped("Zoë 東京 😀"), "\"Zoë 東京 😀\"");
}

TEST(escape, quotes_and_backslashes_are_escaped) { EXPECT_EQ(escaped(R"(a"b\c)"), R"("a\"b\\c")"); }

TEST(escape, a_newline_forges_no_second_line) {
  EXPECT_EQ(escaped("x\n{\"log.level\":\"info\"}"), R"("x\n{\"log.level\":\"info\"}")");
  EXPECT_EQ(escaped("a\r\n\tb"), R"("a\r\n\tb")");
}

TEST(escape, controls_that_move_a_terminal_are_escaped) {
  EXPECT_EQ(escaped("\x1b[2J"), R"("\u001b[2J")");
  EXPECT_EQ(escaped(std::string_view("a\0b", 3)), R"("a\u0000b")");
  EXPECT_EQ(escaped("\x7f"), R"("\u007f")");
  EXPECT_EQ(escaped("\u009b31m"), R"("\u009b31m")");  // CSI as one C1 character
}

TEST(escape, line_separators_and_bidirectional_controls_are_escaped) {
  EXPECT_EQ(escaped("\u2028\u2029"), R"("\u2028\u2029")");
  EXPECT_EQ(escaped("\u202e\u2066\u200f\ufeff"), R"("\u202e\u2066\u200f\ufeff")");
}

TEST(escape, what_is_not_utf8_becomes_the_replacement_character_a_byte_at_a_time) {
  EXPECT_EQ(escaped("a\xff"
                    "b"),
            "\"a\uFFFDb\"");
  EXPECT_EQ(escaped("\xc0\xaf"), "\"\uFFFD\uFFFD\"");                      // overlong
  EXPECT_EQ(escaped("\xed\xa0\x80"), "\"\uFFFD\uFFFD\uFFFD\"");            // surrogate
  EXPECT_EQ(escaped("\xf4\x90\x80\x80"), "\"\uFFFD\uFFFD\uFFFD\uFFFD\"");  // above U+10FFFF
  EXPECT_EQ(escaped("\xe6\x9d"), "\"\uFFFD\uFFFD\"");                      // cut short
}

TEST(escape, a_long_text_is_cut_between_characters_and_says_so) {
  EXPECT_EQ(escaped("abcdef", 6), "\"abcdef\"");
  EXPECT_EQ(escaped("abcdefg", 6), "\"abcdef\u2026\"");
  EXPECT_EQ(escaped("ab東", 4), "\"ab\u2026\"");
}

TEST(escape, any_bytes_give_one_line_of_printable_utf8_without_a_bare_quote) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string text(random() % 24, '\0');
    for (auto& c : text) c = static_cast<char>(random());
    const auto out = escaped(text);
    ASSERT_GE(out.size(), 2U);
    for (std::size_t i = 1; i + 1 < out.size(); ++i) {
      const auto byte = static_cast<unsigned char>(out[i]);
      ASSERT_GE(byte, 0x20);
      ASSERT_NE(byte, 0x7f);
      ASSERT_NE(out[i], '"') << out;
      if (out[i] == '\\') ++i;
    }
    // What comes out is valid UTF-8: a second pass finds nothing more to replace.
    ASSERT_EQ(replacements(escaped(out)), replacements(out));
  }
}

}  // namespace
}  // namespace portcullis::monitoring
