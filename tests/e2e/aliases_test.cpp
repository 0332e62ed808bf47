// Sessions that their callers named (protocol.md, Sessions): what an alias does where an id would,
// how long it is taken, and what of it is told or kept.
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "core/bytes.hpp"
#include "harness.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string alias = "sess:Zm9vYmFyYmF6cXV4 of the framework";

json named(const json& more = json::object(), const std::string& by = alias,
           const std::string& tenant = "acme") {
  json params{{"alias", by}, {"tenant_id", tenant}, {"context", context()}};
  if (!more.is_null()) params.update(more);  // {} is null
  return params;
}

struct aliases : testing::Test {
  server node;
  line_client client = node.connect();

  json make(const std::string& user_id = "ada", json more = json::object(),
            const std::string& by = alias) {
    more["alias"] = by;
    return create(client, user_id, more);
  }
  std::string state(const std::string& by = alias) {
    const auto seen = client.result("session.validate", named({}, by));
    return seen["valid"] == true ? "valid" : seen["reason"].get<std::string>();
  }
  json refused(const std::string& user_id, const std::string& by = alias) {
    auto params = user(user_id);
    params.update({{"context", context()}, {"alias", by}});
    return client.call("session.create", params);
  }
  static std::string request(int id, const std::string& method, const json& params) {
    return json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}}.dump() +
           "\n";
  }
  static json revoking() { return {{"alias", alias}, {"tenant_id", "acme"}}; }
};

void expect_unique(const json& answer) {
  EXPECT_EQ(error_of(answer), "INVALID_PARAMS") << answer;
  EXPECT_EQ(answer["error"]["data"]["details"], (json{{"field", "alias"}, {"rule", "unique"}}));
}

TEST_F(aliases, name_a_session_wherever_an_id_does) {
  const auto made = make("ada", {{"data", {{"a", 1}}}});
  auto seen = client.result("session.validate", named());
  EXPECT_EQ(seen["valid"], true);
  EXPECT_EQ(seen["user_id"], "ada");
  EXPECT_EQ(seen["handle"], made["handle"]);
  EXPECT_EQ(seen["data"], (json{{"a", 1}}));
  EXPECT_FALSE(seen.contains("rotated"));
  EXPECT_EQ(client.result("session.update", named({{"data", {{"b", 2}}}, {"version", 1}})),
            (json{{"version", 2}}));
  seen = client.result("session.validate", named({{"touch", false}}));
  EXPECT_EQ(seen["data"], (json{{"b", 2}}));
  EXPECT_EQ(seen["version"], 2);
  EXPECT_EQ(client.result("session.revoke", revoking()), (json{{"revoked", 1}}));
  EXPECT_EQ(state(), "revoked");
}

TEST_F(aliases, are_one_of_the_ids_of_the_session) {
  const auto made = make("ada", {{"data", {{"a", 1}}}});
  const auto other = create(client, "ada");
  EXPECT_EQ(made["session_id"].get<std::string>().size(), 64U);
  EXPECT_EQ(made["session_id"].get<std::string>().substr(0, 2),
            other["session_id"].get<std::string>().substr(0, 2));
  EXPECT_EQ(made.size(), other.size()) << "the reply is no other one";
  EXPECT_EQ(validate(client, made["session_id"])["data"], (json{{"a", 1}}));
  client.result("session.revoke", {{"session_id", made["session_id"]}});
  EXPECT_EQ(state(), "revoked");
}

TEST_F(aliases, are_checked_against_the_context_as_ids_are) {
  make();
  EXPECT_EQ(
      client.result("session.validate", named({{"context", context("198.51.100.1")}}))["reason"],
      "ip_mismatch");
  EXPECT_EQ(client.error("session.update",
                         named({{"context", context("192.0.2.1", "x")}, {"data", json::object()}})),
            "SESSION_FINGERPRINT_MISMATCH");
  EXPECT_EQ(client.result("lockout.status", user("ada"))["failed_attempts"], 2);
}

TEST_F(aliases, that_nobody_has_name_nothing) {
  EXPECT_EQ(state(), "not_found");
  EXPECT_EQ(client.error("session.update", named({{"data", json::object()}})), "SESSION_NOT_FOUND");
  EXPECT_EQ(client.error("session.rotate", named()), "SESSION_NOT_FOUND");
  EXPECT_EQ(client.result("session.revoke", revoking()), (json{{"revoked", 0}}));
  make();
  EXPECT_EQ(state(alias + "x"), "not_found");
  EXPECT_EQ(client.result("session.validate", named({}, alias, "globex"))["reason"], "not_found");
}

