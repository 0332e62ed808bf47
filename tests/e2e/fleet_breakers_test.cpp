// Circuit breakers of several nodes over Redis: one state for all, and what each does when it
// cannot be known.
#include "breakers.hpp"
#include "fleet.hpp"
#include "http_client.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

/// Nodes with a client on each, and one breaker as those see it.
struct breaker_fleet {
  explicit breaker_fleet(std::size_t count, std::vector<std::string> set = {}) : nodes(count, set) {
    for (std::size_t i = 0; i < count; ++i) clients.push_back(nodes[i].connect());
    await_members(count);
  }
  void await_members(std::size_t count) {
    for (std::size_t i = 0; i < clients.size(); ++i)
      EXPECT_TRUE(
          eventually([&] { return clients[i].result("server.info")["nodes"].size() >= count; }));
  }
  breaker at(std::size_t i, const std::string& service = "pay") {
    return breaker(clients[i], service);
  }
  bool all_are(const std::string& state, const std::string& service = "pay") {
    return eventually([&] {
      for (std::size_t i = 0; i < clients.size(); ++i)
        if (clients[i].call("breaker.status", {{"service", service}})["result"]["state"] != state)
          return false;
      return true;
    });
  }
  /// So many of the calls that are known there; 0 also where the breaker is not.
  int count(std::size_t i, const std::string& result) {
    const auto told = clients[i].call("breaker.status", {{"service", "pay"}});
    return told.contains("result") ? told["result"]["counts"][result].get<int>() : 0;
  }
  /// Open on all by the failures of two.
  void trip(const std::string& service = "pay") {
    for (int i = 0; i < 10; ++i)
      for (std::size_t node = 0; node < 2; ++node) at(node, service).report("failure");
    EXPECT_TRUE(all_are("open", service));
  }
  std::vector<std::string> types_of(std::size_t i, const std::string& service = "pay") {
    std::vector<std::string> types;
    for (const auto& each : at(i, service).events_of()) types.push_back(each["type"]);
    return types;
  }

  fleet nodes;
  std::vector<line_client> clients;
};

using types = std::vector<std::string>;

TEST(breakers_of_nodes, have_one_state_and_one_event_a_transition) {
  breaker_fleet f(
      3, {"breaker.open_wait_s=1", "breaker.open_wait_jitter=0", "breaker.half_open_permits=2"});
  f.trip();
  json permit;
  EXPECT_TRUE(eventually([&] {
    permit = f.at(2).acquire();
    return permit.contains("permit");
  }));
  EXPECT_TRUE(f.all_are("half_open"));
  const auto more = json{{"permit", permit["permit"]}, {"epoch", permit["epoch"]}};
  EXPECT_EQ(f.at(2).report("success", more)["state"], "half_open");
  permit = f.at(2).acquire();
  EXPECT_EQ(f.at(2).report("success",
                           {{"permit", permit["permit"]}, {"epoch", permit["epoch"]}})["state"],
            "closed");
  EXPECT_TRUE(f.all_are("closed"));
  f.nodes.settle();
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(f.types_of(i), (types{"breaker_opened", "breaker_half_opened", "breaker_closed"}));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(f.at(i).status()["epoch"], 4);
}

TEST(breakers_of_nodes, are_opened_once_however_many_see_it) {
  breaker_fleet f(3);
  for (int round = 0; round < 10; ++round) {
    const auto service = "pay-" + std::to_string(round);
    const auto failure = message("breaker.report",
                                 {{"service", service}, {"outcome", "failure"}, {"duration_ms", 1}})
                             .dump() +
                         "\n";
    std::string many;
    for (int i = 0; i < 25; ++i) many += failure;
    for (auto& each : f.clients) EXPECT_TRUE(each.send(many));
    for (auto& each : f.clients)
      for (int i = 0; i < 25; ++i) {
        const auto reply = each.reply();
        ASSERT_TRUE(reply.contains("result")) << reply;
        if (reply["result"]["state"] == "open") EXPECT_LE(reply["result"]["epoch"], 2);
      }
    // First each is open on its node alone: there was no time to tell of the calls.
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_TRUE(eventually([&] { return f.at(i, service).status()["base_state"] == "open"; }));
    EXPECT_TRUE(f.all_are("open", service));
    f.nodes.settle();
    EXPECT_EQ(f.types_of(0, service), types{"breaker_opened"}) << service;
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(f.at(i, service).status()["epoch"], 2);
  }
}

