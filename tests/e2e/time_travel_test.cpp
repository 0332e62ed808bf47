// Time travel on a stopped node's log: `state` says what the node said then, `explain` finds that
// every event is what the rules give, and sees it when one was made to be something else.
#include "breakers.hpp"
#include "history.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr auto rules = R"([session]
touch_granularity_s = 1
challenge_fields = ["ja3"]
[lockout]
threshold = 4
duration_s = 1
[breaker]
min_calls = 5
open_wait_s = 1
half_open_permits = 1
[tenant."capped".session]
max_sessions_per_user = 2
on_cap = "evict_oldest"
[tenant."brief".session]
idle_ttl_s = 2
touch_granularity_s = 1
)";

ran portcullis(const std::string& words, const server& of) {
  return run(binary() + " " + words + " --data-dir " + of.data_dir());
}
json told(const std::string& words, const server& of) {
  const auto ran = portcullis(words + " --json", of);
  EXPECT_EQ(ran.status, 0) << words << '\n' << ran.out;
  return json::parse(ran.out, nullptr, false);
}
std::string at(std::uint64_t seq) { return " --at " + std::to_string(seq); }

json full_context(const std::string& ja4) {
  auto all = context();
  all.update({{"ja3", "j3"}, {"ja4", ja4}});
  return all;
}

void live_with_sessions(line_client& client, int round) {
  const auto name = [&](const char* who) { return who + std::to_string(round); };
  const auto a = create(client, name("ada"), {{"data", {{"n", round}}}})["session_id"];
  const auto b = create(client, name("ada"))["session_id"];
  const auto c = create(client, name("bob"), {{"context", full_context("t1")}})["session_id"];
  const auto next = client.result("session.rotate", {{"session_id", a}, {"context", context()}});
  validate(client, next["session_id"]);
  const auto last =
      client.result("session.rotate",
                    {{"session_id", b}, {"context", context()}, {"grace", false}})["session_id"];
  EXPECT_EQ(state_of(client, b), "revoked") << "a theft";
  EXPECT_EQ(state_of(client, last), "revoked");
  client.result("session.update",
                {{"session_id", c}, {"context", full_context("t1")}, {"data", {{"k", "v"}}}});
  auto other = full_context("t2");
  EXPECT_EQ(state_of(client, c, other), "valid") << "observed";
  other["ja3"] = "another";
  EXPECT_EQ(state_of(client, c, other), "valid") << "challenged";
  for (int i = 0; i < 4; ++i)
    create(client, "cap", {{"tenant_id", "capped"}, {"idle_ttl_s", 60 + i}});
  create(client, "short", {{"tenant_id", "brief"}});
  client.result("admin.rotate_keys");
  EXPECT_EQ(state_of(client, c, full_context("t1")), "valid") << "rehashed";
  const auto out = create(client, name("eve"))["session_id"];
  client.result("session.revoke", {{"session_id", out}});
  EXPECT_EQ(state_of(client, out), "revoked");
  EXPECT_EQ(state_of(client, std::string(64, 'a')), "not_found");
  for (int i = 0; i < 3; ++i) create(client, name("fay"));
  auto keep = user(name("fay"));
  keep["except_session_id"] = create(client, name("fay"))["session_id"];
  EXPECT_EQ(client.result("session.revoke_user", keep)["revoked"], 3);
  create(client, "gus", {{"tenant_id", "gone"}});
  client.result("session.revoke_tenant", {{"tenant_id", "gone"}});
}

