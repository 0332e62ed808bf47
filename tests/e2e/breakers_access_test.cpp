// breaker.*: who may call what, how many there may be, overrides, lists and events.
#include <set>

#include "breakers.hpp"

namespace portcullis::e2e {
namespace {

struct callers_of_breakers : testing::Test {
  server node{
      {.set = {"server.environment=development"},
       .config = token_toml(make_token("boss"), "boss", "admin") +
                 token_toml(make_token("app"), "web", "app", "services = [\"payments\"]\n") +
                 token_toml(make_token("eye"), "eye", "observer", "services = [\"payments\"]\n") +
                 token_toml(make_token("any"), "any", "app"),
       .open = false}};
  line_client boss = login("boss"), app = login("app"), eye = login("eye"), any = login("any");

  line_client login(const std::string& who) {
    auto client = node.connect();
    client.result("auth.login", {{"token", make_token(who).text}});
    return client;
  }
};

const std::vector<std::pair<std::string, json>> calls{
    {"acquire", json::object()},
    {"report", {{"outcome", "success"}, {"duration_ms", 1}}},
    {"report_batch", {{"source", "a"}, {"seq", 1}, {"epoch", 1}, {"counts", json::object()}}},
    {"status", json::object()},
    {"override", {{"mode", "disabled"}, {"reason", "r"}}},
    {"reset", {{"reason", "r"}}}};

TEST_F(callers_of_breakers, each_role_may_call_what_the_contract_says) {
  for (const auto& [method, more] : calls) {
    const bool commands = method == "override" || method == "reset";
    const bool looks = method == "status";
    EXPECT_EQ(breaker(app, "payments").error(method, more), commands ? "FORBIDDEN" : "") << method;
    EXPECT_EQ(breaker(eye, "payments").error(method, more), looks ? "" : "FORBIDDEN") << method;
    EXPECT_EQ(breaker(boss, "payments").error(method, more), "") << method;
  }
  const auto seen = observation("web", 1, "closed", json::object());
  EXPECT_EQ(breaker(app, "payments", "own").error("observe", seen), "");
  EXPECT_EQ(breaker(eye, "payments", "own").error("observe", seen), "FORBIDDEN");
  EXPECT_EQ(app.error("breaker.list"), "FORBIDDEN");
  EXPECT_EQ(eye.error("breaker.list"), "");
  auto nobody = node.connect();
  EXPECT_EQ(breaker(nobody, "payments").error("acquire"), "AUTH_REQUIRED");
}

TEST_F(callers_of_breakers, a_token_of_services_is_of_those_only) {
  breaker(any, "orders").acquire();
  breaker(app, "payments").acquire();
  for (const auto& [method, more] : calls)
    EXPECT_EQ(breaker(app, "orders").error(method, more), "FORBIDDEN") << method;
  EXPECT_EQ(breaker(eye, "orders").error("status"), "FORBIDDEN");
  EXPECT_EQ(breaker(eye, "nobody").error("status"), "FORBIDDEN") << "not whether it is there";
  EXPECT_EQ(
      app.error("breaker.observe",
                breaker(app, "orders").params(observation("web", 1, "closed", json::object()))),
      "FORBIDDEN");
  const auto listed = eye.result("breaker.list")["breakers"];
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0]["service"], "payments");
  EXPECT_EQ(boss.result("breaker.list")["breakers"].size(), 3U) << "with the store's own";
}

TEST_F(callers_of_breakers, events_of_other_services_are_not_shown) {
  for (const auto* service : {"orders", "payments"}) breaker(any, service).trip();
  const std::vector<std::string> types{"breaker_opened"};
  events_at_least(boss, 2, {{"types", types}});
  const auto shown = events(eye, {{"types", types}});
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_EQ(shown[0]["service"], "payments");
  EXPECT_EQ(eye.error("events.query", {{"service", "orders"}}), "FORBIDDEN");
  EXPECT_EQ(events(boss, {{"service", "orders"}, {"types", types}}).size(), 1U);
  EXPECT_EQ(events(boss, {{"service", "nobody"}}).size(), 0U);
}

TEST_F(callers_of_breakers, an_application_may_subscribe_to_its_services_breakers_and_no_more) {
  EXPECT_EQ(app.error("events.subscribe", {{"types", {"session_created"}}}), "FORBIDDEN");
  EXPECT_EQ(app.error("events.query", {{"types", {"breaker_opened"}}}), "FORBIDDEN");
  app.result("events.subscribe", {{"types", {"breaker_opened", "breaker_override_set"}}});
  auto all = login("app");
  all.result("events.subscribe");
  create(boss, "ada");
  breaker(any, "orders").trip();
  breaker(boss, "payments").put("disabled");
  for (auto* each : {&app, &all}) {
    const auto pushed = each->reply()["params"]["event"];
    EXPECT_EQ(pushed["type"], "breaker_override_set") << pushed;
    EXPECT_EQ(pushed["service"], "payments");
    EXPECT_EQ(pushed["actor"], "boss");
  }
}

