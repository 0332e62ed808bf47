// The server's own store stands behind a circuit breaker of the same kind, for everybody to see.
#include "breakers.hpp"
#include "load.hpp"

namespace portcullis::e2e {
namespace {

struct the_store : testing::Test {
  server node{{.own_disk = true}};
  line_client client = node.connect();
  breaker store{client, "portcullis", "store"};

  [[nodiscard]] bool becomes(const std::string& state) const {
    return eventually([&] { return store.status()["state"] == state; });
  }
  [[nodiscard]] double series(const std::string& name, const std::string& more = "") const {
    return node.metric(name + R"({breaker="store",)" + more + R"(service="portcullis")" +
                       (more.empty() ? "}" : R"(,source="hosted"})"));
  }
  /// A command that has to be durable: the name of its error.
  std::string command() {
    auto asked = user("ada");
    asked["context"] = context();
    return client.error("session.create", asked);
  }
};

TEST_F(the_store, is_a_breaker_like_any_other_and_counts_its_commits) {
  const auto shown = store.status();
  EXPECT_EQ(shown["kind"], "hosted");
  EXPECT_EQ(shown["state"], "closed");
  for (int i = 0; i < 20; ++i) create(client, "ada");
  EXPECT_TRUE(eventually([&] {
    return store.status()["counts"]["success"] ==
           node.metric("portcullis_event_log_commit_seconds_count");
  })) << "none is forgotten, also when no more come";
  EXPECT_EQ(store.status()["counts"]["failure"], 0);
  EXPECT_EQ(client.result("breaker.list")["breakers"][0]["service"], "portcullis");
  EXPECT_GE(series("circuit_breaker_requests_total", R"(result="success",)"), 2);
  EXPECT_EQ(series("circuit_breaker_request_duration_seconds_count"),
            series("circuit_breaker_requests_total", R"(result="success",)"));
}

TEST_F(the_store, opens_with_a_full_disk_and_closes_when_there_is_room_again) {
  const auto id = create(client, "ada")["session_id"];
  node.disk("full");
  EXPECT_EQ(command(), "STORE_FULL");
  EXPECT_TRUE(becomes("open"));
  EXPECT_EQ(store.status()["cause"], "consecutive_failures");
  EXPECT_EQ(command(), "STORE_FULL");
  EXPECT_EQ(state_of(client, id), "valid") << "validation goes on";
  EXPECT_TRUE(becomes("half_open")) << "it tries by itself";
  EXPECT_TRUE(becomes("open")) << "in vain";
  node.disk("");
  EXPECT_TRUE(becomes("closed"));
  EXPECT_EQ(store.status()["cause"], "probe_succeeded");
  EXPECT_TRUE(eventually([&] { return command().empty(); }));
  const auto events = store.events_of({"breaker_opened", "breaker_closed"});
  ASSERT_GE(events.size(), 3U) << "each transition is in the log, also those of the full disk";
  EXPECT_EQ(events.front()["type"], "breaker_opened");
  EXPECT_EQ(events.back()["type"], "breaker_closed");
  EXPECT_GT(series("circuit_breaker_open_seconds_total"), 0);
}

TEST_F(the_store, opened_by_a_full_disk_comes_back_after_kill_9) {
  node.disk("full");
  EXPECT_EQ(command(), "STORE_FULL");
  EXPECT_TRUE(becomes("open"));
  node.kill_at_once();
  node.disk("");
  ASSERT_TRUE(node.start()) << node.log();
  auto again = node.connect();
  create(again, "ada");
  EXPECT_TRUE(eventually(
      [&] { return breaker(again, "portcullis", "store").status()["state"] == "closed"; }));
}

// Regression: a breaker actor that was started again while the disk was full had never heard of it,
// waited for a commit that nobody tried any more, and had forgotten what was open.
TEST_F(the_store, comes_back_though_its_actor_was_started_again_meanwhile) {
  node.disk("full");
  EXPECT_EQ(command(), "STORE_FULL");
  EXPECT_TRUE(becomes("open"));
  const breaker payments(client, "payments");
  EXPECT_EQ(payments.trip()["state"], "open") << "a full disk holds nothing";
  EXPECT_EQ(client.error("admin.crash", {{"actor", "breaker"}}), "");
  EXPECT_TRUE(eventually([&] { return payments.error("status").empty(); }));
  EXPECT_EQ(payments.status()["state"], "open");
  EXPECT_EQ(payments.status()["epoch"], 2);
  EXPECT_EQ(breaker(client, "search").trip()["state"], "open") << "nor does it now";
  node.disk("");
  EXPECT_TRUE(becomes("closed"));
  EXPECT_TRUE(eventually([&] { return command().empty(); }));
  EXPECT_EQ(payments.events_of({"breaker_opened"}).size(), 1U);
}

TEST_F(the_store, is_tried_by_time_also_where_breakers_are_not_by_default) {
  server other({.config = "[breaker]\nauto_half_open = false\nopen_wait_s = 60\n"
                          "[breaker.\"portcullis/store\"]\nauto_half_open = false\nmin_calls = 7\n",
                .own_disk = true});
  auto other_client = other.connect();
  const breaker own(other_client, "portcullis", "store");
  other.disk("full");
  auto asked = user("ada");
  asked["context"] = context();
  EXPECT_EQ(other_client.error("session.create", asked), "STORE_FULL");
  EXPECT_TRUE(eventually([&] { return own.status()["state"] == "open"; }));
  EXPECT_EQ(own.status()["cause"], "consecutive_failures") << "what is not set is the store's own";
  other.disk("");
  EXPECT_TRUE(eventually([&] { return own.status()["state"] == "closed"; }));
}

TEST_F(the_store, is_the_servers_to_use_and_the_administrators_to_overrule) {
  for (const auto& [method, more] : std::vector<std::pair<std::string, json>>{
           {"acquire", json::object()},
           {"report", {{"outcome", "failure"}, {"duration_ms", 1}}},
           {"override", {{"mode", "forced_open"}, {"reason", "r"}}}})
    EXPECT_EQ(store.error(method, more), "FORBIDDEN") << method;
  EXPECT_EQ(store.put("metrics_only", {{"reason", "watch"}})["state"], "metrics_only");
  node.disk("full");
  EXPECT_EQ(command(), "STORE_FULL");
  EXPECT_TRUE(eventually([&] { return store.status()["counts"]["failure"] >= 5; }))
      << "it is tried all the time";
  EXPECT_EQ(store.status()["state"], "metrics_only");
  node.disk("");
  EXPECT_TRUE(eventually([&] { return command().empty(); }));
  EXPECT_EQ(store.put("none", {{"reason", "done"}})["state"], "closed");
}

TEST_F(the_store, has_series_of_its_own_also_when_callers_breakers_share_theirs) {
  server few({.set = {"metrics.breakers_max=1"}});
  auto one = few.connect();
  for (int i = 0; i < 3; ++i) breaker(one, "s" + std::to_string(i)).report("success");
  const auto calls = [&](const std::string& service, const std::string& name) {
    return few.metric(R"(circuit_breaker_requests_total{breaker=")" + name +
                      R"(",result="success",service=")" + service + R"(",source="hosted"})");
  };
  EXPECT_EQ(calls("s0", "default"), 1) << "the store's take nobody's place";
  EXPECT_EQ(calls("__overflow__", "__overflow__"), 2);
  EXPECT_GE(calls("portcullis", "store"), 1);
}

}  // namespace
}  // namespace portcullis::e2e
