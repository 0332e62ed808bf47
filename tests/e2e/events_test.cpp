// events.*: what the log shows, and what a subscriber gets: all of it, once, in order.
#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

struct events_of : testing::Test {
  server node{{.set = {"lockout.threshold=2"}}};
  line_client client = node.connect();

  void SetUp() override { await_start(client); }
  /// Ports accept before the start is in the log: who subscribes early would be told of it.
  static void await_start(line_client& of) {
    events_at_least(of, 1, {{"types", {"node_started"}}});
  }
  json subscribe(line_client& to, json params = json::object()) {
    return to.result("events.subscribe", params);
  }
};

TEST_F(events_of, query_shows_each_event_with_its_common_fields) {
  const auto made = create(client, "ada", {{"_meta", {{"correlation_id", "req-7"}}}});
  const auto found = events_at_least(client, 1, {{"types", {"session_created"}}});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["type"], "session_created");
  EXPECT_EQ(found[0]["node"], "node-1");
  EXPECT_EQ(found[0]["tenant_id"], "acme");
  EXPECT_EQ(found[0]["user_id"], "ada");
  EXPECT_EQ(found[0]["handle"], made["handle"]);
  EXPECT_EQ(found[0]["correlation_id"], "req-7");
  EXPECT_EQ(found[0]["expires_at_ms"], made["expires_at_ms"]);
  EXPECT_EQ(found[0]["at_ms"], made["created_at_ms"]);
  EXPECT_GT(found[0]["seq"], 0);
  EXPECT_EQ(found[0].dump().find("192.0.2.1"), std::string::npos) << "no address is shown";
}

TEST_F(events_of, query_filters_by_everything_that_it_names) {
  const auto a = create(client, "ada");
  const auto b = create(client, "bob");
  const auto c = create(client, "ada", {{"tenant_id", "other"}});
  client.result("session.revoke", {{"handle", a["handle"]}});
  const auto all = events_at_least(client, 5, json::object());
  const auto count = [&](json filter) { return events(client, filter).size(); };
  EXPECT_EQ(count({{"types", {"session_created"}}}), 3U);
  EXPECT_EQ(count({{"types", {"session_created", "session_revoked"}}}), 4U);
  EXPECT_EQ(count({{"tenant_id", "other"}}), 1U);
  EXPECT_EQ(count({{"tenant_id", "acme"}, {"user_id", "ada"}}), 2U);
  EXPECT_EQ(count({{"tenant_id", "acme"}, {"user_id", "nobody"}}), 0U);
  EXPECT_EQ(count({{"handle", b["handle"]}}), 1U);
  EXPECT_EQ(count({{"service", "payments"}}), 0U);
  const auto at = [&](const json& made) { return made["created_at_ms"].get<std::int64_t>(); };
  EXPECT_EQ(count({{"types", {"session_created"}},
                   {"from_ms", at(b)},
                   {"to_ms", at(b)},
                   {"handle", b["handle"]}}),
            1U);
  EXPECT_EQ(count({{"from_ms", at(c) + 3'600'000}}), 0U);
  EXPECT_EQ(count({{"to_ms", at(a) - 3'600'000}}), 0U);
  EXPECT_EQ(client.error("events.query", {{"types", {"no_such_event"}}}), "INVALID_PARAMS");
  EXPECT_EQ(client.error("events.query", {{"types", json::array()}}), "INVALID_PARAMS");
  for (std::size_t i = 1; i < all.size(); ++i) {
    EXPECT_GT(all[i]["seq"], all[i - 1]["seq"]);
    EXPECT_GE(all[i]["at_ms"], all[i - 1]["at_ms"]);
  }
}

TEST_F(events_of, pages_follow_each_other_by_their_cursors) {
  for (int i = 0; i < 23; ++i) create(client, "u" + std::to_string(i));
  std::vector<std::string> users;
  json params{{"types", {"session_created"}}, {"limit", 5}};
  for (;;) {
    const auto page = client.result("events.query", params);
    if (page["events"].empty()) break;
    EXPECT_LE(page["events"].size(), 5U);
    for (const auto& each : page["events"]) users.push_back(each["user_id"]);
    params["after"] = page["cursor"];
  }
  ASSERT_EQ(users.size(), 23U);
  for (std::size_t i = 0; i < 23; ++i) EXPECT_EQ(users[i], "u" + std::to_string(i));
  for (const json& bad : {json(""), json("e"), json("x12"), json("e-5"), json("e999999999")})
    EXPECT_EQ(client.error("events.query", {{"after", bad}}), "CURSOR_INVALID") << bad;
}

