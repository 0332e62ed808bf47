// Who may call: tokens, roles, tenants, reloads, and what the server refuses to start with.
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "harness.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

const token app = make_token("app");
const token observer = make_token("observer");
const token admin = make_token("admin");
const token acme_app = make_token("acme app");
const token acme_observer = make_token("acme observer");

std::string config(const std::string& more = "") {
  return token_toml(app, "web", "app") + token_toml(observer, "eyes", "observer") +
         token_toml(admin, "boss", "admin") +
         token_toml(acme_app, "acme-web", "app", "tenants = [\"acme\"]") +
         token_toml(acme_observer, "acme-eyes", "observer", "tenants = [\"acme\"]") + more;
}

server_options of_two_tenants(std::vector<std::string> set = {}) {
  set.insert(set.begin(), "server.environment=development");
  return {.set = std::move(set), .config = config(), .open = false};
}

struct callers : testing::Test {
  line_client logged_in(const token& who) {
    auto client = node.connect();
    client.result("auth.login", {{"token", who.text}});
    return client;
  }
  server node{of_two_tenants()};
};

json ada_of(const std::string& tenant = "acme") {
  auto params = user("ada", tenant);
  params["context"] = context();
  return params;
}

TEST_F(callers, before_login_only_ping_version_and_login_are_answered) {
  auto client = node.connect();
  EXPECT_EQ(client.error("server.ping"), "");
  EXPECT_EQ(client.error("server.version"), "");
  for (const auto* method :
       {"session.stats", "server.info", "lockout.list", "events.subscribe", "server.connections",
        "admin.drain", "admin.reload", "admin.rotate_keys", "events.query"})
    EXPECT_EQ(client.error(method), "AUTH_REQUIRED") << method;
  EXPECT_EQ(client.error("session.create", ada_of()), "AUTH_REQUIRED");
  EXPECT_EQ(client.error("session.create"), "AUTH_REQUIRED") << "also without its parameters";
  EXPECT_EQ(client.error("no.such.method"), "AUTH_REQUIRED");
  EXPECT_EQ(client.result("auth.login", {{"token", app.text}}),
            (json{{"role", "app"}, {"name", "web"}}));
  EXPECT_EQ(client.error("session.create", ada_of()), "");
  EXPECT_EQ(client.error("session.create"), "INVALID_PARAMS");
  EXPECT_EQ(client.error("admin.backup"), "FORBIDDEN");
  EXPECT_EQ(client.error("no.such.method"), "METHOD_NOT_FOUND");
}

TEST_F(callers, login_is_a_barrier_for_what_was_sent_behind_it) {
  auto client = node.connect();
  client.send(
      R"({"jsonrpc":"2.0","id":1,"method":"session.stats"}{"jsonrpc":"2.0","id":2,"method":"auth.login","params":{"token":")" +
      admin.text + R"("}}{"jsonrpc":"2.0","id":3,"method":"session.stats"})");
  std::map<int, std::string> errors;
  for (int i = 0; i < 3; ++i) {
    const auto reply = client.reply();
    errors[reply["id"]] = error_of(reply);
  }
  EXPECT_EQ(errors, (std::map<int, std::string>{{1, "AUTH_REQUIRED"}, {2, ""}, {3, ""}}));
}