struct listed_breakers : testing::Test {
  server node;
  line_client client = node.connect();
};

TEST_F(listed_breakers, pages_follow_each_other_by_creation) {
  for (int i = 0; i < 23; ++i) breaker(client, "s" + std::to_string(i)).acquire();
  std::vector<std::string> services;
  json params{{"limit", 5}};
  for (;;) {
    const auto page = client.result("breaker.list", params);
    EXPECT_LE(page["breakers"].size(), 5U);
    for (const auto& each : page["breakers"]) {
      services.push_back(each["service"]);
      EXPECT_FALSE(each.contains("sources"));
      EXPECT_EQ(each["state"], "closed");
    }
    if (!page.contains("cursor")) break;
    params["cursor"] = page["cursor"];
  }
  ASSERT_EQ(services.size(), 24U);
  EXPECT_EQ(services[0], "portcullis") << "the store's own";
  for (std::size_t i = 0; i < 23; ++i) EXPECT_EQ(services[i + 1], "s" + std::to_string(i));
  for (const json& bad : {json("x"), json("e1"), json("?")})
    EXPECT_EQ(client.error("breaker.list", {{"cursor", bad}}), "CURSOR_INVALID") << bad;
  for (const json& bad : {json(0), json(1001), json(-1), json("5")})
    EXPECT_EQ(client.error("breaker.list", {{"limit", bad}}), "INVALID_PARAMS") << bad;
}

TEST_F(listed_breakers, the_501st_is_refused_and_100000_names_cost_no_memory) {
  const auto ask = [&](int from, int count) {
    std::string all;
    for (int i = from; i < from + count; ++i)
      all += R"({"jsonrpc":"2.0","id":1,"method":"breaker.acquire","params":{"service":"s)" +
             std::to_string(i) + "\"}}\n";
    client.send(all);
    int refused = 0;
    for (int i = 0; i < count; ++i)
      refused += client.line().value_or("").find("\"BREAKER_LIMIT\"") != std::string::npos;
    return refused;
  };
  EXPECT_EQ(ask(0, 500), 0);
  EXPECT_EQ(ask(500, 1000), 1000);
  const auto before = node.resident();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ask(1000 + i * 1000, 1000), 1000);
  // What is freed stays there for a while under a sanitizer.
  const std::size_t quarantine = is_sanitized() ? std::size_t{256} << 20 : 0;
  EXPECT_LT(node.resident(), before + quarantine + (std::size_t{16} << 20));
  EXPECT_EQ(ask(0, 500), 0) << "those that there are go on";
  const auto told = breaker(client, "one-more");
  for (const auto& [method, more] : calls)
    EXPECT_EQ(told.error(method, more),
              method == "status" || method == "reset" ? "BREAKER_NOT_FOUND" : "BREAKER_LIMIT");
  EXPECT_EQ(told.error("observe", observation("a", 1, "open", json::object())), "BREAKER_LIMIT");
  std::size_t listed = 0;
  json page{{"limit", 1000}};
  do {  // a page is 256 KiB at most
    const auto answer = client.result("breaker.list", page);
    listed += answer["breakers"].size();
    page["cursor"] = answer.value("cursor", "");
  } while (page["cursor"] != "");
  EXPECT_EQ(listed, 501U) << "the store's own is not one of the 500";
}

struct overridden : testing::Test {
  server node;
  line_client client = node.connect();
  breaker payments{client, "payments"};
};

TEST_F(overridden, forced_open_rejects_and_its_end_is_closed_with_an_empty_window) {
  for (int i = 0; i < 19; ++i) payments.report("failure");
  EXPECT_EQ(payments.put("forced_open", {{"reason", "maintenance"}}),
            (json{{"state", "forced_open"}, {"epoch", 2}}));
  EXPECT_EQ(payments.acquire()["allowed"], false);
  EXPECT_GE(payments.acquire()["retry_after_ms"], 0);
  EXPECT_EQ(payments.report("failure")["state"], "forced_open");
  const auto shown = payments.status();
  EXPECT_EQ(shown["state"], "forced_open");
  EXPECT_EQ(shown["base_state"], "closed");
  EXPECT_EQ(shown["override"], (json{{"mode", "forced_open"},
                                     {"scope", "node"},
                                     {"actor", "anonymous"},
                                     {"reason", "maintenance"}}));
  EXPECT_EQ(payments.put("none"), (json{{"state", "closed"}, {"epoch", 3}}));
  EXPECT_FALSE(payments.status().contains("override"));
  EXPECT_EQ(payments.report("failure")["state"], "closed") << "the 20 before are gone";
  const auto told = payments.events_of();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0]["type"], "breaker_override_set");
  EXPECT_EQ(told[0]["mode"], "forced_open");
  EXPECT_EQ(told[0]["scope"], "node");
  EXPECT_EQ(told[0]["reason"], "maintenance");
  EXPECT_EQ(told[1]["type"], "breaker_override_cleared");
  EXPECT_EQ(told[1]["cause"], "override_cleared");
  EXPECT_EQ(told[1]["mode"], "forced_open");
}

