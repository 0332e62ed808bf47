// lockout.*: counting is exact, whoever asks and however many at once.
#include <atomic>
#include <set>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

struct lockouts : testing::Test {
  void begin(std::vector<std::string> set = {}) {
    node.emplace(server_options{.set = std::move(set)});
    client.emplace(node->connect());
  }
  json status(const std::string& who = "ada") {
    return client->result("lockout.status", user(who));
  }
  void fail(const json& id, int times, const std::string& ip = "198.51.100.7") {
    for (int i = 0; i < times; ++i) validate(*client, id, context(ip));
  }
  std::optional<server> node;
  std::optional<line_client> client;
};

TEST_F(lockouts, status_counts_up_to_the_lock_and_names_both_ends) {
  begin();
  const auto id = create(*client, "ada")["session_id"];
  EXPECT_EQ(status(), (json{{"locked", false}, {"failed_attempts", 0}, {"threshold", 10}}));
  const auto before = now_ms();
  fail(id, 9);
  const auto counted = status();
  EXPECT_EQ(counted["failed_attempts"], 9);
  EXPECT_EQ(counted["locked"], false);
  EXPECT_NEAR(counted["window_ends_at_ms"].get<double>(), static_cast<double>(before + 900'000),
              10'000);
  EXPECT_EQ(state_of(*client, id), "valid");
  EXPECT_EQ(validate(*client, id, context("198.51.100.7"))["reason"], "ip_mismatch")
      << "the tenth is evaluated and locks";
  const auto locked = status();
  EXPECT_EQ(locked["locked"], true);
  EXPECT_EQ(locked["failed_attempts"], 10);
  EXPECT_NEAR(locked["locked_until_ms"].get<double>(), static_cast<double>(now_ms() + 900'000),
              10'000);
  const auto refused = validate(*client, id);
  EXPECT_EQ(refused["reason"], "locked_out");
  EXPECT_GT(refused["retry_after_ms"], 800'000);
  EXPECT_LE(refused["retry_after_ms"], 900'000);
}

TEST_F(lockouts, invariant_04_exactly_threshold_attempts_are_evaluated_over_16_connections) {
  begin();
  std::vector<json> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(create(*client, "ada")["session_id"]);
  std::atomic<int> mismatches = 0;
  std::atomic<int> locked = 0;
  std::atomic<int> other = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 16; ++i)
      threads.emplace_back([&, i] {
        auto own = node->connect();
        for (int j = 0; j < 10; ++j) {
          const auto ctx = (i + j) % 2 == 0 ? context("198.51.100." + std::to_string(i))
                                            : context("192.0.2.1", "other");
          const auto state = state_of(own, ids[static_cast<std::size_t>(j) % 4], ctx);
          if (state == "ip_mismatch" || state == "fingerprint_mismatch")
            ++mismatches;
          else if (state == "locked_out")
            ++locked;
          else
            ++other;
        }
      });
  }
  EXPECT_EQ(mismatches, 10);
  EXPECT_EQ(locked, 150);
  EXPECT_EQ(other, 0);
  EXPECT_EQ(status()["failed_attempts"], 10) << "attempts while locked do not count";
  const auto singles = events_at_least(
      *client, 10, {{"types", {"validation_failed"}}, {"user_id", "ada"}, {"tenant_id", "acme"}});
  std::vector<int> numbers;
  for (const auto& each : singles)
    if (each.contains("attempt")) numbers.push_back(each["attempt"]);
  EXPECT_EQ(numbers, (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(events_at_least(*client, 1, {{"types", {"lockout_started"}}}).size(), 1U);
}

TEST_F(lockouts, attempts_while_locked_do_not_extend_the_lock) {
  begin({"lockout.threshold=2"});
  const auto id = create(*client, "ada")["session_id"];
  fail(id, 2);
  const auto until = status()["locked_until_ms"];
  fail(id, 5);
  EXPECT_EQ(status()["locked_until_ms"], until);
  EXPECT_EQ(status()["failed_attempts"], 2);
}

TEST_F(lockouts, a_lock_stands_before_mismatches_and_behind_ends_and_creates_are_allowed) {
  begin({"lockout.threshold=1"});
  const auto a = create(*client, "ada")["session_id"];
  const auto b = create(*client, "ada")["session_id"];
  client->result("session.revoke", {{"session_id", b}});
  fail(a, 1);
  EXPECT_EQ(state_of(*client, a, context("198.51.100.9", "other")), "locked_out");
  EXPECT_EQ(state_of(*client, b), "revoked");
  EXPECT_EQ(state_of(*client, std::string(64, '0')), "not_found");
  const auto c = create(*client, "ada");
  EXPECT_EQ(state_of(*client, c["session_id"]), "locked_out");
  for (const auto* method : {"session.update", "session.rotate"}) {
    json params{{"session_id", a}, {"context", context()}};
    if (method == std::string("session.update")) params["data"] = json::object();
    const auto refused = client->call(method, params);
    EXPECT_EQ(error_of(refused), "USER_LOCKED_OUT") << method;
    EXPECT_GT(refused["error"]["data"]["retry_after_ms"], 0);
  }
  EXPECT_EQ(client->result("session.revoke", {{"session_id", c["session_id"]}})["revoked"], 1)
      << "revoking goes on";
  EXPECT_EQ(state_of(*client, create(*client, "bob")["session_id"]), "valid")
      << "others are not concerned";
  EXPECT_EQ(state_of(*client, create(*client, "ada", {{"tenant_id", "other"}})["session_id"]),
            "valid")
      << "nor is another tenant's user";
}

TEST_F(lockouts, clearing_unlocks_resets_the_counter_and_leaves_an_event_with_actor_and_reason) {
  begin({"lockout.threshold=2"});
  const auto id = create(*client, "ada")["session_id"];
  fail(id, 2);
  auto params = user("ada");
  EXPECT_EQ(client->error("lockout.clear", params), "INVALID_PARAMS") << "a reason is required";
  params["reason"] = "ticket 42";
  EXPECT_EQ(client->result("lockout.clear", params), (json{{"cleared", true}}));
  EXPECT_EQ(status(), (json{{"locked", false}, {"failed_attempts", 0}, {"threshold", 2}}));
  EXPECT_EQ(state_of(*client, id), "valid");
  EXPECT_EQ(client->result("lockout.clear", params)["cleared"], false);
  const auto found = events_at_least(*client, 1, {{"types", {"lockout_cleared"}}});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["reason"], "ticket 42");
  EXPECT_EQ(found[0]["actor"], "anonymous");
  EXPECT_EQ(found[0]["user_id"], "ada");
  fail(id, 1);
  EXPECT_EQ(status()["failed_attempts"], 1) << "counting begins anew";
}

TEST_F(lockouts, a_window_ends_by_itself) {
  begin({"lockout.window_s=1", "lockout.threshold=2"});
  const auto id = create(*client, "ada")["session_id"];
  fail(id, 1);
  EXPECT_TRUE(eventually([&] { return status()["failed_attempts"] == 0; }));
  fail(id, 1);
  EXPECT_EQ(status()["locked"], false);
  EXPECT_EQ(state_of(*client, id), "valid");
}

TEST_F(lockouts, a_lock_ends_by_itself_with_an_event_and_a_fresh_counter) {
  begin({"lockout.duration_s=1", "lockout.threshold=2"});
  const auto id = create(*client, "ada")["session_id"];
  fail(id, 2);
  EXPECT_EQ(state_of(*client, id), "locked_out");
  EXPECT_TRUE(eventually([&] { return state_of(*client, id) == "valid"; }));
  EXPECT_EQ(status(), (json{{"locked", false}, {"failed_attempts", 0}, {"threshold", 2}}));
  const auto found = events_at_least(*client, 1, {{"types", {"lockout_ended"}}});
  EXPECT_EQ(found[0]["user_id"], "ada");
  const auto started = events(*client, {{"types", {"lockout_started"}}});
  ASSERT_EQ(started.size(), 1U);
  EXPECT_EQ(started[0]["attempts"], 2);
  EXPECT_GE(found[0]["at_ms"], started[0]["locked_until_ms"]);
}

TEST_F(lockouts, list_shows_who_is_locked_in_pages_and_by_tenant) {
  begin({"lockout.threshold=1"});
  std::set<std::string> expected;
  for (int i = 0; i < 12; ++i) {
    const auto who = "u" + std::to_string(i);
    fail(create(*client, who, {{"tenant_id", i % 3 == 0 ? "other" : "acme"}})["session_id"], 1);
    expected.insert(who);
  }
  create(*client, "free");
  const auto list = [&](json params) {
    std::multiset<std::string> seen;
    for (;;) {
      const auto page = client->result("lockout.list", params);
      EXPECT_LE(page["lockouts"].size(), params.value("limit", 100U));
      for (const auto& row : page["lockouts"]) {
        seen.insert(row["user_id"]);
        EXPECT_EQ(row["failed_attempts"], 1);
        EXPECT_GT(row["locked_until_ms"], now_ms());
        EXPECT_EQ(row.size(), 4U);
      }
      if (!page.contains("cursor")) return seen;
      params["cursor"] = page["cursor"];
    }
  };
  EXPECT_EQ(list(json::object()).size(), 12U);
  const auto paged = list({{"limit", 5}});
  EXPECT_EQ(std::set<std::string>(paged.begin(), paged.end()), expected);
  EXPECT_EQ(paged.size(), 12U) << "no row twice";
  EXPECT_EQ(list({{"tenant_id", "other"}, {"limit", 2}}).size(), 4U);
}

TEST_F(lockouts, with_scope_user_source_only_the_source_that_failed_is_locked_out) {
  begin({"lockout.scope=user_source", "lockout.threshold=2", "lockout.user_threshold=5"});
  const auto id = create(*client, "ada")["session_id"];
  fail(id, 2, "198.51.100.1");
  EXPECT_EQ(state_of(*client, id, context("198.51.100.1")), "locked_out");
  EXPECT_EQ(state_of(*client, id), "valid") << "the user's own address goes on";
  EXPECT_EQ(state_of(*client, id, context("198.51.100.2")), "ip_mismatch");
  // 3 so far over all sources; two more from others lock the user everywhere.
  fail(id, 1, "198.51.100.3");
  EXPECT_EQ(state_of(*client, id), "valid");
  fail(id, 1, "198.51.100.4");
  EXPECT_EQ(state_of(*client, id), "locked_out");
  auto params = user("ada");
  params["reason"] = "test";
  EXPECT_EQ(client->result("lockout.clear", params)["cleared"], true);
  EXPECT_EQ(state_of(*client, id), "valid");
  EXPECT_EQ(state_of(*client, id, context("198.51.100.1")), "ip_mismatch")
      << "the source's lock is gone too";
}

TEST_F(lockouts, repeats_of_the_same_failing_context_count_once_in_their_time) {
  begin({"lockout.repeat_collapse_s=600", "lockout.threshold=3"});
  const auto a = create(*client, "ada")["session_id"];
  const auto b = create(*client, "ada")["session_id"];
  fail(a, 20);
  EXPECT_EQ(status()["failed_attempts"], 1);
  fail(b, 20);
  EXPECT_EQ(status()["failed_attempts"], 2) << "another session";
  fail(a, 1, "198.51.100.99");
  EXPECT_EQ(status()["locked"], true) << "another context";
}

TEST_F(lockouts, the_lock_may_revoke_the_session_that_took_most_of_the_failures) {
  begin({"lockout.revoke_offending=true", "lockout.threshold=4"});
  const auto worst = create(*client, "ada");
  const auto other = create(*client, "ada");
  fail(worst["session_id"], 2);
  fail(other["session_id"], 1);
  fail(worst["session_id"], 1);
  EXPECT_EQ(state_of(*client, worst["session_id"]), "revoked");
  EXPECT_EQ(state_of(*client, other["session_id"]), "locked_out");
  const auto found = events_at_least(*client, 1, {{"types", {"session_revoked"}}});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["handle"], worst["handle"]);
  EXPECT_EQ(found[0]["scope"], "session");
}

TEST_F(lockouts, invariant_05_unknown_ids_never_touch_a_users_counter) {
  begin({"lockout.threshold=3"});
  const auto id = create(*client, "ada")["session_id"].get<std::string>();
  for (int i = 0; i < 20; ++i) {
    // Of the same user's routing byte, so that it meets the same shard.
    auto guess = id.substr(0, 2) + std::string(62, 'a');
    guess[10] = "0123456789abcdef"[i % 16];
    EXPECT_EQ(state_of(*client, guess, context("198.51.100.7")), "not_found");
  }
  EXPECT_EQ(status()["failed_attempts"], 0);
  EXPECT_EQ(state_of(*client, id), "valid");
}

TEST_F(lockouts, past_the_source_threshold_unknown_ids_are_limited_and_known_sessions_go_on) {
  begin({"lockout.source_threshold=5"});
  const auto id = create(*client, "ada")["session_id"];
  std::string error;
  int guesses = 0;
  EXPECT_TRUE(eventually([&] {
    std::string guess(64, '0');
    for (std::size_t i = 0; i < 8; ++i)
      guess[40 + i] = "0123456789abcdef"[(guesses >> (4 * i)) & 15];
    ++guesses;
    const auto reply =
        client->call("session.validate", {{"session_id", guess}, {"context", context()}});
    error = error_of(reply);
    if (error.empty()) return false;
    EXPECT_GT(reply["error"]["data"]["retry_after_ms"], 0);
    return true;
  }));
  EXPECT_EQ(error, "RATE_LIMITED");
  EXPECT_GT(guesses, 5);
  EXPECT_EQ(state_of(*client, id), "valid") << "a known session of the same source";
  EXPECT_EQ(state_of(*client, std::string(64, '1'), context("203.0.113.5")), "not_found")
      << "another source";
  const auto found = events_at_least(*client, 1, {{"types", {"source_limited"}}});
  EXPECT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["source"].get<std::string>().find("192.0.2"), std::string::npos);
  // The same unknown id again and again is one guess.
  auto other = context("203.0.113.77");
  for (int i = 0; i < 30; ++i)
    EXPECT_EQ(state_of(*client, std::string(64, '2'), other), "not_found");
}

TEST_F(lockouts, locks_and_counters_survive_a_crash) {
  begin({"lockout.threshold=3"});
  const auto a = create(*client, "ada")["session_id"];
  const auto b = create(*client, "bob")["session_id"];
  fail(a, 3);
  fail(b, 2);
  const auto until = status()["locked_until_ms"];
  events_at_least(*client, 5, {{"types", {"validation_failed"}}});
  events_at_least(*client, 1, {{"types", {"lockout_started"}}});
  node->restart();
  client.emplace(node->connect());
  EXPECT_EQ(status()["locked_until_ms"], until);
  EXPECT_EQ(state_of(*client, a), "locked_out");
  EXPECT_EQ(status("bob")["failed_attempts"], 2);
  EXPECT_EQ(state_of(*client, b, context("198.51.100.7")), "ip_mismatch");
  EXPECT_EQ(state_of(*client, b), "locked_out");
}

}  // namespace
}  // namespace portcullis::e2e
