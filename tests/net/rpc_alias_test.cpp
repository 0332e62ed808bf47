// Sessions that their callers named: which parameters go with `alias`, and its form.
#include <gmock/gmock.h>

#include <string>

#include "tests/net/codec_support.hpp"

namespace portcullis::net::test {
namespace {

const std::string ctx = R"("context":)" + some_context;
const std::string id = R"("session_id":")" + some_id + R"(")";
const std::string tenant = R"("tenant_id":"acme")";
const std::string least(16, 'a');
const std::string by_alias = R"("alias":")" + least + R"(",)" + tenant;

std::string decoded_to(std::string_view name, const std::string& members) {
  const auto of = decode_one(call_of(name, "{" + members + "}"));
  if (!of.error) return "ok";
  return std::string(core::describe(of.code()).name) + ":" + std::string(of.error->field) + ":" +
         std::string(of.error->rule);
}

TEST(an_alias, names_a_session_where_an_id_would) {
  const auto validate =
      decode_one(call_of("session.validate", "{" + by_alias + "," + ctx + R"(,"touch":false})"));
  ASSERT_FALSE(validate.error);
  EXPECT_EQ(validate.as<core::validate_session>().by.alias, least);
  EXPECT_EQ(validate.as<core::validate_session>().by.tenant_id, "acme");
  EXPECT_FALSE(validate.as<core::validate_session>().touch);
  const auto update =
      decode_one(call_of("session.update", "{" + by_alias + "," + ctx + R"(,"data":{}})"));
  ASSERT_FALSE(update.error);
  EXPECT_EQ(update.as<core::update_session>().by.alias, least);
  const auto rotate =
      decode_one(call_of("session.rotate", "{" + by_alias + "," + ctx + R"(,"grace":false})"));
  ASSERT_FALSE(rotate.error);
  EXPECT_EQ(rotate.as<core::rotate_session>().by.alias, least);
  const auto revoke = decode_one(call_of("session.revoke", "{" + by_alias + "}"));
  ASSERT_FALSE(revoke.error);
  EXPECT_EQ(revoke.as<core::revoke_session>().by.alias, least);
}

TEST(an_alias, is_given_at_creation_or_not) {
  const std::string user = tenant + R"(,"user_id":"u",)" + ctx;
  const auto with =
      decode_one(call_of("session.create", "{" + user + R"(,"alias":")" + least + R"("})"));
  ASSERT_FALSE(with.error);
  EXPECT_EQ(with.as<core::create_session>().alias, least);
  const auto without = decode_one(call_of("session.create", "{" + user + "}"));
  ASSERT_FALSE(without.error);
  EXPECT_EQ(without.as<core::create_session>().alias, "");
}

TEST(an_alias, is_told_to_the_gateway_of_its_own_request_alone) {
  const auto both = converse(call_of("session.validate", "{" + by_alias + "," + ctx + "}") +
                             call_of("session.validate", "{" + id + "," + ctx + "}"))
                        .calls;
  ASSERT_EQ(both.size(), 2U);
  EXPECT_TRUE(both[0].request.has_alias);
  EXPECT_FALSE(both[1].request.has_alias);
}

TEST(an_alias, goes_with_its_tenant_and_without_another_name_of_the_session) {
  for (const std::string name : {"session.validate", "session.update", "session.rotate"}) {
    const auto rest = "," + ctx + (name == "session.update" ? R"(,"data":{})" : "");
    EXPECT_EQ(decoded_to(name, by_alias + rest), "ok");
    EXPECT_EQ(decoded_to(name, by_alias + "," + id + rest),
              "INVALID_PARAMS:alias:not_with_session_id");
    EXPECT_EQ(decoded_to(name, R"("alias":")" + least + "\"" + rest),
              "INVALID_PARAMS:tenant_id:required");
    EXPECT_EQ(decoded_to(name, id + "," + tenant + rest),
              "INVALID_PARAMS:tenant_id:only_with_alias");
    EXPECT_EQ(decoded_to(name, ctx + (name == "session.update" ? R"(,"data":{})" : "")),
              "INVALID_PARAMS:session_id:required");
    EXPECT_EQ(decoded_to(name, tenant + rest), "INVALID_PARAMS:session_id:required");
  }
}

TEST(revoking, takes_exactly_one_name_of_the_session) {
  const std::string handle = R"("handle":"s_AAECAwQFBgcICQoLDA0ODw")";
  const std::string rule = "INVALID_PARAMS:session_id:exactly_one_of_session_id_handle_and_alias";
  EXPECT_EQ(decoded_to("session.revoke", by_alias), "ok");
  EXPECT_EQ(decoded_to("session.revoke", ""), rule);
  EXPECT_EQ(decoded_to("session.revoke", tenant), rule);
  EXPECT_EQ(decoded_to("session.revoke", by_alias + "," + id), rule);
  EXPECT_EQ(decoded_to("session.revoke", by_alias + "," + handle), rule);
  EXPECT_EQ(decoded_to("session.revoke", by_alias + "," + handle + "," + id), rule);
  EXPECT_EQ(decoded_to("session.revoke", R"("alias":")" + least + "\""),
            "INVALID_PARAMS:tenant_id:required");
  EXPECT_EQ(decoded_to("session.revoke", id + "," + tenant),
            "INVALID_PARAMS:tenant_id:only_with_alias");
  EXPECT_EQ(decoded_to("session.revoke", handle + "," + tenant),
            "INVALID_PARAMS:tenant_id:only_with_alias");
}