void live_with_lockouts(line_client& client, int round) {
  const auto name = "mal" + std::to_string(round);
  const auto id = create(client, name)["session_id"];
  EXPECT_EQ(state_of(client, id, context("192.0.2.1", "other/2")), "fingerprint_mismatch");
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(state_of(client, id, context("198.51.100.7")), "ip_mismatch");
  EXPECT_EQ(state_of(client, id), "locked_out");
  const auto cleared = create(client, name + "x")["session_id"];
  for (int i = 0; i < 4; ++i) validate(client, cleared, context("198.51.100.8"));
  auto clear = user(name + "x");
  clear["reason"] = "a mistake";
  client.result("lockout.clear", clear);
  EXPECT_EQ(state_of(client, cleared), "valid");
  const auto once = create(client, name + "y")["session_id"];
  validate(client, once, context("198.51.100.9"));
  const auto gone = create(client, name + "z")["session_id"];
  validate(client, gone, context("198.51.100.9"));
  auto forget = user(name + "z");
  forget["reason"] = "asked for";
  EXPECT_EQ(client.result("admin.forget", forget)["forgotten"], true);
}

void live_with_breakers(line_client& client, int round) {
  const breaker mail(client, "mail"), pay(client, "pay" + std::to_string(round));
  mail.trip();
  const auto tried = mail.await_permit();
  mail.report("failure", {{"permit", tried["permit"]}});
  pay.put("metrics_only", {{"ttl_s", 1}});
  pay.trip();
  EXPECT_EQ(events_at_least(client, 1,
                            {{"service", "pay" + std::to_string(round)},
                             {"types", {"breaker_override_cleared"}}})[0]["cause"],
            "override_expired");
  pay.put("forced_open");
  pay.put("none");
  pay.trip();
  const auto again = pay.await_permit();
  EXPECT_EQ(pay.report("success", {{"permit", again["permit"]}})["state"], "closed");
  mail.reset();
  const breaker watched(client, "watched");
  int seq = 10 * round;
  for (const auto* state : {"open", "half_open", "closed", "open"}) {
    ++seq;
    watched.observe(observation("app" + std::to_string(round), seq, state, {{"success", seq}}));
  }
}

const std::vector<std::pair<std::string, std::string>> people = {
    {"acme", "ada0"},  {"acme", "bob0"},  {"acme", "fay1"}, {"acme", "mal0"},
    {"acme", "mal0y"}, {"capped", "cap"}, {"gone", "gus"}};

/// What the node said of each, at one place of its log.
struct moment {
  std::uint64_t seq = 0;
  std::vector<json> sessions, lockouts;  // of each of `people`
  json mail, watched;
};
moment ask(line_client& client) {
  moment out;
  const auto seq = [&] {
    return client.result("server.info", {{"digest", true}})["seq"].get<std::uint64_t>();
  };
  EXPECT_TRUE(eventually([&] {
    out = {};
    out.seq = seq();
    for (const auto& [tenant, name] : people) {
      out.sessions.push_back(client.result("session.list", user(name, tenant))["sessions"]);
      out.lockouts.push_back(client.result("lockout.status", user(name, tenant)));
    }
    out.mail = breaker(client, "mail").status();
    out.watched = breaker(client, "watched").status();
    return seq() == out.seq;  // nothing happened meanwhile
  }));
  return out;
}

void expect_same_breaker(const json& then, const json& live) {
  for (const auto* field : {"kind", "state", "base_state", "epoch", "since_ms", "cause"})
    EXPECT_EQ(then[field], live[field]) << field << '\n' << then << '\n' << live;
}

void expect_state(const moment& then, const server& node) {
  for (std::size_t i = 0; i < people.size(); ++i) {
    const auto name = people[i].first + "/" + people[i].second;
    const auto ran = portcullis("state --json --user " + name + at(then.seq), node);
    if (ran.status == 1) {
      EXPECT_THAT(ran.out, HasSubstr("unknown at ")) << name;
      EXPECT_TRUE(then.sessions[i].empty()) << name;
      continue;
    }
    const auto found = json::parse(ran.out, nullptr, false);
    ASSERT_TRUE(found.is_object()) << ran.out;
    json live = json::array();
    for (const auto& each : found["sessions"]) {
      if (each["status"] != "live") continue;
      json row;
      for (const auto* field :
           {"handle", "created_at_ms", "last_seen_at_ms", "expires_at_ms", "ip", "user_agent"})
        row[field] = each.value(field, json());
      live.push_back(row);
    }
    EXPECT_EQ(live, then.sessions[i]) << name;
    auto lockout = found["lockout"];
    lockout.erase("sources");
    EXPECT_EQ(lockout, then.lockouts[i]) << name;
  }
  expect_same_breaker(told("state --breaker mail" + at(then.seq), node), then.mail);
  expect_same_breaker(told("state --breaker watched/default" + at(then.seq), node), then.watched);
}