TEST(breakers_of_nodes, open_by_failures_that_are_too_few_on_each) {
  breaker_fleet f(5);
  for (std::size_t i = 0; i < 5; ++i)
    for (int k = 0; k < 4; ++k) EXPECT_EQ(f.at(i).report("failure")["state"], "closed");
  EXPECT_TRUE(f.all_are("open"));
  f.nodes.settle();
  EXPECT_EQ(f.types_of(3), types{"breaker_opened"});
  EXPECT_EQ(f.at(0).events_of()[0]["counts"]["failure"], 20);
}

TEST(breakers_of_nodes, are_not_opened_by_one_sick_node) {
  breaker_fleet f(3, {"breaker.open_wait_s=60"});
  for (int k = 0; k < 5; ++k)
    for (std::size_t i = 1; i < 3; ++i) f.at(i).report("success");
  EXPECT_TRUE(eventually([&] { return f.count(0, "success") == 10; }));
  for (int k = 0; k < 40; ++k) f.at(0).report("failure");
  const auto denied = f.at(0).acquire();
  EXPECT_EQ(denied["allowed"], false);
  EXPECT_EQ(denied["state"], "open");
  EXPECT_EQ(denied["epoch"], 1);
  EXPECT_TRUE(eventually([&] { return f.count(1, "failure") == 40; }));
  for (std::size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(f.at(i).acquire()["allowed"], true);
    EXPECT_EQ(f.at(i).report("success")["state"], "closed");
  }
  EXPECT_EQ(f.at(0).status()["base_state"], "closed");
  EXPECT_EQ(f.types_of(1), types{});
  f.at(1).report("failure");
  EXPECT_TRUE(f.all_are("open")) << "two are sick";
}

// Regression: right after a close the first failures were all that was known, and opened it again.
TEST(breakers_of_nodes, that_were_reset_are_not_opened_by_one_sick_node) {
  breaker_fleet f(3, {"breaker.open_wait_s=60"});
  f.trip();
  EXPECT_EQ(f.at(0).reset()["state"], "closed");
  EXPECT_TRUE(f.all_are("closed"));
  for (int k = 0; k < 25; ++k) f.at(0).report("failure");
  for (int k = 0; k < 25; ++k) f.at(1).report("success");
  EXPECT_EQ(f.at(0).acquire()["state"], "open");
  EXPECT_TRUE(
      eventually([&] { return f.count(1, "failure") == 45 && f.count(0, "success") == 25; }));
  EXPECT_EQ(f.at(0).status()["base_state"], "closed");
  f.nodes.settle();
  EXPECT_EQ(f.types_of(1), (types{"breaker_opened", "breaker_closed"}));
}

// Regression: a process' first batch has epoch 0; told to another node, it opened the breaker
// there.
TEST(breakers_of_nodes, are_not_opened_by_reports_of_an_old_epoch) {
  breaker_fleet f(2);
  f.trip();
  f.at(0).reset();
  EXPECT_TRUE(f.all_are("closed"));
  for (int k = 0; k < 2; ++k) f.at(0).report("failure");
  json counts{{"success", 0}, {"failure", 50}};
  const auto told = f.clients[1].result(
      "breaker.report_batch",
      {{"service", "pay"}, {"source", "p-1"}, {"seq", 1}, {"epoch", 0}, {"counts", counts}});
  EXPECT_EQ(told["state"], "closed");
  for (int k = 0; k < 30; ++k) f.at(1).report("timeout", {{"epoch", 2}});
  EXPECT_TRUE(
      eventually([&] { return f.count(0, "failure") == 72 && f.count(0, "timeout") == 30; }));
  f.at(0).report("failure");
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(f.at(i).status()["state"], "closed");
  f.nodes.settle();
  EXPECT_EQ(f.types_of(1), (types{"breaker_opened", "breaker_closed"}));
}

TEST(breakers_of_nodes, count_each_call_once) {
  breaker_fleet f(3);
  for (int k = 0; k < 30; ++k)
    for (std::size_t i = 0; i < 3; ++i) f.at(i).report(k % 10 == 0 ? "failure" : "success");
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(eventually([&] {
      return f.count(i, "failure") == 9 && f.count(i, "success") == 81;
    })) << f.at(i).status();
}