TEST_F(events_of, the_reply_to_a_subscribe_precedes_its_first_event) {
  for (int i = 0; i < 5; ++i) create(client, "u" + std::to_string(i));
  events_at_least(client, 5, {{"types", {"session_created"}}});
  auto reader = node.connect();
  reader.send(
      R"({"jsonrpc":"2.0","id":"s","method":"events.subscribe","params":{"after":"e0","types":["session_created"]}})");
  const auto reply = reader.reply();
  EXPECT_EQ(reply["id"], "s");
  const auto subscription = reply["result"]["subscription"];
  for (int i = 0; i < 5; ++i) {
    const auto pushed = reader.reply();
    EXPECT_EQ(pushed["method"], "event");
    EXPECT_FALSE(pushed.contains("id"));
    EXPECT_EQ(pushed["params"]["subscription"], subscription);
    EXPECT_EQ(pushed["params"]["event"]["user_id"], "u" + std::to_string(i));
  }
}

TEST_F(events_of, without_after_only_what_comes_is_sent) {
  create(client, "before");
  events_at_least(client, 1, {{"types", {"session_created"}}});
  auto reader = node.connect();
  subscribe(reader);
  create(client, "after");
  const auto pushed = reader.reply()["params"]["event"];
  EXPECT_EQ(pushed["type"], "session_created");
  EXPECT_EQ(pushed["user_id"], "after");
}

TEST_F(events_of, none_is_missing_and_none_comes_twice_while_four_clients_write) {
  auto from_start = node.connect();
  auto live = node.connect();
  subscribe(live, {{"types", {"session_created"}}});
  std::atomic<int> made = 0;
  constexpr int each = 400;
  std::vector<std::jthread> writers;
  for (int i = 0; i < 4; ++i)
    writers.emplace_back([&, i] {
      auto own = node.connect();
      for (int j = 0; j < each; ++j) {
        create(own, "w" + std::to_string(i) + "-" + std::to_string(j));
        ++made;
      }
    });
  EXPECT_TRUE(eventually([&] { return made > each; }));
  subscribe(from_start, {{"after", "e0"}, {"types", {"session_created"}}});  // in the middle of it
  std::vector<std::vector<std::int64_t>> seqs(2);
  std::size_t reader = 0;
  for (auto* which : {&from_start, &live}) {
    std::set<std::string> users;
    while (users.size() < 4 * each) {
      const auto pushed = which->reply();
      if (!pushed.is_object()) break;
      if (!pushed["params"].contains("event")) continue;
      const auto& event = pushed["params"]["event"];
      EXPECT_TRUE(users.insert(event["user_id"]).second) << "twice: " << event;
      seqs[reader].push_back(event["seq"]);
    }
    EXPECT_EQ(users.size(), std::size_t{4 * each});
    EXPECT_TRUE(std::is_sorted(seqs[reader].begin(), seqs[reader].end()));
    ++reader;
  }
  writers.clear();
  EXPECT_EQ(seqs[0], seqs[1]);
}

TEST_F(events_of, a_stream_goes_on_where_a_cursor_left_off) {
  for (int i = 0; i < 10; ++i) create(client, "u" + std::to_string(i));
  events_at_least(client, 10, {{"types", {"session_created"}}});
  auto first = node.connect();
  subscribe(first, {{"after", "e0"}, {"types", {"session_created"}}});
  json cursor;
  for (int i = 0; i < 4; ++i) cursor = first.reply()["params"]["cursor"];
  first.vanish();
  node.restart();
  auto second = node.connect();
  subscribe(second, {{"after", cursor}, {"types", {"session_created"}}});
  for (int i = 4; i < 10; ++i)
    EXPECT_EQ(second.reply()["params"]["event"]["user_id"], "u" + std::to_string(i));
}

TEST_F(events_of, touches_come_only_when_named_and_types_and_tenant_filter) {
  server quick({.set = {"session.touch_granularity_s=0"}});
  auto writer = quick.connect();
  await_start(writer);
  auto unnamed = quick.connect();
  auto named = quick.connect();
  auto other = quick.connect();
  subscribe(unnamed);
  subscribe(named, {{"types", {"session_touched", "session_revoked"}}});
  subscribe(other, {{"tenant_id", "other"}});
  const auto made = create(writer, "ada");
  validate(writer, made["session_id"]);
  client.result("server.ping");
  EXPECT_EQ(named.reply()["params"]["event"]["type"], "session_touched");
  writer.result("session.revoke", {{"handle", made["handle"]}});
  create(writer, "ada", {{"tenant_id", "other"}});
  EXPECT_EQ(unnamed.reply()["params"]["event"]["type"], "session_created");
  EXPECT_EQ(unnamed.reply()["params"]["event"]["type"], "session_revoked");
  EXPECT_EQ(named.reply()["params"]["event"]["type"], "session_revoked");
  EXPECT_EQ(other.reply()["params"]["event"]["tenant_id"], "other");
}

