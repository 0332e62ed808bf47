// The scanner's own promises: resumption, limits, the tape. What is JSON: json_corpus_test.cpp.
#include "net/json/scanner.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <string>

namespace portcullis::net::json {
namespace {

using namespace std::string_literals;

struct verdict {
  scan_status status;
  std::size_t place;
  std::size_t tokens;
  bool operator==(const verdict&) const = default;
};
std::ostream& operator<<(std::ostream& to, const verdict& v) {
  return to << "status " << static_cast<int>(v.status) << " at " << v.place << ", " << v.tokens
            << " tokens";
}

std::string repeated(std::string_view before, std::size_t n, char c, std::string_view after) {
  std::string text(before);
  text.append(n, c).append(after);
  return text;
}

verdict scan_whole(std::string_view text, scan_limits limits = {}) {
  scanner scan(limits);
  const scan_status status = scan.resume(text, true);
  return {status, scan.end(), status == scan_status::complete ? scan.tape().size() : 0};
}

verdict scan_by_bytes(std::string_view text, scan_limits limits = {}) {
  scanner scan(limits);
  scan_status status = scan_status::incomplete;
  for (std::size_t n = 1; n <= text.size() && status == scan_status::incomplete; ++n) {
    // At another address every time: nothing may be kept but offsets.
    const std::string copy(text.substr(0, n));
    status = scan.resume(copy, false);
  }
  if (status == scan_status::incomplete) status = scan.resume(text, true);
  return {status, scan.end(), status == scan_status::complete ? scan.tape().size() : 0};
}

TEST(json_scanner, finds_the_end_of_a_value_before_another_one) {
  for (const std::string value : {"{}", "[]", R"({"a":[1,{"b":null}]})", R"("x\"y")", "[1.5e3]"})
    for (const std::string after : {"", "{}", "[1]", " ", "\n{", "]", "x"})
      EXPECT_EQ(scan_whole(value + after).place, value.size()) << value << after;
}

TEST(json_scanner, a_top_level_scalar_ends_only_where_the_next_byte_shows_it) {
  for (const std::string value : {"12", "-0", "0", "1.5", "2e+7", "true", "false", "null"}) {
    scanner waits;
    EXPECT_EQ(waits.resume(value, false), scan_status::incomplete) << value;
    EXPECT_EQ(waits.resume(value, true), scan_status::complete) << value;
    EXPECT_EQ(waits.end(), value.size());
    ASSERT_EQ(waits.tape().size(), 1U);
    EXPECT_EQ(waits.tape()[0].end, value.size());
    for (const std::string after : {" ", "\n", "{}", "[]"}) {
      scanner ends;
      EXPECT_EQ(ends.resume(value + after, false), scan_status::complete) << value << after;
      EXPECT_EQ(ends.end(), value.size());
    }
  }
  for (const std::string text : {"truex", "12x", "1-2", "null\"a\"", "00", "1,"})
    EXPECT_EQ(scan_whole(text).status, scan_status::malformed) << text;
}

TEST(json_scanner, says_where_the_offending_byte_is) {
  const std::vector<std::pair<std::string, std::size_t>> cases = {{"}", 0},
                                                                  {"{\"a\" 1}", 5},
                                                                  {"[1,]", 3},
                                                                  {"[1 2]", 3},
                                                                  {"{\"a\":1,}", 7},
                                                                  {"[\"a\nb\"]", 3},
                                                                  {"[\"\\x\"]", 3},
                                                                  {"[\"\\u12g4\"]", 6},
                                                                  {"[-]", 2},
                                                                  {"[01]", 2},
                                                                  {"[1.]", 3},
                                                                  {"[1e]", 3},
                                                                  {"[tru]", 4},
                                                                  {"[\"\xff\"]", 2},
                                                                  {"[\"\xe2\x28\"]", 3},
                                                                  {"{]", 1},
                                                                  {"[}", 1},
                                                                  {"\xef\xbb\xbf{}", 0},
                                                                  {"{\"a\":1]", 6},
                                                                  {"[1}", 2},
                                                                  {"{1:2}", 1},
                                                                  {"[\"\xed\xa0\x80\"]", 3}};
  for (const auto& [text, place] : cases) {
    EXPECT_EQ(scan_whole(text), (verdict{scan_status::malformed, place, 0})) << text;
    EXPECT_EQ(scan_by_bytes(text), (verdict{scan_status::malformed, place, 0})) << text;
  }
}

TEST(json_scanner, what_ends_too_early_is_malformed_at_its_end) {
  const std::string text = R"({"a":[1.5e3,true,"x\u00e9\ud83d\ude00é"],"b":{"c":null}})";
  for (std::size_t n = 1; n < text.size(); ++n) {
    EXPECT_EQ(scan_whole(text.substr(0, n)), (verdict{scan_status::malformed, n, 0})) << n;
    scanner waits;
    EXPECT_EQ(waits.resume(text.substr(0, n), false), scan_status::incomplete) << n;
  }
}

TEST(json_scanner, goes_on_at_any_byte) {
  const std::string text =
      R"({"long":"0123456789abcdef0123456789abcdef","é€😀":"\ud83d\ude00\ud800\u0041\n","n":[-0,0.5,1e9,-12E-3,true,false,null,{},[]]})";
  const verdict whole = scan_whole(text);
  ASSERT_EQ(whole.status, scan_status::complete);
  EXPECT_EQ(scan_by_bytes(text), whole);
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    scanner scan;
    ASSERT_EQ(scan.resume(text.substr(0, cut), false), scan_status::incomplete);
    ASSERT_EQ(scan.resume(text, false), scan_status::complete);
    scanner once;
    ASSERT_EQ(once.resume(text, false), scan_status::complete);
    ASSERT_EQ(scan.tape().size(), once.tape().size());
    for (std::size_t i = 0; i < scan.tape().size(); ++i) {
      const token& a = scan.tape()[i];
      const token& b = once.tape()[i];
      EXPECT_TRUE(a.begin == b.begin && a.end == b.end && a.next == b.next && a.kind == b.kind &&
                  a.escaped == b.escaped && a.lone_surrogate == b.lone_surrogate)
          << "token " << i << " cut at " << cut;
    }
  }
}

TEST(json_scanner, the_tape_has_every_token_with_its_extent) {
  scanner scan;
  const std::string text = R"({"k":[1,"v"],"e":{}})";
  ASSERT_EQ(scan.resume(text, false), scan_status::complete);
  const auto tape = scan.tape();
  const std::vector<std::pair<std::string, std::size_t>> expected = {
      {text, 7}, {"k", 2}, {R"([1,"v"])", 5}, {"1", 4}, {"v", 5}, {"e", 6}, {"{}", 7}};
  ASSERT_EQ(tape.size(), expected.size());
  for (std::size_t i = 0; i < tape.size(); ++i) {
    EXPECT_EQ(text.substr(tape[i].begin, tape[i].end - tape[i].begin), expected[i].first);
    EXPECT_EQ(tape[i].next, expected[i].second) << i;
  }
}

TEST(json_scanner, marks_lone_surrogates_and_no_pairs) {
  const auto lone = [](std::string_view text) {
    scanner scan;
    EXPECT_EQ(scan.resume(text, true), scan_status::complete) << text;
    return scan.tape()[0].lone_surrogate;
  };
  EXPECT_FALSE(lone(R"("\ud83d\ude00")"));
  EXPECT_FALSE(lone(R"("\uD83D\uDE00\u0041")"));
  EXPECT_FALSE(lone(R"("\ud7ff\ue000")"));
  EXPECT_TRUE(lone(R"("\ud83d")"));
  EXPECT_TRUE(lone(R"("\ude00")"));
  EXPECT_TRUE(lone(R"("\ud83dx")"));
  EXPECT_TRUE(lone(R"("\ud83d\n")"));
  EXPECT_TRUE(lone(R"("\ud83d\u0041")"));
  EXPECT_TRUE(lone(R"("\ud83d\ud83d\ude00")"));
  EXPECT_TRUE(lone(R"("\ude00\ud83d")"));
}

TEST(json_scanner, refuses_one_byte_more_than_the_limit_and_no_byte_less) {
  const std::size_t limit = 64;
  for (const std::size_t size : {limit - 1, limit, limit + 1, limit + 2, 3 * limit}) {
    const std::string text = repeated("[\"", size - 4, 'x', "\"]");
    const auto expected = size <= limit ? scan_status::complete : scan_status::too_large;
    EXPECT_EQ(scan_whole(text, {limit, 16}).status, expected) << size;
    EXPECT_EQ(scan_by_bytes(text, {limit, 16}).status, expected) << size;
    EXPECT_EQ(scan_whole(text + "{}", {limit, 16}).status, expected) << size;
  }
  const std::string digits(limit, '7');
  EXPECT_EQ(scan_whole(digits, {limit, 16}).status, scan_status::complete);
  EXPECT_EQ(scan_whole(digits + " ", {limit, 16}).status, scan_status::complete);
  EXPECT_EQ(scan_whole(digits + "7", {limit, 16}).status, scan_status::too_large);
}

TEST(json_scanner, an_error_within_the_limit_comes_before_the_size) {
  const std::string text = repeated("[x", 500, ' ', "");
  EXPECT_EQ(scan_whole(text, {64, 16}), (verdict{scan_status::malformed, 1, 0}));
  const std::string late = repeated("[", 63, ' ', "x");
  EXPECT_EQ(scan_whole(late, {64, 16}).status, scan_status::too_large);
  EXPECT_EQ(scan_by_bytes(late, {64, 16}).status, scan_status::too_large);
}

TEST(json_scanner, refuses_one_level_more_than_the_limit_and_none_less) {
  const auto nested = [](std::size_t depth, char open, char close) {
    return std::string(depth, open) + std::string(depth, close);
  };
  EXPECT_EQ(scan_whole(nested(16, '[', ']')).status, scan_status::complete);
  EXPECT_EQ(scan_whole(nested(17, '[', ']')), (verdict{scan_status::too_deep, 16, 0}));
  EXPECT_EQ(scan_by_bytes(nested(17, '[', ']')), (verdict{scan_status::too_deep, 16, 0}));
  EXPECT_EQ(scan_whole(std::string(100'000, '[')).status, scan_status::too_deep);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"":)";
  EXPECT_EQ(scan_whole(objects, {1 << 20, 16}).status, scan_status::too_deep);
  EXPECT_EQ(scan_whole(nested(64, '[', ']'), {1 << 20, 1000}).status, scan_status::complete);
  EXPECT_EQ(scan_whole(nested(65, '[', ']'), {1 << 20, 1000}).status, scan_status::too_deep);
}

TEST(json_scanner, half_a_value_of_many_tokens_pins_little_and_is_complete_in_the_end) {
  std::string text = "[";
  while (text.size() < 60'000) text += R"({"a":1},)";
  text += "null]";
  scanner scan;
  ASSERT_EQ(scan.resume(text.substr(0, 50'000), false), scan_status::incomplete);
  EXPECT_LE(scan.tape().size(), 1024U);
  ASSERT_EQ(scan.resume(text, false), scan_status::complete);
  EXPECT_EQ(scan.end(), text.size());
  scanner once;
  ASSERT_EQ(once.resume(text, false), scan_status::complete);
  EXPECT_EQ(scan.tape().size(), once.tape().size());
  EXPECT_EQ(scan.tape()[0].next, once.tape()[0].next);
}

TEST(json_scanner, work_is_linear_when_one_byte_comes_at_a_time) {
  // Quadratic work would be 1.2 billion steps inside one string or number: seconds, not
  // milliseconds.
  const auto drip = [](const std::string& text) {
    scanner scan({1 << 20, 16});
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t n = 1; n < text.size(); ++n)
      EXPECT_EQ(scan.resume({text.data(), n}, false), scan_status::incomplete);
    EXPECT_EQ(scan.resume(text, false), scan_status::complete);
    return std::chrono::steady_clock::now() - start;
  };
  EXPECT_LT(drip(repeated("\"", 200'000, 'x', "\"")), std::chrono::seconds(2));
  EXPECT_LT(drip(repeated("[", 200'000, '1', "]")), std::chrono::seconds(2));
  std::string wide = "[";
  while (wide.size() < 200'000) wide += "\"é\",";
  EXPECT_LT(drip(wide + "1]"), std::chrono::seconds(2));
}

}  // namespace
}  // namespace portcullis::net::json
