// Replies, errors and notifications as the contract spells them; every text is compared whole.
#include "net/rpc/encode.hpp"

#include <gmock/gmock.h>
#include <simdjson.h>

#include <string>

namespace portcullis::net {
namespace {

using core::error_code;

class encoding : public ::testing::Test {
 protected:
  std::string outcome(const core::reply& reply, bool development = false) {
    core::byte_buffer out;
    encode_outcome(out, reply, {maker_, development});
    const std::string text(out.view());
    simdjson::dom::parser parser;
    EXPECT_EQ(parser.parse("{" + text + "}").error(), simdjson::SUCCESS) << text;
    return text;
  }
  static core::session_handle handle() {
    core::session_handle made;
    for (std::size_t i = 0; i < made.bytes.size(); ++i)
      made.bytes[i] = static_cast<std::uint8_t>(i);
    return made;
  }
  correlation_maker maker_{1};
};

#define HANDLE R"("handle":"s_AAECAwQFBgcICQoLDA0ODw")"

TEST_F(encoding, a_valid_session_with_everything) {
  core::session_valid reply;
  reply.tenant_id = "t\"1";
  reply.user_id = "ü\n";
  reply.handle = handle();
  reply.data = R"({"a":[1]})";
  reply.version = 3;
  reply.created_at_ms = 1700000000000;
  reply.expires_at_ms = 1700000900000;
  reply.rotated = true;
  reply.observed = core::bit(core::context_field::ja4);
  reply.challenged = core::ip_bit | core::bit(core::context_field::user_agent);
  EXPECT_EQ(
      outcome(reply),
      R"("result":{"valid":true,"tenant_id":"t\"1","user_id":"ü\n",)" HANDLE
      R"(,"data":{"a":[1]},"version":3,"created_at_ms":1700000000000,"expires_at_ms":1700000900000,"rotated":true,)"
      R"("signals":[{"field":"user_agent","action":"challenge"},{"field":"ja4","action":"observe"},{"field":"ip","action":"challenge"}]})");
}

TEST_F(encoding, a_valid_session_leaves_out_what_it_has_not) {
  core::session_valid reply;
  reply.tenant_id = "t";
  reply.user_id = "u";
  reply.handle = handle();
  EXPECT_EQ(outcome(reply), R"("result":{"valid":true,"tenant_id":"t","user_id":"u",)" HANDLE
                            R"(,"version":1,"created_at_ms":0,"expires_at_ms":0})");
}

TEST_F(encoding, an_invalid_session_says_why) {
  EXPECT_EQ(outcome(core::session_invalid{core::invalid_reason::expired, {}}),
            R"("result":{"valid":false,"reason":"expired"})");
  EXPECT_EQ(outcome(core::session_invalid{core::invalid_reason::locked_out, 0}),
            R"("result":{"valid":false,"reason":"locked_out","retry_after_ms":0})");
}

TEST_F(encoding, a_created_session_shows_its_id) {
  core::session_made reply;
  for (std::size_t i = 0; i < 32; ++i) reply.id.bytes[i] = static_cast<std::uint8_t>(255 - i);
  reply.handle = handle();
  reply.created_at_ms = 1;
  reply.expires_at_ms = 2;
  reply.idle_expires_at_ms = 3;
  reply.absolute_expires_at_ms = 4;
  EXPECT_EQ(
      outcome(reply),
      R"("result":{"session_id":"fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0",)" HANDLE
      R"(,"version":1,"created_at_ms":1,"expires_at_ms":2,"idle_expires_at_ms":3,"absolute_expires_at_ms":4})");
}

TEST_F(encoding, the_small_results) {
  EXPECT_EQ(outcome(core::session_changed{7}), R"("result":{"version":7})");
  EXPECT_EQ(outcome(core::sessions_revoked{2}), R"("result":{"revoked":2})");
  EXPECT_EQ(outcome(core::session_counts{1, 2, 3, 4, 5}),
            R"("result":{"live":1,"created":2,"revoked":3,"expired":4,"evicted":5})");
  EXPECT_EQ(outcome(core::lockout_state_reply{true, 10, 10, {}, 99}),
            R"("result":{"locked":true,"failed_attempts":10,"threshold":10,"locked_until_ms":99})");
  EXPECT_EQ(
      outcome(core::lockout_state_reply{false, 1, 10, 5, {}}),
      R"("result":{"locked":false,"failed_attempts":1,"threshold":10,"window_ends_at_ms":5})");
  EXPECT_EQ(outcome(core::lockout_was_cleared{true}), R"("result":{"cleared":true})");
  EXPECT_EQ(outcome(core::subscribed{"s1", "c1"}),
            R"("result":{"subscription":"s1","cursor":"c1"})");
  EXPECT_EQ(outcome(core::done{}), R"("result":{})");
  EXPECT_EQ(outcome(core::version_reply{"0.1.0"}),
            R"("result":{"name":"portcullis","version":"0.1.0","protocol":1})");
  EXPECT_EQ(outcome(core::logged_in{core::role::admin, "ops"}),
            R"("result":{"role":"admin","name":"ops"})");
  EXPECT_EQ(outcome(core::reloaded{{"a.b", "c"}}), R"("result":{"changed":["a.b","c"]})");
  EXPECT_EQ(outcome(core::reloaded{}), R"("result":{"changed":[]})");
  EXPECT_EQ(outcome(core::backed_up{"/b", 9, 10}), R"("result":{"path":"/b","seq":9,"bytes":10})");
  EXPECT_EQ(outcome(core::keys_rotated{3}), R"("result":{"keys":3})");
}

TEST_F(encoding, pages_end_without_a_cursor) {
  core::session_page page;
  page.rows.push_back({handle(), 1, 2, 3, "203.0.113.7", "", "u1"});
  page.rows.push_back({handle(), 4, 5, 6, "::1", "M", "u2"});
  const std::string first =
      R"({)" HANDLE
      R"(,"created_at_ms":1,"last_seen_at_ms":2,"expires_at_ms":3,"ip":"203.0.113.7","user_agent":null)";
  const std::string second =
      R"({)" HANDLE
      R"(,"created_at_ms":4,"last_seen_at_ms":5,"expires_at_ms":6,"ip":"::1","user_agent":"M")";
  EXPECT_EQ(outcome(page), R"("result":{"sessions":[)" + first + "}," + second + "}]}");
  page.with_user = true;
  page.cursor = "next";
  EXPECT_EQ(outcome(page), R"("result":{"sessions":[)" + first + R"(,"user_id":"u1"},)" + second +
                               R"(,"user_id":"u2"}],"cursor":"next"})");
  EXPECT_EQ(outcome(core::session_page{}), R"("result":{"sessions":[]})");
  EXPECT_EQ(
      outcome(core::lockout_page{{{"t", "u", 10, 7}}, "n"}),
      R"("result":{"lockouts":[{"tenant_id":"t","user_id":"u","failed_attempts":10,"locked_until_ms":7}],"cursor":"n"})");
  EXPECT_EQ(outcome(core::event_page{{R"({"seq":1})", R"({"seq":2})"}, "c"}),
            R"("result":{"events":[{"seq":1},{"seq":2}],"cursor":"c"})");
  core::connection_page connections;
  connections.rows.resize(1);
  auto& row = connections.rows[0];
  row.id = 1;
  row.listener = "rpc";
  row.address = "::1";
  row.name = "n";
  row.role = "app";
  row.since_ms = 2;
  row.in_flight = 3;
  row.requests = 4;
  EXPECT_EQ(
      outcome(connections),
      R"("result":{"connections":[{"id":1,"listener":"rpc","address":"::1","name":"n","role":"app","since_ms":2,"in_flight":3,"requests":4}]})");
}

TEST_F(encoding, server_info) {
  core::info_reply info;
  info.node_id = "n1";
  info.mode = "embedded";
  info.version = "0.1.0";
  info.store_kind = "sqlite";
  info.uptime_ms = 5;
  info.loops = 2;
  info.sessions = 3;
  info.connections = 4;
  info.seq = 6;
  const std::string text =
      R"("result":{"node_id":"n1","mode":"embedded","version":"0.1.0","uptime_ms":5,"store":{"kind":"sqlite","degraded":false},"loops":2,"sessions":3,"connections":4,"seq":6)";
  EXPECT_EQ(outcome(info), text + "}");
  info.digest = "ab";
  EXPECT_EQ(outcome(info), text + R"(,"digest":"ab"})");
}

TEST_F(encoding, an_error_with_everything) {
  core::failed failed{core::fail(error_code::DATA_TOO_LARGE, "data", "bytes_max", 16384), "c-1"};
  failed.why.retry_after_ms = 250;
  EXPECT_EQ(
      outcome(failed),
      R"("error":{"code":1004,"message":"The session's data is too large.","data":{"error":"DATA_TOO_LARGE","status":413,"severity":"low","retryable":false,"correlation_id":"c-1","retry_after_ms":250,"details":{"field":"data","rule":"bytes_max","limit":16384}}})");
}

TEST_F(encoding, an_error_leaves_out_what_it_has_not) {
  EXPECT_EQ(
      outcome(core::failed{core::fail(error_code::INTERNAL), "c"}),
      R"("error":{"code":-32603,"message":"The server failed.","data":{"error":"INTERNAL","status":500,"severity":"critical","retryable":true,"correlation_id":"c"}})");
  EXPECT_THAT(outcome(core::failed{core::fail(error_code::VALUE_TOO_LARGE, {}, {}, 0), "c"}),
              ::testing::HasSubstr(R"(,"details":{"limit":0}})"));
}

TEST_F(encoding, every_error_of_the_table_is_well_formed) {
  for (const auto& row : core::error_catalogue()) {
    const std::string text = outcome(core::failed{core::fail(row.id), "c"});
    EXPECT_THAT(text, ::testing::HasSubstr("{\"code\":" + std::to_string(row.code) + ","));
    EXPECT_THAT(text, ::testing::HasSubstr("\"error\":\"" + std::string(row.name) + "\""));
  }
}

TEST_F(encoding, a_correlation_id_is_made_up_where_none_came) {
  const auto id = [&] {
    const std::string text = outcome(core::failed{core::fail(error_code::INTERNAL), {}});
    const std::string key = R"("correlation_id":")";
    const auto at = text.find(key) + key.size();
    return text.substr(at, text.find('"', at) - at);
  };
  const std::string first = id();
  EXPECT_THAT(first, ::testing::MatchesRegex("[0-9a-f]{16}"));
  EXPECT_NE(id(), first);
}

TEST_F(encoding, the_place_of_an_error_shows_in_development_only) {
  core::failed failed{core::fail(error_code::INTERNAL), "c"};
  failed.why.place = {"/home/me/net/src/core/session/decide.cpp", 42, "decide"};
  EXPECT_THAT(outcome(failed, true),
              ::testing::EndsWith(R"(,"stack":["core/session/decide.cpp:42 decide"]}})"));
  EXPECT_THAT(outcome(failed), ::testing::Not(::testing::HasSubstr("stack")));
  failed.why.place = {};
  EXPECT_THAT(outcome(failed, true), ::testing::Not(::testing::HasSubstr("stack")));
}

TEST_F(encoding, envelopes_echo_the_id) {
  core::byte_buffer out;
  encode_reply(out, R"("a\u0041")", core::done{}, {maker_});
  EXPECT_EQ(out.view(), R"({"jsonrpc":"2.0","id":"a\u0041","result":{}})");
  out.clear();
  encode_error_reply(out, "", core::fail(error_code::PARSE_ERROR), "c", {maker_});
  EXPECT_EQ(
      out.view(),
      R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"The message is not valid JSON.","data":{"error":"PARSE_ERROR","status":400,"severity":"low","retryable":false,"correlation_id":"c"}}})");
}

TEST_F(encoding, notifications) {
  core::byte_buffer out;
  encode_event(out, "s1", "c1", R"({"seq":1})");
  EXPECT_EQ(
      out.view(),
      R"({"jsonrpc":"2.0","method":"event","params":{"subscription":"s1","cursor":"c1","event":{"seq":1}}})");
  out.clear();
  encode_event(out, "s1", "c1", {});
  EXPECT_EQ(out.view(),
            R"({"jsonrpc":"2.0","method":"event","params":{"subscription":"s1","cursor":"c1"}})");
  out.clear();
  encode_events_ended(out, "s1", "c1", core::fail(error_code::SUBSCRIBER_TOO_SLOW), {maker_});
  const std::string start =
      R"({"jsonrpc":"2.0","method":"events.ended","params":{"subscription":"s1","cursor":"c1","error":{"code":6004,)";
  EXPECT_THAT(std::string(out.view()), ::testing::StartsWith(start));
  EXPECT_THAT(std::string(out.view()), ::testing::EndsWith("}}}}"));
}

}  // namespace
}  // namespace portcullis::net