TEST_F(overridden, disabled_admits_all_and_counts_nothing) {
  payments.trip();
  payments.put("disabled");
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(payments.acquire()["allowed"], true);
    EXPECT_EQ(payments.report("failure")["state"], "disabled");
  }
  EXPECT_EQ(payments.status()["counts"]["failure"], 20);
  EXPECT_EQ(payments.status()["base_state"], "open");
  EXPECT_EQ(payments.put("none")["state"], "closed");
}

TEST_F(overridden, metrics_only_admits_and_tells_a_breach_once) {
  payments.put("metrics_only");
  for (int i = 0; i < 40; ++i) EXPECT_EQ(payments.report("failure")["state"], "metrics_only");
  EXPECT_EQ(payments.acquire()["allowed"], true);
  EXPECT_EQ(payments.status()["failure_ratio"], 1.0);
  events_at_least(client, 1, {{"types", {"breaker_would_open"}}});
  const auto told = payments.events_of({"breaker_would_open", "breaker_opened"});
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0]["type"], "breaker_would_open");
  EXPECT_EQ(told[0]["cause"], "failure_rate");
  EXPECT_EQ(told[0]["counts"], counts_of({{"failure", 20}}));
}

TEST_F(overridden, one_with_a_time_ends_by_itself) {
  const auto before_ms = now_ms();
  payments.put("forced_open", {{"ttl_s", 1}});
  const auto cleared = events_at_least(client, 1, {{"types", {"breaker_override_cleared"}}});
  EXPECT_EQ(cleared[0]["cause"], "override_expired");
  EXPECT_GE(now_ms(), before_ms + 1000);
  EXPECT_EQ(payments.status()["state"], "closed");
  EXPECT_EQ(payments.status()["cause"], "override_expired");
  payments.put("disabled", {{"ttl_s", 3600}});
  const auto until = payments.status()["override"]["expires_at_ms"].get<std::int64_t>();
  EXPECT_GE(until, before_ms + 3'600'000);
  EXPECT_LE(until, now_ms() + 3'600'000);
}

TEST_F(overridden, what_changes_nothing_is_answered_and_is_no_event) {
  payments.put("disabled");
  payments.put("disabled");
  payments.put("none");
  EXPECT_EQ(payments.put("none")["state"], "closed");
  EXPECT_EQ(payments.reset(), (json{{"state", "closed"}, {"epoch", 3}}));
  EXPECT_EQ(payments.events_of().size(), 2U);
  payments.trip();
  EXPECT_EQ(payments.reset({{"reason", "mended"}}), (json{{"state", "closed"}, {"epoch", 5}}));
  const auto closed = payments.events_of({"breaker_closed"});
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed[0]["cause"], "reset");
  EXPECT_EQ(closed[0]["reason"], "mended");
  EXPECT_EQ(closed[0]["actor"], "anonymous");
  EXPECT_EQ(closed[0]["from"], "open");
}

TEST_F(overridden, a_transition_is_one_event_with_its_request_and_its_counts) {
  auto reader = node.connect();
  reader.result("events.subscribe", {{"types", breaker_event_types}});
  for (int i = 0; i < 5; ++i) payments.report("ignored");
  payments.trip({{"_meta", {{"correlation_id", "call-9"}}}});
  for (int i = 0; i < 3; ++i) payments.acquire();
  const auto pushed = reader.reply()["params"]["event"];
  EXPECT_EQ(pushed["type"], "breaker_opened");
  EXPECT_EQ(pushed["service"], "payments");
  EXPECT_EQ(pushed["breaker"], "default");
  EXPECT_EQ(pushed["epoch"], 2);
  EXPECT_EQ(pushed["cause"], "failure_rate");
  EXPECT_EQ(pushed["from"], "closed");
  EXPECT_EQ(pushed["kind"], "hosted");
  EXPECT_EQ(pushed["node"], "node-1");
  EXPECT_EQ(pushed["correlation_id"], "call-9");
  EXPECT_EQ(pushed["counts"], counts_of({{"failure", 20}, {"ignored", 5}}));
  EXPECT_EQ(payments.events_of(), std::vector<json>{pushed}) << "the log's is the same";
  payments.reset();
  const auto closed = reader.reply()["params"]["event"];
  EXPECT_EQ(closed["type"], "breaker_closed");
  EXPECT_EQ(closed["counts"], counts_of({{"rejected", 3}})) << "of the phase that ended";
}

}  // namespace
}  // namespace portcullis::e2e