TEST(time_travel, state_is_what_the_node_said_and_every_event_is_what_the_rules_give) {
  server node({.config = rules});
  std::vector<moment> moments;
  json brief;
  for (int round = 0; round < 2; ++round) {
    auto client = node.connect();
    live_with_sessions(client, round);
    live_with_lockouts(client, round);
    live_with_breakers(client, round);
    moments.push_back(ask(client));
    brief = create(client, "late", {{"tenant_id", "brief"}});
    EXPECT_FALSE(events_at_least(client, static_cast<std::size_t>(round) * 2 + 2,
                                 {{"types", {"session_expired"}}})
                     .empty());
    EXPECT_FALSE(
        events_at_least(client, static_cast<std::size_t>(round) + 1, {{"types", {"lockout_ended"}}})
            .empty());
    if (round == 0) node.restart();
  }
  {
    auto client = node.connect();
    std::string changed = rules;
    changed.replace(changed.find("threshold = 4"), 13, "threshold = 2");
    node.configure(changed);
    client.result("admin.reload");
    const auto id = create(client, "zoe")["session_id"];
    for (int i = 0; i < 2; ++i) validate(client, id, context("198.51.100.7"));
    EXPECT_EQ(state_of(client, id), "locked_out");
    moments.push_back(ask(client));
  }
  EXPECT_EQ(node.terminate(), 0);

  const auto all = told("explain --all", node);
  EXPECT_EQ(all["disagree"], 0) << all.dump(1);
  EXPECT_EQ(all["events"].get<std::uint64_t>(),
            all["agree"].get<std::uint64_t>() + all["not_checkable"].get<std::uint64_t>());
  for (const auto& [why, count] : all["open"].items()) EXPECT_THAT(why, HasSubstr("forgotten"));
  for (const auto& each : moments) expect_state(each, node);

  // By time: a session that nobody used ends when it was told to.
  const auto handle = brief["handle"].get<std::string>();
  const auto ends = brief["expires_at_ms"].get<std::int64_t>();
  const auto asked = [&](const std::string& what, std::int64_t at_ms) {
    return told(what + " --handle " + handle + " --at " + std::to_string(at_ms), node);
  };
  EXPECT_EQ(asked("state", ends - 1)["sessions"][0]["status"], "live");
  EXPECT_EQ(asked("state", ends)["sessions"][0]["status"], "expired");
  EXPECT_EQ(asked("explain", ends - 1)["valid"], true);
  EXPECT_EQ(asked("explain", ends)["reason"], "expired");
  EXPECT_EQ(asked("explain", ends)["user_id"], "late");
  const auto before = portcullis("explain --handle " + handle + " --at 1", node);
  EXPECT_EQ(before.status, 1);
  EXPECT_THAT(before.out, HasSubstr("unknown at that time"));
}

