// breaker.observe: what an application reports of its own breaker counts once, whatever the way
// there does to it.
#include <algorithm>
#include <random>

#include "breakers.hpp"

namespace portcullis::e2e {
namespace {

struct observed : testing::Test {
  server node;
  line_client client = node.connect();
  breaker payments{client, "payments"};

  json report(std::int64_t seq, const std::string& state, const json& counts,
              const json& more = json::object()) {
    return payments.observe(observation("web-1", seq, state, counts, more));
  }
};

const json taken{{"accepted", true}, {"duplicate", false}};
const json again{{"accepted", false}, {"duplicate", true}};

TEST_F(observed, counts_are_cumulative_and_a_report_sent_twice_counts_once) {
  EXPECT_EQ(report(1, "closed", {{"success", 10}}), taken);
  EXPECT_EQ(report(1, "closed", {{"success", 10}}), again);
  EXPECT_EQ(report(2, "closed", {{"success", 15}, {"timeout", 2}}), taken);
  EXPECT_EQ(report(1, "closed", {{"success", 10}}), again);
  const auto shown = payments.status();
  EXPECT_EQ(shown["counts"], counts_of({{"success", 15}, {"timeout", 2}}));
  EXPECT_EQ(shown["kind"], "observed");
  EXPECT_EQ(shown["failure_ratio"], nullptr);
  ASSERT_EQ(shown["sources"].size(), 1U);
  EXPECT_EQ(shown["sources"][0]["source"], "web-1");
  EXPECT_EQ(shown["sources"][0]["state"], "closed");
  EXPECT_LE(shown["sources"][0]["last_report_at_ms"], now_ms());
}

TEST_F(observed, a_report_that_was_overtaken_adds_no_counts_but_its_transition) {
  EXPECT_EQ(report(3, "closed", {{"success", 30}}), taken);
  EXPECT_EQ(report(2, "open", {{"success", 20}},
                   {{"transition", {{"from", "half_open"}, {"to", "open"}, {"at_ms", 5}}}}),
            taken);
  EXPECT_EQ(payments.status()["counts"], counts_of({{"success", 30}}));
  EXPECT_EQ(payments.status()["state"], "closed") << "the newest report's";
  const auto opened = events_at_least(client, 1, {{"types", {"breaker_opened"}}});
  ASSERT_EQ(opened.size(), 1U);
  EXPECT_EQ(opened[0]["from"], "half_open");
  EXPECT_EQ(opened[0]["source"], "web-1");
  EXPECT_EQ(opened[0]["transitioned_at_ms"], 5);
  EXPECT_EQ(opened[0]["kind"], "observed");
  EXPECT_EQ(opened[0]["cause"], "reported");
}

TEST_F(observed, any_order_and_any_repetition_give_the_same) {
  std::vector<json> reports;
  json counts = counts_of(json::object());
  const std::vector<std::string> states{"closed", "open", "half_open"};
  for (int seq = 1; seq <= 60; ++seq) {
    counts["success"] = counts["success"].get<int>() + seq;
    counts["failure"] = counts["failure"].get<int>() + 1;
    const auto from = states[static_cast<std::size_t>(seq - 1) % 3];
    const auto to = states[static_cast<std::size_t>(seq) % 3];
    reports.push_back(
        observation("web-1", seq, to, counts,
                    {{"transition", {{"from", from}, {"to", to}, {"at_ms", 1'000'000 + seq}}}}));
  }
  auto sent = reports;
  sent.insert(sent.end(), reports.begin(), reports.end());
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::shuffle(sent.begin(), sent.end(), std::mt19937(seed));
  for (const auto& each : sent) payments.observe(each);
  EXPECT_EQ(payments.status()["counts"], counts);
  EXPECT_EQ(payments.status()["state"], "closed");
  const auto told = payments.events_of();
  std::vector<std::int64_t> named;
  for (const auto& each : told)
    if (each.contains("transitioned_at_ms"))
      named.push_back(each["transitioned_at_ms"].get<std::int64_t>() - 1'000'000);
  std::sort(named.begin(), named.end());
  EXPECT_EQ(std::unique(named.begin(), named.end()), named.end()) << "none twice";
}

TEST_F(observed, a_source_that_starts_again_starts_at_0_and_its_past_is_over) {
  report(7, "open", {{"failure", 40}}, {{"source_epoch", 100}});
  EXPECT_EQ(report(1, "closed", {{"success", 3}}, {{"source_epoch", 200}}), taken);
  EXPECT_EQ(payments.status()["counts"], counts_of({{"failure", 40}, {"success", 3}}));
  EXPECT_EQ(payments.status()["state"], "closed");
  EXPECT_EQ(report(8, "open", {{"failure", 90}}, {{"source_epoch", 100}}),
            (json{{"accepted", false}, {"duplicate", false}}))
      << "of a life that is over";
  EXPECT_EQ(payments.status()["counts"], counts_of({{"failure", 40}, {"success", 3}}));
  EXPECT_EQ(payments.status()["state"], "closed");
}

TEST_F(observed, counts_that_decrease_are_refused_and_change_nothing) {
  report(1, "closed", {{"success", 10}, {"failure", 5}});
  const auto rolling = observation("web-1", 2, "open", {{"success", 11}, {"failure", 4}});
  EXPECT_EQ(payments.error("observe", rolling), "BREAKER_COUNTS_DECREASED");
  EXPECT_EQ(payments.status()["counts"], counts_of({{"success", 10}, {"failure", 5}}));
  EXPECT_EQ(payments.status()["state"], "closed");
  EXPECT_EQ(report(2, "closed", {{"success", 11}, {"failure", 5}}), taken) << "the number is free";
  json buckets(std::vector<int>(12, 3));
  report(3, "closed", {{"success", 11}, {"failure", 5}}, {{"duration_buckets", buckets}});
  buckets[11] = 2;
  EXPECT_EQ(
      payments.error("observe", observation("web-1", 4, "closed", {{"success", 11}, {"failure", 5}},
                                            {{"duration_buckets", buckets}})),
      "BREAKER_COUNTS_DECREASED");
}

TEST_F(observed, more_than_a_million_more_is_refused) {
  report(1, "closed", {{"success", 1'000'000}});
  const auto told =
      client.call("breaker.observe",
                  payments.params(observation("web-1", 2, "closed", {{"success", 2'000'001}})));
  EXPECT_EQ(error_of(told), "INVALID_PARAMS");
  EXPECT_EQ(told["error"]["data"]["details"],
            (json{{"field", "counts"}, {"rule", "delta_max"}, {"limit", 1'000'000}}));
  EXPECT_EQ(report(3, "closed", {{"success", 2'000'000}}), taken);
  EXPECT_EQ(payments.status()["counts"]["success"], 2'000'000);
}

TEST_F(observed, a_source_first_heard_in_its_middle_is_counted_from_there) {
  EXPECT_EQ(report(50, "closed", {{"success", 5'000'000}}), taken);
  EXPECT_EQ(report(51, "closed", {{"success", 5'000'007}}), taken);
  EXPECT_EQ(payments.status()["counts"]["success"], 7);
}

TEST_F(observed, a_65th_source_is_refused) {
  for (int i = 0; i < 64; ++i)
    payments.observe(observation("web-" + std::to_string(i), 1, "closed", {{"success", 1}}));
  EXPECT_EQ(payments.error("observe", observation("web-64", 1, "open", {{"failure", 1}})),
            "BREAKER_SOURCE_LIMIT");
  EXPECT_EQ(payments.status()["counts"], counts_of({{"success", 64}}));
  EXPECT_EQ(payments.status()["sources"].size(), 64U);
  EXPECT_EQ(payments.observe(observation("web-3", 2, "closed", {{"success", 2}})), taken);
}

TEST_F(observed, several_sources_are_one_breaker_as_bad_as_the_worst) {
  payments.observe(observation("web-1", 1, "closed", {{"success", 1}}));
  payments.observe(observation("web-2", 1, "open", {{"failure", 9}}));
  payments.observe(observation("web-3", 1, "half_open", {{"failure", 4}}));
  EXPECT_EQ(payments.status()["state"], "open");
  EXPECT_EQ(payments.status()["counts"], counts_of({{"success", 1}, {"failure", 13}}));
  payments.observe(observation("web-2", 2, "closed", {{"failure", 9}}));
  EXPECT_EQ(payments.status()["state"], "half_open");
  payments.observe(observation("web-3", 2, "closed", {{"failure", 4}}));
  EXPECT_EQ(payments.status()["state"], "closed");
  const auto told = payments.events_of();
  ASSERT_EQ(told.size(), 4U) << "each source's own changes";
  EXPECT_EQ(told[0]["source"], "web-2");
  EXPECT_FALSE(told[0].contains("transitioned_at_ms")) << "nobody named it";
}

TEST_F(observed, forced_open_and_disabled_are_told_by_to) {
  report(1, "forced_open", json::object());
  EXPECT_EQ(payments.status()["state"], "forced_open");
  report(2, "disabled", json::object());
  const auto told = payments.events_of();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0]["type"], "breaker_opened");
  EXPECT_EQ(told[0]["to"], "forced_open");
  EXPECT_EQ(told[1]["type"], "breaker_closed");
  EXPECT_EQ(told[1]["to"], "disabled");
}

