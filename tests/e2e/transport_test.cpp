// Bytes in, lines out: what protocol.md says of the transport.
#include <map>
#include <set>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

struct transport : testing::Test {
  server node;
  line_client client = node.connect();
};

std::string ping(const std::string& id) {
  return R"({"jsonrpc":"2.0","id":)" + id + R"(,"method":"server.ping"})";
}
std::string pong(const std::string& id) {
  return R"({"jsonrpc":"2.0","result":{},"id":)" + id + "}";
}
json pong_of(const json& id) {
  return {{"jsonrpc", "2.0"}, {"result", json::object()}, {"id", id}};
}

TEST_F(transport, no_banner_comes_before_a_request) {
  EXPECT_FALSE(client.line(50ms));
  EXPECT_EQ(client.call("server.ping")["result"], json::object());
}

TEST_F(transport, ids_of_every_type_come_back_byte_for_byte) {
  for (const std::string id : {"1", "1.0", "1e3", "-0", "0.1E-7", "123456789012345678901234567890",
                               R"("")", R"("a")", R"("A\n\"\\\/")", R"("é😀")", R"("\u0000")"}) {
    client.send(ping(id) + "\n");
    const auto line = client.line();
    ASSERT_TRUE(line) << id;
    EXPECT_THAT(*line, HasSubstr("\"id\":" + id)) << "echoed as sent";
    EXPECT_EQ(json::parse(*line)["result"], json::object());
  }
}

TEST_F(transport, replies_are_compact_and_end_in_a_line_feed) {
  client.send(ping("7") + "\n");
  const auto line = client.line();
  ASSERT_TRUE(line);
  EXPECT_EQ(line->size(), pong("7").size()) << *line;
  EXPECT_EQ(line->find(' '), std::string::npos);
}

TEST_F(transport, values_may_follow_each_other_without_any_delimiter) {
  client.send(ping("1") + ping("2") + "  \t\r\n\n " + ping("3") + "[" + ping("4") + "]" +
              ping("5"));
  std::vector<json> got;
  for (int i = 0; i < 5; ++i) got.push_back(client.reply());
  EXPECT_THAT(got, testing::UnorderedElementsAre(pong_of(1), pong_of(2), pong_of(3),
                                                 json::array({pong_of(4)}), pong_of(5)));
}

TEST_F(transport, a_request_may_come_one_byte_at_a_time) {
  const auto text = ping("\"slow\"") + "\n";
  for (const char each : text) ASSERT_TRUE(client.send({&each, 1}));
  EXPECT_EQ(client.reply(), pong_of("slow"));
}

TEST_F(transport, a_thousand_requests_sent_at_once_are_all_answered) {
  std::string all;
  for (int i = 0; i < 1000; ++i) all += ping(std::to_string(i));
  client.send(all);
  std::set<int> answered;
  for (int i = 0; i < 1000; ++i) answered.insert(client.reply()["id"].get<int>());
  EXPECT_EQ(answered.size(), 1000U);
}

TEST_F(transport, requests_that_name_one_user_are_executed_as_sent) {
  const auto id = create(client, "ada")["session_id"];
  std::string all;
  const auto request = [](const std::string& key, const std::string& method, json params) {
    return json{{"jsonrpc", "2.0"}, {"id", key}, {"method", method}, {"params", std::move(params)}}
        .dump();
  };
  const auto with = [&](json more) {
    json params{{"session_id", id}, {"context", context()}};
    params.update(more);
    return params;
  };
  for (int i = 0; i < 20; ++i) {
    all += request("u" + std::to_string(i), "session.update", with({{"data", {{"n", i}}}}));
    all += request("v" + std::to_string(i), "session.validate", with(json::object()));
  }
  all += request("revoke", "session.revoke", {{"session_id", id}});
  all += request("late", "session.validate", with(json::object()));
  all += request("new", "session.create",
                 {{"tenant_id", "acme"}, {"user_id", "ada"}, {"context", context()}});
  all += request("list", "session.list", user("ada"));
  client.send(all);
  std::map<std::string, json> got;
  for (int i = 0; i < 44; ++i) {
    const auto reply = client.reply();
    got[reply["id"]] = reply["result"];
  }
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(got["u" + std::to_string(i)]["version"], i + 2);
    EXPECT_EQ(got["v" + std::to_string(i)]["data"]["n"], i);
  }
  EXPECT_EQ(got["revoke"]["revoked"], 1);
  EXPECT_EQ(got["late"]["reason"], "revoked");
  ASSERT_EQ(got["list"]["sessions"].size(), 1U);
  EXPECT_EQ(got["list"]["sessions"][0]["handle"], got["new"]["handle"]);
}

