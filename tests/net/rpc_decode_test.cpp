// The JSON-RPC envelope, ids, notifications and batches.
#include "net/rpc/decode.hpp"

#include <gmock/gmock.h>

#include <string>

#include "tests/net/codec_support.hpp"

namespace portcullis::net::test {
namespace {

using core::error_code;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

outcome envelope(std::string_view members) { return decode_one("{" + std::string(members) + "}"); }

TEST(decoding, a_call_has_its_method_and_id) {
  const auto call = envelope(R"("jsonrpc":"2.0","id":"a-1","method":"server.ping","params":{})");
  ASSERT_FALSE(call.error);
  EXPECT_EQ(call.id, R"("a-1")");
  EXPECT_FALSE(call.notification);
  EXPECT_EQ(call.request.method, core::method::server_ping);
}

TEST(decoding, members_come_in_any_order_and_params_may_be_left_out) {
  EXPECT_FALSE(envelope(R"("params":{},"method":"server.ping","id":1,"jsonrpc":"2.0")").error);
  EXPECT_FALSE(envelope(R"("method":"server.ping","jsonrpc":"2.0","id":1)").error);
  EXPECT_FALSE(envelope(R"("method":"session.stats","jsonrpc":"2.0","id":1,"params":[])").error);
}

TEST(decoding, ids_come_back_byte_for_byte) {
  for (const std::string id : {"1", "-0", "1.50", "1E+2", "123456789012345678901234567890", "\"\"",
                               "\"\\u0061\\/b\"", "\"é\"", "\"\\ud83d\\ude00\"", "0"}) {
    const auto call = envelope(R"("jsonrpc":"2.0","method":"server.ping","id":)" + id);
    ASSERT_FALSE(call.error) << id;
    EXPECT_EQ(call.id, id);
    const auto refused = envelope(R"("jsonrpc":"1.0","method":"server.ping","id":)" + id);
    EXPECT_EQ(refused.code(), error_code::INVALID_REQUEST);
    EXPECT_EQ(refused.id, id);
  }
}

TEST(decoding, no_id_and_null_are_notifications_also_when_they_fail) {
  for (const std::string id : {"", R"(,"id":null)"}) {
    const auto good = envelope(R"("jsonrpc":"2.0","method":"server.ping")" + id);
    EXPECT_TRUE(good.notification);
    EXPECT_FALSE(good.error);
    const auto unknown = envelope(R"("jsonrpc":"2.0","method":"nope")" + id);
    EXPECT_TRUE(unknown.notification);
    EXPECT_EQ(unknown.code(), error_code::METHOD_NOT_FOUND);
    const auto bad = envelope(R"("jsonrpc":"2.0","method":"server.ping","params":{"x":1})" + id);
    EXPECT_TRUE(bad.notification);
    EXPECT_EQ(bad.code(), error_code::INVALID_PARAMS);
  }
}

/// Forbids everything but ping.
struct forbidding : recorder {
  using recorder::recorder;
  std::optional<error_code> forbids(std::optional<core::method> called) override {
    asked.push_back(called);
    if (called == core::method::server_ping) return std::nullopt;
    return error_code::AUTH_REQUIRED;
  }
  std::vector<std::optional<core::method>> asked;
};

TEST(decoding, what_the_visitor_forbids_is_refused_before_params_and_after_the_envelope) {
  const struct {
    std::string text;
    std::optional<error_code> refused;
  } rows[] = {
      {call_of("session.create", "{}"), error_code::AUTH_REQUIRED},
      {call_of("session.create", R"({"no":1,"_meta":{"correlation_id":"c-1"}})"),
       error_code::AUTH_REQUIRED},
      {call_of("no.such", "7"), error_code::AUTH_REQUIRED},
      {call_of("server.ping", "{}"), std::nullopt},
      {call_of("server.ping", R"({"no":1})"), error_code::INVALID_PARAMS},
      {R"({"jsonrpc":"1.0","id":1,"method":"session.create"})", error_code::INVALID_REQUEST},
      {R"({"jsonrpc":"2.0","id":{},"method":"session.create"})", error_code::INVALID_REQUEST},
  };
  for (const auto& row : rows) {
    conversation record;
    auto bytes = std::make_shared<std::string>(row.text);
    forbidding visitor(record, bytes);
    framer frames;
    const auto found = frames.next(*bytes, true);
    decoder().decode(*bytes, found.tape, visitor);
    ASSERT_EQ(record.calls.size(), 1U) << row.text;
    const auto& call = record.calls[0];
    ASSERT_EQ(call.error.has_value(), row.refused.has_value()) << row.text;
    if (row.refused) {
      EXPECT_EQ(call.code(), *row.refused) << row.text;
    }
    EXPECT_EQ(visitor.asked.empty(), row.refused == error_code::INVALID_REQUEST) << row.text;
    const bool named = row.text.find("c-1") != std::string::npos;
    EXPECT_EQ(call.correlation_id, named ? "c-1" : "") << row.text;
  }
}

TEST(decoding, what_is_no_request_is_answered_even_without_an_id) {
  for (const std::string members :
       {"", R"("jsonrpc":"2.0")", R"("method":"server.ping")", R"("jsonrpc":"2.0","method":1)",
        R"("jsonrpc":2.0,"method":"server.ping")", R"("jsonrpc":"2.00","method":"a")",
        R"("jsonrpc":null,"method":"server.ping")", R"("jsonrpc":"2.0","method":["a"])"}) {
    const auto call = envelope(members);
    EXPECT_EQ(call.code(), error_code::INVALID_REQUEST) << members;
    EXPECT_FALSE(call.notification) << members;
    EXPECT_EQ(call.id, "") << members;
  }
}

TEST(decoding, ids_of_other_types_or_too_long_are_answered_with_null) {
  const std::string fits = "\"" + std::string(1022, 'x') + "\"";
  const std::string longer = "\"" + std::string(1023, 'x') + "\"";
  EXPECT_EQ(envelope(R"("jsonrpc":"2.0","method":"server.ping","id":)" + fits).id, fits);
  for (const std::string id :
       {"true", "false", "{}", "[]", "[1]", "{\"a\":1}", "\"\\ud800\"", longer.c_str()}) {
    const auto call = envelope(R"("jsonrpc":"2.0","method":"server.ping","id":)" + id);
    EXPECT_EQ(call.code(), error_code::INVALID_REQUEST) << id;
    EXPECT_EQ(call.id, "") << id;
    EXPECT_FALSE(call.notification) << id;
  }
}

TEST(decoding, duplicates_in_the_envelope_are_no_request_and_echo_a_usable_id) {
  for (const std::string twice :
       {R"("jsonrpc":"2.0")", R"("method":"server.ping")", R"("params":{})",
        R"("other":1,"other":2)", R"("other":{"a":1,"a":2})", R"("other":1,"othe\u0072":2)",
        R"("\u006aso\u006erpc":"2.0")", R"("other":"\ud800")", R"("\udc00":1)",
        R"("other":[[{"x":{"y":1,"y":1}}]])"}) {
    const auto call =
        envelope(R"("jsonrpc":"2.0","id":7,"method":"server.ping","params":{},)" + twice);
    EXPECT_EQ(call.code(), error_code::INVALID_REQUEST) << twice;
    EXPECT_EQ(call.id, "7") << twice;
  }
  const auto ids = envelope(R"("jsonrpc":"2.0","id":7,"id":7,"method":"server.ping")");
  EXPECT_EQ(ids.code(), error_code::INVALID_REQUEST);
  EXPECT_EQ(ids.id, "");
}

TEST(decoding, other_members_of_the_envelope_are_ignored) {
  EXPECT_FALSE(
      envelope(R"("jsonrpc":"2.0","id":7,"auth":{"a":[1]},"method":"server.ping","x":"y")").error);
}

TEST(decoding, escaped_keys_and_methods_equal_their_plain_form) {
  const auto call = envelope(
      R"("\u006asonrpc":"2\u002e0","i\u0064":1,"m\u0065thod":"server\u002eping","\u0070arams":{"_\u006deta":{"correlation\u005fid":"c\u0031"}})");
  ASSERT_FALSE(call.error);
  EXPECT_EQ(call.correlation_id, "c1");
}

TEST(decoding, an_unknown_method_is_not_found_whatever_its_params) {
  for (const std::string params :
       {"{}", "[1]", "1", "\"x\"", "null", R"({"a":1,"a":2})", R"({"a":"\ud800"})"}) {
    const auto call = decode_one(call_of("session.nope", params));
    EXPECT_EQ(call.code(), error_code::METHOD_NOT_FOUND) << params;
    EXPECT_EQ(call.id, "1");
  }
  for (const std::string name :
       {"", "session.validate ", "Session.validate", "session.validat", "sesssion.validate"})
    EXPECT_EQ(decode_one(call_of(name, "{}")).code(), error_code::METHOD_NOT_FOUND) << name;
}

TEST(decoding, refused_calls_carry_their_correlation_id) {
  const std::string meta = R"({"_meta":{"correlation_id":"c-9"}})";
  EXPECT_EQ(decode_one(call_of("nope", meta)).correlation_id, "c-9");
  EXPECT_EQ(envelope(R"("jsonrpc":"1","method":"a","id":1,"params":)" + meta).correlation_id,
            "c-9");
  const auto call =
      decode_one(call_of("server.ping", R"({"x":1,"_meta":{"correlation_id":"c-9"}})"));
  EXPECT_EQ(call.code(), error_code::INVALID_PARAMS);
  EXPECT_EQ(call.correlation_id, "c-9");
}

TEST(decoding, a_batch_gives_its_calls_in_order) {
  const auto record = converse(
      R"([{"jsonrpc":"2.0","id":1,"method":"server.ping"},{"jsonrpc":"2.0","method":"server.ping"},5,{"jsonrpc":"2.0","id":2,"method":"nope"},[],"x"])");
  EXPECT_THAT(record.batches, ElementsAre(6U));
  ASSERT_EQ(record.calls.size(), 6U);
  EXPECT_EQ(record.calls[0].id, "1");
  EXPECT_TRUE(record.calls[1].notification);
  for (const std::size_t i : {2U, 4U, 5U}) {
    EXPECT_EQ(record.calls[i].code(), error_code::INVALID_REQUEST);
    EXPECT_EQ(record.calls[i].id, "");
    EXPECT_FALSE(record.calls[i].notification);
  }
  EXPECT_EQ(record.calls[3].code(), error_code::METHOD_NOT_FOUND);
}

TEST(decoding, an_empty_batch_and_a_bare_scalar_get_one_error) {
  for (const std::string text : {"[]", "[ ]"}) {
    const auto record = converse(text);
    EXPECT_THAT(record.batches, IsEmpty());
    ASSERT_EQ(record.calls.size(), 1U);
    EXPECT_EQ(record.calls[0].code(), error_code::INVALID_REQUEST);
    EXPECT_EQ(record.calls[0].id, "");
  }
  EXPECT_EQ(converse("{} 5 \"x\" null ").calls.size(), 4U);
}

TEST(decoding, a_batch_may_have_a_hundred_entries_and_no_more) {
  const auto batch = [](int entries) {
    std::string text = "[";
    for (int i = 0; i < entries; ++i)
      text +=
          (i == 0 ? "" : ",") + std::string(R"({"jsonrpc":"2.0","id":1,"method":"server.ping"})");
    return converse(text + "]");
  };
  EXPECT_EQ(batch(100).calls.size(), 100U);
  const auto over = batch(101);
  ASSERT_EQ(over.calls.size(), 1U);
  EXPECT_THAT(over.batches, IsEmpty());
  EXPECT_EQ(over.calls[0].code(), error_code::BATCH_TOO_LARGE);
  EXPECT_EQ(over.calls[0].error->limit, 100);
  EXPECT_EQ(over.calls[0].id, "");
  EXPECT_FALSE(over.calls[0].closes);
}

}  // namespace
}  // namespace portcullis::net::test