TEST_F(events_of, unsubscribe_ends_it_and_an_unknown_subscription_is_an_error) {
  const auto one = subscribe(client)["subscription"];
  const auto two = subscribe(client)["subscription"];
  EXPECT_NE(one, two);
  EXPECT_EQ(client.result("events.unsubscribe", {{"subscription", one}}), json::object());
  EXPECT_EQ(client.error("events.unsubscribe", {{"subscription", one}}), "SUBSCRIPTION_NOT_FOUND");
  EXPECT_EQ(node.connect().error("events.unsubscribe", {{"subscription", two}}),
            "SUBSCRIPTION_NOT_FOUND")
      << "another connection's";
  auto writer = node.connect();
  create(writer, "ada");
  const auto pushed = client.reply();
  EXPECT_EQ(pushed["params"]["subscription"], two) << "only the one that is left";
}

TEST_F(events_of, a_connection_may_have_16_subscriptions) {
  for (int i = 0; i < 16; ++i) subscribe(client);
  EXPECT_EQ(client.error("events.subscribe"), "SUBSCRIPTION_LIMIT");
}

TEST_F(events_of, a_cursor_from_the_future_or_of_another_form_is_refused) {
  for (const json& bad : {json("e999999999"), json("x1"), json(""), json("s1")})
    EXPECT_EQ(client.error("events.subscribe", {{"after", bad}}), "CURSOR_INVALID") << bad;
}

TEST_F(events_of, locked_out_and_not_found_are_coalesced_with_exact_counts) {
  const auto id = create(client, "ada")["session_id"];
  for (int i = 0; i < 2; ++i) validate(client, id, context("198.51.100.1"));
  for (int i = 0; i < 200; ++i) EXPECT_EQ(state_of(client, id), "locked_out");
  for (int i = 0; i < 150; ++i) EXPECT_EQ(state_of(client, std::string(64, '0')), "not_found");
  std::map<std::string, std::int64_t> counts;
  std::size_t rows = 0;
  EXPECT_TRUE(eventually([&] {
    counts.clear();
    rows = 0;
    for (const auto& each : events(client, {{"types", {"validation_failed"}}})) {
      if (!each.contains("count")) continue;
      ++rows;
      counts[each["reason"]] += each["count"].get<std::int64_t>();
      EXPECT_LE(each["first_at_ms"], each["last_at_ms"]);
      EXPECT_EQ(each.contains("user_id"), each["reason"] == "locked_out");
    }
    return counts["locked_out"] >= 200 && counts["not_found"] >= 150;
  }));
  EXPECT_EQ(counts["locked_out"], 200);
  EXPECT_EQ(counts["not_found"], 150);
  EXPECT_LT(rows, 40U) << "one a second, user, source and reason";
}

TEST_F(events_of, subscribers_get_only_what_is_committed_and_it_is_there_after_a_crash) {
  auto reader = node.connect();
  subscribe(reader, {{"types", {"session_created"}}});
  std::vector<std::string> pushed;
  auto writer = node.connect();
  std::string all;
  for (int i = 0; i < 300; ++i)
    all +=
        json{
            {"jsonrpc", "2.0"},
            {"method", "session.create"},
            {"params",
             {{"tenant_id", "acme"}, {"user_id", "u" + std::to_string(i)}, {"context", context()}}}}
            .dump();
  writer.send(all);
  for (int i = 0; i < 100; ++i) pushed.push_back(reader.reply()["params"]["event"]["handle"]);
  node.restart();
  auto again = node.connect();
  std::set<std::string> kept;
  for (const auto& each : events(again, {{"types", {"session_created"}}}))
    kept.insert(each["handle"]);
  for (const auto& each : pushed) EXPECT_EQ(kept.count(each), 1U);
}

TEST_F(events_of, invariant_10_a_subscriber_that_never_reads_delays_nobody_and_is_let_go) {
  auto stuck = node.connect();
  subscribe(stuck, {{"after", "e0"}});
  auto writer = node.connect();
  const auto id = create(writer, "ada")["session_id"];
  for (int i = 0; i < 2000; ++i) create(writer, "u" + std::to_string(i % 50));
  EXPECT_EQ(state_of(writer, id), "valid");
  EXPECT_EQ(events_at_least(writer, 2001, {{"types", {"session_created"}}}).size(), 2001U);
}

}  // namespace
}  // namespace portcullis::e2e
