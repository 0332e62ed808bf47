// What was acknowledged stays, whatever happens to the process or its disk; and the folder holds no
// secrets.
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include "load.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(durability, invariant_01_what_was_acknowledged_survives_kill_9_under_load) {
  const int rounds = long_tests() ? 50 : 10;
  server node;
  std::vector<promised> kept;
  for (int round = 0; round < rounds; ++round) {
    std::vector<promised> fresh;
    {
      load writing(node, 4, "round" + std::to_string(round));
      const std::size_t enough = 100 + static_cast<std::size_t>(round % 5) * 60;
      ASSERT_TRUE(eventually([&] { return writing.acknowledged() >= enough; }));
      node.kill_at_once();
      writing.stop();
      fresh = writing.take();
    }
    const auto copy = node.folder().file("copy");
    std::filesystem::remove_all(copy);
    std::filesystem::copy(node.data_dir(), copy);
    EXPECT_EQ(integrity(copy + "/portcullis.db"), "ok");
    const auto begun = clock::now();
    ASSERT_TRUE(node.start()) << node.log();
    EXPECT_LT(clock::now() - begun, 5s) << "ready again quickly";
    auto client = node.connect();
    expect_kept(client, fresh);
    if (kept.size() < 200) kept.insert(kept.end(), fresh.begin(), fresh.end());
    if (HasFailure()) break;
  }
  auto client = node.connect();
  expect_kept(client, kept);
  expect_rotated_away(client, kept);
}

TEST(durability, a_cleared_lockout_and_a_revoked_user_and_tenant_survive_kill_9) {
  server node({.set = {"lockout.threshold=1"}});
  auto client = node.connect();
  const auto a = create(client, "ada")["session_id"];
  const auto b = create(client, "bob")["session_id"];
  const auto c = create(client, "cyd", {{"tenant_id", "gone"}})["session_id"];
  validate(client, a, context("198.51.100.1"));
  auto params = user("ada");
  params["reason"] = "test";
  EXPECT_EQ(client.result("lockout.clear", params)["cleared"], true);
  EXPECT_EQ(client.result("session.revoke_user", user("bob"))["revoked"], 1);
  EXPECT_EQ(client.result("session.revoke_tenant", {{"tenant_id", "gone"}})["revoked"], 1);
  node.restart();
  auto again = node.connect();
  EXPECT_EQ(state_of(again, a), "valid");
  EXPECT_EQ(state_of(again, b), "revoked");
  EXPECT_EQ(state_of(again, c), "revoked");
  EXPECT_EQ(again.result("session.stats")["live"], 1);
}

TEST(durability, a_reply_waits_for_the_disk_and_shows_nothing_before) {
  server node({.own_disk = true});
  auto client = node.connect();
  auto other = node.connect();
  const auto id = create(client, "ada")["session_id"];
  node.disk("held");
  client.send(json{{"jsonrpc", "2.0"},
                   {"id", "r"},
                   {"method", "session.revoke"},
                   {"params", {{"session_id", id}}}}
                  .dump());
  other.send(json{{"jsonrpc", "2.0"},
                  {"id", "v"},
                  {"method", "session.validate"},
                  {"params", {{"session_id", id}, {"context", context()}}}}
                 .dump());
  EXPECT_FALSE(client.line(100ms)) << "not acknowledged before it is on disk";
  const auto seen = other.line(50ms);
  if (seen) EXPECT_THAT(*seen, HasSubstr("\"valid\":true")) << "sent before the revoke was read";
  EXPECT_EQ(other.error("server.ping"), "") << "others go on";
  node.disk("");
  EXPECT_EQ(client.reply()["result"]["revoked"], 1);
  if (!seen) EXPECT_EQ(other.reply()["result"]["valid"], false);
  EXPECT_EQ(state_of(other, id), "revoked");
}

