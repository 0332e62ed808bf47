// What is JSON and what is not, by the categories of the public parsing corpora: as a whole
// message, in pieces, inside `data`, and compared with another parser.
#include <gmock/gmock.h>
#include <simdjson.h>

#include <string>
#include <vector>

#include "net/json/scanner.hpp"
#include "tests/net/codec_support.hpp"

namespace portcullis::net::test {
namespace {

using namespace std::string_literals;

const std::vector<std::string> accepted = {
    // structures
    "[]", "{}", "[[]]", "[{}]", "{\"\":0}", "{\"a\":{}}", "[null,1,\"1\",{}]", " [] ", "[1\n]",
    "[1,null,null,null,2]", "{\"a\":\"b\",\"c\":\"d\"}", "{\"asd\":\"sdf\"}", "[ 4]", "[\"a\"]\n",
    "\t{\t\"a\"\r:\n1 }", "{\"a\":[]}", "{\"foo\\u0000bar\":42}",
    "{\"min\":-1.0e+28,\"max\":1.0e+28}",
    // numbers
    "[0]", "[-0]", "[-1]", "[123]", "[0e1]", "[0e+1]", "[1E22]", "[1E-2]", "[1E+2]", "[123e45]",
    "[123.456e78]", "[1e-2]", "[1e+2]", "[123.456789]", "[20e1]", "[-123]", "[-0.0]", "[0.1]",
    "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]",
    // strings
    "[\"\"]", "[\"\\u0060\\u012a\\u12AB\"]", "[\"\\uD801\\udc37\"]",
    "[\"\\ud83d\\ude39\\ud83d\\udc8d\"]", "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "[\"\\\\u0000\"]",
    "[\"\\\"\"]", "[\"a/*b*/c/*d//e\"]", "[\"\\\\a\"]", "[\"\\u0012\"]", "[\"\\uFFFF\"]",
    "[\"asd \"]", "[\"\\uDBFF\\uDFFF\"]", "[\"new\\u00A0line\"]", "[\"\xf4\x8f\xbf\xbf\"]",
    "[\"\xef\xbf\xbf\"]", "[\"\\u0000\"]", "[\"\xe2\x80\xa8\"]", "[\"\xcf\x80\"]",
    "[\"\xf0\x9b\xbf\xbf\"]", "[\"\x7f\"]", "[\"\xe2\x8d\x82\xe3\x88\xb4\xe2\x8d\x82\"]",
    "[\"\\uD834\\uDd1e\"]", "[\"\\u0821\"]", "[\"\xc2\x80\"]", "[\"\xe0\xa0\x80\"]",
    "[\"\xed\x9f\xbf\"]", "[\"\xee\x80\x80\"]", "[\"\xf0\x90\x80\x80\"]",
    // literals
    "[false]", "[null]", "[true]", "[true,false,null]"};

const std::vector<std::string> refused = {
    // structures
    "[1 true]", "[a\xe5]", "[\"\": 1]", "[,1]", "[1,,2]", "[\"x\",,]", "[\"x\"", "[\"\",]", "[,]",
    "[", "[1", "[1,", "[3[4]]", "[-", "[\"a\",\n4\n,1,", "[1,]", "[1,\n1\n,1", "[{}",
    "{\"x\", null}", "{\"x\"::\"b\"}", "{\"a\":\"a\" 123}", "{key: 'value'}", "{\"a\" b}",
    "{:\"b\"}", "{\"a\" \"b\"}", "{\"a\":", "{\"a\"", "{1:1}", "{9999E9999:1}",
    "{null:null,null:null}", "{\"id\":0,,,,,}", "{'a':0}", "{\"id\":0,}",
    "{\"a\":\"b\",,\"c\":\"d\"}", "{a: \"b\"}", "{\"a\":\"a", "{ \"foo\" : \"bar\", \"a\" }", "{",
    "{,", "{]", "{\"a\":\"b\"/**/}", "{\"a\":/*comment*/\"b\"}", "{//\n}", "[\"a", "[1}", "{[",
    "{\"a\"}", "[{", "[{\"\":[{\"\":", "[\\u000A\"\"]", "[\"asd]", "[True]", "[1x", "<.>",
    "[<null>]", "*", "]", "}", "[][",
    // numbers
    "[++1234]", "[+1]", "[+Inf]", "[-01]", "[-1.0.]", "[-2.]", "[-NaN]", "[.-1]", "[.2e-3]",
    "[0.1.2]", "[0.3e+]", "[0.3e]", "[0.e1]", "[0E+]", "[0E]", "[0e+]", "[0e]", "[1.0e+]",
    "[1.0e-]", "[1.0e]", "[1 000.0]", "[1eE2]", "[2.e+3]", "[2.e-3]", "[2.e3]", "[9.e+]", "[Inf]",
    "[NaN]", "[\xef\xbc\x91]", "[1+2]", "[0x1]", "[0x42]", "[Infinity]", "[0e+-1]", "[-123.123foo]",
    "[123\xe5]", "[-Infinity]", "[-foo]", "[- 1]", "[-012]", "[-.123]", "[-1x]", "[1ea]", "[1.]",
    "[.123]", "[1.2a-3]", "[1.8011670033376514H-308]", "[012]", "[1e1\xe5]", "[0\xe5]",
    // strings
    "[\"\\uD800\\\"]", "[\"\\uD800\\u\"]", "[\"\\uD800\\u1\"]", "[\"\\uD800\\u1x\"]", "[\xc3\xa9]",
    "[\"\\\x00\"]"s, "[\"\\x00\"]", "[\"\\\\\\\"]", "[\"\\\t\"]", "[\"\\\xf0\x9f\x8c\x80\"]",
    "[\"\\\"]", "[\"\\u00A\"]", "[\"\\uD834\\uDd\"]", "[\"\\uD800\\uD800\\x\"]", "[\"\\u\xe5\"]",
    "[\"\\a\"]", "[\"\\uqqqq\"]", "[\"\\\xe5\"]", "[\\u0020\"asd\"]", "[\\n]", "[\"",
    "['single quote']", "[abc]", "[\"\\",
    "[\"a\x00"
    "a\"]"s,
    "[\"new\nline\"]", "[\"\t\"]", "[\"\\UA66D\"]", "[\"\x1f\"]", "[\"\\u{41}\"]",
    // UTF-8: stray and missing continuations, overlong forms, surrogates, past the last scalar
    "[\"\x80\"]", "[\"\xbf\"]", "[\"\xc3\"]", "[\"\xe2\x82\"]", "[\"\xf0\x9f\x98\"]",
    "[\"\xc0\xaf\"]", "[\"\xc1\xbf\"]", "[\"\xe0\x80\xaf\"]", "[\"\xe0\x9f\xbf\"]",
    "[\"\xf0\x80\x80\xaf\"]", "[\"\xf0\x8f\xbf\xbf\"]", "[\"\xed\xa0\x80\"]", "[\"\xed\xbf\xbf\"]",
    "[\"\xf4\x90\x80\x80\"]", "[\"\xf5\x80\x80\x80\"]", "[\"\xf8\x88\x80\x80\x80\"]",
    "[\"\xfc\x84\x80\x80\x80\x80\"]", "[\"\xfe\"]", "[\"\xff\"]", "[\"\xe2\x28\xa1\"]",
    "[\"\xf0\x28\x8c\xbc\"]", "[\xff]",
    // literals
    "[fals]", "[nul]", "[tru]", "[True]", "[nulll]", "[trues]", "[TRUE]", "[nu ll]", "[undefined]",
    // bytes that are no JSON at all
    "\x00"s, "[\x00]"s, "[1\x00]"s, "[\x0c]", "[\xe2\x81\xa0]", "[\xc2\xa0]", "\xef\xbb\xbf{}",
    "\xff\xfe[\x00]\x00"s, "\xef\xbb[]", "{\"a\":\x00}"s, "[\x0b]"};

json::scan_status scan_message(std::string_view text, bool by_bytes) {
  json::scanner scan;
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  auto status = json::scan_status::incomplete;
  for (std::size_t n = by_bytes ? 1 : text.size();
       n <= text.size() && status == json::scan_status::incomplete; ++n)
    status = scan.resume(text.substr(0, n), false);
  if (status == json::scan_status::incomplete) status = scan.resume(text, true);
  // One message: nothing but white space after the value.
  if (status == json::scan_status::complete &&
      text.find_first_not_of(" \t\r\n", scan.end()) != std::string_view::npos)
    return json::scan_status::malformed;
  return status;
}

bool other_parser_accepts(const std::string& text) {
  simdjson::dom::parser parser;
  return parser.parse(text).error() == simdjson::SUCCESS;
}

TEST(json_corpus, accepts_what_is_json) {
  for (const auto& text : accepted)
    for (const bool by_bytes : {false, true})
      EXPECT_EQ(scan_message(text, by_bytes), json::scan_status::complete) << text;
}

TEST(json_corpus, refuses_what_is_not) {
  for (const auto& text : refused)
    for (const bool by_bytes : {false, true})
      EXPECT_EQ(scan_message(text, by_bytes), json::scan_status::malformed) << text;
}

TEST(json_corpus, agrees_with_another_parser) {
  for (const auto& text : accepted) EXPECT_TRUE(other_parser_accepts(text)) << text;
  for (const auto& text : refused) {
    // The other parser skips a byte order mark; the contract refuses it.
    if (text.starts_with("\xef\xbb\xbf")) continue;
    EXPECT_FALSE(other_parser_accepts(text)) << text;
  }
}

TEST(json_corpus, accepts_numbers_of_any_size_and_precision) {
  for (const std::string text :
       {"[123123e100000]", "[-123123e100000]", "[1.5e+9999]", "[0.4e00669999999]",
        "[123456789012345678901234567890]", "[-1e-99999]", "[1e-10000]"})
    EXPECT_EQ(scan_message(text, false), json::scan_status::complete) << text;
}

TEST(json_corpus, inside_data_the_same_is_accepted_and_comes_back) {
  for (const auto& text : accepted) {
    const auto call =
        decode_one(call_of("session.update", R"({"session_id":")" + some_id + R"(","context":)" +
                                                 some_context + R"(,"data":{"v":)" + text + "}}"));
    ASSERT_FALSE(call.error) << text;
    EXPECT_TRUE(call.as<core::update_session>().data.starts_with("{\"v\":")) << text;
  }
}

TEST(json_corpus, inside_data_the_same_is_refused_and_the_connection_goes_on) {
  for (const auto& text : refused) {
    const std::string message =
        call_of("session.update", R"({"session_id":")" + some_id + R"(","context":)" +
                                      some_context + R"(,"data":{"v":)" + text + "}}");
    const auto record = converse(message + "\n" + call_of("server.ping", "{}") + "\n");
    ASSERT_FALSE(record.calls.empty()) << text;
    ASSERT_TRUE(record.calls.front().error) << text;
    EXPECT_EQ(record.calls.front().code(), core::error_code::PARSE_ERROR) << text;
    EXPECT_FALSE(record.calls.front().closes) << text;
  }
}

}  // namespace
}  // namespace portcullis::net::test