TEST_F(aliases, are_unique_in_their_tenant_alone) {
  const auto made = make();
  expect_unique(refused("ada"));
  expect_unique(refused("bob"));
  auto params = user("ada", "globex");
  params.update({{"context", context()}, {"alias", alias}});
  const auto other = client.result("session.create", params);
  EXPECT_NE(other["session_id"], made["session_id"]);
  EXPECT_EQ(client.result("session.validate", named())["handle"], made["handle"]);
  EXPECT_EQ(client.result("session.validate", named({}, alias, "globex"))["handle"],
            other["handle"]);
  EXPECT_EQ(client.result("session.stats")["live"], 2) << "what was refused made nothing";
}

TEST_F(aliases, of_a_destroyed_session_do_not_make_another_one) {
  make();
  client.result("session.revoke", revoking());
  expect_unique(refused("ada"));
  expect_unique(refused("bob"));
  EXPECT_EQ(client.error("session.update", named({{"data", json::object()}})), "SESSION_REVOKED");
  EXPECT_EQ(state(), "revoked");
  make("cid", {{"absolute_ttl_s", 1}, {"idle_ttl_s", 1}}, alias + "2");
  EXPECT_TRUE(eventually([&] { return state(alias + "2") == "expired"; }));
  expect_unique(refused("cid", alias + "2"));
}

TEST_F(aliases, are_free_again_when_a_create_came_to_nothing) {
  auto params = user("ada");
  params.update({{"context", context()}, {"alias", alias}, {"idle_ttl_s", 901}});
  EXPECT_EQ(client.error("session.create", params), "TTL_OUT_OF_RANGE");
  EXPECT_EQ(state(), "not_found");
  EXPECT_EQ(make("bob").value("version", 0), 1);
}

TEST_F(aliases, that_were_rotated_are_earlier_ids) {
  const auto made = make("ada", {{"data", {{"a", 1}}}});
  const auto next = client.result("session.rotate", named());
  EXPECT_NE(next["session_id"], made["session_id"]);
  EXPECT_EQ(next["handle"], made["handle"]);
  EXPECT_EQ(client.result("session.rotate", named())["session_id"], next["session_id"])
      << "in its grace it gives the same successor";
  const auto seen = client.result("session.validate", named());
  EXPECT_EQ(seen["rotated"], true);
  EXPECT_EQ(seen["data"], (json{{"a", 1}}));
  client.result("session.rotate",
                {{"session_id", next["session_id"]}, {"context", context()}, {"grace", false}});
  EXPECT_EQ(client.error("session.update", named({{"data", json::object()}})),
            "SESSION_REUSE_DETECTED");
  EXPECT_EQ(events(client, {{"types", {"session_reuse_detected"}}}).size(), 1U);
  EXPECT_EQ(state(), "revoked");
}

TEST_F(aliases, end_at_once_where_a_rotation_gives_no_grace) {
  make();
  const auto next = client.result("session.rotate", named({{"grace", false}}));
  EXPECT_EQ(state(), "revoked");
  EXPECT_EQ(state_of(client, next["session_id"]), "revoked") << "the use of the alias was reuse";
}

TEST_F(aliases, go_on_over_a_rotation_of_the_key_ring) {
  make("ada", {{"data", {{"a", 1}}}});
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(client.result("admin.rotate_keys")["keys"], std::min(2 + i, 3));
    EXPECT_EQ(client.result("session.validate", named())["data"], (json{{"a", 1}})) << i;
  }
}

TEST_F(aliases, take_their_place_in_the_order_of_a_connection) {
  for (int round = 0; round < 50; ++round) {
    const auto who = "ada" + std::to_string(round);
    const auto by = alias + std::to_string(round);
    auto creating = user(who);
    creating.update({{"context", context()}, {"alias", by}, {"data", {{"n", round}}}});
    auto listing = user(who);
    client.send(
        request(1, "session.create", creating) + request(2, "session.validate", named({}, by)) +
        request(3, "session.update", named({{"data", {{"m", 1}}}}, by)) +
        request(4, "session.list", listing) + request(5, "session.validate", named({}, by)) +
        request(6, "session.revoke_user", user(who)) +
        request(7, "session.validate", named({}, by)) + request(8, "session.create", creating));
    std::map<int, json> got;
    for (int i = 0; i < 8; ++i) {
      auto reply = client.reply();
      got[reply["id"].get<int>()] = reply;
    }
    ASSERT_TRUE(got[1].contains("result")) << got[1];
    EXPECT_EQ(got[2]["result"]["data"], (json{{"n", round}})) << got[2];
    EXPECT_EQ(got[3]["result"], (json{{"version", 2}})) << got[3];
    EXPECT_EQ(got[4]["result"]["sessions"].size(), 1U) << got[4];
    EXPECT_EQ(got[5]["result"]["data"], (json{{"m", 1}})) << got[5];
    EXPECT_EQ(got[6]["result"], (json{{"revoked", 1}})) << got[6];
    EXPECT_EQ(got[7]["result"]["reason"], "revoked") << got[7];
    expect_unique(got[8]);
  }
}