TEST(durability,
     invariant_09_a_disk_that_does_not_answer_is_a_timeout_and_never_an_invalid_session) {
  server node({.set = {"limits.request_timeout_ms=300"}, .own_disk = true});
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  node.disk("held");
  auto params = user("bob");
  params["context"] = context();
  const auto late = client.call("session.create", params);
  EXPECT_EQ(error_of(late), "REQUEST_TIMEOUT");
  EXPECT_EQ(late["error"]["data"]["retryable"], true);
  EXPECT_EQ(state_of(client, id), "valid");
  node.disk("");
  EXPECT_TRUE(eventually([&] { return client.error("session.create", params).empty(); }));
}

TEST(durability, invariant_09_a_failed_sync_stops_the_node_and_nothing_acknowledged_is_lost) {
  server node({.own_disk = true});
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  node.disk("broken");
  auto params = user("bob");
  params["context"] = context();
  const auto reply = client.call("session.create", params);
  if (reply.is_object()) EXPECT_EQ(error_of(reply), "STORE_UNAVAILABLE");
  EXPECT_EQ(node.wait(), 1) << "fail stop: after a failed sync the page cache lies";
  node.disk("");
  ASSERT_TRUE(node.start()) << node.log();
  auto again = node.connect();
  EXPECT_EQ(state_of(again, id), "valid");
}

/// Fills the disk, looks at what the server says, and gives the space back.
void fill_and_empty(server& node, const std::function<void()>& fill,
                    const std::function<void()>& empty) {
  auto client = node.connect();
  const auto made = create(client, "ada", {{"data", {{"a", 1}}}});
  const auto id = made["session_id"];
  fill();
  auto params = user("bob");
  params["context"] = context();
  params["data"] = {{"d", std::string(8000, 'x')}};
  EXPECT_TRUE(eventually([&] { return client.error("session.create", params) == "STORE_FULL"; }));
  EXPECT_EQ(client.error("session.update",
                         {{"session_id", id}, {"context", context()}, {"data", json::object()}}),
            "STORE_FULL");
  EXPECT_EQ(client.error("session.revoke", {{"session_id", id}}), "STORE_FULL");
  EXPECT_EQ(client.error("session.revoke_user", user("ada")), "STORE_FULL");
  EXPECT_EQ(validate(client, id)["data"], (json{{"a", 1}})) << "validation goes on";
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(state_of(client, id, context("198.51.100.1")), "ip_mismatch");
  EXPECT_EQ(client.result("lockout.status", user("ada"))["failed_attempts"], 3)
      << "and so does counting";
  EXPECT_EQ(client.result("server.info")["store"]["degraded"], true);
  EXPECT_EQ(http_get(node.http_port, "/readyz").status, 507);
  EXPECT_EQ(http_get(node.http_port, "/livez").status, 200);
  empty();
  EXPECT_TRUE(eventually([&] { return client.error("session.create", params).empty(); }));
  EXPECT_EQ(client.error("session.update",
                         {{"session_id", id}, {"context", context()}, {"data", {{"a", 2}}}}),
            "");
  EXPECT_TRUE(
      eventually([&] { return client.result("server.info")["store"]["degraded"] == false; }));
  EXPECT_EQ(http_get(node.http_port, "/readyz").status, 200);
  // What waited for the disk is in the log now, and the trouble itself is told.
  EXPECT_EQ(events_at_least(client, 3, {{"types", {"validation_failed"}}}).size(), 3U);
  events_at_least(client, 1, {{"types", {"store_degraded"}}});
  events_at_least(client, 1, {{"types", {"store_recovered"}}});
  node.restart();
  auto again = node.connect();
  EXPECT_EQ(validate(again, id)["data"], (json{{"a", 2}}));
  EXPECT_EQ(again.result("lockout.status", user("ada"))["failed_attempts"], 3);
}

TEST(durability, a_full_disk_refuses_what_must_be_durable_and_validation_goes_on) {
  server node({.own_disk = true});
  fill_and_empty(
      node, [&] { node.disk("full"); }, [&] { node.disk(""); });
}

