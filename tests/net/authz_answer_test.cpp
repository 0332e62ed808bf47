// What a proxy is answered: by kind of proxy and outcome, every field and status.
#include "net/authz/answer.hpp"

#include <gmock/gmock.h>

#include <random>
#include <string>

#include "net/authz/kind.hpp"
#include "net/authz/reply_line.hpp"

namespace portcullis::net {
namespace {

using core::error_code;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr authz_kind kinds[] = {authz_kind::auth_request, authz_kind::forward_auth,
                                authz_kind::ext_authz};

struct answered {
  int status = 0;
  std::string fields, body;
};

answered answer_line(authz_kind kind, std::string_view line) {
  correlation_maker maker(1);
  authz_answer into;
  answer_authz(kind, line, "c-1", {maker}, into);
  return {into.status, std::string(into.fields.view()), std::string(into.body.view())};
}

/// Through the RPC server's own encoder.
answered answer(authz_kind kind, const core::reply& reply) {
  correlation_maker maker(1);
  core::byte_buffer line;
  encode_reply(line, "1", reply, {maker});
  line.append('\n');
  return answer_line(kind, line.view());
}

core::session_valid valid_session() {
  core::session_valid reply;
  reply.tenant_id = "acme";
  reply.user_id = "ada";
  for (std::size_t i = 0; i < reply.handle.bytes.size(); ++i)
    reply.handle.bytes[i] = static_cast<std::uint8_t>(i);
  reply.created_at_ms = 1'700'000'000'000;
  reply.expires_at_ms = 1'700'000'900'000;
  return reply;
}

std::string identity(const std::string& tenant, const std::string& user,
                     const std::string& signals = "none") {
  return "Cache-Control: no-store\r\nX-Portcullis-Tenant: " + tenant +
         "\r\nX-Portcullis-User: " + user +
         "\r\nX-Portcullis-Handle: s_AAECAwQFBgcICQoLDA0ODw"
         "\r\nX-Portcullis-Expires-At: 1700000900000\r\nX-Portcullis-Signals: " +
         signals + "\r\n";
}

/// The error object of the catalogue's row, but for its status.
std::string error_object(error_code code, int status, const std::string& more = "") {
  const auto& row = core::describe(code);
  return R"({"code":)" + std::to_string(row.code) + R"(,"message":")" + std::string(row.message) +
         R"(","data":{"error":")" + std::string(row.name) + R"(","status":)" +
         std::to_string(status) + R"(,"severity":")" + std::string(to_string(row.severity)) +
         R"(","retryable":)" + (row.retryable ? "true" : "false") + R"(,"correlation_id":"c-1")" +
         more + "}}";
}

TEST(the_kind_of_a_proxy, is_told_by_the_path) {
  EXPECT_EQ(authz_kind_of("/authz/auth-request"), authz_kind::auth_request);
  EXPECT_EQ(authz_kind_of("/authz/forward-auth"), authz_kind::forward_auth);
  for (const auto* path : {"/authz/ext-authz", "/authz/ext-authz/", "/authz/ext-authz/a/b",
                           "/authz/ext-authz/../x", "/authz/ext-authz//"})
    EXPECT_EQ(authz_kind_of(path), authz_kind::ext_authz) << path;
  for (const auto* path :
       {"", "/", "/authz", "/authz/", "/authz/auth-request/", "/authz/auth-request/x",
        "/authz/forward-auth/", "/authz/Forward-Auth", "/authz/ext-authzz", "/authz/ext",
        "/x/authz/ext-authz", "//authz/ext-authz", "authz/ext-authz"})
    EXPECT_EQ(authz_kind_of(path), std::nullopt) << path;
}

TEST(a_valid_session, passes_with_every_identity_field_and_no_body) {
  for (const auto kind : kinds) {
    const auto got = answer(kind, valid_session());
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.fields, identity("acme", "ada"));
    EXPECT_EQ(got.body, "");
  }
}

TEST(a_valid_session, passes_whatever_its_data_says) {
  for (const std::string& data :
       {std::string("{}"), std::string(R"({"a":[1,{"b":"}"}]})"),
        // What stands behind the data must not be taken from within it.
        std::string(R"({"x":1,"version":9,"created_at_ms":9,"expires_at_ms":9})"),
        std::string(R"({"x":"\",\"version\":9,\"created_at_ms\":9,\"expires_at_ms\":9}}"})"),
        std::string(R"({"x":1,"version":9,"created_at_ms":9,"expires_at_ms":9,"signals":[]})"),
        R"({"x":")" + std::string(16'000, 'y') + R"("})"}) {
    auto reply = valid_session();
    reply.data = data;
    const auto got = answer(authz_kind::forward_auth, reply);
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.fields, identity("acme", "ada")) << data;
  }
}