TEST(time_travel, explain_tells_an_attempt_with_its_values_and_sees_one_that_was_changed) {
  server node;
  std::uint64_t failed = 0, locked = 0, forgotten = 0;
  {
    auto client = node.connect();
    const auto id = create(client, "ada")["session_id"];
    for (int i = 0; i < 10; ++i) validate(client, id, context("198.51.100.7"));
    failed = events_at_least(client, 10, {{"types", {"validation_failed"}}})[4]["seq"];
    locked = events_at_least(client, 1, {{"types", {"lockout_started"}}})[0]["seq"];
    const auto other = create(client, "bob")["session_id"];
    validate(client, other, context("203.0.113.9"));
    forgotten = events_at_least(client, 11, {{"types", {"validation_failed"}}})[10]["seq"];
    auto forget = user("bob");
    forget["reason"] = "asked for";
    client.result("admin.forget", forget);
  }
  EXPECT_EQ(node.terminate(), 0);

  const auto found = told("explain " + std::to_string(failed), node);
  EXPECT_EQ(found["agrees"], true);
  EXPECT_EQ(found["event"]["user_id"], "ada");
  EXPECT_EQ(found["values"]["presented_ip"], "198.51.100.7");
  EXPECT_EQ(found["values"]["session_ip"], "192.0.2.1");
  EXPECT_EQ(found["values"]["attempt"], 5);
  const auto lock = told("explain " + std::to_string(locked), node);
  std::size_t attempts = 0;
  for (const auto& each : lock["because"]) attempts += each["type"] == "validation_failed";
  EXPECT_EQ(attempts, 10U);
  const auto text = portcullis("explain " + std::to_string(locked), node);
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, HasSubstr("agrees   yes"));
  const auto gone = told("explain " + std::to_string(forgotten), node);
  EXPECT_TRUE(gone["agrees"].is_null());
  EXPECT_THAT(gone.dump(), Not(HasSubstr("203.0.113.9")));

  edit(node.data_dir(),
       "UPDATE events SET body=replace(body,'\"attempt\":5','\"attempt\":6') WHERE seq=" +
           std::to_string(failed));
  const auto wrong = portcullis("explain " + std::to_string(failed), node);
  EXPECT_EQ(wrong.status, 1);
  EXPECT_THAT(wrong.out, HasSubstr("the log says attempt 6, the rules give 5"));
  const auto all = portcullis("explain --all", node);
  EXPECT_EQ(all.status, 1);
  EXPECT_THAT(all.out, HasSubstr(std::to_string(failed) + " "));
  EXPECT_THAT(all.out, HasSubstr("disagree"));
}

TEST(time_travel, a_log_that_was_cut_and_lost_old_activity_is_explained_from_where_it_begins) {
  server node({.set = {"store.event_retention_h=24", "store.touch_retention_h=1",
                       "session.idle_ttl_s=5000", "session.touch_granularity_s=1"},
               .own_clock = true});
  std::string handle;
  json id;
  {
    auto client = node.connect();
    create(client, "early");
    live_a_little(client, "acme", 1);
  }
  const auto later = [&](std::chrono::seconds off) {
    ASSERT_EQ(node.terminate(), 0);
    boot_later(node, off);
    ASSERT_TRUE(node.start()) << node.log();
  };
  ASSERT_NO_FATAL_FAILURE(later(std::chrono::hours(30)));
  {
    auto client = node.connect();
    const auto made = create(client, "ada");
    handle = made["handle"];
    id = made["session_id"];
  }
  for (int hour = 31; hour < 36; ++hour) {
    ASSERT_NO_FATAL_FAILURE(later(std::chrono::hours(hour)));
    auto client = node.connect();
    EXPECT_EQ(state_of(client, id), "valid");
    create(client, "someone");
  }
  {
    auto client = node.connect();
    EXPECT_EQ(client.result("session.revoke_user", user("ada"))["revoked"], 1);
  }
  ASSERT_EQ(node.terminate(), 0);
  ASSERT_EQ(portcullis("explain 1", node).status, 1) << "the test needs a log that was cut";
  EXPECT_THAT(portcullis("explain 1", node).out, HasSubstr("the log has no seq 1: it begins at"));
  const auto all = told("explain --all", node);
  EXPECT_EQ(all["disagree"], 0) << all.dump(1);
  EXPECT_THAT(all["open"].dump(), HasSubstr("it is old"));
  EXPECT_EQ(told("explain --handle " + handle, node)["reason"], "revoked");
  EXPECT_EQ(told("state --handle " + handle, node)["sessions"][0]["status"], "revoked");
}