TEST_F(callers, each_role_may_do_what_the_contract_says_and_nothing_else) {
  auto boss = logged_in(admin);
  const auto made = create(boss, "ada");
  const json id{{"session_id", made["session_id"]}, {"context", context()}};
  auto update = id;
  update["data"] = json::object();
  auto clear = user("ada");
  clear["reason"] = "x";
  const struct {
    std::string method;
    json params;
    bool app, observer;
  } rows[] = {
      {"session.create", ada_of(), true, false},
      {"session.validate", id, true, false},
      {"session.update", update, true, false},
      {"session.rotate", id, true, false},
      {"session.revoke", {{"handle", made["handle"]}}, true, false},
      {"session.revoke_user", user("nobody"), true, false},
      {"session.revoke_tenant", {{"tenant_id", "none"}}, false, false},
      {"session.list", user("ada"), true, true},
      {"session.find", {{"tenant_id", "acme"}, {"ip", "::1"}}, false, true},
      {"session.stats", json::object(), true, true},
      {"lockout.status", user("ada"), true, true},
      {"lockout.list", json::object(), false, true},
      {"lockout.clear", clear, false, false},
      {"events.query", json::object(), false, true},
      {"events.subscribe", {{"types", {"session_created"}}}, false, true},
      {"events.subscribe", {{"types", {"breaker_opened"}}}, true, true},
      {"server.info", json::object(), true, true},
      {"server.info", {{"digest", true}}, false, false},
      {"server.connections", json::object(), false, false},
      {"admin.reload", json::object(), false, false},
      {"admin.drain", json::object(), false, false},
      {"admin.backup", {{"path", "/nowhere/at/all"}}, false, false},
      {"admin.rotate_keys", json::object(), false, false},
      {"admin.crash", {{"actor", "session"}}, false, false},
  };
  auto web = logged_in(app);
  auto eyes = logged_in(observer);
  for (const auto& row : rows) {
    EXPECT_EQ(web.error(row.method, row.params), row.app ? "" : "FORBIDDEN")
        << row.method << row.params;
    EXPECT_EQ(eyes.error(row.method, row.params), row.observer ? "" : "FORBIDDEN")
        << row.method << row.params;
  }
}

TEST_F(callers, a_caller_limited_to_tenants_does_not_see_others) {
  auto boss = logged_in(admin);
  const auto ours = create(boss, "ada");
  const auto theirs = create(boss, "ada", {{"tenant_id", "other"}});
  auto web = logged_in(acme_app);
  EXPECT_EQ(web.error("session.create", ada_of("other")), "FORBIDDEN");
  EXPECT_EQ(web.error("session.list", user("ada", "other")), "FORBIDDEN");
  EXPECT_EQ(web.error("lockout.status", user("ada", "other")), "FORBIDDEN");
  EXPECT_EQ(web.error("session.revoke_user", user("ada", "other")), "FORBIDDEN");
  EXPECT_EQ(state_of(web, ours["session_id"]), "valid");
  EXPECT_EQ(state_of(web, theirs["session_id"]), "not_found");
  EXPECT_EQ(web.result("session.revoke", {{"session_id", theirs["session_id"]}})["revoked"], 0);
  EXPECT_EQ(web.result("session.revoke", {{"handle", theirs["handle"]}})["revoked"], 0);
  EXPECT_EQ(
      web.error("session.rotate", {{"session_id", theirs["session_id"]}, {"context", context()}}),
      "SESSION_NOT_FOUND");
  EXPECT_EQ(state_of(boss, theirs["session_id"]), "valid");
  EXPECT_EQ(boss.result("lockout.status", user("ada", "other"))["failed_attempts"], 0);
  // What it lists and hears is filtered.
  auto eyes = logged_in(acme_observer);
  EXPECT_EQ(eyes.error("events.query", {{"tenant_id", "other"}}), "FORBIDDEN");
  EXPECT_EQ(eyes.error("events.subscribe", {{"tenant_id", "other"}}), "FORBIDDEN");
  events_at_least(boss, 2, {{"types", {"session_created"}}});
  const auto seen = events(eyes);
  EXPECT_GE(seen.size(), 1U);
  for (const auto& each : seen) EXPECT_EQ(each["tenant_id"], "acme");
  eyes.result("events.subscribe");
  create(boss, "bob", {{"tenant_id", "other"}});
  const auto next = create(boss, "bob");
  EXPECT_EQ(eyes.reply()["params"]["event"]["handle"], next["handle"]);
  for (int i = 0; i < 10; ++i) {
    validate(boss, create(boss, "locked")["session_id"], context("198.51.100.1"));
    validate(boss, create(boss, "locked", {{"tenant_id", "other"}})["session_id"],
             context("198.51.100.1"));
  }
  EXPECT_EQ(boss.result("lockout.list")["lockouts"].size(), 2U);
  EXPECT_EQ(eyes.error("session.stats"), "FORBIDDEN");
  EXPECT_LT(eyes.result("server.info")["sessions"], boss.result("server.info")["sessions"]);
  const auto locks = eyes.result("lockout.list")["lockouts"];
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks[0]["tenant_id"], "acme");
}

