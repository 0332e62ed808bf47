// session.*: every field and rule of protocol.md, Sessions.
#include <atomic>
#include <map>
#include <set>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

using testing::MatchesRegex;

struct sessions : testing::Test {
  server node;
  line_client client = node.connect();

  json with(const json& id, json more = json::object()) {
    json params{{"session_id", id}, {"context", context()}};
    params.update(more);
    return params;
  }
};

TEST_F(sessions, create_gives_every_documented_field) {
  const auto before = now_ms();
  const auto made = create(client, "ada", {{"data", {{"a", 1}}}});
  EXPECT_THAT(made["session_id"].get<std::string>(), MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(made["session_id"].get<std::string>().size(), 64U);
  EXPECT_THAT(made["handle"].get<std::string>(), MatchesRegex("s_[A-Za-z0-9_-]+"));
  EXPECT_EQ(made["handle"].get<std::string>().size(), 24U);
  EXPECT_EQ(made["version"], 1);
  const auto created = made["created_at_ms"].get<std::int64_t>();
  EXPECT_NEAR(static_cast<double>(created), static_cast<double>(before), 5000);
  EXPECT_EQ(made["idle_expires_at_ms"], created + 900'000);
  EXPECT_EQ(made["absolute_expires_at_ms"], created + 43'200'000);
  EXPECT_EQ(made["expires_at_ms"], made["idle_expires_at_ms"]);
  EXPECT_EQ(made.size(), 7U);
}

TEST_F(sessions, validate_gives_every_documented_field) {
  const auto made = create(client, "ada");
  const auto valid = validate(client, made["session_id"]);
  EXPECT_EQ(valid, (json{{"valid", true},
                         {"tenant_id", "acme"},
                         {"user_id", "ada"},
                         {"handle", made["handle"]},
                         {"version", 1},
                         {"created_at_ms", made["created_at_ms"]},
                         {"expires_at_ms", made["expires_at_ms"]}}));
}

TEST_F(sessions, ids_of_one_user_share_the_routing_byte_and_handles_begin_with_it) {
  const auto a = create(client, "ada");
  const auto b = create(client, "ada");
  EXPECT_NE(a["session_id"], b["session_id"]);
  EXPECT_EQ(a["session_id"].get<std::string>().substr(0, 2),
            b["session_id"].get<std::string>().substr(0, 2));
  EXPECT_EQ(a["handle"].get<std::string>().substr(0, 3),
            b["handle"].get<std::string>().substr(0, 3));
}

TEST_F(sessions, data_comes_back_minified_and_otherwise_byte_for_byte) {
  const std::string sent =
      R"({ "n" : 1.0 , "big":123456789012345678901234567890,"e":1e3,"u":"\u00e9é\/","z":{"b" : [ 1 , 2 ], "a":null}, "":-0 })";
  const std::string kept =
      R"({"n":1.0,"big":123456789012345678901234567890,"e":1e3,"u":"\u00e9é\/","z":{"b":[1,2],"a":null},"":-0})";
  client.send(
      R"({"jsonrpc":"2.0","id":1,"method":"session.create","params":{"tenant_id":"acme","user_id":"ada","context":{"ip":"::1"},"data":)" +
      sent + "}}\n");
  const auto id = client.reply()["result"]["session_id"];
  client.send(json{{"jsonrpc", "2.0"},
                   {"id", 2},
                   {"method", "session.validate"},
                   {"params", {{"session_id", id}, {"context", {{"ip", "::1"}}}}}}
                  .dump());
  EXPECT_THAT(client.line().value_or(""), testing::HasSubstr("\"data\":" + kept + ","));
}

TEST_F(sessions, data_may_hold_16_kib_minified_and_not_one_byte_more) {
  const auto of = [](std::size_t size) { return json{{"d", std::string(size - 8, 'x')}}; };
  EXPECT_EQ(validate(client, create(client, "ada", {{"data", of(16384)}})["session_id"])["data"],
            of(16384));
  auto params = user("ada");
  params["context"] = context();
  params["data"] = of(16385);
  const auto refused = client.call("session.create", params);
  EXPECT_EQ(error_of(refused), "DATA_TOO_LARGE");
  EXPECT_EQ(refused["error"]["data"]["details"]["limit"], 16384);
}

TEST_F(sessions, malformed_parameters_are_errors_of_form_that_name_the_field) {
  const std::string id(64, 'a');
  const auto create_with = [](json more) {
    json params{{"tenant_id", "acme"}, {"user_id", "u"}, {"context", context()}};
    params.update(more);
    return params;
  };
  const struct {
    std::string method;
    json params;
    std::string field;
  } rows[] = {
      {"session.create", create_with({{"tenant_id", ""}}), "tenant_id"},
      {"session.create", create_with({{"tenant_id", std::string(129, 't')}}), "tenant_id"},
      {"session.create", create_with({{"user_id", std::string(257, 'u')}}), "user_id"},
      {"session.create", create_with({{"user_id", "a\nb"}}), "user_id"},
      {"session.create", create_with({{"user_id", "a\u0085b"}}), "user_id"},
      {"session.create", create_with({{"user_id", "a\u202eb"}}), "user_id"},
      {"session.create", create_with({{"user_id", 5}}), "user_id"},
      {"session.create", create_with({{"context", {{"user_agent", "x"}}}}), "context.ip"},
      {"session.create", create_with({{"context", {{"ip", "1.2.3"}}}}), "context.ip"},
      {"session.create", create_with({{"context", {{"ip", "fe80::1%eth0"}}}}), "context.ip"},
      {"session.create",
       create_with({{"context", {{"ip", "1.2.3.4"}, {"ja4", std::string(1025, 'x')}}}}),
       "context.ja4"},
      {"session.create", create_with({{"context", {{"ip", "1.2.3.4"}, {"colour", "x"}}}}),
       "context"},
      {"session.create", create_with({{"data", json::array()}}), "data"},
      {"session.create", create_with({{"idle_ttl_s", "5"}}), "idle_ttl_s"},
      {"session.validate",
       {{"session_id", std::string(63, 'a')}, {"context", context()}},
       "session_id"},
      {"session.validate",
       {{"session_id", std::string(64, 'A')}, {"context", context()}},
       "session_id"},
      {"session.validate",
       {{"session_id", std::string(64, 'g')}, {"context", context()}},
       "session_id"},
      {"session.validate", {{"session_id", id}}, "context"},
      {"session.validate", {{"session_id", id}, {"context", context()}, {"touch", 1}}, "touch"},
      {"session.update", {{"session_id", id}, {"context", context()}}, "data"},
      {"session.update",
       {{"session_id", id}, {"context", context()}, {"data", json::object()}, {"version", 1.5}},
       "version"},
      {"session.rotate", {{"session_id", id}, {"context", context()}, {"grace", "no"}}, "grace"},
      {"session.revoke", json::object(), "session_id"},
      {"session.revoke", {{"handle", "s_short"}}, "handle"},
      {"session.revoke",
       {{"session_id", id}, {"handle", "s_AAAAAAAAAAAAAAAAAAAAAA"}},
       "session_id"},
      {"session.revoke_user", {{"tenant_id", "a"}}, "user_id"},
      {"session.revoke_tenant", json::object(), "tenant_id"},
      {"session.list", {{"tenant_id", "a"}, {"user_id", "u"}, {"limit", 0}}, "limit"},
      {"session.list", {{"tenant_id", "a"}, {"user_id", "u"}, {"limit", 1001}}, "limit"},
      {"session.find", {{"tenant_id", "a"}}, "ip"},
      {"session.find", {{"tenant_id", "a"}, {"ip", "::1"}, {"user_agent", "x"}}, "ip"},
  };
  for (const auto& row : rows) {
    const auto got = client.call(row.method, row.params);
    EXPECT_EQ(error_of(got), "INVALID_PARAMS") << row.method << row.params;
    if (error_of(got) == "INVALID_PARAMS") {
      EXPECT_EQ(got["error"]["data"]["details"].value("field", ""), row.field)
          << row.method << row.params;
    }
  }
}

TEST_F(sessions, tenants_and_users_may_be_any_text_to_the_last_byte) {
  for (const auto& name : {std::string(128, 't'), std::string("Ünïcode 😀 | \" \\ ' %"),
                           std::string(" "), std::string("\x7f")}) {
    auto params = user("ada:" + name, name);
    params["context"] = context();
    const auto made = client.result("session.create", params);
    const auto valid = validate(client, made["session_id"]);
    EXPECT_EQ(valid["tenant_id"], name);
    EXPECT_EQ(valid["user_id"], "ada:" + name);
  }
}

TEST_F(sessions, a_ttl_may_only_shorten_the_policy) {
  const auto made = create(client, "ada", {{"idle_ttl_s", 60}, {"absolute_ttl_s", 120}});
  const auto created = made["created_at_ms"].get<std::int64_t>();
  EXPECT_EQ(made["idle_expires_at_ms"], created + 60'000);
  EXPECT_EQ(made["absolute_expires_at_ms"], created + 120'000);
  for (const auto& [key, value, limit] :
       {std::tuple{"idle_ttl_s", 901, 900}, {"absolute_ttl_s", 43201, 43200}}) {
    auto params = user("ada");
    params["context"] = context();
    params[key] = value;
    const auto refused = client.call("session.create", params);
    EXPECT_EQ(error_of(refused), "TTL_OUT_OF_RANGE") << key;
    EXPECT_EQ(refused["error"]["data"]["details"]["field"], key);
    EXPECT_EQ(refused["error"]["data"]["details"]["limit"], limit);
  }
  for (const int value : {0, -1}) {
    auto params = user("ada");
    params["context"] = context();
    params["idle_ttl_s"] = value;
    EXPECT_THAT(client.error("session.create", params),
                testing::AnyOf("TTL_OUT_OF_RANGE", "INVALID_PARAMS"));
  }
}

TEST_F(sessions,
       invariant_03_idle_and_absolute_expiry_are_both_enforced_and_activity_extends_only_idle) {
  const auto idle = create(client, "idle", {{"idle_ttl_s", 1}});
  const auto absolute = create(client, "absolute", {{"absolute_ttl_s", 2}, {"idle_ttl_s", 2}});
  const auto ends = absolute["absolute_expires_at_ms"].get<std::int64_t>();
  // Kept active to the end: it ends at its absolute time all the same, and never validates after
  // it.
  std::int64_t last_valid_sent = 0;
  EXPECT_TRUE(eventually([&] {
    const auto sent = now_ms();
    const auto answer = validate(client, absolute["session_id"]);
    if (answer["valid"] == true) {
      last_valid_sent = sent;
      EXPECT_LE(answer["expires_at_ms"], ends);
      return false;
    }
    EXPECT_EQ(answer["reason"], "expired");
    return true;
  }));
  EXPECT_LT(last_valid_sent, ends + 1000);
  EXPECT_GT(last_valid_sent, ends - 1000) << "it was valid until then";
  EXPECT_EQ(state_of(client, idle["session_id"]), "expired");
  for (const auto& [who, kind] : {std::pair{idle, "idle"}, {absolute, "absolute"}}) {
    const auto found =
        events_at_least(client, 1, {{"types", {"session_expired"}}, {"handle", who["handle"]}});
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0]["kind"], kind);
  }
  EXPECT_EQ(client.result("session.stats")["expired"], 2);
}

TEST_F(sessions, activity_keeps_a_session_alive_past_its_idle_ttl_and_touch_false_does_not) {
  const auto touched = create(client, "touched", {{"idle_ttl_s", 2}});
  const auto watched = create(client, "watched", {{"idle_ttl_s", 2}});
  EXPECT_TRUE(eventually([&] {
    EXPECT_EQ(state_of(client, touched["session_id"]), "valid");
    const auto seen =
        client.result("session.validate", with(watched["session_id"], {{"touch", false}}));
    return seen["valid"] == false;
  }));
  EXPECT_GE(now_ms(), watched["idle_expires_at_ms"].get<std::int64_t>() - 1000);
  EXPECT_GT(validate(client, touched["session_id"])["expires_at_ms"], touched["expires_at_ms"]);
  EXPECT_EQ(state_of(client, watched["session_id"]), "expired");
}

TEST_F(sessions, an_unknown_id_is_not_found_and_that_is_no_error) {
  const auto answer = validate(client, std::string(64, '0'));
  EXPECT_EQ(answer, (json{{"valid", false}, {"reason", "not_found"}}));
  EXPECT_EQ(client.error("session.update", with(std::string(64, '0'), {{"data", json::object()}})),
            "SESSION_NOT_FOUND");
  EXPECT_EQ(client.error("session.rotate", with(std::string(64, '0'))), "SESSION_NOT_FOUND");
  EXPECT_EQ(client.result("session.revoke", {{"session_id", std::string(64, '0')}})["revoked"], 0);
  EXPECT_EQ(client.result("session.revoke", {{"handle", "s_AAAAAAAAAAAAAAAAAAAAAA"}})["revoked"],
            0);
  const auto live = create(client, "ada");
  std::string other_text = live["handle"];
  other_text.back() = static_cast<char>(other_text.back() + 1);  // bits past the last byte
  EXPECT_EQ(client.result("session.revoke", {{"handle", other_text}})["revoked"], 0);
  EXPECT_EQ(state_of(client, live["session_id"]), "valid");
  EXPECT_EQ(client.result("session.revoke_user", user("nobody"))["revoked"], 0);
  EXPECT_EQ(client.result("session.revoke_tenant", {{"tenant_id", "none"}})["revoked"], 0);
  EXPECT_EQ(client.result("session.list", user("nobody"))["sessions"], json::array());
}

TEST_F(sessions, an_ipv4_mapped_address_equals_its_ipv4) {
  const auto id = create(client, "ada", {{"context", context("::ffff:192.0.2.1")}})["session_id"];
  EXPECT_EQ(state_of(client, id, context("192.0.2.1")), "valid");
  EXPECT_EQ(state_of(client, id, context("::ffff:c000:201")), "valid");
  EXPECT_EQ(state_of(client, id, context("192.0.2.2")), "ip_mismatch");
  EXPECT_EQ(client.result("session.list", user("ada"))["sessions"][0]["ip"], "192.0.2.1");
}

TEST_F(sessions, ipv6_agrees_in_64_bits_and_ipv4_in_32) {
  const auto id = create(client, "ada", {{"context", context("2001:db8:0:1::1")}})["session_id"];
  EXPECT_EQ(state_of(client, id, context("2001:DB8:0:1:ffff::2")), "valid");
  EXPECT_EQ(state_of(client, id, context("2001:db8:0:2::1")), "ip_mismatch");
  EXPECT_EQ(state_of(client, id, context("192.0.2.1")), "ip_mismatch");
}

TEST_F(sessions, an_absent_field_is_not_compared_and_a_present_one_must_stay) {
  const auto bare = create(client, "bare", {{"context", {{"ip", "192.0.2.1"}}}})["session_id"];
  EXPECT_EQ(state_of(client, bare, context("192.0.2.1", "anything")), "valid");
  json full{{"ip", "192.0.2.1"},
            {"user_agent", "ua"},
            {"accept", "text/html"},
            {"accept_language", "en"},
            {"accept_encoding", "br"}};
  const auto id = create(client, "full", {{"context", full}})["session_id"];
  EXPECT_EQ(state_of(client, id, full), "valid");
  for (const auto* field : {"user_agent", "accept", "accept_language", "accept_encoding"}) {
    auto changed = full;
    changed[field] = "other";
    EXPECT_EQ(state_of(client, id, changed), "fingerprint_mismatch") << field;
    changed[field] = "";
    EXPECT_EQ(state_of(client, id, changed), "fingerprint_mismatch") << field << " empty";
  }
  auto more = full;
  more["ja3"] = "ja3";
  EXPECT_EQ(state_of(client, id, more), "valid") << "not a field of the policy";
  EXPECT_EQ(client.result("lockout.status", user("full"))["failed_attempts"], 8);
}

TEST_F(sessions, an_address_is_judged_before_the_fingerprint_and_an_end_before_both) {
  const auto id = create(client, "ada")["session_id"];
  EXPECT_EQ(state_of(client, id, context("198.51.100.1", "other")), "ip_mismatch");
  EXPECT_EQ(state_of(client, id, context("192.0.2.1", "other")), "fingerprint_mismatch");
  client.result("session.revoke", {{"session_id", id}});
  EXPECT_EQ(state_of(client, id, context("198.51.100.1", "other")), "revoked");
  EXPECT_EQ(client.result("lockout.status", user("ada"))["failed_attempts"], 2)
      << "an ended session counts nothing";
}

TEST_F(sessions, update_and_rotate_check_the_context_like_validate_and_count) {
  const auto id = create(client, "ada")["session_id"];
  const auto elsewhere = context("198.51.100.1");
  const auto other_device = context("192.0.2.1", "other");
  EXPECT_EQ(
      client.error("session.update", with(id, {{"context", elsewhere}, {"data", json::object()}})),
      "SESSION_IP_MISMATCH");
  EXPECT_EQ(client.error("session.rotate", with(id, {{"context", other_device}})),
            "SESSION_FINGERPRINT_MISMATCH");
  EXPECT_EQ(client.result("lockout.status", user("ada"))["failed_attempts"], 2);
}

TEST_F(sessions, update_replaces_data_and_raises_the_version) {
  const auto id = create(client, "ada", {{"data", {{"a", 1}, {"b", 2}}}})["session_id"];
  EXPECT_EQ(client.result("session.update", with(id, {{"data", {{"c", 3}}}})),
            (json{{"version", 2}}));
  EXPECT_EQ(validate(client, id)["data"], (json{{"c", 3}}));
  EXPECT_EQ(
      client.result("session.update", with(id, {{"data", {{"c", 4}}}, {"version", 2}}))["version"],
      3);
  const auto stale =
      client.call("session.update", with(id, {{"data", {{"c", 5}}}, {"version", 2}}));
  EXPECT_EQ(error_of(stale), "SESSION_VERSION_CONFLICT");
  EXPECT_EQ(stale["error"]["data"]["retryable"], true);
  for (const std::int64_t never : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 32})
    EXPECT_EQ(
        client.error("session.update", with(id, {{"data", json::object()}, {"version", never}})),
        "SESSION_VERSION_CONFLICT")
        << never;
  const auto valid = validate(client, id);
  EXPECT_EQ(valid["data"], (json{{"c", 4}}));
  EXPECT_EQ(valid["version"], 3);
  const auto found = events_at_least(client, 2, {{"types", {"session_updated"}}});
  EXPECT_EQ(found[1]["version"], 3);
}

TEST_F(sessions, of_parallel_updates_of_one_version_exactly_one_wins) {
  const auto id = create(client, "ada")["session_id"];
  std::atomic<int> won = 0;
  std::atomic<int> conflicts = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 16; ++i)
      threads.emplace_back([&, i] {
        auto own = node.connect();
        const auto error =
            own.error("session.update", with(id, {{"data", {{"n", i}}}, {"version", 1}}));
        won += error.empty();
        conflicts += error == "SESSION_VERSION_CONFLICT";
      });
  }
  EXPECT_EQ(won, 1);
  EXPECT_EQ(conflicts, 15);
}

