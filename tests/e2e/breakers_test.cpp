// breaker.* of hosted breakers: their life, and what each parameter may be.
#include "breakers.hpp"

namespace portcullis::e2e {
namespace {

/// Waits of a second, and two permits: what takes a minute by default is short here.
const std::vector<std::string> quick{"breaker.open_wait_s=1", "breaker.open_wait_jitter=0",
                                     "breaker.half_open_permits=2"};

TEST(breakers, an_open_one_is_tried_and_closes) {
  server node({.set = quick});
  auto client = node.connect();
  const breaker payments(client, "payments", "cards");
  payments.trip();
  const auto first = payments.await_permit();
  EXPECT_EQ(first["state"], "half_open");
  EXPECT_EQ(first["epoch"], 3);
  EXPECT_THAT(first["permit"].get<std::string>(), testing::MatchesRegex("p_[A-Za-z0-9_-]{22}"));
  const auto busy = payments.acquire();
  EXPECT_EQ(busy["allowed"], false) << "one at a time";
  EXPECT_EQ(busy["state"], "half_open");
  EXPECT_GE(busy["retry_after_ms"], 0);
  EXPECT_LE(busy["retry_after_ms"], 1000);
  EXPECT_EQ(payments.report("success", {{"permit", first["permit"]}}),
            (json{{"state", "half_open"}, {"epoch", 3}}));
  EXPECT_EQ(payments.report("failure", {{"permit", first["permit"]}})["state"], "half_open")
      << "a report that is repeated counts once";
  const auto second = payments.acquire();
  EXPECT_NE(second["permit"], first["permit"]);
  EXPECT_EQ(payments.report("success", {{"permit", second["permit"]}}),
            (json{{"state", "closed"}, {"epoch", 4}}));
  EXPECT_EQ(payments.acquire(), (json{{"allowed", true}, {"state", "closed"}, {"epoch", 4}}));
  EXPECT_EQ(payments.status()["cause"], "probe_succeeded");
  EXPECT_EQ(payments.status()["failure_ratio"], nullptr) << "an empty window";
  EXPECT_EQ(payments.status()["counts"]["failure"], 20) << "all that were ever counted";

  std::vector<std::string> types;
  for (const auto& each : payments.events_of()) types.push_back(each["type"]);
  EXPECT_THAT(types,
              testing::ElementsAre("breaker_opened", "breaker_half_opened", "breaker_closed"));
}

TEST(breakers, a_failed_try_opens_it_again_for_twice_the_time) {
  server node({.set = quick});
  auto client = node.connect();
  const breaker search(client, "search");
  search.trip();
  const auto permit = search.await_permit()["permit"];
  EXPECT_EQ(search.report("timeout", {{"permit", permit}}), (json{{"state", "open"}, {"epoch", 4}}))
      << "half of two calls failed already";
  search.report("success", {{"permit", permit}});
  search.report("success", {{"epoch", 1}});
  EXPECT_NE(search.status()["state"], "closed") << "settled before, and of an old epoch";
  auto counts = search.status()["counts"];
  counts["rejected"] = 0;
  EXPECT_EQ(counts, counts_of({{"failure", 20}, {"timeout", 1}, {"success", 1}}));
  const auto tried =
      events_at_least(client, 2, {{"service", "search"}, {"types", {"breaker_half_opened"}}});
  const auto opened = search.events_of({"breaker_opened"});
  ASSERT_GE(opened.size(), 2U);
  EXPECT_EQ(opened[1]["cause"], "probe_failed");
  const auto at = [](const json& event) { return event["at_ms"].get<std::int64_t>(); };
  EXPECT_GT(at(tried[1]) - at(opened[1]), 1500);
}

TEST(breakers, it_is_half_open_by_time_and_not_by_traffic) {
  server node({.set = quick});
  auto client = node.connect();
  const breaker idle(client, "idle");
  idle.trip();
  events_at_least(client, 1, {{"service", "idle"}, {"types", {"breaker_half_opened"}}});
  EXPECT_EQ(idle.status()["state"], "half_open");
}

TEST(breakers, a_permit_that_nobody_settles_is_free_again) {
  server node({.set = {"breaker.open_wait_s=1", "breaker.permit_ttl_s=1",
                       "breaker.half_open_permits=50", "breaker.failure_rate_threshold=1"}});
  auto client = node.connect();
  const breaker flaky(client, "flaky");
  flaky.trip();
  const auto lost = flaky.await_permit()["permit"];
  const auto next = flaky.await_permit()["permit"];
  EXPECT_NE(next, lost) << "the first one's slot";
  EXPECT_EQ(flaky.report("ignored", {{"permit", next}})["state"], "half_open");
  EXPECT_EQ(flaky.acquire()["allowed"], true) << "ignored gives it back";
  EXPECT_EQ(flaky.report("success", {{"permit", lost}})["state"], "half_open") << "too late";
}

TEST(breakers, a_half_open_phase_in_which_nothing_is_decided_ends) {
  server node({.set = {"breaker.open_wait_s=1", "breaker.max_half_open_s=1"}});
  auto client = node.connect();
  const breaker quiet(client, "quiet");
  quiet.trip();
  const auto opened =
      events_at_least(client, 2, {{"service", "quiet"}, {"types", {"breaker_opened"}}});
  EXPECT_EQ(opened[1]["cause"], "probe_timeout");
  EXPECT_EQ(opened[1]["from"], "half_open");
}

TEST(breakers, slow_calls_open_it_though_they_succeed) {
  server node({.set = {"breaker.slow_call_ms=100", "breaker.slow_rate_threshold=0.5"}});
  auto client = node.connect();
  const breaker slow(client, "slow");
  for (int i = 0; i < 10; ++i) slow.report("success", {{"duration_ms", 100}});
  json told;
  for (int i = 0; i < 10; ++i) told = slow.report("success", {{"duration_ms", 101}});
  EXPECT_EQ(told["state"], "open");
  EXPECT_EQ(slow.status()["cause"], "slow_rate");
  EXPECT_EQ(slow.status()["counts"], counts_of({{"success", 10}, {"slow_success", 10}}));
}

TEST(breakers, consecutive_failures_open_it_where_that_is_configured) {
  server node({.config = "[breaker.\"payments/*\"]\nconsecutive_failures = 3\n"});
  auto client = node.connect();
  const breaker payments(client, "payments", "x"), other(client, "other", "x");
  for (const auto* each : {"failure", "timeout", "success", "failure", "failure"})
    EXPECT_EQ(payments.report(each)["state"], "closed");
  EXPECT_EQ(payments.report("timeout")["state"], "open");
  EXPECT_EQ(payments.status()["cause"], "consecutive_failures");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(other.report("failure")["state"], "closed");
}

struct of_breakers : testing::Test {
  server node;
  line_client client = node.connect();
  breaker payments{client, "payments"};

