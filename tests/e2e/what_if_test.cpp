// portcullis what-if on the logs of real nodes: who is attacked, stopped, and asked what another
// policy would have done.
#include "breakers.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

struct what_if : testing::Test {
  void begin(std::vector<std::string> set = {}) {
    node.emplace(server_options{.set = std::move(set)});
    client.emplace(node->connect());
  }
  void fail(const json& id, int times, const json& from = context("198.51.100.9")) {
    for (int i = 0; i < times; ++i) validate(*client, id, from);
  }
  void stop() { ASSERT_EQ(node->terminate(), 0); }
  void begin_again() {
    ASSERT_TRUE(node->start());
    client.emplace(node->connect());
  }
  /// Not kill -9, which may lose the last failed attempts.
  void again() {
    stop();
    begin_again();
  }
  [[nodiscard]] ran ask(const std::string& order) const {
    return run(tested_binary() + " what-if --data-dir " + node->data_dir() + " " + order);
  }
  [[nodiscard]] json told(const std::string& order) const {
    const auto answer = ask(order + " --json");
    EXPECT_EQ(answer.status, 0) << answer.out;
    return json::parse(answer.out, nullptr, false);
  }
  static json lockouts(const json& told) { return told["totals"]["lockouts"]; }
  static json counted(int recorded, int other, int more, int fewer) {
    return {{"recorded", recorded}, {"other", other}, {"more", more}, {"fewer", fewer}};
  }

  std::optional<server> node;
  std::optional<line_client> client;
};

TEST_F(what_if, a_lower_threshold_and_a_lower_failure_rate_are_told_as_json_and_as_a_table) {
  begin();
  const auto ada = create(*client, "ada");
  const auto bob = create(*client, "bob", {{"tenant_id", "other"}});
  fail(ada["session_id"], 6);
  fail(bob["session_id"], 2);
  client->result(
      "session.update",
      {{"session_id", ada["session_id"]}, {"context", context()}, {"data", {{"k", "v"}}}});
  breaker mail(*client, "mail");
  for (int i = 0; i < 50; ++i) mail.report(i % 5 < 2 ? "failure" : "success");
  EXPECT_EQ(mail.status()["state"], "closed");
  stop();

  const std::string order = "--set lockout.threshold=5 --set breaker.failure_rate_threshold=0.3";
  const auto answer = told(order);
  EXPECT_EQ(lockouts(answer), counted(0, 1, 1, 0));
  EXPECT_EQ(answer["totals"]["refused"], 1);
  EXPECT_EQ(answer["totals"]["breakers"]["recorded"], 0);
  EXPECT_EQ(answer["totals"]["breakers"]["other"], 1);
  ASSERT_EQ(answer["rows"].size(), 1U);
  EXPECT_EQ(answer["rows"][0]["tenant_id"], "acme");
  EXPECT_EQ(answer["rows"][0]["lockouts"], counted(0, 1, 1, 0));
  EXPECT_EQ(answer["rows"][0]["hour"].get<std::string>().size(), 17U);
  ASSERT_EQ(answer["breakers"].size(), 1U);
  EXPECT_EQ(answer["breakers"][0]["service"], "mail");
  EXPECT_EQ(answer["breakers"][0]["approximate"], true);
  ASSERT_EQ(answer["examples"].size(), 1U);
  EXPECT_EQ(answer["examples"][0]["what"], "lockout_more");
  EXPECT_EQ(answer["examples"][0]["user_id"], "ada");
  EXPECT_EQ(answer["examples"][0]["handle"], ada["handle"]);
  EXPECT_EQ(answer["policy"],
            json({{{"key", "breaker.failure_rate_threshold"}, {"recorded", 0.5}, {"other", 0.3}},
                  {{"key", "lockout.threshold"}, {"recorded", 10}, {"other", 5}}}));

  const auto table = ask(order);
  EXPECT_EQ(table.status, 0);
  EXPECT_THAT(table.out, HasSubstr("lockout.threshold: 5 instead of 10"));
  EXPECT_THAT(table.out, HasSubstr("lockouts of users"));
  EXPECT_THAT(table.out, HasSubstr("acme"));
  EXPECT_THAT(table.out, HasSubstr("would lock out"));
  EXPECT_THAT(table.out, HasSubstr("mail"));
}

TEST_F(what_if, the_policy_of_the_log_would_have_changed_nothing) {
  begin({"lockout.threshold=3", "lockout.revoke_offending=true", "session.max_sessions_per_user=2",
         "session.on_cap=evict_oldest"});
  std::vector<json> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(create(*client, "ada")["session_id"]);
  fail(ids[3], 5);
  fail(ids[3], 2, context());
  again();
  fail(create(*client, "bob")["session_id"], 4);
  stop();
  const auto answer = told("--set lockout.threshold=3");
  EXPECT_EQ(lockouts(answer), counted(2, 2, 0, 0));
  EXPECT_TRUE(answer["rows"].empty()) << answer;
  EXPECT_EQ(answer["totals"]["approximate"], false);
  EXPECT_THAT(answer["notes"].dump(), HasSubstr("the settings given are those"));
  EXPECT_THAT(ask("--set lockout.threshold=3").out, HasSubstr("No difference"));
}