TEST_F(sessions, revoke_is_idempotent_by_id_and_by_handle) {
  const auto a = create(client, "ada");
  EXPECT_EQ(client.result("session.revoke", {{"session_id", a["session_id"]}})["revoked"], 1);
  EXPECT_EQ(client.result("session.revoke", {{"session_id", a["session_id"]}})["revoked"], 0);
  EXPECT_EQ(client.result("session.revoke", {{"handle", a["handle"]}})["revoked"], 0);
  const auto b = create(client, "ada");
  EXPECT_EQ(client.result("session.revoke", {{"handle", b["handle"]}})["revoked"], 1);
  EXPECT_EQ(state_of(client, b["session_id"]), "revoked");
  EXPECT_EQ(client.error("session.update", with(b["session_id"], {{"data", json::object()}})),
            "SESSION_REVOKED");
  EXPECT_EQ(client.error("session.rotate", with(b["session_id"])), "SESSION_REVOKED");
}

TEST_F(sessions, revoke_user_spares_the_excepted_session_and_other_users) {
  std::vector<json> own;
  for (int i = 0; i < 5; ++i) own.push_back(create(client, "ada"));
  const auto other = create(client, "bob");
  auto params = user("ada");
  params["except_session_id"] = own[2]["session_id"];
  EXPECT_EQ(client.result("session.revoke_user", params)["revoked"], 4);
  for (std::size_t i = 0; i < own.size(); ++i)
    EXPECT_EQ(state_of(client, own[i]["session_id"]), i == 2 ? "valid" : "revoked");
  EXPECT_EQ(state_of(client, other["session_id"]), "valid");
  const auto found = events_at_least(client, 1, {{"types", {"session_revoked"}}});
  EXPECT_EQ(found[0]["scope"], "user");
  EXPECT_EQ(found[0]["count"], 4);
  EXPECT_EQ(found[0]["except_handle"], own[2]["handle"]);
  EXPECT_EQ(found[0]["user_id"], "ada");
  // Another user's session excepts nothing.
  params["except_session_id"] = other["session_id"];
  EXPECT_EQ(client.result("session.revoke_user", params)["revoked"], 1);
  EXPECT_EQ(state_of(client, own[2]["session_id"]), "revoked");
  EXPECT_EQ(state_of(client, create(client, "ada")["session_id"]), "valid")
      << "later sessions are not concerned";
}

