// The call that is made of a forwarded request: what is in it, what is not, and what is refused.
#include "net/authz/ask.hpp"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "tests/net/codec_support.hpp"

namespace portcullis::net::test {
namespace {

using core::error_code;
using fields = std::vector<header_field>;

const std::string cookie = "portcullis_session=" + some_id;
const std::string trace = "0af7651916cd43dd8448eb211c80319c";
const std::string traceparent = "00-" + trace + "-b7ad6b7169203331-01";

authz_settings behind_a_proxy() {
  authz_settings settings;
  settings.trusted_proxies.add(core::address_set::parse_one("127.0.0.1").value());
  return settings;
}

/// The text of the call, or the refusal's name and details.
std::string ask(const fields& request, const authz_settings& settings = behind_a_proxy(),
                std::string_view from = "127.0.0.1") {
  correlation_maker maker(1);
  core::byte_buffer out;
  const auto asked = forward_auth(settings).ask(request, core::parse_ip(from).value(), maker, out);
  if (!asked.refused) return std::string(out.view());
  EXPECT_TRUE(out.empty());
  EXPECT_FALSE(asked.correlation.view().empty());
  std::string text(core::describe(asked.refused->code).name);
  for (const auto part : {asked.refused->field, asked.refused->rule})
    if (!part.empty()) text += " " + std::string(part);
  return text;
}

/// What the server reads in the call.
struct judged {
  core::validate_session call;
  std::string correlation_id;
  outcome kept;  // what `call` views
};
judged decoded(const std::string& text) {
  judged read;
  read.kept = decode_one(text);
  EXPECT_FALSE(read.kept.error) << text;
  EXPECT_EQ(read.kept.id, "1");
  EXPECT_EQ(read.kept.request.method, core::method::session_validate);
  if (!read.kept.error) read.call = read.kept.as<core::validate_session>();
  read.correlation_id = read.kept.correlation_id;
  return read;
}
std::string field_of(const judged& read, core::context_field which) {
  return std::string(read.call.context.fields[static_cast<std::size_t>(which)]);
}

TEST(a_question, has_id_address_agent_and_language_and_nothing_else) {
  EXPECT_EQ(ask({{"Host", "example.com"},
                 {"Cookie", "a=1; " + cookie},
                 {"User-Agent", "Mozilla/5.0 \"x\""},
                 {"Accept", "text/html"},
                 {"Accept-Encoding", "br"},
                 {"Accept-Language", "de, en;q=0.5"},
                 {"X-Forwarded-For", "203.0.113.7"},
                 {"X-Forwarded-Uri", "/page?x"},
                 {"Traceparent", traceparent}}),
            R"({"jsonrpc":"2.0","id":1,"method":"session.validate","params":{"session_id":")" +
                some_id +
                R"(","context":{"ip":"203.0.113.7","user_agent":"Mozilla/5.0 \"x\"",)"
                R"("accept_language":"de, en;q=0.5"},"_meta":{"correlation_id":")" +
                trace + R"("}}})");
}

TEST(a_question, is_what_the_server_decodes) {
  const auto read = decoded(ask({{"cookie", cookie},
                                 {"user-agent", "a\tb \\ é"},
                                 {"accept-language", ""},
                                 {"x-forwarded-for", "2001:db8::7"}}));
  core::session_id id;
  ASSERT_TRUE(core::from_hex(some_id, id.bytes));
  EXPECT_EQ(read.call.id, id);
  EXPECT_TRUE(read.call.touch);
  EXPECT_EQ(to_text(read.call.context.ip), "2001:db8::7");
  EXPECT_EQ(field_of(read, core::context_field::user_agent), "a\tb \\ é");
  EXPECT_EQ(field_of(read, core::context_field::accept_language), "");
  EXPECT_THAT(read.correlation_id, ::testing::MatchesRegex("[0-9a-f]{16}")) << "made up";
}

TEST(a_question, of_names_in_any_case_and_values_with_space_around_is_the_same) {
  const auto plain = ask({{"Cookie", cookie}, {"User-Agent", "x"}, {"Accept-Language", "de"}});
  EXPECT_EQ(
      ask({{"COOKIE", "  " + cookie + " \t"}, {"uSER-aGENT", " x "}, {"ACCEPT-language", "\tde"}}),
      plain);
}

TEST(a_question, is_from_the_connection_itself_where_that_is_no_trusted_proxy) {
  const auto read = decoded(
      ask({{"Cookie", cookie}, {"X-Forwarded-For", "203.0.113.7"}}, behind_a_proxy(), "10.0.0.1"));
  EXPECT_EQ(to_text(read.call.context.ip), "10.0.0.1");
}