TEST_F(callers, an_app_hears_of_breakers_only) {
  auto boss = logged_in(admin);
  auto web = logged_in(app);
  web.result("events.subscribe");
  create(boss, "ada");
  events_at_least(boss, 1, {{"types", {"session_created"}}});
  EXPECT_EQ(web.error("server.ping"), "");
  EXPECT_FALSE(web.line(50ms)) << "nothing about sessions";
}

TEST_F(callers, five_failures_of_a_source_are_answered_and_then_none_for_a_while) {
  auto client = node.connect();
  for (const auto& bad : {make_token("unknown").text, std::string("short"), std::string(),
                          std::string(43, '!'), make_token("no").text}) {
    const auto reply = client.call("auth.login", {{"token", bad}});
    EXPECT_EQ(error_of(reply), "AUTH_FAILED");
    EXPECT_EQ(reply.dump().find("unknown"), std::string::npos);
  }
  for (const auto& any : {make_token("unknown").text, admin.text}) {
    const auto reply = node.connect().call("auth.login", {{"token", any}});
    EXPECT_EQ(error_of(reply), "AUTH_RATE_LIMITED") << "also a good one: it must not be told apart";
    EXPECT_GT(reply["error"]["data"]["retry_after_ms"], 0);
    EXPECT_LE(reply["error"]["data"]["retry_after_ms"], 60'000);
  }
}

TEST_F(callers, a_failed_login_is_an_event_with_a_hashed_source) {
  auto boss = logged_in(admin);
  const auto refused = node.connect().call("auth.login", {{"token", make_token("x").text}});
  const auto found = events_at_least(boss, 1, {{"types", {"auth_failed"}}});
  EXPECT_EQ(found[0]["correlation_id"], refused["error"]["data"]["correlation_id"]);
  EXPECT_TRUE(found[0].contains("source"));
  EXPECT_EQ(found[0].dump().find("127.0.0.1"), std::string::npos);
}

TEST_F(callers, a_reload_that_removes_a_token_closes_its_connections_and_no_others) {
  for (const bool by_signal : {false, true}) {
    node.configure(config());
    auto boss = logged_in(admin);
    boss.result("admin.reload");
    auto web = logged_in(app);
    auto eyes = logged_in(observer);
    EXPECT_EQ(web.error("session.stats"), "");
    node.configure(token_toml(observer, "eyes", "observer") + token_toml(admin, "boss", "admin"));
    if (by_signal)
      node.signal(SIGHUP);
    else
      EXPECT_THAT(boss.result("admin.reload")["changed"].dump(), HasSubstr("auth.token"));
    EXPECT_TRUE(web.ended());
    EXPECT_EQ(eyes.error("session.stats"), "");
    EXPECT_EQ(boss.error("session.stats"), "");
    EXPECT_EQ(node.connect().error("auth.login", {{"token", app.text}}), "AUTH_FAILED");
  }
}

TEST_F(callers, a_bad_file_changes_nothing) {
  auto boss = logged_in(admin);
  auto web = logged_in(app);
  for (const auto* bad : {"this is not TOML", "[lockout]\nthreshold = 0\n", "[no_such]\nkey = 1\n",
                          "[server]\nnode_id = \"another\"\n"}) {
    node.configure(bad);
    EXPECT_EQ(boss.error("admin.reload"), "CONFIG_INVALID") << bad;
    node.signal(SIGHUP);
  }
  std::filesystem::remove(node.config_file());
  EXPECT_EQ(boss.error("admin.reload"), "CONFIG_INVALID");
  EXPECT_EQ(web.error("session.stats"), "");
  EXPECT_EQ(node.connect().error("auth.login", {{"token", app.text}}), "");
  EXPECT_EQ(boss.result("lockout.status", user("ada"))["threshold"], 10);
}

TEST_F(callers, a_reload_changes_the_policy_names_the_keys_and_leaves_an_event) {
  auto boss = logged_in(admin);
  EXPECT_EQ(boss.result("admin.reload"), (json{{"changed", json::array()}}));
  node.configure(config("[lockout]\nthreshold = 3\n[session]\nidle_ttl_s = 100\n"));
  std::vector<std::string> changed = boss.result("admin.reload")["changed"];
  EXPECT_THAT(changed, testing::IsSupersetOf({"lockout.threshold", "session.idle_ttl_s"}));
  EXPECT_EQ(boss.result("lockout.status", user("ada"))["threshold"], 3);
  const auto made = create(boss, "ada");
  EXPECT_EQ(made["idle_expires_at_ms"].get<std::int64_t>(),
            made["created_at_ms"].get<std::int64_t>() + 100'000);
  const auto found = events_at_least(boss, 1, {{"types", {"config_reloaded"}}});
  EXPECT_EQ(found[0]["actor"], "boss");
  EXPECT_TRUE(found[0].contains("policy"));
  EXPECT_TRUE(found[0].contains("correlation_id")) << "made up, as none came";
}

TEST_F(callers, connections_shows_who_is_there) {
  auto boss = logged_in(admin);
  auto web = logged_in(app);
  auto nobody = node.connect();
  EXPECT_EQ(nobody.error("server.ping"), "");
  const auto rows = boss.result("server.connections")["connections"];
  std::map<std::string, json> by_name;
  for (const auto& row : rows)
    by_name[row["name"].is_string() ? row["name"].get<std::string>() : ""] = row;
  ASSERT_EQ(by_name.count("boss") + by_name.count("web"), 2U) << rows;
  EXPECT_EQ(by_name["web"]["role"], "app");
  EXPECT_EQ(by_name["web"]["listener"], "rpc");
  EXPECT_EQ(by_name["web"]["requests"], 1);
  EXPECT_EQ(by_name["web"]["in_flight"], 0);
  EXPECT_EQ(by_name["boss"]["in_flight"], 1) << "this very request";
  for (const auto* key : {"id", "address", "since_ms"})
    EXPECT_TRUE(by_name["web"].contains(key)) << key;
  EXPECT_EQ(rows.size(), 3U);
  const auto page = boss.result("server.connections", {{"limit", 2}});
  EXPECT_EQ(page["connections"].size(), 2U);
  EXPECT_EQ(boss.result("server.connections", {{"cursor", page["cursor"]}})["connections"].size(),
            1U);
}

TEST_F(callers, no_login_is_taken_over_plain_tcp_off_loopback) {
  const auto address = run("hostname -I").out;
  const auto own = address.substr(0, address.find_first_of(" \n"));
  if (own.empty() || own.find(':') != std::string::npos)
    GTEST_SKIP() << "this machine has no IPv4 address but loopback";
  auto options = of_two_tenants();
  options.listen = "0.0.0.0:0";
  server open_node(options);
  line_client far(open_node.rpc_port, own);
  EXPECT_EQ(far.error("auth.login", {{"token", admin.text}}), "TLS_REQUIRED");
  EXPECT_EQ(far.error("server.ping"), "");
  EXPECT_EQ(open_node.connect().error("auth.login", {{"token", admin.text}}), "") << "loopback may";
}

struct refused {
  std::string name;
  std::vector<std::string> set;
  std::string listen;
  std::string says;
};
struct start_up : testing::TestWithParam<refused> {};

TEST_P(start_up, refuses_what_is_not_safe_with_exit_1_and_says_what_to_configure) {
  server node({.set = GetParam().set,
               .config = config(),
               .open = false,
               .start = false,
               .listen = GetParam().listen});
  EXPECT_FALSE(node.start());
  EXPECT_EQ(node.wait(), 1);
  EXPECT_THAT(node.log(), HasSubstr(GetParam().says));
  EXPECT_THAT(node.log(), HasSubstr("CONFIG_INVALID"));
  EXPECT_FALSE(std::filesystem::exists(node.data_dir())) << "nothing was begun";
}

INSTANTIATE_TEST_SUITE_P(
    each, start_up,
    testing::Values(refused{"open_in_production", {"auth.mode=none"}, "127.0.0.1:0", "auth.mode"},
                    refused{"open_off_loopback",
                            {"server.environment=development", "auth.mode=none"},
                            "0.0.0.0:0",
                            "auth.mode"},
                    refused{"no_keys_in_production", {}, "127.0.0.1:0", "crypto.keys_file"}),
    [](const auto& each) { return each.param.name; });

TEST(production, starts_with_a_key_file_of_its_own_and_tokens_and_shows_no_stack) {
  temp_folder folder;
  ASSERT_EQ(run(tested_binary() + " keys new --out " + folder.file("keys")).status, 0);
  server node(
      {.set = {"crypto.keys_file=" + folder.file("keys")}, .config = config(), .open = false});
  auto client = node.connect();
  client.result("auth.login", {{"token", admin.text}});
  const auto made = create(client, "ada");
  EXPECT_EQ(state_of(client, made["session_id"]), "valid");
  EXPECT_EQ(client.error("admin.crash", {{"actor", "session"}}), "METHOD_NOT_FOUND");
  const auto refused = client.call("session.revoke");
  EXPECT_FALSE(refused["error"]["data"].contains("stack"));
  EXPECT_EQ(node.log().find("192.0.2.1"), std::string::npos);
  ASSERT_EQ(node.terminate(), 0);
  ASSERT_EQ(chmod(folder.file("keys").c_str(), 0640), 0);
  EXPECT_FALSE(node.start()) << "a key file that others may read";
  EXPECT_EQ(node.wait(), 1);
}

TEST(production, a_node_with_another_key_ring_does_not_start) {
  temp_folder folder;
  for (const auto* each : {"a", "b"})
    ASSERT_EQ(run(tested_binary() + " keys new --out " + folder.file(each)).status, 0);
  const auto data = folder.file("data");
  {
    server node({.set = {"crypto.keys_file=" + folder.file("a")},
                 .config = config(),
                 .data_dir = data,
                 .open = false});
    EXPECT_EQ(node.terminate(), 0);
  }
  server other({.set = {"crypto.keys_file=" + folder.file("b")},
                .config = config(),
                .data_dir = data,
                .open = false,
                .start = false});
  EXPECT_FALSE(other.start());
  EXPECT_EQ(other.wait(), 1);
  EXPECT_THAT(other.log(), HasSubstr("KEYRING_MISMATCH"));
}

TEST(key_files, are_not_rotated_beside_the_node_that_uses_them) {
  server node;
  const auto rotate =
      tested_binary() + " keys rotate --file " + node.data_dir() + "/portcullis.keys 2>&1";
  const auto beside = run(rotate);
  EXPECT_EQ(beside.status, 1);
  EXPECT_THAT(beside.out, HasSubstr("DATA_DIR_IN_USE"));
  EXPECT_EQ(node.terminate(), 0);
  EXPECT_EQ(run(rotate).status, 0);
}

TEST(data_folders, that_cannot_be_used_are_told_as_such) {
  temp_folder folder;
  for (const bool own_keys : {false, true}) {
    const auto path = folder.file(own_keys ? "a" : "b");
    std::ofstream(path) << "a file";
    server node({.set = own_keys ? std::vector<std::string>{"crypto.keys_file=" + folder.file("k")}
                                 : std::vector<std::string>{},
                 .data_dir = path,
                 .start = false});
    EXPECT_FALSE(node.start());
    EXPECT_EQ(node.wait(), 1);
    EXPECT_THAT(node.log(), HasSubstr("STORE_UNAVAILABLE"));
    EXPECT_THAT(node.log(), HasSubstr(own_keys ? "cannot be made" : "Not a directory"));
  }
}

// Regression: a backup of the key file from before a rotation was taken, and would have made the
// same key ids anew.
TEST(key_files, older_than_what_the_store_holds_are_refused) {
  temp_folder folder;
  const auto data = folder.file("data"), keys = data + "/portcullis.keys", kept = folder.file("k");
  {
    server node({.data_dir = data});
    auto client = node.connect();
    create(client, "ada");
    std::filesystem::copy_file(keys, kept);
    client.result("admin.rotate_keys");
    create(client, "bob");
    EXPECT_EQ(node.terminate(), 0);
  }
  std::filesystem::rename(kept, keys);
  server other({.data_dir = data, .start = false});
  EXPECT_FALSE(other.start());
  EXPECT_EQ(other.wait(), 1);
  EXPECT_THAT(other.log(), HasSubstr("KEYRING_MISMATCH"));
}

}  // namespace
}  // namespace portcullis::e2e