  /// The field and the rule of what is expected to be an INVALID_PARAMS.
  std::pair<std::string, std::string> refused(const std::string& method, const json& params) {
    const auto reply = client.call("breaker." + method, params);
    if (error_of(reply) != "INVALID_PARAMS") {
      ADD_FAILURE() << method << " " << params.dump().substr(0, 200) << " -> " << reply;
      return {};
    }
    EXPECT_EQ(reply["error"]["code"], -32602);
    const auto details = reply["error"]["data"].value("details", json::object());
    return {details.value("field", ""), details.value("rule", "")};
  }
};

TEST_F(of_breakers, a_closed_one_trips_and_rejects) {
  const auto before_ms = now_ms();
  EXPECT_EQ(payments.acquire(), (json{{"allowed", true}, {"state", "closed"}, {"epoch", 1}}));
  EXPECT_EQ(payments.status()["cause"], "created");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(payments.report("success")["state"], "closed");
  for (int i = 0; i < 9; ++i) EXPECT_EQ(payments.report("failure")["state"], "closed");
  EXPECT_EQ(payments.status()["failure_ratio"], nullptr) << "19 calls";
  EXPECT_FALSE(payments.status().contains("retry_after_ms"));
  EXPECT_EQ(payments.report("failure"), (json{{"state", "open"}, {"epoch", 2}})) << "10 of 20";
  const auto rejected = payments.acquire();
  EXPECT_EQ(rejected["allowed"], false);
  EXPECT_EQ(rejected["state"], "open");
  EXPECT_EQ(rejected["epoch"], 2);
  EXPECT_GT(rejected["retry_after_ms"], 0);
  EXPECT_LE(rejected["retry_after_ms"], 72'000) << "a minute, and a fifth";
  EXPECT_FALSE(rejected.contains("permit"));
  const auto shown = payments.status();
  EXPECT_EQ(shown["state"], "open");
  EXPECT_EQ(shown["base_state"], "open");
  EXPECT_EQ(shown["epoch"], 2);
  EXPECT_EQ(shown["cause"], "failure_rate");
  EXPECT_EQ(shown["kind"], "hosted");
  EXPECT_GE(shown["since_ms"], before_ms);
  EXPECT_LE(shown["since_ms"], now_ms());
  EXPECT_LE(shown["retry_after_ms"], rejected["retry_after_ms"]);
  EXPECT_EQ(shown["counts"], counts_of({{"success", 10}, {"failure", 10}, {"rejected", 1}}));
  EXPECT_EQ(payments.report("success")["state"], "open") << "of a call that began before";
  EXPECT_EQ(payments.status()["counts"]["success"], 11);
}

TEST_F(of_breakers, a_breaker_without_a_name_is_the_default_one) {
  payments.report("success");
  const breaker named(client, "payments", "default");
  EXPECT_EQ(named.status()["counts"]["success"], 1);
  EXPECT_EQ(payments.status()["breaker"], "default");
  EXPECT_EQ(payments.status()["service"], "payments");
  EXPECT_EQ(breaker(client, "payments", "other").error("status"), "BREAKER_NOT_FOUND");
}

TEST_F(of_breakers, names_are_1_to_64_letters_digits_underscores_dots_and_hyphens) {
  const std::string longest(64, 'a');
  EXPECT_EQ(breaker(client, longest, "A_z.0-9").acquire()["allowed"], true);
  const std::vector<json> bad{"",    longest + "a", "a b",   "a/b",         "\u00e4",
                              "a\n", json(7),       nullptr, json::array(), json::object(),
                              true};
  for (const auto& each : bad) {
    for (const auto* method : {"acquire", "status"}) {
      EXPECT_EQ(refused(method, {{"service", each}}).first, "service") << each;
      EXPECT_EQ(refused(method, {{"service", "s"}, {"breaker", each}}).first, "breaker") << each;
    }
    auto calls = observation("web", 1, "closed", json::object());
    calls["service"] = "s";
    calls["source"] = each;
    EXPECT_EQ(refused("observe", calls).first, "source") << each;
  }
  EXPECT_EQ(refused("acquire", json::object()).first, "service");
  EXPECT_EQ(client.result("breaker.list")["breakers"].size(), 2U) << "nothing was made of them";
}

TEST_F(of_breakers, every_method_refuses_what_it_does_not_know_and_misses_what_it_needs) {
  const std::vector<std::pair<std::string, json>> whole{
      {"acquire", {{"service", "s"}}},
      {"report", {{"service", "s"}, {"outcome", "success"}, {"duration_ms", 1}}},
      {"report_batch",
       {{"service", "s"}, {"source", "a"}, {"seq", 1}, {"epoch", 1}, {"counts", json::object()}}},
      {"observe",
       {{"service", "o"},
        {"source", "a"},
        {"source_epoch", 1},
        {"seq", 1},
        {"state", "closed"},
        {"counts", json::object()}}},
      {"status", {{"service", "s"}}},
      {"override", {{"service", "s"}, {"mode", "disabled"}, {"reason", "r"}}},
      {"reset", {{"service", "s"}, {"reason", "r"}}},
      {"list", json::object()}};
  for (const auto& [method, params] : whole) {
    EXPECT_EQ(client.error("breaker." + method, params), "") << method;
    auto more = params;
    more["unknown"] = 1;
    refused(method, more);
    for (const auto& [name, value] : params.items()) {
      auto less = params;
      less.erase(name);
      EXPECT_EQ(refused(method, less), (std::pair<std::string, std::string>(name, "required")))
          << method;
      auto other = params;
      other[name] = value.is_object() ? json("text") : json::object({{"a", 1}});
      EXPECT_EQ(refused(method, other).first, name) << method;
    }
  }
  EXPECT_EQ(client.error("breaker.acquire", json::array({"s"})), "INVALID_PARAMS");
}

TEST_F(of_breakers, a_report_says_how_the_call_ended_and_how_long_it_took) {
  json good{{"service", "payments"}, {"outcome", "success"}, {"duration_ms", 0}};
  const auto with = [&](const char* name, const json& value) {
    auto changed = good;
    changed[name] = value;
    return changed;
  };
  EXPECT_EQ(client.error("breaker.report", with("duration_ms", 86'400'000)), "");
  for (const json& bad : {json(-1), json(86'400'001), json(1.5), json("7"), json(nullptr),
                          json(std::uint64_t{1} << 63)})
    EXPECT_EQ(refused("report", with("duration_ms", bad)).first, "duration_ms") << bad;
  for (const json& bad : {json("rejected"), json("Success"), json(""), json(1), json(nullptr)})
    EXPECT_EQ(refused("report", with("outcome", bad)).first, "outcome") << bad;
  for (const json& bad : {json("timeout"), json("5xx"), json(500), json(nullptr)})
    EXPECT_EQ(refused("report", with("error_kind", bad)).first, "error_kind") << bad;
  for (const auto* kind :
       {"connect", "tls", "dns", "reset", "protocol", "status_5xx", "status_4xx", "other"})
    EXPECT_EQ(client.error("breaker.report", with("error_kind", kind)), "") << kind;
  for (const json& bad : {json(-1), json("1"), json(1.0), json(nullptr)})
    EXPECT_EQ(refused("report", with("epoch", bad)).first, "epoch") << bad;
}

TEST_F(of_breakers, a_permit_is_of_its_form_of_this_breaker_and_was_given_out) {
  for (const json& bad : {json(""), json("p_"), json("p_" + std::string(21, 'A')),
                          json("p_" + std::string(23, 'A')), json("q_" + std::string(22, 'A')),
                          json("p_" + std::string(21, 'A') + "="), json(1), json(nullptr)})
    EXPECT_EQ(refused("report", payments.params(
                                    {{"outcome", "success"}, {"duration_ms", 1}, {"permit", bad}}))
                  .first,
              "permit")
        << bad;
  server quick_node({.set = quick});
  auto there = quick_node.connect();
  const breaker one(there, "one"), two(there, "two");
  one.trip();
  two.trip();
  const auto permit = one.await_permit()["permit"].get<std::string>();
  EXPECT_EQ(two.report_error("success", {{"permit", permit}}), "BREAKER_PERMIT_INVALID");
  // Its last 32 bits are its number: another one of the same phase was never given out.
  auto never = permit;
  never[never.size() - 3] = never[never.size() - 3] == 'B' ? 'C' : 'B';
  EXPECT_EQ(one.report_error("success", {{"permit", never}}), "BREAKER_PERMIT_INVALID");
  EXPECT_EQ(one.report("success", {{"permit", permit}})["state"], "half_open");
  EXPECT_EQ(one.status()["counts"]["success"], 1) << "what is refused counts nowhere";
}

TEST_F(of_breakers, a_batch_counts_once_in_whatever_order_it_comes) {
  const auto send = [&](std::int64_t seq, const json& counts, std::int64_t epoch = 1) {
    return payments.batch(
        {{"source", "web-1"}, {"seq", seq}, {"epoch", epoch}, {"counts", counts}});
  };
  EXPECT_EQ(send(3, {{"success", 5}}),
            (json{{"state", "closed"}, {"epoch", 1}, {"accepted", true}, {"duplicate", false}}));
  EXPECT_EQ(send(1, {{"success", 2}, {"ignored", 1}})["accepted"], true) << "late";
  for (const std::int64_t again : {1, 3})
    EXPECT_EQ(send(again, {{"failure", 100}}),
              (json{{"state", "closed"}, {"epoch", 1}, {"accepted", false}, {"duplicate", true}}));
  EXPECT_EQ(send(2, json::object())["accepted"], true) << "missing counts are 0";
  EXPECT_EQ(payments.status()["counts"], counts_of({{"success", 7}, {"ignored", 1}}));
  EXPECT_EQ(send(4, {{"slow_failure", 7}, {"timeout", 6}, {"rejected", 9}})["state"], "open");
  EXPECT_EQ(send(5, {{"success", 1000}}, 1)["state"], "open") << "of the epoch before";
  EXPECT_EQ(payments.status()["counts"], counts_of({{"success", 1007},
                                                    {"ignored", 1},
                                                    {"slow_failure", 7},
                                                    {"timeout", 6},
                                                    {"rejected", 9}}));
  EXPECT_EQ(payments.status()["sources"][0]["source"], "web-1");
}

TEST_F(of_breakers, counts_and_buckets_have_a_form_and_a_bound) {
  const auto refusal = [&](const json& counts, const json& buckets = nullptr) {
    auto all = payments.params({{"source", "a"}, {"seq", 1}, {"epoch", 1}, {"counts", counts}});
    if (!buckets.is_null()) all["duration_buckets"] = buckets;
    return refused("report_batch", all);
  };
  using refusal_of = std::pair<std::string, std::string>;
  EXPECT_EQ(refusal({{"success", -1}}).first, "counts.success");
  EXPECT_EQ(refusal({{"timeout", 1.5}}).first, "counts.timeout");
  EXPECT_EQ(refusal({{"failure", "1"}}).first, "counts.failure");
  EXPECT_EQ(refusal({{"failures", 1}}), refusal_of("counts", "unknown_parameter"));
  EXPECT_EQ(refusal(json::array({1, 2})).first, "counts");
  EXPECT_EQ(refusal({{"success", std::int64_t{1} << 62}, {"failure", std::int64_t{1} << 62}}),
            refusal_of("counts", "delta_max"));
  const json none(std::vector<int>(12, 0));
  auto eleven = none;
  eleven.erase(11);
  auto thirteen = none;
  thirteen.push_back(0);
  auto negative = none;
  negative[3] = -1;
  for (const auto& bad :
       {eleven, thirteen, negative, json("x"), json::object(), json::array({"0"})})
    EXPECT_EQ(refusal({{"success", 1}}, bad).first, "duration_buckets") << bad;
  EXPECT_EQ(payments.error("status"), "BREAKER_NOT_FOUND") << "none of it made a breaker";
  // Well-formed, and too many: refused and counted.
  EXPECT_EQ(refusal({{"success", 1'000'001}}), refusal_of("counts", "delta_max"));
  EXPECT_EQ(refusal({{"success", 600'000}, {"failure", 400'001}}),
            refusal_of("counts", "delta_max"));
  auto many = none;
  many[0] = many[11] = 500'001;
  EXPECT_EQ(refusal({{"success", 1}}, many), refusal_of("duration_buckets", "delta_max"));
  EXPECT_EQ(node.metric(R"(circuit_breaker_observed_reports_rejected_total{breaker="default",)"
                        R"(reason="delta_too_large",service="payments"})"),
            3);
  EXPECT_EQ(payments.status()["counts"], counts_of(json::object()));
  EXPECT_EQ(payments.batch({{"source", "a"},
                            {"seq", 1},
                            {"epoch", 1},
                            {"counts", {{"success", 1'000'000}}},
                            {"duration_buckets", none}})["accepted"],
            true);
}

TEST_F(of_breakers, a_repeated_key_is_refused_wherever_it_stands) {
  const auto ask = [&](const std::string& method, const std::string& params) {
    client.send(R"({"jsonrpc":"2.0","id":1,"method":"breaker.)" + method + R"(","params":)" +
                params + "}\n");
    return error_of(client.reply());
  };
  EXPECT_EQ(ask("acquire", R"({"service":"a","service":"b"})"), "INVALID_PARAMS");
  EXPECT_EQ(
      ask("report_batch",
          R"({"service":"a","source":"s","seq":1,"epoch":1,"counts":{"success":1,"success":2}})"),
      "INVALID_PARAMS");
  EXPECT_EQ(
      ask("observe",
          R"({"service":"a","source":"s","source_epoch":1,"seq":1,"state":"open","counts":{},"transition":{"from":"closed","to":"open","to":"open","at_ms":1}})"),
      "INVALID_PARAMS");
}

TEST_F(of_breakers, an_override_has_a_mode_a_reason_and_perhaps_a_time) {
  const auto refusal = [&](const json& more) {
    json all = payments.params({{"mode", "disabled"}, {"reason", "r"}});
    all.update(more);
    return refused("override", all).first;
  };
  for (const json& bad : {json("open"), json(""), json(1), json(nullptr)})
    EXPECT_EQ(refusal({{"mode", bad}}), "mode") << bad;
  for (const json& bad : {json(0), json(-1), json(31'536'001), json(1.5), json("1")})
    EXPECT_EQ(refusal({{"ttl_s", bad}}), "ttl_s") << bad;
  EXPECT_EQ(refusal({{"mode", "none"}, {"ttl_s", 5}}), "ttl_s");
  for (const json& bad : {json(""), json("a\nb"), json(std::string(100'0, 'r')), json(1)})
    EXPECT_EQ(refusal({{"reason", bad}}), "reason") << bad;
  EXPECT_EQ(refused("reset", payments.params({{"reason", ""}})).first, "reason");
  EXPECT_EQ(payments.error("status"), "BREAKER_NOT_FOUND");
}

TEST_F(of_breakers, a_breaker_is_of_one_kind) {
  payments.acquire();
  EXPECT_EQ(payments.error("observe", observation("web", 1, "closed", json::object())),
            "BREAKER_KIND_CONFLICT");
  const breaker other(client, "orders");
  other.observe(observation("web", 1, "closed", {{"success", 1}}));
  for (const auto& [method, more] : std::vector<std::pair<std::string, json>>{
           {"acquire", json::object()},
           {"report", {{"outcome", "success"}, {"duration_ms", 1}}},
           {"report_batch",
            {{"source", "a"}, {"seq", 1}, {"epoch", 1}, {"counts", json::object()}}},
           {"override", {{"mode", "disabled"}, {"reason", "r"}}},
           {"reset", {{"reason", "r"}}}})
    EXPECT_EQ(other.error(method, more), "BREAKER_KIND_CONFLICT") << method;
  EXPECT_EQ(other.status()["counts"], counts_of({{"success", 1}}));
  EXPECT_EQ(breaker(client, "nobody").error("status"), "BREAKER_NOT_FOUND");
  EXPECT_EQ(breaker(client, "nobody").error("reset", {{"reason", "r"}}), "BREAKER_NOT_FOUND");
}

TEST_F(of_breakers, requests_of_one_breaker_are_executed_as_sent) {
  std::string all;
  const auto add = [&](int id, const char* method, const json& more) {
    all += json{{"jsonrpc", "2.0"},
                {"id", id},
                {"method", std::string("breaker.") + method},
                {"params", payments.params(more)}}
               .dump();
  };
  int id = 0;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 20; ++i) add(++id, "report", {{"outcome", "failure"}, {"duration_ms", 1}});
    add(++id, "acquire", json::object());
    add(++id, "reset", {{"reason", "again"}});
    add(++id, "acquire", json::object());
  }
  client.send(all);
  std::int64_t epoch = 1;
  for (int round = 0, at = 0; round < 40; ++round) {
    for (int i = 0; i < 20; ++i) {
      const auto reply = client.reply();
      ASSERT_EQ(reply["id"], ++at);
      if (i == 19) ++epoch;
      EXPECT_EQ(reply["result"]["state"], i < 19 ? "closed" : "open") << at;
      EXPECT_EQ(reply["result"]["epoch"], epoch);
    }
    const auto turned_away = client.reply();
    ASSERT_EQ(turned_away["id"], ++at);
    EXPECT_EQ(turned_away["result"]["allowed"], false);
    const auto reset = client.reply();
    ASSERT_EQ(reset["id"], ++at);
    EXPECT_EQ(reset["result"], (json{{"state", "closed"}, {"epoch", ++epoch}}));
    const auto allowed = client.reply();
    ASSERT_EQ(allowed["id"], ++at);
    EXPECT_EQ(allowed["result"]["allowed"], true);
  }
  EXPECT_EQ(payments.events_of().size(), 80U) << "each change once";
}

}  // namespace
}  // namespace portcullis::e2e
