// One connection's bytes into values and errors of form (protocol.md, Transport).
#include "net/rpc/framing.hpp"

#include <gmock/gmock.h>

#include <string>

#include "tests/net/codec_support.hpp"

namespace portcullis::net::test {
namespace {

using core::error_code;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::string ping = R"({"jsonrpc":"2.0","id":1,"method":"server.ping"})";

std::string summary(const conversation& record) {
  std::string text;
  for (const auto& call : record.calls) {
    if (!call.error) {
      text += "ok ";
      continue;
    }
    text += core::describe(call.code()).name;
    text += call.closes ? "! " : " ";
  }
  return text + (record.ended ? "end" : "open");
}

TEST(framing, values_need_no_delimiter_and_take_any) {
  for (const std::string between : {"", "\n", "\r\n", "  \t\r\n \n"}) {
    const auto record = converse(ping + between + ping + between + ping + between);
    EXPECT_EQ(summary(record), "ok ok ok end") << between;
    EXPECT_THAT(record.values, ElementsAre(ping, ping, ping));
  }
}

TEST(framing, a_value_may_span_several_reads) {
  const std::string text = ping + "\n" + ping + ping;
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    for (std::size_t second = cut; second <= text.size(); second += 7)
      EXPECT_EQ(summary(converse(text, {cut, second})), "ok ok ok end") << cut << " " << second;
}

TEST(framing, a_value_is_given_without_waiting_for_a_delimiter) {
  EXPECT_EQ(summary(converse(ping, {}, false)), "ok open");
}

TEST(framing, the_first_byte_must_open_a_value) {
  for (const std::string first :
       {"GET / HTTP/1.1\r\n\r\n{}", "POST / HTTP/1.1\r\n\r\n{}", "\x16\x03\x01", "\"a\"", "1",
        "null", "\xef\xbb\xbf{}", "}", "x\n{}", "\x80{}"}) {
    EXPECT_EQ(summary(converse(first + ping)), "PARSE_ERROR! end") << first;
    EXPECT_EQ(summary(converse(" \r\n\t" + first + ping)), "PARSE_ERROR! end") << first;
    EXPECT_EQ(summary(converse(first, {}, false)), "PARSE_ERROR! end") << first;
  }
  EXPECT_EQ(summary(converse(std::string(1, '\0') + ping)), "PARSE_ERROR! end");
  EXPECT_EQ(summary(converse(" \n " + ping)), "ok end");
}

TEST(framing, the_first_byte_rule_holds_for_the_first_byte_only) {
  EXPECT_EQ(summary(converse(ping + "\nGET /\n" + ping)), "ok PARSE_ERROR ok end");
  EXPECT_EQ(summary(converse(ping + "12 " + ping)), "ok INVALID_REQUEST ok end");
  EXPECT_EQ(summary(converse(ping + "\xef\xbb\xbf" + ping + "\n" + ping)), "ok PARSE_ERROR ok end");
}

TEST(framing, after_a_malformed_value_the_rest_of_its_line_is_skipped) {
  const std::string text = ping + "\n{\"a\":x}" + ping + " {{{ [\n" + ping + "\n";
  EXPECT_EQ(summary(converse(text)), "ok PARSE_ERROR ok end");
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(summary(converse(text, {cut})), "ok PARSE_ERROR ok end") << cut;
}

TEST(framing, the_line_feed_itself_may_be_the_offending_byte) {
  EXPECT_EQ(summary(converse("{\"a\":\"b\n" + ping)), "PARSE_ERROR ok end");
  EXPECT_EQ(summary(converse("[tr\n" + ping)), "PARSE_ERROR ok end");
  EXPECT_EQ(summary(converse("[\"\xe2\n" + ping)), "PARSE_ERROR ok end");
}

TEST(framing, a_line_feed_before_the_offending_byte_is_part_of_the_value) {
  EXPECT_EQ(summary(converse("{\n\"a\":\n x } " + ping + "\n" + ping)), "PARSE_ERROR ok end");
}

TEST(framing, skipping_holds_nothing_and_ends_at_eof_without_a_second_error) {
  const std::string text = "{x" + std::string(200'000, '{');
  std::vector<std::size_t> cuts;
  for (std::size_t at = 1000; at < text.size(); at += 1000) cuts.push_back(at);
  const auto record = converse(text, cuts);
  EXPECT_EQ(summary(record), "PARSE_ERROR end");
  EXPECT_EQ(record.waiting_bytes_max, 0U);
}

TEST(framing, white_space_between_values_is_not_held_and_does_not_count) {
  std::string text = ping;
  text += std::string(300'000, ' ');
  text += ping;
  std::vector<std::size_t> cuts;
  for (std::size_t at = ping.size(); at < text.size() - ping.size(); at += 997) cuts.push_back(at);
  const auto record = converse(text, cuts);
  EXPECT_EQ(summary(record), "ok ok end");
  EXPECT_EQ(record.waiting_bytes_max, 0U);
}

TEST(framing, eof_inside_a_value_is_an_error_after_the_earlier_replies) {
  for (std::size_t n = 1; n < ping.size(); ++n) {
    EXPECT_EQ(summary(converse(ping + ping.substr(0, n))), "ok PARSE_ERROR! end") << n;
    EXPECT_EQ(summary(converse(ping + ping.substr(0, n), {}, true, {}, true)),
              "ok PARSE_ERROR! end")
        << n;
    EXPECT_EQ(summary(converse(ping + ping.substr(0, n), {}, false)), "ok open") << n;
  }
}

TEST(framing, eof_between_values_is_no_error) {
  EXPECT_EQ(summary(converse("")), "end");
  EXPECT_EQ(summary(converse(" \n ")), "end");
  EXPECT_EQ(summary(converse(ping, {}, true, {}, true)), "ok end");
  EXPECT_EQ(summary(converse(ping + "12")), "ok INVALID_REQUEST end");
}

TEST(framing, a_value_over_the_limit_closes_also_while_it_is_still_coming) {
  const message_limits limits{.value_bytes_max = 100};
  const std::string open = "{\"a\":\"";
  const std::string fits = open + std::string(100 - open.size() - 2, 'x') + "\"}";
  EXPECT_EQ(summary(converse(fits + ping, {}, true, limits)), "INVALID_REQUEST ok end");
  const std::string larger = open + std::string(100 - open.size() - 1, 'x') + "\"}";
  EXPECT_EQ(summary(converse(ping + larger + ping, {}, true, limits)), "ok VALUE_TOO_LARGE! end");
  EXPECT_EQ(converse(larger, {}, true, limits).calls[0].error->limit, 100);

  const auto endless = open + std::string(10'000, 'x');
  std::vector<std::size_t> cuts;
  for (std::size_t at = 1; at < endless.size(); at += 9) cuts.push_back(at);
  const auto record = converse(endless, cuts, false, limits);
  EXPECT_EQ(summary(record), "VALUE_TOO_LARGE! end");
  EXPECT_LE(record.waiting_bytes_max, 100U);
}

TEST(framing, a_batch_counts_as_one_value) {
  std::string batch = "[" + ping;
  while (batch.size() < 64 * 1024) batch += "," + ping;
  EXPECT_EQ(summary(converse(batch + "]")), "VALUE_TOO_LARGE! end");
}

TEST(framing, a_value_nested_too_deeply_closes) {
  const std::string deep = std::string(17, '[') + std::string(17, ']');
  EXPECT_EQ(summary(converse(ping + deep + "\n" + ping)), "ok NESTING_TOO_DEEP! end");
  EXPECT_EQ(converse(deep).calls[0].error->limit, 16);
  EXPECT_EQ(summary(converse(std::string(100'000, '['))), "NESTING_TOO_DEEP! end");
  EXPECT_EQ(summary(converse(std::string(16, '[') + std::string(16, ']'))), "INVALID_REQUEST end");
}

TEST(framing, nothing_comes_after_the_end) {
  framer framer;
  EXPECT_EQ(framer.next(std::string_view("x"), false).kind, frame_kind::form_error);
  const frame after = framer.next(ping, false);
  EXPECT_EQ(after.kind, frame_kind::end);
  EXPECT_EQ(after.consumed, ping.size());
}

TEST(framing, half_a_value_stays_without_the_white_space_before_it) {
  framer framer;
  EXPECT_EQ(framer.next(std::string_view("  {\"a\""), false).consumed, 2U);
  EXPECT_EQ(framer.next(std::string_view("{\"a\":1}"), false).kind, frame_kind::value);
}

TEST(framing, splitting_changes_nothing) {
  const std::string text = ping + "[" + ping + "," + ping +
                           "]\n\n{\"a\":\"\\u00e9\\ud83d\\ude00é\"}12 true " + ping + "\nnope\n" +
                           ping + "{\"x\":\"\xff\"}{{\n" + ping + "[1,2";
  const std::string whole = summary(converse(text));
  const auto values = converse(text).values;
  EXPECT_EQ(whole.substr(whole.size() - 16), "PARSE_ERROR! end");
  for (std::size_t step = 1; step < 40; ++step) {
    std::vector<std::size_t> cuts;
    for (std::size_t at = step; at < text.size(); at += step) cuts.push_back(at);
    const auto record = converse(text, cuts);
    EXPECT_EQ(summary(record), whole) << step;
    EXPECT_EQ(record.values, values) << step;
  }
}

}  // namespace
}  // namespace portcullis::net::test