TEST_F(aliases, that_two_connections_ask_for_at_once_are_given_to_one) {
  auto other = node.connect();
  for (int round = 0; round < 40; ++round) {
    const auto by = alias + std::to_string(round);
    const auto asking = [&](const std::string& who) {
      auto params = user(who);
      params.update({{"context", context()}, {"alias", by}});
      return request(1, "session.create", params);
    };
    const auto mine = "ada" + std::to_string(round), theirs = "bob" + std::to_string(round);
    client.send(asking(mine));
    other.send(asking(theirs));
    const auto a = client.reply(), b = other.reply();
    ASSERT_NE(a.contains("result"), b.contains("result")) << a << b;
    expect_unique(a.contains("result") ? b : a);
    EXPECT_EQ(client.result("session.validate", named({}, by))["user_id"],
              a.contains("result") ? mine : theirs);
  }
}

TEST_F(aliases, outlive_the_process_and_so_does_that_they_are_taken) {
  const auto made = make("ada", {{"data", {{"a", 1}}}});
  make("bob", {}, alias + "2");
  client.result("session.revoke", {{"alias", alias + "2"}, {"tenant_id", "acme"}});
  const auto digest = client.result("server.info", {{"digest", true}})["digest"];
  node.kill_at_once();
  const auto replayed = run(tested_binary() + " replay --data-dir " + node.data_dir());
  EXPECT_EQ(replayed.status, 0) << replayed.out;
  EXPECT_THAT(replayed.out, HasSubstr(digest.get<std::string>()));
  const auto verified = run(tested_binary() + " verify --data-dir " + node.data_dir());
  EXPECT_EQ(verified.status, 0) << verified.out;
  ASSERT_TRUE(node.start()) << node.log();
  client = node.connect();
  const auto seen = client.result("session.validate", named());
  EXPECT_EQ(seen["handle"], made["handle"]);
  EXPECT_EQ(seen["data"], (json{{"a", 1}}));
  EXPECT_EQ(state(alias + "2"), "revoked");
  expect_unique(refused("bob", alias + "2"));
  expect_unique(refused("eve"));
}

TEST_F(aliases, come_back_with_a_shard_that_was_started_again) {
  const auto made = make();
  ASSERT_EQ(client.error("admin.crash", {{"actor", "session"}}), "");
  ASSERT_TRUE(node.logged("shard_back"));
  // Until this loop knows that the shard is back.
  ASSERT_TRUE(eventually([&] { return client.error("session.validate", named()) == ""; }));
  EXPECT_EQ(client.result("session.validate", named())["handle"], made["handle"]);
  expect_unique(refused("bob"));
  EXPECT_EQ(make("cid", {}, alias + "2").value("version", 0), 1);
}

TEST_F(aliases, of_a_forgotten_user_name_a_session_that_is_over) {
  make();
  auto params = user("ada");
  params["reason"] = "asked for";
  EXPECT_EQ(client.result("admin.forget", params), (json{{"forgotten", true}}));
  EXPECT_EQ(state(), "revoked");
  expect_unique(refused("ada"));
}

TEST_F(aliases, go_where_their_parameters_say_and_no_other_way) {
  const json id(std::string(64, 'a'));
  const json least(std::string(16, 'a'));
  const auto with = [&](json params) {
    params["context"] = context();
    return params;
  };
  const struct {
    std::string method;
    json params;
    std::string field, rule;
  } rows[] = {
      {"session.validate", with({{"alias", least}}), "tenant_id", "required"},
      {"session.validate", with({{"alias", least}, {"tenant_id", "acme"}, {"session_id", id}}),
       "alias", "not_with_session_id"},
      {"session.validate", with({{"tenant_id", "acme"}, {"session_id", id}}), "tenant_id",
       "only_with_alias"},
      {"session.validate", with({{"tenant_id", "acme"}}), "session_id", "required"},
      {"session.validate", named({}, std::string(15, 'a')), "alias", "bytes_min"},
      {"session.validate", named({}, std::string(257, 'a')), "alias", "bytes_max"},
      {"session.validate", named({}, alias + "\n"), "alias",
       "no_controls_or_bidirectional_overrides"},
      {"session.rotate", with({{"alias", least}}), "tenant_id", "required"},
      {"session.update", named(), "data", "required"},
      {"session.revoke", {{"alias", least}}, "tenant_id", "required"},
      {"session.revoke",
       {{"alias", least}, {"tenant_id", "a"}, {"session_id", id}},
       "session_id",
       "exactly_one_of_session_id_handle_and_alias"},
      {"session.revoke", {{"session_id", id}, {"tenant_id", "a"}}, "tenant_id", "only_with_alias"},
      {"session.create",
       {{"tenant_id", "a"}, {"user_id", "u"}, {"context", context()}, {"alias", 1}},
       "alias",
       "string"},
      {"session.list",
       {{"tenant_id", "a"}, {"user_id", "u"}, {"alias", least}},
       "params",
       "unknown_parameter"},
  };
  for (const auto& row : rows) {
    const auto got = client.call(row.method, row.params);
    EXPECT_EQ(error_of(got), "INVALID_PARAMS") << row.method << row.params;
    EXPECT_EQ(got["error"]["data"]["details"].value("field", ""), row.field) << row.params;
    EXPECT_EQ(got["error"]["data"]["details"].value("rule", ""), row.rule) << row.params;
  }
  EXPECT_EQ(make("ada", {}, std::string(256, 'x')).value("version", 0), 1);
  EXPECT_EQ(state(std::string(256, 'x')), "valid");
}