TEST_F(what_if, only_what_differs_from_the_policy_of_the_log_is_told) {
  begin({"lockout.threshold=4", "breaker.max=7"});
  create(*client, "ada");
  stop();
  const auto tried = [&](const std::string& order) { return told(order)["policy"]; };
  for (const std::string range : {"", " --to 0", " --to 1"}) {
    EXPECT_EQ(tried("--set lockout.threshold=4 --set breaker.max=7" + range), json::array());
    EXPECT_EQ(tried("--set breaker.max=9" + range),
              json({{{"key", "breaker.max"}, {"recorded", 7}, {"other", 9}}}));
  }
  EXPECT_EQ(
      tried("--set tenant.acme.session.ip_prefix_v4=24"),
      json({{{"key", "tenant.acme.session.ip_prefix_v4"}, {"recorded", nullptr}, {"other", 24}}}));
}

TEST_F(what_if, what_failed_while_locked_out_is_an_estimate) {
  begin({"lockout.threshold=3"});
  const auto id = create(*client, "ada")["session_id"];
  fail(id, 3 + 4);
  stop();
  const auto enough = told("--set lockout.threshold=7");
  EXPECT_EQ(lockouts(enough), counted(1, 1, 0, 0));
  EXPECT_EQ(enough["totals"]["approximate"], true);
  EXPECT_EQ(lockouts(told("--set lockout.threshold=8")), counted(1, 0, 0, 1));
}

TEST_F(what_if, addresses_are_opened_and_compared_again_but_for_who_is_forgotten) {
  begin({"lockout.threshold=3"});
  fail(create(*client, "ada")["session_id"], 3, context("192.0.2.99"));
  fail(create(*client, "bob")["session_id"], 3, context("198.51.100.9"));
  again();  // addresses are sealed from here on
  fail(create(*client, "cyd")["session_id"], 3, context("192.0.2.99"));
  stop();
  auto answer = told("--set session.ip_prefix_v4=24");
  EXPECT_EQ(lockouts(answer), counted(3, 1, 0, 2));
  EXPECT_EQ(answer["totals"]["approximate"], false);
  EXPECT_EQ(lockouts(told("--set session.ip_binding=observe")), counted(3, 0, 0, 3));
  begin_again();
  auto forget = user("cyd");
  forget["reason"] = "asked for";
  client->result("admin.forget", forget);
  stop();
  answer = told("--set session.ip_prefix_v4=24");
  EXPECT_EQ(lockouts(answer), counted(3, 2, 0, 1));
  EXPECT_EQ(answer["totals"]["approximate"], true);
  EXPECT_THAT(answer.dump(), Not(HasSubstr("cyd")));
}

TEST_F(what_if, only_what_is_between_two_places_of_the_log_is_counted) {
  begin();
  fail(create(*client, "ada")["session_id"], 5);
  EXPECT_EQ(events_at_least(*client, 5, {{"types", {"validation_failed"}}}).size(), 5U);
  const auto seq = client->result("server.info")["seq"].get<std::uint64_t>();
  const auto at_ms = now_ms() + 10;
  ASSERT_TRUE(eventually([&] { return now_ms() > at_ms + 10; }));
  fail(create(*client, "bob")["session_id"], 5);
  stop();
  const auto more = [&](const std::string& range) {
    return lockouts(told("--set lockout.threshold=5 " + range))["more"];
  };
  EXPECT_EQ(more(""), 2);
  EXPECT_EQ(more("--to " + std::to_string(seq)), 1);
  EXPECT_EQ(more("--from " + std::to_string(seq + 1)), 1);
  EXPECT_EQ(more("--to " + std::to_string(at_ms)), 1);
  EXPECT_EQ(more("--from 2001-01-01T00:00:00Z --to 2001-01-02T00:00:00Z"), 0);
}

TEST_F(what_if, an_order_that_makes_no_sense_is_refused_with_what_is_wrong) {
  begin();
  create(*client, "ada");
  const auto in_use = ask("--set lockout.threshold=5");
  EXPECT_EQ(in_use.status, 1);
  EXPECT_THAT(in_use.out, HasSubstr("DATA_DIR_IN_USE"));
  stop();
  const std::pair<const char*, const char*> orders[] = {
      {"", "--set"},
      {"--set lockout.threshold=0", "lockout.threshold"},
      {"--set lockout.treshold=5", "did you mean lockout.threshold"},
      {"--set listen.rpc.address=1.2.3.4:5", "can be tried"},
      {"--set lockout.threshold=5 --from soon", "--from soon"},
      {"--set lockout.threshold=5 --from 9 --to 3", "--from is after --to"},
  };
  for (const auto& [order, why] : orders) {
    const auto refused = ask(order);
    EXPECT_EQ(refused.status, 64) << order;
    EXPECT_THAT(refused.out, HasSubstr(why)) << order;
  }
}

}  // namespace
}  // namespace portcullis::e2e