TEST(a_valid_session, that_was_rotated_or_has_signals_passes) {
  auto reply = valid_session();
  reply.rotated = true;
  EXPECT_EQ(answer(authz_kind::auth_request, reply).fields, identity("acme", "ada"));
  reply.observed = core::bit(core::context_field::ja4);
  EXPECT_EQ(answer(authz_kind::auth_request, reply).fields, identity("acme", "ada", "observe=ja4"));
  reply.rotated = false;
  reply.challenged = core::bit(core::context_field::user_agent) | core::ip_bit;
  EXPECT_EQ(answer(authz_kind::auth_request, reply).fields,
            identity("acme", "ada", "challenge=user_agent,observe=ja4,challenge=ip"));
}

TEST(the_name_of_a_user, becomes_one_field_of_ascii) {
  struct {
    std::string_view name, shown;
  } const cases[] = {
      {"a b", "a%20b"},
      {"100%", "100%25"},
      {"%61", "%2561"},
      {"jörg", "j%C3%B6rg"},
      {"\xF0\x9F\x98\x80", "%F0%9F%98%80"},
      {"\"\\/", "\"\\/"},
      {"a@b.c,d;e=f", "a@b.c,d;e=f"},
      {"\x7F", "%7F"},
      // No name of ours has these; if one had, it would split nothing.
      {"a\r\nX-Portcullis-User: root", "a%0D%0AX-Portcullis-User:%20root"},
      {std::string_view("\0", 1), "%00"},
  };
  for (const auto& each : cases) {
    auto reply = valid_session();
    reply.tenant_id = reply.user_id = each.name;
    EXPECT_EQ(answer(authz_kind::forward_auth, reply).fields,
              identity(std::string(each.shown), std::string(each.shown)));
  }
}

TEST(the_name_of_a_user, is_read_with_any_escapes_of_json) {
  const std::string line =
      R"({"jsonrpc":"2.0","id":1,"result":{"valid":true,"tenant_id":"\u00fc\"",)"
      R"("user_id":"\ud83d\ude00\/\u0041","handle":"s_AAECAwQFBgcICQoLDA0ODw",)"
      R"("version":1,"created_at_ms":1,"expires_at_ms":1700000900000}})";
  EXPECT_EQ(answer_line(authz_kind::ext_authz, line).fields,
            identity("%C3%BC\"", "%F0%9F%98%80/A"));
}

TEST(the_name_of_a_user, decodes_to_itself_whatever_it_is) {
  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int round = 0; round < 2'000; ++round) {
    std::string name;
    for (auto size = 1 + random() % 64; size > 0; --size) {
      // Any scalar of up to two bytes, controls and quotes often.
      const auto scalar = random() % (random() % 2 == 0 ? 0x30U : 0x800U);
      if (scalar < 0x80) {
        name += static_cast<char>(scalar);
      } else {
        name += static_cast<char>(0xC0U | scalar >> 6);
        name += static_cast<char>(0x80U | (scalar & 0x3FU));
      }
    }
    auto reply = valid_session();
    reply.user_id = name;
    const auto fields = answer(authz_kind::forward_auth, reply).fields;
    const auto from = fields.find("-User: ") + 7;
    const auto shown = fields.substr(from, fields.find("\r\n", from) - from);
    std::string back;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      ASSERT_TRUE(shown[i] > ' ' && shown[i] < '\x7F') << "seed " << seed;
      if (shown[i] != '%') {
        back += shown[i];
      } else {
        back += static_cast<char>(std::stoi(shown.substr(i + 1, 2), nullptr, 16));
        i += 2;
      }
    }
    EXPECT_EQ(back, name) << "seed " << seed;
  }
}