TEST_F(aliases, over_http_are_the_same) {
  make();
  const auto answer =
      run("curl -s -H 'Content-Type: application/json' -d '" +
          json{{"jsonrpc", "2.0"}, {"id", 1}, {"method", "session.validate"}, {"params", named()}}
              .dump() +
          "' http://127.0.0.1:" + std::to_string(node.http_port) + "/rpc");
  EXPECT_THAT(answer.out, HasSubstr("\"valid\":true"));
}

TEST(an_alias_of_another_tenant, is_forbidden_to_a_token_with_tenants) {
  const auto app = make_token("app of acme");
  server node({.set = {"server.environment=development"},
               .config = token_toml(app, "acme-web", "app", "tenants = [\"acme\"]"),
               .open = false});
  auto client = node.connect();
  client.result("auth.login", {{"token", app.text}});
  create(client, "ada", {{"alias", alias}});
  EXPECT_EQ(client.result("session.validate", named())["valid"], true);
  for (const std::string method : {"session.validate", "session.update", "session.rotate"}) {
    auto params = named({}, alias, "globex");
    if (method == "session.update") params["data"] = json::object();
    const auto got = client.call(method, params);
    EXPECT_EQ(error_of(got), "FORBIDDEN") << got;
    EXPECT_EQ(got["error"]["data"]["details"]["field"], "tenant_id");
  }
  EXPECT_EQ(client.error("session.revoke", {{"alias", alias}, {"tenant_id", "globex"}}),
            "FORBIDDEN");
}

TEST(a_secret_alias, is_neither_kept_nor_told) {
  server node({.set = {"log.level=debug", "session.max_sessions_per_user=1"}});
  auto client = node.connect();
  const auto made = create(client, "ada", {{"alias", alias}, {"data", {{"a", 1}}}});
  client.result("session.validate", named());
  client.result("session.validate", named({{"context", context("198.51.100.1")}}));
  client.call("session.validate", named({}, alias, "globex"));
  auto again = user("ada");
  again.update({{"context", context()}, {"alias", alias + "2"}});
  client.call("session.create", again);
  again["alias"] = alias;
  const auto refusal = client.call("session.create", again);
  client.result("session.rotate", named({{"grace", false}}));
  client.result("session.revoke", {{"alias", alias}, {"tenant_id", "acme"}});
  const std::string id = made["session_id"];
  for (const auto& secret : {alias, id}) {
    EXPECT_THAT(refusal.dump(), Not(HasSubstr(secret)));
    EXPECT_THAT(json(events(client)).dump(), Not(HasSubstr(secret)));
    EXPECT_THAT(client.result("session.list", user("ada")).dump(), Not(HasSubstr(secret)));
    EXPECT_THAT(http_get(node.http_port, "/metrics").body, Not(HasSubstr(secret)));
  }
  EXPECT_FALSE(json(events(client, {{"types", {"session_created"}}}))[0].contains("alias"));
  ASSERT_EQ(node.terminate(), 0);
  core::byte_array<32> raw;
  ASSERT_TRUE(core::from_hex(id, raw));
  std::size_t files = 0;
  for (const auto& each : std::filesystem::recursive_directory_iterator(node.data_dir())) {
    if (!each.is_regular_file()) continue;
    ++files;
    std::ifstream file(each.path(), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    for (const auto& secret : {alias, id, std::string(core::as_text(raw).substr(1))})
      EXPECT_EQ(bytes.find(secret), std::string::npos) << each.path();
  }
  EXPECT_GE(files, 2U);
  EXPECT_THAT(node.log(), Not(HasSubstr(alias)));
  EXPECT_THAT(node.log(), Not(HasSubstr(id)));
}

}  // namespace
}  // namespace portcullis::e2e