TEST(durability, a_file_system_that_is_really_full_does_the_same) {
  temp_folder folder;
  if (mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=2m") != 0)
    GTEST_SKIP() << "this user may not mount a file system (the test before simulates one)";
  {
    server node({.data_dir = folder.file("data")});
    const auto ballast = folder.file("ballast");
    fill_and_empty(
        node,
        [&] {
          std::ofstream file(ballast);
          const std::string block(4096, 'b');
          while (file << block << std::flush) {
          }
        },
        [&] { std::filesystem::remove(ballast); });
  }
  umount2(folder.path().c_str(), MNT_DETACH);
}

TEST(durability, a_second_server_on_a_folder_is_refused_and_harms_nothing) {
  server node;
  auto client = node.connect();
  const auto id = create(client, "ada")["session_id"];
  server second({.data_dir = node.data_dir(), .start = false});
  EXPECT_FALSE(second.start());
  EXPECT_EQ(second.wait(), 1);
  EXPECT_THAT(second.log(), HasSubstr("DATA_DIR_IN_USE"));
  EXPECT_EQ(state_of(client, id), "valid");
  create(client, "bob");
  EXPECT_EQ(node.terminate(), 0);
  EXPECT_TRUE(second.start()) << "free again: " << second.log();
}

TEST(durability, a_folder_of_a_newer_version_is_refused) {
  server node;
  ASSERT_EQ(node.terminate(), 0);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((node.data_dir() + "/portcullis.db").c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, "PRAGMA user_version = 1000", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  EXPECT_FALSE(node.start());
  EXPECT_EQ(node.wait(), 1);
  EXPECT_THAT(node.log(), HasSubstr("SCHEMA_TOO_NEW"));
}

TEST(durability, the_data_is_its_owners_alone) {
  server node;
  auto client = node.connect();
  create(client, "ada");
  client.result("admin.backup", {{"path", node.folder().file("backup.db")}});
  const auto mode = [](const std::string& path) {
    struct stat info {};
    stat(path.c_str(), &info);
    return info.st_mode & 07777;
  };
  EXPECT_EQ(mode(node.data_dir()), 0700U);
  std::size_t files = 0;
  for (const auto& each : std::filesystem::directory_iterator(node.data_dir())) {
    EXPECT_EQ(mode(each.path()), 0600U) << each.path();
    ++files;
  }
  EXPECT_GE(files, 3U);
  EXPECT_EQ(mode(node.folder().file("backup.db")), 0600U);
}

TEST(durability, invariant_08_no_secret_and_no_personal_data_in_any_file_log_metric_or_error) {
  temp_folder folder;
  const auto boss = make_token("privacy admin");
  server node({.set = {"server.environment=development", "lockout.threshold=3",
                       "session.touch_granularity_s=0"},
               .config = token_toml(boss, "boss", "admin"),
               .open = false});
  auto client = node.connect();
  client.result("auth.login", {{"token", boss.text}});
  node.connect().error("auth.login", {{"token", make_token("wrong one").text}});
  std::vector<std::string> secrets{boss.text,
                                   make_token("wrong one").text,
                                   "ursula-unusual-user",
                                   "Unusual-Agent/9.7",
                                   "203.0.113.177",
                                   "zebra-data",
                                   "2001:db8:dead:beef",
                                   "de-unusual"};
  json ctx = context("203.0.113.177", "Unusual-Agent/9.7");
  ctx["accept_language"] = "de-unusual";
  std::vector<std::string> ids;
  const auto made =
      create(client, "ursula-unusual-user", {{"context", ctx}, {"data", {{"k", "zebra-data"}}}});
  ids.push_back(made["session_id"]);
  validate(client, ids[0], ctx);
  const auto next = client.result("session.rotate", {{"session_id", ids[0]}, {"context", ctx}});
  ids.push_back(next["session_id"]);
  validate(client, ids[1], ctx);
  client.result(
      "session.update",
      {{"session_id", ids[1]}, {"context", ctx}, {"data", {{"k", "zebra-data"}, {"l", 2}}}});
  for (int i = 0; i < 4; ++i)
    validate(client, ids[1], context("2001:db8:dead:beef::1", "Unusual-Agent/9.7"));
  ids.push_back("d1ce5f0a77b34e19c2a6908f4b3e7d5509f1c3a8e26b7d40915ecf8a2b6d3e71");  // of nobody
  validate(client, ids.back(), ctx);
  const auto error = client.call(
      "session.update", {{"session_id", ids[1]}, {"context", ctx}, {"data", json::object()}});
  client.result("session.list", user("ursula-unusual-user"));
  client.result("session.find", {{"tenant_id", "acme"}, {"ip", "203.0.113.177"}});
  client.result("admin.rotate_keys");
  client.result("admin.backup", {{"path", folder.file("backup.db")}});
  auto clear = user("ursula-unusual-user");
  clear["reason"] = "over";
  client.result("lockout.clear", clear);
  client.result("session.revoke", {{"session_id", ids[1]}});
  const auto shown = events_at_least(client, 10, json::object());
  std::string texts = error.dump() + http_get(node.http_port, "/metrics").body;
  for (const auto& each : ids) {
    secrets.push_back(each);
    // And as bytes, in either half, whatever encloses them.
    std::string raw;
    for (std::size_t i = 0; i < 64; i += 2)
      raw += static_cast<char>(std::stoi(each.substr(i, 2), nullptr, 16));
    secrets.push_back(raw.substr(1, 15));
    secrets.push_back(raw.substr(16));
  }
  const auto running = [&] {
    std::string all;
    for (const auto& each : std::filesystem::directory_iterator(node.data_dir()))
      all += bytes_of(each.path());
    return all;
  }();
  ASSERT_EQ(node.terminate(), 0);
  std::string files = running + bytes_of(folder.file("backup.db"));
  for (const auto& each : std::filesystem::directory_iterator(node.data_dir()))
    files += bytes_of(each.path());
  ASSERT_GT(files.size(), 10'000U);
  ASSERT_THAT(files, HasSubstr("session_created"));
  // The address as bytes: IPv4-mapped, as the server keeps addresses.
  secrets.emplace_back(std::string("\xff\xff\xcb\x00\x71\xb1", 6));
  const auto log = node.log();
  for (const auto& each : secrets) {
    EXPECT_EQ(files.find(each), std::string::npos) << "in a file: " << each;
    EXPECT_EQ(texts.find(each), std::string::npos) << "in a metric or an error: " << each;
    EXPECT_EQ(log.find(each), std::string::npos) << "in the log: " << each;
  }
  // What is shown to who may see it: the user, never the address, agent or data.
  std::string all;
  for (const auto& each : shown) all += each.dump();
  EXPECT_THAT(all, HasSubstr("ursula-unusual-user"));
  for (const auto* each : {"203.0.113.177", "Unusual-Agent", "zebra-data", "dead:beef"})
    EXPECT_EQ(all.find(each), std::string::npos) << each;
}

TEST(durability, a_forged_record_is_reported_and_never_accepted) {
  server node;
  auto client = node.connect();
  const auto id = create(client, "ada", {{"data", {{"balance", 1}}}})["session_id"];
  ASSERT_EQ(node.terminate(), 0);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((node.data_dir() + "/portcullis.db").c_str(), &db), SQLITE_OK);
  // Whatever column holds the sealed data: every blob of the table of sessions that is long enough
  // is turned over.
  std::vector<std::string> columns;
  sqlite3_exec(
      db, "SELECT name FROM pragma_table_info('sessions')",
      [](void* out, int, char** values, char**) {
        static_cast<std::vector<std::string>*>(out)->emplace_back(values[0]);
        return 0;
      },
      &columns, nullptr);
  EXPECT_FALSE(columns.empty());
  int changed = 0;
  for (const auto& each : columns) {
    if (each.find("data") == std::string::npos) continue;
    const auto sql = "UPDATE sessions SET \"" + each + "\" = randomblob(length(\"" + each +
                     "\")) WHERE typeof(\"" + each + "\") = 'blob' AND length(\"" + each +
                     "\") > 16";
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sql;
    changed += sqlite3_changes(db);
  }
  sqlite3_close(db);
  ASSERT_GT(changed, 0);
  ASSERT_TRUE(node.start()) << node.log();
  auto again = node.connect();
  EXPECT_EQ(again.error("session.validate", {{"session_id", id}, {"context", context()}}),
            "STORE_INTEGRITY");
}

}  // namespace
}  // namespace portcullis::e2e