TEST(an_invalid_session, is_a_401_that_says_why) {
  struct {
    core::invalid_reason reason;
    error_code code;
  } const cases[] = {
      {core::invalid_reason::not_found, error_code::SESSION_NOT_FOUND},
      {core::invalid_reason::expired, error_code::SESSION_EXPIRED},
      {core::invalid_reason::revoked, error_code::SESSION_REVOKED},
      {core::invalid_reason::ip_mismatch, error_code::SESSION_IP_MISMATCH},
      {core::invalid_reason::fingerprint_mismatch, error_code::SESSION_FINGERPRINT_MISMATCH},
  };
  for (const auto& each : cases)
    for (const auto kind : kinds) {
      const auto got = answer(kind, core::session_invalid{each.reason, std::nullopt});
      EXPECT_EQ(got.status, 401);
      EXPECT_EQ(got.fields,
                "Cache-Control: no-store\r\nContent-Type: application/json\r\n"
                "WWW-Authenticate: Bearer\r\n");
      EXPECT_EQ(got.body, error_object(each.code, 401));
    }
}

TEST(a_lockout, is_403_to_nginx_and_429_to_the_others) {
  const core::session_invalid locked{core::invalid_reason::locked_out, 899'001};
  for (const auto kind : kinds) {
    const int status = kind == authz_kind::auth_request ? 403 : 429;
    const auto got = answer(kind, locked);
    EXPECT_EQ(got.status, status);
    EXPECT_EQ(got.fields,
              "Cache-Control: no-store\r\nContent-Type: application/json\r\n"
              "Retry-After: 900\r\n");
    EXPECT_EQ(got.body,
              error_object(error_code::USER_LOCKED_OUT, status, R"(,"retry_after_ms":899001)"));
  }
}

TEST(retry_after, is_rounded_up_to_seconds) {
  const auto seconds = [](std::int64_t ms) {
    const auto fields = answer(authz_kind::forward_auth,
                               core::session_invalid{core::invalid_reason::locked_out, ms})
                            .fields;
    const auto at = fields.find("Retry-After: ") + 13;
    return fields.substr(at, fields.find('\r', at) - at);
  };
  EXPECT_EQ(seconds(0), "0");
  EXPECT_EQ(seconds(1), "1");
  EXPECT_EQ(seconds(1'000), "1");
  EXPECT_EQ(seconds(1'001), "2");
  EXPECT_EQ(seconds(9'223'372'036'854'775'807), "9223372036854776");
}

TEST(an_error, keeps_its_status_but_where_a_proxy_takes_others) {
  struct {
    error_code code;
    int nginx, others;
  } const cases[] = {
      {error_code::RATE_LIMITED, 403, 429},      {error_code::INVALID_PARAMS, 403, 400},
      {error_code::SESSION_NOT_FOUND, 401, 401}, {error_code::AUTH_REQUIRED, 401, 401},
      {error_code::FORBIDDEN, 403, 403},         {error_code::METHOD_NOT_FOUND, 403, 404},
      {error_code::STORE_UNAVAILABLE, 503, 503}, {error_code::OVERLOADED, 503, 503},
      {error_code::REQUEST_TIMEOUT, 504, 504},   {error_code::STORE_FULL, 507, 507},
      {error_code::INTERNAL, 500, 500},          {error_code::NODE_DRAINING, 503, 503},
  };
  for (const auto& each : cases)
    for (const auto kind : kinds) {
      const int status = kind == authz_kind::auth_request ? each.nginx : each.others;
      auto why = core::fail(each.code, "context.ip", "required", 7);
      why.retry_after_ms = 1'500;
      const auto got = answer(kind, core::failed{why, "theirs"});
      EXPECT_EQ(got.status, status) << core::describe(each.code).name;
      EXPECT_THAT(got.body, HasSubstr("\"status\":" + std::to_string(status) + ","));
      EXPECT_THAT(got.body, HasSubstr(R"("correlation_id":"theirs")"));
      EXPECT_THAT(got.body, HasSubstr(R"("details":{"field":"context.ip","rule":"required")"));
      EXPECT_THAT(got.fields, HasSubstr("Retry-After: 2\r\n"));
      EXPECT_EQ(got.fields.find("WWW-Authenticate") != std::string::npos, status == 401);
      // Refused here, it is the same but for the id.
      correlation_maker maker(1);
      authz_answer into;
      refuse_authz(kind, why, "theirs", {maker}, into);
      EXPECT_EQ(into.status, got.status);
      EXPECT_EQ(into.fields.view(), got.fields);
      EXPECT_EQ(into.body.view(), got.body);
    }
}

TEST(an_error, of_the_whole_catalogue_is_told_and_never_passes) {
  for (const auto& row : core::error_catalogue())
    for (const auto kind : kinds)
      for (const bool development : {false, true}) {
        correlation_maker maker(1);
        core::byte_buffer line;
        encode_reply(line, "", core::failed{core::fail(row.id), {}}, {maker, development});
        const auto got = answer_line(kind, line.view());
        EXPECT_EQ(got.status, authz_status(kind, row.id)) << row.name;
        EXPECT_GE(got.status, 400);
        EXPECT_THAT(got.body, HasSubstr("\"error\":\"" + std::string(row.name) + "\""));
        EXPECT_THAT(got.fields, Not(HasSubstr("X-Portcullis")));
        const bool known_to_nginx = got.status == 401 || got.status == 403 || got.status >= 500;
        EXPECT_TRUE(kind != authz_kind::auth_request || known_to_nginx) << row.name;
      }
}

TEST(a_line_that_is_no_reply, is_an_internal_error_to_every_proxy) {
  const std::string good =
      R"({"jsonrpc":"2.0","id":1,"result":{"valid":true,"tenant_id":"t","user_id":"u",)"
      R"("handle":"s_AAECAwQFBgcICQoLDA0ODw","data":{"a":1},"version":1,"created_at_ms":1,)"
      R"("expires_at_ms":2,"rotated":true,"signals":[{"field":"ip","action":"observe"}]}})";
  ASSERT_EQ(answer_line(authz_kind::forward_auth, good).status, 200);
  const auto replaced = [&](std::string_view what, std::string_view with) {
    std::string text = good;
    return text.replace(text.find(what), what.size(), with);
  };
  for (const std::string& line :
       {std::string(),
        std::string("{}"),
        std::string("\n"),
        good + " ",
        good.substr(1),
        replaced("true", "null"),
        replaced("\"t\"", "\"\""),
        replaced("\"u\"", "\"\""),
        replaced("\"u\"", "7"),
        replaced("\"s_AAECAwQFBgcICQoLDA0ODw\"", "\"\""),
        replaced(":2,", ":,"),
        replaced(":2,", ":-2,"),
        replaced("observe", "ignore"),
        replaced("\"ip\"", "\"nose\""),
        replaced("\"data\":{\"a\":1}", "\"more\":{\"a\":1}"),
        replaced("{\"a\":1}", "[1]"),
        replaced("}]}}", "}]}"),
        replaced("\"id\":1", "\"id\":\"1\""),
        std::string(R"({"jsonrpc":"2.0","id":1,"result":{"valid":false,"reason":"none"}})"),
        std::string(R"({"jsonrpc":"2.0","id":1,"result":{"valid":false}})"),
        std::string(R"({"jsonrpc":"2.0","id":1,"result":{}})"),
        std::string(R"({"jsonrpc":"2.0","id":1,"error":{"code":77,"data":{"a":1,"status":200}}})"),
        std::string(R"({"jsonrpc":"2.0","id":1,"error":{"code":3002}}})"),
        std::string(R"({"jsonrpc":"2.0","id":1,"error":null}})")}) {
    for (const auto kind : kinds) {
      const auto got = answer_line(kind, line);
      EXPECT_EQ(got.status, 500) << line;
      EXPECT_THAT(got.fields, Not(HasSubstr("X-Portcullis"))) << line;
      EXPECT_EQ(got.body, error_object(error_code::INTERNAL, 500));
    }
  }
}

TEST(a_line_that_was_cut, never_passes) {
  correlation_maker maker(1);
  core::byte_buffer line;
  auto reply = valid_session();
  reply.data = R"({"a":{"b":[1]}})";
  reply.observed = core::ip_bit;
  encode_reply(line, "1", reply, {maker});
  for (std::size_t size = 0; size < line.size(); ++size)
    EXPECT_EQ(answer_line(authz_kind::forward_auth, line.view().substr(0, size)).status, 500);
}

TEST(an_answer, leaves_nothing_of_the_one_before_it) {
  correlation_maker maker(1);
  authz_answer into;
  core::byte_buffer line;
  encode_reply(line, "1", valid_session(), {maker});
  refuse_authz(authz_kind::forward_auth, core::fail(error_code::AUTH_REQUIRED), "", {maker}, into);
  EXPECT_THAT(std::string(into.body.view()), HasSubstr("\"correlation_id\":\"")) << "made up";
  answer_authz(authz_kind::forward_auth, line.view(), "", {maker}, into);
  EXPECT_EQ(into.fields.view(), identity("acme", "ada"));
  EXPECT_TRUE(into.body.empty());
}

}  // namespace
}  // namespace portcullis::net