TEST_F(transport, a_notification_is_executed_and_never_answered) {
  const auto id = create(client, "ada")["session_id"];
  for (const std::string key : {"", R"("id":null,)"})
    client.send(R"({"jsonrpc":"2.0",)" + key +
                R"("method":"session.revoke","params":{"session_id":)" + id.dump() + "}}");
  client.send(
      R"({"jsonrpc":"2.0","method":"no.such"}{"jsonrpc":"2.0","method":"session.revoke","params":{}})");
  EXPECT_EQ(state_of(client, id), "revoked");
  EXPECT_FALSE(client.line(50ms)) << "nothing was said to the notifications";
}

TEST_F(transport, a_batch_gets_one_array_of_the_answers_that_are_due) {
  client.send("[" + ping("1") + R"(,{"jsonrpc":"2.0","method":"server.ping"},{"foo":1},5,)" +
              R"({"jsonrpc":"2.0","id":"x","method":"no.such"},)" + ping("2") + "]\n");
  const auto got = client.reply();
  ASSERT_EQ(got.size(), 5U) << got;
  std::multiset<std::string> names;
  for (const auto& each : got) names.insert(each["id"].dump() + error_of(each));
  EXPECT_THAT(names, testing::UnorderedElementsAre("1", "2", "nullINVALID_REQUEST",
                                                   "nullINVALID_REQUEST", "\"x\"METHOD_NOT_FOUND"));
}

TEST_F(transport, a_batch_of_notifications_is_silent_and_an_empty_batch_is_an_error) {
  client.send(
      R"([{"jsonrpc":"2.0","method":"server.ping"},{"jsonrpc":"2.0","method":"server.version"}])"
      "\n[]\n");
  const auto got = client.reply();
  EXPECT_EQ(error_of(got), "INVALID_REQUEST");
  EXPECT_TRUE(got.contains("id") && got["id"].is_null());
}

TEST_F(transport, a_batch_holds_a_hundred_entries_and_not_one_more) {
  const auto batch = [](int entries) {
    std::string all = "[";
    for (int i = 0; i < entries; ++i) all += (i > 0 ? "," : "") + ping(std::to_string(i));
    return all + "]\n";
  };
  client.send(batch(100));
  EXPECT_EQ(client.reply().size(), 100U);
  client.send(batch(101));
  const auto refused = client.reply();
  EXPECT_EQ(error_of(refused), "BATCH_TOO_LARGE");
  EXPECT_EQ(refused["error"]["data"]["details"]["limit"], 100);
  EXPECT_EQ(client.call("server.ping")["result"], json::object()) << "the connection goes on";
}

TEST_F(transport, params_may_be_an_empty_array_and_ping_ignores_elements) {
  client.send(R"({"jsonrpc":"2.0","id":1,"method":"session.stats","params":[]})");
  EXPECT_EQ(error_of(client.reply()), "");
  client.send(R"({"jsonrpc":"2.0","id":2,"method":"server.ping","params":[1,"x"]})");
  EXPECT_EQ(client.reply(), pong_of(2));
  client.send(R"({"jsonrpc":"2.0","id":3,"method":"server.version","params":["client",["1.4"]]})");
  EXPECT_EQ(client.reply()["result"]["protocol"], 1);
  client.send(R"({"jsonrpc":"2.0","id":4,"method":"session.stats","params":[1]})");
  EXPECT_EQ(error_of(client.reply()), "INVALID_PARAMS");
  client.send(R"({"jsonrpc":"2.0","id":5,"method":"server.ping","params":3})");
  EXPECT_THAT(error_of(client.reply()), testing::AnyOf("INVALID_PARAMS", "INVALID_REQUEST"));
}