TEST(a_question, without_a_session_id_is_told_to_log_in) {
  EXPECT_EQ(ask({}), "AUTH_REQUIRED");
  EXPECT_EQ(ask({{"Cookie", "other=" + some_id}}), "AUTH_REQUIRED");
  EXPECT_EQ(ask({{"Cookie", "portcullis_session="}}), "AUTH_REQUIRED");
  EXPECT_EQ(ask({{"X-Session", some_id}}), "AUTH_REQUIRED") << "not configured";
  EXPECT_EQ(ask({{"User-Agent", std::string(2'000, 'x')}}), "AUTH_REQUIRED")
      << "no session: nothing else matters";
}

TEST(a_question, with_an_id_that_can_be_none_is_refused_here) {
  EXPECT_EQ(ask({{"Cookie", "portcullis_session=x"}}),
            "SESSION_NOT_FOUND session_id 64_lower_case_hex_digits");
  EXPECT_EQ(ask({{"Cookie", cookie + "; portcullis_session=x"}}),
            "SESSION_NOT_FOUND session_id one_value");
  auto settings = behind_a_proxy();
  settings.cookie_secrets = {"keyboard cat"};
  EXPECT_EQ(ask({{"Cookie", cookie}}, settings), "SESSION_NOT_FOUND session_id signed");
}

TEST(a_question, takes_the_id_from_the_configured_cookie_or_field) {
  auto settings = behind_a_proxy();
  settings.cookie = "connect.sid";
  settings.header = "X-Session";
  const auto plain = ask({{"Cookie", "connect.sid=" + some_id}}, settings);
  EXPECT_NE(plain.find(some_id), std::string::npos);
  EXPECT_EQ(ask({{"x-session", some_id}}, settings), plain);
  EXPECT_EQ(ask({{"X-SESSION", some_id}, {"Cookie", "connect.sid=" + some_id}}, settings), plain);
  EXPECT_EQ(ask({{"Cookie", cookie}}, settings), "AUTH_REQUIRED");
  const auto other = "1" + some_id.substr(1);
  EXPECT_EQ(ask({{"X-Session", other}, {"Cookie", "connect.sid=" + some_id}}, settings),
            "SESSION_NOT_FOUND session_id one_value");
  EXPECT_EQ(ask({{"X-Session", other}, {"X-Session", some_id}}, settings),
            "SESSION_NOT_FOUND session_id one_value");
  settings.cookie.clear();
  EXPECT_EQ(ask({{"Cookie", "=" + some_id}}, settings), "AUTH_REQUIRED");
}

TEST(a_question, with_an_address_that_cannot_be_known_is_refused) {
  EXPECT_EQ(ask({{"Cookie", cookie}, {"X-Forwarded-For", "unknown"}}),
            "INVALID_PARAMS context.ip ipv4_or_ipv6_text");
}

TEST(a_user_agent, that_the_call_could_not_have_is_refused) {
  const auto with = [](std::string_view agent) {
    return ask({{"Cookie", cookie}, {"User-Agent", agent}});
  };
  const std::string longest(1'024, 'x');
  EXPECT_EQ(field_of(decoded(with(longest)), core::context_field::user_agent), longest);
  EXPECT_EQ(with(longest + "x"), "INVALID_PARAMS context.user_agent bytes_max");
  for (const auto* bad : {"caf\xE9", "\xC3", "x\x7F", "x\x01y", "x\ny", "\xED\xA0\x80"})
    EXPECT_EQ(with(bad), "INVALID_PARAMS context.user_agent utf8_without_controls") << bad;
  EXPECT_EQ(with(std::string_view("x\0y", 3)),
            "INVALID_PARAMS context.user_agent utf8_without_controls");
  EXPECT_EQ(ask({{"Cookie", cookie}, {"User-Agent", "x"}, {"User-Agent", "x"}}),
            "INVALID_PARAMS context.user_agent one_field");
}

TEST(a_language, that_is_spread_over_fields_is_one_list) {
  const auto with = [](const std::vector<std::string>& lists) {
    fields request = {{"Cookie", cookie}};
    for (const auto& each : lists) request.push_back({"Accept-Language", each});
    return ask(request);
  };
  const auto language = [&](const std::vector<std::string>& lists) {
    return field_of(decoded(with(lists)), core::context_field::accept_language);
  };
  EXPECT_EQ(language({"de", "en;q=0.5"}), "de, en;q=0.5");
  EXPECT_EQ(language({"de", "", "en", "fr"}), "de, en, fr");
  EXPECT_EQ(language({std::string(1'020, 'x'), "de"}).size(), 1'024U);
  EXPECT_EQ(with({std::string(1'021, 'x'), "de"}),
            "INVALID_PARAMS context.accept_language bytes_max");
  EXPECT_EQ(with({std::string(4'000, 'x'), "de", "en"}),
            "INVALID_PARAMS context.accept_language bytes_max");
  EXPECT_EQ(with({"de\x7F"}), "INVALID_PARAMS context.accept_language utf8_without_controls");
}

TEST(a_correlation_id, is_the_trace_id_where_that_is_well_formed) {
  const auto of = [](const fields& parents) {
    fields request = {{"Cookie", cookie}};
    request.insert(request.end(), parents.begin(), parents.end());
    return decoded(ask(request)).correlation_id;
  };
  EXPECT_EQ(of({{"traceparent", traceparent}}), trace);
  for (const std::string& bad : {std::string("x"), "ff" + traceparent.substr(2), traceparent + "-x",
                                 "00-" + std::string(32, '0') + traceparent.substr(35)})
    EXPECT_EQ(of({{"traceparent", bad}}).size(), 16U) << bad;
  EXPECT_EQ(of({{"traceparent", traceparent}, {"traceparent", traceparent}}).size(), 16U);
  EXPECT_EQ(of({}).size(), 16U);
}

}  // namespace
}  // namespace portcullis::net::test