TEST(breakers_of_nodes, give_out_no_more_permits_than_one_does) {
  breaker_fleet f(3, {"breaker.open_wait_s=1", "breaker.open_wait_jitter=0",
                      "breaker.half_open_permits=6", "breaker.half_open_concurrency=2"});
  f.trip();
  std::size_t granted = 0, prober = 9;
  std::vector<json> out;
  const auto ask_all = [&] {
    const auto ask = message("breaker.acquire", {{"service", "pay"}}).dump() + "\n";
    for (auto& each : f.clients)
      for (int i = 0; i < 4; ++i) each.send(ask);
    for (std::size_t node = 0; node < 3; ++node)
      for (int i = 0; i < 4; ++i) {
        const auto told = f.clients[node].reply()["result"];
        if (!told.contains("permit")) {
          if (told["state"] == "half_open") EXPECT_LE(told["retry_after_ms"], 1'000) << told;
          continue;
        }
        EXPECT_TRUE(prober == 9 || prober == node) << "one node gives them out";
        prober = node;
        out.push_back(told);
        ++granted;
      }
    EXPECT_LE(out.size(), 2u);
  };
  EXPECT_TRUE(eventually([&] {
    ask_all();
    return granted > 0;
  }));
  for (int round = 0; round < 8 && f.at(prober).status()["state"] == "half_open"; ++round) {
    for (const auto& each : std::exchange(out, {}))
      f.at(prober).report("success", {{"permit", each["permit"]}, {"epoch", each["epoch"]}});
    if (granted < 6) ask_all();
  }
  EXPECT_EQ(granted, 6u);
  EXPECT_TRUE(f.all_are("closed"));
}

TEST(breakers_of_nodes, are_tried_by_another_node_when_one_dies_trying) {
  breaker_fleet f(3, {"breaker.open_wait_s=1", "breaker.open_wait_jitter=0",
                      "breaker.half_open_permits=1", "breaker.permit_ttl_s=30"});
  f.trip();
  EXPECT_TRUE(f.at(2).await_permit().contains("permit"));
  EXPECT_TRUE(f.all_are("half_open"));
  EXPECT_FALSE(f.at(0).acquire().contains("permit"));
  f.nodes[2].kill_at_once();
  f.clients.pop_back();
  const auto permit = f.at(0).await_permit();
  EXPECT_EQ(permit["epoch"], 4) << "another phase";
  EXPECT_EQ(f.at(0).report("success",
                           {{"permit", permit["permit"]}, {"epoch", permit["epoch"]}})["state"],
            "closed");
  EXPECT_TRUE(f.all_are("closed"));
  EXPECT_EQ(f.types_of(1), (types{"breaker_opened", "breaker_half_opened", "breaker_half_opened",
                                  "breaker_closed"}));
}

TEST(breakers_of_nodes, are_overruled_for_all) {
  breaker_fleet f(3);
  EXPECT_EQ(f.at(0).put("forced_open")["state"], "forced_open");
  EXPECT_TRUE(f.all_are("forced_open"));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(f.at(i).acquire()["allowed"], false);
    EXPECT_EQ(f.at(i).status()["override"]["scope"], "fleet");
    EXPECT_EQ(f.at(i).status()["epoch"], 2);
  }
  f.nodes[1].kill_at_once();
  EXPECT_EQ(f.at(2).put("disabled")["state"], "disabled");
  ASSERT_TRUE(f.nodes[1].start()) << f.nodes[1].log();
  f.clients[1] = f.nodes[1].connect();
  EXPECT_EQ(f.at(1).status()["state"], "disabled") << "what it was told when it was not there";
  EXPECT_EQ(f.at(1).reset()["state"], "closed");
  EXPECT_TRUE(f.all_are("closed"));
  EXPECT_EQ(f.types_of(0),
            (types{"breaker_override_set", "breaker_override_set", "breaker_closed"}));
}

TEST(breakers_of_nodes, are_overruled_in_one_order) {
  breaker_fleet f(3);
  f.at(0).report("success");
  for (int round = 0; round < 10; ++round) {
    const std::vector<std::string> modes{"forced_open", "disabled", "metrics_only"};
    for (std::size_t i = 0; i < 3; ++i)
      f.clients[i].send(
          message("breaker.override", {{"service", "pay"}, {"mode", modes[i]}, {"reason", "test"}})
              .dump() +
          "\n");
    for (auto& each : f.clients) {
      const auto reply = each.reply();
      EXPECT_TRUE(reply.contains("result")) << reply;
    }
    f.nodes.settle();
    const auto told = f.at(0).status();
    for (std::size_t i = 1; i < 3; ++i) {
      EXPECT_TRUE(f.all_are(told["state"]));
      EXPECT_EQ(f.at(i).status()["epoch"], told["epoch"]);
    }
  }
}