TEST_F(transport, what_is_no_request_is_refused_with_its_id_where_that_is_usable) {
  const struct {
    std::string text;
    json id;
    std::string error;
  } rows[] = {
      {R"({"id":1,"method":"server.ping"})", 1, "INVALID_REQUEST"},
      {R"({"jsonrpc":"1.0","id":2,"method":"server.ping"})", 2, "INVALID_REQUEST"},
      {R"({"jsonrpc":"2.0","id":3})", 3, "INVALID_REQUEST"},
      {R"({"jsonrpc":"2.0","id":4,"method":7})", 4, "INVALID_REQUEST"},
      {R"({"jsonrpc":"2.0","id":{},"method":"server.ping"})", nullptr, "INVALID_REQUEST"},
      {R"({"jsonrpc":"2.0","id":true,"method":"server.ping"})", nullptr, "INVALID_REQUEST"},
      {R"({"jsonrpc":"2.0","id":5,"method":"server.pong"})", 5, "METHOD_NOT_FOUND"},
      {R"({"jsonrpc":"2.0","id":6,"method":"session.validate"})", 6, "INVALID_PARAMS"},
      // Duplicate keys: in the envelope no request, in params no parameters.
      {R"({"jsonrpc":"2.0","id":7,"method":"server.ping","method":"server.ping"})", 7,
       "INVALID_REQUEST"},
      {R"({"jsonrpc":"2.0","id":8,"id":9,"method":"server.ping"})", nullptr, "INVALID_REQUEST"},
      {R"({"jsonrpc":"2.0","id":10,"method":"lockout.status","params":{"tenant_id":"a","tenant_id":"a","user_id":"u"}})",
       10, "INVALID_PARAMS"},
      {R"({"jsonrpc":"2.0","id":11,"method":"session.create","params":{"tenant_id":"a","user_id":"u","context":{"ip":"::1"},"data":{"a":{"b":1,"b":2}}}})",
       11, "INVALID_PARAMS"},
      // Lone surrogates.
      {R"({"jsonrpc":"2.0","id":12,"method":"lockout.status","params":{"tenant_id":"\ud800","user_id":"u"}})",
       12, "INVALID_PARAMS"},
      {R"({"jsonrpc":"2.0","id":13,"method":"server.\udc00ping"})", 13, "INVALID_REQUEST"},
      {R"({"jsonrpc":"2.0","id":"\ud800","method":"server.ping"})", nullptr, "INVALID_REQUEST"},
      // Unknown parameters.
      {R"({"jsonrpc":"2.0","id":14,"method":"lockout.status","params":{"tenant_id":"a","user_id":"u","colour":1}})",
       14, "INVALID_PARAMS"},
  };
  for (const auto& row : rows) {
    client.send(row.text + "\n");
    const auto got = client.reply();
    EXPECT_EQ(error_of(got), row.error) << row.text;
    EXPECT_EQ(got["id"], row.id) << row.text;
    EXPECT_EQ(got.dump().find("colour"), std::string::npos)
        << "a key that the client made up is not repeated";
  }
}

TEST_F(transport, after_a_parse_error_the_rest_of_its_line_is_skipped_and_the_connection_goes_on) {
  for (const auto& bad :
       {std::string(R"({"jsonrpc":})") + ping("1"), std::string("{]"), std::string(" nonsense {}"),
        std::string("{\"a\":\"\xff\xfe\"} ") + ping("2"), std::string("{\"a\":\"\xed\xa0\x80\"}"),
        std::string("\xef\xbb\xbf") + ping("3"), std::string("[1,]"), std::string("{\"a\":01}"),
        std::string("{\"a\":\"\x01\"}"), std::string("{'a':1}")}) {
    client.send("{}\n" + bad + "\n" + ping("\"after\"") + "\n");
    EXPECT_EQ(error_of(client.reply()), "INVALID_REQUEST");
    const auto got = client.reply();
    EXPECT_EQ(error_of(got), "PARSE_ERROR") << bad;
    EXPECT_TRUE(got.contains("id") && got["id"].is_null());
    EXPECT_EQ(client.reply(), pong_of("after")) << bad;
  }
}

TEST_F(transport, the_line_feed_that_ends_the_skipping_may_be_the_offending_byte) {
  client.send(" {\"a\":\"x\n" + ping("1"));
  EXPECT_EQ(error_of(client.reply()), "PARSE_ERROR");
  EXPECT_EQ(client.reply(), pong_of(1));
}

TEST_F(transport, a_value_of_64_kib_is_read_and_one_byte_more_closes_after_the_earlier_replies) {
  const auto sized = [](std::size_t size) {
    std::string text = R"({"jsonrpc":"2.0","id":1,"method":"server.ping","params":[")";
    const std::string end = "\"]}";
    text += std::string(size - text.size() - end.size(), 'x');
    return text + end;
  };
  client.send(sized(65536) + "\n");
  EXPECT_EQ(client.reply(), pong_of(1));
  client.send(ping("2") + sized(65537));
  EXPECT_EQ(client.reply(), pong_of(2));
  const auto refused = client.reply();
  EXPECT_EQ(error_of(refused), "VALUE_TOO_LARGE");
  EXPECT_TRUE(refused["id"].is_null());
  EXPECT_TRUE(client.ended());
}