TEST(an_alias, has_16_to_256_bytes_without_controls_and_overrides) {
  const auto of = [](const std::string& text) {
    const std::string alias = R"("alias":")" + text + "\"";
    const auto made =
        decoded_to("session.create", tenant + R"(,"user_id":"u",)" + ctx + "," + alias);
    EXPECT_EQ(decoded_to("session.validate", tenant + "," + ctx + "," + alias), made);
    return made;
  };
  EXPECT_EQ(of(std::string(15, 'a')), "INVALID_PARAMS:alias:bytes_min");
  EXPECT_EQ(of(std::string(16, 'a')), "ok");
  EXPECT_EQ(of(std::string(256, 'a')), "ok");
  EXPECT_EQ(of(std::string(257, 'a')), "INVALID_PARAMS:alias:bytes_max");
  // After unescaping: 8 letters of two bytes are 16, and 15 bytes written with 90 are 15.
  std::string letters, escaped;
  for (int i = 0; i < 8; ++i) letters += "\u00e9";
  EXPECT_EQ(of(letters), "ok");
  for (int i = 0; i < 15; ++i) escaped += "\\u0061";
  EXPECT_EQ(of(escaped), "INVALID_PARAMS:alias:bytes_min");
  const std::string rule = "INVALID_PARAMS:alias:no_controls_or_bidirectional_overrides";
  for (const std::string bad :
       {R"(\u0000)", R"(\n)", R"(\u001f)", R"(\u0085)", R"(\u202e)", R"(\u2066)"})
    EXPECT_EQ(of(least + bad), rule) << bad;
  EXPECT_EQ(of(least + R"(\ud800)"), "INVALID_PARAMS:alias:lone_surrogate");
  EXPECT_EQ(decoded_to("session.validate", tenant + "," + ctx + R"(,"alias":5)"),
            "INVALID_PARAMS:alias:string");
}

TEST(an_alias, is_no_parameter_of_other_methods) {
  for (const std::string name :
       {"session.list", "session.revoke_user", "session.stats", "lockout.status"})
    EXPECT_EQ(decoded_to(name, R"("tenant_id":"t","user_id":"u","alias":")" + least + "\""),
              "INVALID_PARAMS:params:unknown_parameter");
}

}  // namespace
}  // namespace portcullis::net::test