TEST(breakers_of_nodes, are_decided_alone_while_the_store_is_away_and_are_one_again) {
  breaker_fleet f(2, {"breaker.open_wait_s=1", "breaker.open_wait_jitter=0",
                      "breaker.half_open_permits=1", "breaker.open_wait_max_s=1"});
  f.trip();
  f.nodes.redis.signal(SIGSTOP);
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_TRUE(
        eventually([&] { return f.nodes[i].metric("breaker_shared_store_degraded") == 1; }));
  const auto before = f.at(0).status()["epoch"];
  json told;
  EXPECT_TRUE(eventually([&] {
    const auto permit = f.at(0).acquire();
    if (!permit.contains("permit")) return false;
    told = f.at(0).report("success", {{"permit", permit["permit"]}, {"epoch", permit["epoch"]}});
    return true;
  })) << "it goes on by itself";
  EXPECT_EQ(told["state"], "closed");
  for (int i = 0; i < 20; ++i) told = f.at(1, "mail").report("failure");
  EXPECT_EQ(told["state"], "open") << "so do others";
  EXPECT_EQ(f.at(0).error("override", {{"mode", "disabled"}, {"reason", "test"}}),
            "STORE_UNAVAILABLE");
  f.nodes.redis.signal(SIGCONT);
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_TRUE(
        eventually([&] { return f.nodes[i].metric("breaker_shared_store_degraded") == 0; }));
  EXPECT_TRUE(eventually([&] { return f.at(0).status()["state"] != "closed"; }))
      << "that it was closed is not in the log";
  EXPECT_TRUE(eventually([&] {
    return f.clients[1].call("breaker.status", {{"service", "mail"}})["result"]["state"] ==
           "closed";
  }));
  EXPECT_EQ(f.at(1).events_of({"breaker_closed"}).size(), 0u);
  EXPECT_EQ(f.at(1, "mail").events_of().size(), 0u);
  EXPECT_GE(f.at(1).status()["epoch"], before);
  const auto permit = f.at(0).await_permit();
  EXPECT_EQ(f.at(0).report("success",
                           {{"permit", permit["permit"]}, {"epoch", permit["epoch"]}})["state"],
            "closed");
  EXPECT_TRUE(f.all_are("closed"));
}

TEST(breakers_of_nodes, admit_all_or_none_while_the_store_is_away_where_policy_says_so) {
  for (const bool opens : {true, false}) {
    breaker_fleet f(1, {std::string("breaker.store_down=") + (opens ? "fail_open" : "fail_closed"),
                        "breaker.consecutive_failures=1"});
    f.at(0, "mail").put("forced_open");
    f.at(0, "sms").report("failure");
    EXPECT_EQ(f.at(0, "sms").acquire()["allowed"], false) << "it is open";
    EXPECT_EQ(f.at(0).acquire()["allowed"], true);
    f.nodes.redis.signal(SIGSTOP);
    EXPECT_TRUE(
        eventually([&] { return f.nodes[0].metric("breaker_shared_store_degraded") == 1; }));
    EXPECT_EQ(f.at(0).acquire()["allowed"], opens);
    EXPECT_EQ(f.at(0, "sms").acquire()["allowed"], opens);
    EXPECT_EQ(f.at(0, "mail").acquire()["allowed"], false) << "an override holds";
    f.nodes.redis.signal(SIGCONT);
    EXPECT_TRUE(eventually([&] { return f.at(0).acquire()["allowed"] == true; }));
    EXPECT_TRUE(eventually([&] { return f.at(0, "sms").acquire()["allowed"] == false; }));
  }
}

TEST(breakers_of_nodes, stay_what_they_were_over_a_restart) {
  breaker_fleet f(3, {"breaker.open_wait_s=300"});
  f.trip();
  f.nodes[0].kill_at_once();
  f.at(1, "mail").put("forced_open");
  ASSERT_TRUE(f.nodes[0].start()) << f.nodes[0].log();
  f.clients[0] = f.nodes[0].connect();
  EXPECT_EQ(f.at(0).status()["state"], "open");
  EXPECT_EQ(f.at(0).acquire()["allowed"], false);
  EXPECT_EQ(f.at(0, "mail").acquire()["state"], "forced_open");
  auto late = f.nodes.add().connect();
  EXPECT_EQ(breaker(late, "pay").acquire()["state"], "open");
  f.nodes.settle();
  EXPECT_EQ(f.types_of(1), types{"breaker_opened"});
}