TEST_F(transport, nesting_of_16_is_read_and_17_closes_after_the_earlier_replies) {
  const auto nested = [](int depth) {
    std::string text = R"({"jsonrpc":"2.0","id":1,"method":"server.ping","params":)";
    text += std::string(static_cast<std::size_t>(depth - 1), '[') +
            std::string(static_cast<std::size_t>(depth - 1), ']');
    return text + "}";
  };
  client.send(nested(16) + "\n");
  EXPECT_EQ(client.reply(), pong_of(1));
  client.send(ping("2") + nested(17));
  EXPECT_EQ(client.reply(), pong_of(2));
  EXPECT_EQ(error_of(client.reply()), "NESTING_TOO_DEEP");
  EXPECT_TRUE(client.ended());
}

TEST_F(transport, a_hundred_thousand_brackets_are_refused) {
  client.send_some(std::string(100'000, '['));
  EXPECT_EQ(error_of(client.reply()), "NESTING_TOO_DEEP");
  EXPECT_TRUE(client.ended());
}

TEST_F(transport, the_end_of_the_stream_inside_a_value_is_answered_and_closes) {
  client.send(ping("1") + R"({"jsonrpc":"2.0","id":2,)");
  client.finish();
  EXPECT_EQ(client.reply(), pong_of(1));
  const auto got = client.reply();
  EXPECT_EQ(error_of(got), "PARSE_ERROR");
  EXPECT_TRUE(client.ended());
}

TEST_F(transport, all_that_came_before_a_fin_is_answered) {
  std::string all;
  for (int i = 0; i < 100; ++i)
    all +=
        json{
            {"jsonrpc", "2.0"},
            {"id", i},
            {"method", "session.create"},
            {"params",
             {{"tenant_id", "acme"}, {"user_id", "u" + std::to_string(i)}, {"context", context()}}}}
            .dump();
  client.send(all);
  client.finish();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(error_of(client.reply()), "");
  EXPECT_TRUE(client.ended());
}

TEST_F(transport, what_does_not_begin_like_json_is_refused_and_closed) {
  for (const std::string first :
       {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /rpc HTTP/1.1\r\n\r\n{}", "hello\n",
        "\x16\x03\x01", "5\n", "\"text\"\n", "\xef\xbb\xbf{}"}) {
    auto other = node.connect();
    other.send(first + ping("1"));
    const auto got = other.reply();
    EXPECT_EQ(error_of(got), "PARSE_ERROR") << first;
    EXPECT_TRUE(got["id"].is_null());
    EXPECT_EQ(other.rest(), "") << "no method was reached: " << first;
  }
}

TEST_F(transport, invariant_11_a_value_without_end_costs_no_memory) {
  const std::string block(1 << 20, 'x');
  const auto before = node.resident();
  client.send("{\"a\":\"");
  for (int i = 0; i < 64 && client.send(block); ++i) {
  }
  EXPECT_EQ(error_of(client.reply()), "VALUE_TOO_LARGE");
  EXPECT_TRUE(client.ended());
  EXPECT_LT(node.resident(), before + (std::size_t{8} << 20))
      << "what follows is dropped, not kept";
  EXPECT_EQ(node.connect().call("server.ping")["result"], json::object());
}

TEST_F(transport, half_a_value_for_ever_holds_nobody_up) {
  client.send(R"({"jsonrpc":"2.0","id":1,"meth)");
  auto other = node.connect();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(other.call("server.ping")["result"], json::object());
  client.send(R"(od":"server.ping"})");
  EXPECT_EQ(client.reply(), pong_of(1)) << "and is not forgotten";
}

TEST_F(transport, invariant_11_a_client_that_never_reads_is_paused_while_others_go_on) {
  std::string block;
  for (int i = 0; i < 1000; ++i) block += R"({"jsonrpc":"2.0","id":1,"method":"server.info"})";
  std::size_t sent = 0;
  auto other = node.connect();
  // Until a second has passed without the kernel taking anything more.
  auto last = clock::now();
  while (clock::now() - last < 500ms && sent < (std::size_t{256} << 20)) {
    const auto taken = client.send_some(block);
    if (taken < 0) break;
    if (taken > 0) {
      sent += static_cast<std::size_t>(taken);
      last = clock::now();
    }
    EXPECT_EQ(other.call("server.ping")["result"], json::object());
  }
  EXPECT_LT(sent, std::size_t{64} << 20) << "reading pauses";
}

TEST_F(transport, a_client_that_vanishes_before_its_replies_harms_nobody) {
  std::string all;
  for (int i = 0; i < 200; ++i)
    all += json{{"jsonrpc", "2.0"},
                {"id", i},
                {"method", "session.create"},
                {"params", {{"tenant_id", "acme"}, {"user_id", "u"}, {"context", context()}}}}
               .dump();
  for (int i = 0; i < 20; ++i) {
    auto other = node.connect();
    other.send(all);
    other.vanish();
  }
  EXPECT_EQ(client.call("server.ping")["result"], json::object());
  // The count of connections comes back to this one.
  EXPECT_TRUE(eventually([&] { return client.result("server.info")["connections"] == 1; }));
}

TEST_F(transport, more_connections_than_allowed_are_closed_at_accept_and_counted) {
  server small({.set = {"listen.rpc.max_connections=3"}});
  std::vector<line_client> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(small.connect());
    EXPECT_EQ(held.back().call("server.ping")["result"], json::object());
  }
  EXPECT_EQ(small.connect().rest(), "");
  held.pop_back();
  EXPECT_TRUE(eventually([&] { return small.connect().call("server.ping").is_object(); }));
  EXPECT_GE(
      small.metric(R"(portcullis_connection_rejections_total{listener="rpc",reason="limit"})"), 1);
}

TEST_F(transport, connections_that_the_limit_of_descriptors_does_not_allow_are_not_taken) {
  // 10 for HTTP, 64 and 8 of the node's own: 18 are left.
  server small(
      {.set = {"listen.http.max_connections=10", "server.loops=1"}, .descriptors_max = 100});
  EXPECT_TRUE(small.logged("\"descriptors\":100,\"descriptors_needed\":10082,\"connections\":18"));
  std::vector<line_client> held;
  for (int i = 0; i < 18; ++i) {
    held.push_back(small.connect());
    EXPECT_EQ(held.back().call("server.ping")["result"], json::object()) << i;
  }
  EXPECT_EQ(small.connect().rest(), "");
  // The store still has descriptors to work with.
  EXPECT_FALSE(create(held.front(), "ada")["session_id"].get<std::string>().empty());

  server none({.set = {"listen.http.max_connections=10", "server.loops=1"},
               .start = false,
               .descriptors_max = 80});
  EXPECT_FALSE(none.start());
  EXPECT_EQ(none.wait(), 1);
  EXPECT_TRUE(none.logged("80 open descriptors are allowed (RLIMIT_NOFILE), 10082 are needed"));
}

TEST_F(transport, the_callers_correlation_id_is_in_its_errors_and_its_traceparent_serves_too) {
  const auto id_of = [&](const json& meta) {
    return client.call("session.revoke", {{"_meta", meta}})["error"]["data"]["correlation_id"]
        .get<std::string>();
  };
  EXPECT_EQ(id_of({{"correlation_id", "req-1.A_b"}}), "req-1.A_b");
  EXPECT_EQ(id_of({{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}),
            "0af7651916cd43dd8448eb211c80319c");
  EXPECT_NE(id_of({{"traceparent", "nonsense"}}), "");
  EXPECT_NE(id_of(json::object()), id_of(json::object())) << "made up anew each time";
  EXPECT_EQ(client.error("server.info", {{"_meta", {{"correlation_id", "not allowed!"}}}}),
            "INVALID_PARAMS");
}

TEST_F(transport, the_limits_of_one_message_are_configurable) {
  server small({.set = {"limits.value_bytes=1024", "limits.depth=4", "limits.batch=2",
                        "limits.data_bytes=10"}});
  auto other = small.connect();
  const auto made = other.call(
      "session.create",
      {{"tenant_id", "a"}, {"user_id", "u"}, {"context", context()}, {"data", {{"a", "123456"}}}});
  EXPECT_EQ(error_of(made), "DATA_TOO_LARGE");
  EXPECT_EQ(made["error"]["data"]["details"]["limit"], 10);
  other.send("[" + ping("1") + "," + ping("2") + "," + ping("3") + "]");
  EXPECT_EQ(error_of(other.reply()), "BATCH_TOO_LARGE");
  other.send(std::string(1025, ' ') + ping("1"));
  EXPECT_EQ(other.reply(), pong_of(1)) << "space between values is no value";
  other.send("[[[[[");
  EXPECT_EQ(error_of(other.reply()), "NESTING_TOO_DEEP");
}

}  // namespace
}  // namespace portcullis::e2e