TEST_F(observed, what_is_known_of_a_source_outlives_the_server) {
  report(4, "open", {{"success", 10}, {"failure", 7}});
  ASSERT_EQ(node.terminate(), 0);
  ASSERT_TRUE(node.start()) << node.log();
  auto anew = node.connect();
  const breaker there(anew, "payments");
  EXPECT_EQ(there.status()["state"], "open");
  EXPECT_EQ(there.status()["kind"], "observed");
  EXPECT_EQ(sum_of(there.status()["counts"]), 0) << "counted since this start";
  EXPECT_EQ(there.observe(observation("web-1", 4, "open", {{"success", 10}, {"failure", 7}})),
            again);
  EXPECT_EQ(there.observe(observation("web-1", 5, "open", {{"success", 12}, {"failure", 7}})),
            taken);
  EXPECT_EQ(there.status()["counts"], counts_of({{"success", 2}}));
  EXPECT_EQ(there.error("observe", observation("web-1", 6, "open", {{"success", 11}})),
            "BREAKER_COUNTS_DECREASED");
}

TEST_F(observed, the_parts_of_a_report_have_their_forms) {
  const auto field = [&](const json& more) {
    auto all = payments.params(observation("web-1", 1, "closed", json::object()));
    all.update(more);
    const auto told = client.call("breaker.observe", all);
    EXPECT_EQ(error_of(told), "INVALID_PARAMS") << more;
    return told["error"]["data"]["details"].value("field", "");
  };
  for (const json& bad : {json("Open"), json("half-open"), json(0), json(nullptr)})
    EXPECT_EQ(field({{"state", bad}}), "state") << bad;
  for (const json& bad : {json(-1), json("1"), json(1.0), json(nullptr)}) {
    EXPECT_EQ(field({{"seq", bad}}), "seq") << bad;
    EXPECT_EQ(field({{"source_epoch", bad}}), "source_epoch") << bad;
    EXPECT_EQ(field({{"transition", {{"from", "closed"}, {"to", "open"}, {"at_ms", bad}}}}),
              "transition.at_ms");
  }
  EXPECT_EQ(field({{"transition", "open"}}), "transition");
  EXPECT_EQ(field({{"transition", {{"from", "closed"}, {"to", "open"}}}}), "transition.at_ms");
  EXPECT_EQ(field({{"transition", {{"from", "x"}, {"to", "open"}, {"at_ms", 1}}}}),
            "transition.from");
  EXPECT_EQ(field({{"transition", {{"from", "open"}, {"to", ""}, {"at_ms", 1}}}}), "transition.to");
  EXPECT_EQ(field({{"transition", {{"from", "open"}, {"to", "open"}, {"at_ms", 1}, {"why", "x"}}}}),
            "transition");
  EXPECT_EQ(field({{"counts", {{"success", -5}}}}), "counts.success");
  EXPECT_EQ(field({{"duration_buckets", json::array({1})}}), "duration_buckets");
  EXPECT_EQ(payments.error("status"), "BREAKER_NOT_FOUND");
}

}  // namespace
}  // namespace portcullis::e2e