TEST_F(sessions, invariant_07_revoke_tenant_reaches_every_session_and_no_later_one) {
  std::vector<json> ids;
  for (int i = 0; i < 20; ++i)
    ids.push_back(create(client, "u" + std::to_string(i % 7))["session_id"]);
  const auto other = create(client, "u1", {{"tenant_id", "other"}});
  EXPECT_EQ(client.result("session.revoke_tenant", {{"tenant_id", "acme"}})["revoked"], 20);
  for (const auto& id : ids) EXPECT_EQ(state_of(client, id), "revoked");
  EXPECT_EQ(state_of(client, other["session_id"]), "valid");
  EXPECT_EQ(state_of(client, create(client, "u1")["session_id"]), "valid");
  EXPECT_EQ(client.result("session.list", user("u1"))["sessions"].size(), 1U);
  // Creates that race it: whatever was answered before it is over, whatever is asked for after it
  // lives.
  std::mutex mutex;
  std::vector<json> raced;
  std::atomic<bool> stop = false;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        auto mine = node.connect();
        while (!stop) {
          const auto made = create(mine, "r" + std::to_string(i));
          std::lock_guard guard{mutex};
          raced.push_back(made["session_id"]);
        }
      });
    for (int round = 0; round < 5; ++round) {
      std::vector<json> before;
      EXPECT_TRUE(eventually([&] {
        std::lock_guard guard{mutex};
        before = std::exchange(raced, {});
        return !before.empty();
      }));
      client.result("session.revoke_tenant", {{"tenant_id", "acme"}});
      if (before.size() > 20) before.erase(before.begin(), before.end() - 20);
      for (const auto& id : before) EXPECT_EQ(state_of(client, id), "revoked");
    }
    stop = true;
  }
}

}  // namespace
}  // namespace portcullis::e2e