TEST(breakers_of_nodes, are_the_same_in_all_digests) {
  breaker_fleet f(3, {"breaker.open_wait_s=1", "breaker.half_open_permits=2",
                      "breaker.failure_rate_threshold=0.3"});
  for (int round = 0; round < 40; ++round)
    for (std::size_t i = 0; i < 3; ++i) {
      auto one = f.at(i, "pay-" + std::to_string(round % 4));
      const auto asked = one.acquire();
      if (asked["allowed"] != true) continue;
      json more{{"epoch", asked["epoch"]}};
      if (asked.contains("permit")) more["permit"] = asked["permit"];
      one.report((round + static_cast<int>(i)) % 2 == 0 ? "failure" : "success", more);
      if (round % 13 == 12) one.put("metrics_only", {{"ttl_s", 1}});
    }
  f.nodes.settle();
  std::vector<json> told;
  for (auto& each : f.clients) told.push_back(each.result("server.info", {{"digest", true}}));
  // Time goes on: where the log ended elsewhere, they may differ.
  for (int tries = 0;
       tries < 20 && (told[0]["seq"] != told[1]["seq"] || told[0]["seq"] != told[2]["seq"]);
       ++tries) {
    f.nodes.settle();
    for (std::size_t i = 0; i < 3; ++i)
      told[i] = f.clients[i].result("server.info", {{"digest", true}});
  }
  ASSERT_EQ(told[0]["seq"], told[1]["seq"]);
  EXPECT_EQ(told[0]["digest"], told[1]["digest"]);
  EXPECT_EQ(told[0]["digest"], told[2]["digest"]);
  f.nodes[1].terminate();
  const auto replayed =
      run(tested_binary() + " replay --data-dir " + f.nodes[1].data_dir() + " --keys-file " +
          f.nodes.keys() + " --until " + std::to_string(told[1]["seq"].get<std::uint64_t>()));
  EXPECT_THAT(replayed.out, HasSubstr(told[1]["digest"].get<std::string>())) << replayed.out;
}

TEST(breakers_of_nodes, outlive_an_actor_that_fails) {
  breaker_fleet f(2);
  f.trip();
  EXPECT_EQ(f.clients[0].error("admin.crash", {{"actor", "breaker"}}), "");
  EXPECT_EQ(f.at(1, "mail").put("forced_open")["state"], "forced_open");
  EXPECT_TRUE(f.all_are("forced_open", "mail"));
  EXPECT_TRUE(f.all_are("open"));
}

// Regression: what had to be written first could not be, so that the node ended; and the new actor
// did not know that the store was away.
TEST(breakers_of_nodes, outlive_an_actor_that_fails_while_the_store_is_away) {
  breaker_fleet f(2, {"breaker.store_down=fail_closed"});
  f.trip();
  f.at(0, "mail").report("success");
  f.nodes.redis.signal(SIGSTOP);
  EXPECT_TRUE(eventually([&] { return f.nodes[0].metric("breaker_shared_store_degraded") == 1; }));
  EXPECT_EQ(f.at(0, "mail").acquire()["allowed"], false);
  EXPECT_EQ(f.clients[0].error("admin.crash", {{"actor", "breaker"}}), "");
  EXPECT_TRUE(eventually([&] {
    const auto told = f.clients[0].call("breaker.acquire", {{"service", "sms"}});
    return told.contains("result") && told["result"]["allowed"] == false;
  })) << "as policy has it";
  EXPECT_EQ(f.at(0).status()["state"], "open");
  f.nodes.redis.signal(SIGCONT);
  EXPECT_TRUE(eventually([&] { return f.at(0, "sms").acquire()["allowed"] == true; }));
  EXPECT_TRUE(f.all_are("open"));
  EXPECT_TRUE(eventually([&] {  // STORE_UNAVAILABLE until it has caught up
    return f.clients[0]
        .call("breaker.override",
              {{"service", "mail"}, {"mode", "forced_open"}, {"reason", "test"}})
        .contains("result");
  }));
  f.at(1, "mail").report("success");
  EXPECT_TRUE(f.all_are("forced_open", "mail"));
}

TEST(breakers_of_nodes, show_each_nodes_store) {
  breaker_fleet f(2);
  EXPECT_TRUE(eventually([&] {
    return f.clients[0]
        .call("breaker.status", {{"service", "portcullis"}, {"breaker", "node-0"}})
        .contains("result");
  }));
  EXPECT_EQ(f.clients[0].error("breaker.acquire", {{"service", "portcullis"}, {"breaker", "x"}}),
            "FORBIDDEN");
  EXPECT_EQ(
      f.clients[1].error("breaker.acquire", {{"service", "portcullis"}, {"breaker", "node-1"}}),
      "FORBIDDEN");
}

}  // namespace
}  // namespace portcullis::e2e