TEST(time_travel, sessions_in_use_over_a_cut_are_neither_contradicted_nor_taken_as_dead) {
  server node(
      {.set = {"store.event_retention_h=24", "store.touch_retention_h=1",
               "session.idle_ttl_s=72000", "session.absolute_ttl_s=864000",
               "session.touch_granularity_s=1", "lockout.threshold=3", "lockout.duration_s=1"},
       .own_clock = true});
  json id;
  {
    auto client = node.connect();
    id = create(client, "ada")["session_id"];
    create(client, "left");
  }
  for (int hour = 10; hour <= 70; hour += 10) {
    ASSERT_EQ(node.terminate(), 0);
    boot_later(node, std::chrono::hours(hour));
    ASSERT_TRUE(node.start()) << node.log();
    auto client = node.connect();
    create(client, "someone");
    if (hour < 50) {  // all of this is to be cut off, and its activity before that
      EXPECT_EQ(state_of(client, id), "valid");
      continue;
    }
    client.result("session.update",
                  {{"session_id", id}, {"context", context()}, {"data", {{"hour", hour}}}});
    for (int i = 0; i < 3; ++i) validate(client, id, context("198.51.100.7"));
    EXPECT_EQ(state_of(client, id), "locked_out");
    ASSERT_TRUE(eventually([&] { return state_of(client, id) == "valid"; }));
  }
  ASSERT_EQ(node.terminate(), 0);
  ASSERT_EQ(portcullis("explain 1", node).status, 1) << "the test needs a log that was cut";

  const auto all = told("explain --all", node);
  EXPECT_EQ(all["disagree"], 0) << all.dump(1);
  EXPECT_THAT(all["open"].dump(), HasSubstr("session_updated: activity is not kept for long"));
  const auto same = told("what-if --set lockout.threshold=3", node);
  EXPECT_TRUE(same["rows"].empty()) << same.dump(1);
  EXPECT_TRUE(same["examples"].empty());
  EXPECT_GT(same["totals"]["lockouts"]["recorded"], 0);
  EXPECT_EQ(same["totals"]["lockouts"]["recorded"], same["totals"]["lockouts"]["other"]);
}

TEST(time_travel, what_is_asked_for_wrongly_is_told_precisely) {
  server node;
  {
    auto client = node.connect();
    create(client, "ada");
  }
  const auto in_use = portcullis("state --user acme/ada", node);
  EXPECT_EQ(in_use.status, 1);
  EXPECT_THAT(in_use.out, HasSubstr("DATA_DIR_IN_USE"));
  EXPECT_EQ(node.terminate(), 0);
  const auto expect = [&](const std::string& words, int status, const std::string& why) {
    const auto ran = portcullis(words, node);
    EXPECT_EQ(ran.status, status) << words << '\n' << ran.out;
    EXPECT_THAT(ran.out, HasSubstr("portcullis: ")) << words;
    EXPECT_THAT(ran.out, HasSubstr(why)) << words;
  };
  expect("state", 64, "one of --user, --handle or --breaker");
  expect("state --user ada", 64, "TENANT/USER");
  expect("state --user acme/ada --at soon", 64, "neither a sequence number nor a time");
  expect("state --handle nothing", 64, "a handle is s_");
  expect("state --user acme/bob", 1, "there is none, or it is forgotten");
  expect("state --user acme/ada --at 1", 1, "unknown at ");
  expect("state --user acme/ada --at 2001-01-01", 1, "the log begins later");
  expect("state --breaker mail", 1, "unknown at ");
  expect("state --user acme/ada --at 999", 1, "the log ends at seq");
  expect("explain", 64, "one of SEQ, --handle or --all");
  expect("explain 3 --all", 64, "one of SEQ, --handle or --all");
  expect("explain 3 --at 2", 64, "--at goes with");
  expect("explain 999", 1, "the log has no seq 999: it ends at");
  expect("explain 2 --keys-file /nowhere", 1, "/nowhere");
}

}  // namespace
}  // namespace portcullis::e2e
