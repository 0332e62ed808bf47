// One traceparent, found again in the error, in the event and in the log.
#include "http_client.hpp"
#include "log_lines.hpp"

namespace portcullis::e2e {
namespace {

constexpr auto trace = "0af7651916cd43dd8448eb211c80319c";
const std::string traceparent = std::string("00-") + trace + "-b7ad6b7169203331-01";

/// A trace's way from the caller to the error, the event and the line.
struct traced : testing::Test {
  traced()
      : node({.set = {"authz.trusted_proxies=127.0.0.1"}}),
        client(node.connect()),
        id(create(client, "ada", {{"context", context("192.0.2.1", "browser/1")}})["session_id"]) {}

  /// The one event and the one line with the trace's id, and the same event.
  void expect_told() {
    const auto failed = [&] {
      std::vector<json> found;
      for (const auto& each : events(client, {{"types", {"validation_failed"}}}))
        if (each["correlation_id"] == trace) found.push_back(each);
      return found;
    };
    ASSERT_TRUE(eventually([&] { return !failed().empty(); }));
    const auto told = failed();
    ASSERT_EQ(told.size(), 1U);
    ASSERT_TRUE(node.logged(std::string("\"trace.id\":\"") + trace));
    ASSERT_EQ(node.terminate(), 0);
    std::size_t count = 0;
    for (const auto& line : lines_of(node.log())) {
      if (!line.contains("TRACE_ID")) continue;
      ++count;
      EXPECT_EQ(line.at("TRACE_ID"), trace);
      EXPECT_EQ(line.at("CORRELATION_ID"), trace);
      EXPECT_EQ(line.at("EVENT_ACTION"), "validation_failed");
      EXPECT_EQ(line.at("EVENT_SEQUENCE"), std::to_string(told[0]["seq"].get<std::uint64_t>()));
    }
    EXPECT_EQ(count, 1U);
  }

  json update() const {
    return {{"session_id", id},
            {"context", context("198.51.100.9", "browser/1")},
            {"data", json::object()},
            {"_meta", {{"traceparent", traceparent}}}};
  }

  server node;
  line_client client;
  json id;
};

TEST_F(traced, over_tcp_the_error_the_event_and_the_line_have_the_callers_trace) {
  const auto reply = client.call("session.update", update());
  ASSERT_NE(error_of(reply), "");
  EXPECT_EQ(reply["error"]["data"]["correlation_id"], trace);
  expect_told();
}

TEST_F(traced, over_http_the_error_the_event_and_the_line_have_the_callers_trace) {
  const auto answer = http_rpc(node.http_port, message("session.update", update()));
  const auto reply = json::parse(answer.body);
  ASSERT_NE(error_of(reply), "");
  EXPECT_EQ(reply["error"]["data"]["correlation_id"], trace);
  expect_told();
}

TEST_F(traced, by_forward_auth_the_error_the_event_and_the_line_have_the_browsers_trace) {
  const auto answer = http_ask(
      node.http_port, "GET /authz/forward-auth",
      "Host: app.test\r\nUser-Agent: browser/1\r\nX-Forwarded-For: 198.51.100.9\r\n"
      "traceparent: " +
          traceparent + "\r\nCookie: portcullis_session=" + id.get<std::string>() + "\r\n");
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(json::parse(answer.body)["data"]["correlation_id"], trace);
  expect_told();
}

}  // namespace
}  // namespace portcullis::e2e
