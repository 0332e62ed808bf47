// The session policy: caps, bindings, signals, tenants of their own, touches.
#include <atomic>
#include <map>
#include <set>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

/// A server whose policy is the test's own.
struct policy : testing::Test {
  void begin(std::vector<std::string> set) {
    node.emplace(server_options{.set = std::move(set)});
    client.emplace(node->connect());
  }
  std::optional<server> node;
  std::optional<line_client> client;
};

TEST_F(policy, invariant_06_the_cap_is_exact_under_16_concurrent_clients) {
  begin({"session.max_sessions_per_user=5"});
  std::atomic<int> made = 0;
  std::atomic<int> refused = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 16; ++i)
      threads.emplace_back([&] {
        auto own = node->connect();
        auto params = user("ada");
        params["context"] = context();
        for (int j = 0; j < 4; ++j) {
          const auto error = own.error("session.create", params);
          made += error.empty();
          refused += error == "SESSION_CAP_REACHED";
        }
      });
  }
  EXPECT_EQ(made, 5);
  EXPECT_EQ(refused, 59);
  EXPECT_EQ(client->result("session.list", user("ada"))["sessions"].size(), 5U);
}

TEST_F(policy, evict_oldest_ends_exactly_the_oldest_under_16_concurrent_clients) {
  begin({"session.max_sessions_per_user=3", "session.on_cap=evict_oldest"});
  std::mutex mutex;
  std::vector<json> all;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 16; ++i)
      threads.emplace_back([&] {
        auto own = node->connect();
        for (int j = 0; j < 4; ++j) {
          const auto made = create(own, "ada");
          std::lock_guard guard{mutex};
          all.push_back(made);
        }
      });
  }
  const auto listed = client->result("session.list", user("ada"))["sessions"];
  ASSERT_EQ(listed.size(), 3U);
  std::set<std::string> live;
  for (const auto& row : listed) live.insert(row["handle"]);
  for (const auto& each : all) {
    const auto answer = validate(*client, each["session_id"]);
    EXPECT_EQ(answer["valid"], live.count(each["handle"]) == 1);
    if (answer["valid"] == false)
      EXPECT_EQ(answer["reason"], "revoked") << "an evicted session reports revoked";
  }
  EXPECT_EQ(client->result("session.stats")["evicted"], 61);
  const auto created = events(*client, {{"types", {"session_created"}}});
  ASSERT_EQ(created.size(), 64U);
  for (std::size_t i = 61; i < 64; ++i)
    EXPECT_EQ(live.count(created[i]["handle"]), 1U) << "the newest are left";
  EXPECT_EQ(events_at_least(*client, 61, {{"types", {"session_evicted"}}}).size(), 61U);
}

TEST_F(policy, an_address_may_be_bound_by_its_prefix) {
  begin({"session.ip_prefix_v4=24", "session.ip_prefix_v6=48"});
  const auto v4 = create(*client, "ada")["session_id"];
  EXPECT_EQ(state_of(*client, v4, context("192.0.2.254")), "valid");
  EXPECT_EQ(state_of(*client, v4, context("192.0.3.1")), "ip_mismatch");
  const auto v6 = create(*client, "ada", {{"context", context("2001:db8:1::1")}})["session_id"];
  EXPECT_EQ(state_of(*client, v6, context("2001:db8:1:ffff::1")), "valid");
  EXPECT_EQ(state_of(*client, v6, context("2001:db8:2::1")), "ip_mismatch");
}

TEST_F(policy, what_is_observed_or_challenged_is_signalled_and_never_counts) {
  begin({"session.ip_binding=challenge", "session.fingerprint_fields=user_agent",
         "session.observe_fields=ja4,accept", "session.challenge_fields=ja3"});
  const json full{
      {"ip", "192.0.2.1"}, {"user_agent", "ua"}, {"accept", "a"}, {"ja3", "j3"}, {"ja4", "j4"}};
  const auto made = create(*client, "ada", {{"context", full}});
  EXPECT_FALSE(validate(*client, made["session_id"], full).contains("signals"));
  auto changed = full;
  changed["ip"] = "198.51.100.1";
  changed["ja3"] = "other";
  changed["ja4"] = "other";
  const auto valid = validate(*client, made["session_id"], changed);
  EXPECT_EQ(valid["valid"], true);
  std::map<std::string, std::string> signals;
  for (const auto& each : valid["signals"]) signals[each["field"]] = each["action"];
  EXPECT_EQ(signals, (std::map<std::string, std::string>{
                         {"ip", "challenge"}, {"ja3", "challenge"}, {"ja4", "observe"}}));
  EXPECT_EQ(client->result("lockout.status", user("ada"))["failed_attempts"], 0);
  const auto found = events_at_least(*client, 2, {{"types", {"validation_signalled"}}});
  ASSERT_EQ(found.size(), 2U);
  std::set<std::string> actions;
  for (const auto& each : found) {
    actions.insert(each["action"]);
    EXPECT_EQ(each["handle"], made["handle"]);
    EXPECT_TRUE(each.contains("source"));
  }
  EXPECT_EQ(actions, (std::set<std::string>{"challenge", "observe"}));
  // Coalesced a session and granularity.
  for (int i = 0; i < 10; ++i) validate(*client, made["session_id"], changed);
  create(*client, "bob");
  EXPECT_EQ(events(*client, {{"types", {"validation_signalled"}}}).size(), 2U);
}

TEST_F(policy, binding_may_be_off_and_a_tenant_may_have_its_own_policy) {
  begin({"session.ip_binding=off", "tenant.strict.session.ip_binding=enforce",
         "tenant.strict.session.idle_ttl_s=60", "tenant.strict.session.max_sessions_per_user=1"});
  const auto loose = create(*client, "ada")["session_id"];
  const auto moved = validate(*client, loose, context("198.51.100.1"));
  EXPECT_EQ(moved["valid"], true);
  EXPECT_FALSE(moved.contains("signals"));
  const auto strict = create(*client, "ada", {{"tenant_id", "strict"}});
  EXPECT_EQ(strict["idle_expires_at_ms"].get<std::int64_t>(),
            strict["created_at_ms"].get<std::int64_t>() + 60'000);
  EXPECT_EQ(state_of(*client, strict["session_id"], context("198.51.100.1")), "ip_mismatch");
  auto params = user("ada", "strict");
  params["context"] = context();
  const auto refused = client->call("session.create", params);
  EXPECT_EQ(error_of(refused), "SESSION_CAP_REACHED");
  EXPECT_EQ(refused["error"]["data"]["details"]["limit"], 1);
}

TEST_F(policy, a_touch_is_recorded_once_a_granularity_and_shown_in_lists) {
  begin({"session.touch_granularity_s=1"});
  const auto made = create(*client, "ada");
  const auto created = made["created_at_ms"].get<std::int64_t>();
  EXPECT_TRUE(eventually([&] {
    validate(*client, made["session_id"]);
    return client->result("session.list", user("ada"))["sessions"][0]["last_seen_at_ms"]
               .get<std::int64_t>() >= created + 1000;
  }));
  const auto row = client->result("session.list", user("ada"))["sessions"][0];
  EXPECT_EQ(row["expires_at_ms"].get<std::int64_t>(),
            row["last_seen_at_ms"].get<std::int64_t>() + 900'000);
  EXPECT_GE(events_at_least(*client, 1, {{"types", {"session_touched"}}}).size(), 1U);
}

}  // namespace
}  // namespace portcullis::e2e
