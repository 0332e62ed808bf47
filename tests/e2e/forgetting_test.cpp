// A forgotten user is revoked, unknown and gone from the disk; the log stays whole.
#include <sqlite3.h>

#include <fstream>

#include "history.hpp"
#include "load.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string folder_bytes(const std::string& data_dir) {
  std::string all;
  for (const auto& each : std::filesystem::directory_iterator(data_dir)) {
    std::ifstream file(each.path(), std::ios::binary);
    all.append(std::istreambuf_iterator<char>(file), {});
  }
  return all;
}

/// The one value of a stopped node's file that the query gives.
std::int64_t number(const std::string& data_dir, const std::string& sql) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open((data_dir + "/portcullis.db").c_str(), &db), SQLITE_OK);
  sqlite3_stmt* query = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &query, nullptr), SQLITE_OK) << sql;
  EXPECT_EQ(sqlite3_step(query), SQLITE_ROW);
  const auto out = sqlite3_column_int64(query, 0);
  sqlite3_finalize(query);
  sqlite3_close(db);
  return out;
}

TEST(forgetting, a_forgotten_user_is_revoked_unknown_and_gone_from_the_disk) {
  server node;
  auto client = node.connect();
  const auto id = create(client, "ada", {{"data", {{"a", 1}}}})["session_id"];
  const auto other = create(client, "bob")["session_id"];
  validate(client, id, context("198.51.100.9"));
  const auto before = digest_of(client);
  // What the row of the user holds, while it is there.
  node.kill_at_once();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((node.data_dir() + "/portcullis.db").c_str(), &db), SQLITE_OK);
  sqlite3_stmt* query = nullptr;
  sqlite3_prepare_v2(db, "SELECT wrapped,lookup FROM users ORDER BY id LIMIT 1", -1, &query,
                     nullptr);
  ASSERT_EQ(sqlite3_step(query), SQLITE_ROW);
  const auto blob = [&](int column) {
    return std::string(static_cast<const char*>(sqlite3_column_blob(query, column)),
                       static_cast<std::size_t>(sqlite3_column_bytes(query, column)));
  };
  const auto wrapped = blob(0), lookup = blob(1);
  sqlite3_finalize(query);
  sqlite3_close(db);
  EXPECT_THAT(folder_bytes(node.data_dir()), HasSubstr(wrapped));
  ASSERT_TRUE(node.start());
  auto second = node.connect();

  auto params = user("ada");
  params["reason"] = "asked for";
  EXPECT_EQ(second.result("admin.forget", params)["forgotten"], true);
  // At once, with the node running: neither the key nor the look-up value is anywhere.
  EXPECT_THAT(folder_bytes(node.data_dir()), Not(HasSubstr(wrapped)));
  EXPECT_THAT(folder_bytes(node.data_dir()), Not(HasSubstr(lookup)));
  EXPECT_EQ(second.result("admin.forget", params)["forgotten"], false);
  EXPECT_EQ(state_of(second, id), "revoked");
  EXPECT_EQ(state_of(second, other), "valid");
  EXPECT_TRUE(second.result("session.list", user("ada"))["sessions"].empty());
  EXPECT_EQ(second.result("lockout.status", user("ada"))["failed_attempts"], 0);
  for (const auto& each : events(second)) EXPECT_NE(each.value("user_id", ""), "ada") << each;
  const auto told = events(second, {{"types", {"user_forgotten"}}});
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0]["count"], 1);
  EXPECT_EQ(told[0]["reason"], "asked for");
  EXPECT_EQ(told[0]["actor"], "anonymous");

  // Whoever comes back under the name is somebody else.
  const auto again = create(second, "ada")["session_id"];
  EXPECT_EQ(state_of(second, again), "valid");
  EXPECT_EQ(second.result("session.list", user("ada"))["sessions"].size(), 1U);
  const auto after = digest_of(second);
  node.restart();
  auto third = node.connect();
  EXPECT_EQ(state_of(third, id), "revoked");
  EXPECT_EQ(state_of(third, again), "valid");
  EXPECT_EQ(third.result("session.list", user("ada"))["sessions"].size(), 1U);
  node.kill_at_once();
  EXPECT_EQ(replayed(node.data_dir(), before.seq), before.digest)
      << "earlier states are as they were";
  EXPECT_EQ(replayed(node.data_dir(), after.seq), after.digest);
  EXPECT_EQ(verify(node.data_dir()).status, 0);
}

TEST(forgetting, a_start_erases_what_a_kill_between_commit_and_erasing_left_behind) {
  server node;
  {
    auto client = node.connect();
    for (int i = 0; i < 20; ++i) create(client, "ada");
  }
  node.kill_at_once();
  const auto log = node.data_dir() + "/portcullis.db-wal";
  ASSERT_GT(std::filesystem::file_size(log), 0U);
  ASSERT_TRUE(node.start());
  EXPECT_TRUE(eventually([&] { return std::filesystem::file_size(log) == 0; }))
      << "with the first commit";
}

TEST(forgetting, works_on_a_stopped_node_too) {
  server node;
  json id;
  {
    auto client = node.connect();
    id = create(client, "ada")["session_id"];
    create(client, "bob");
    validate(client, id, context("198.51.100.9"));
  }
  const auto forget = binary() + " forget --tenant acme --user ada --reason asked";
  const auto in = forget + " --data-dir " + node.data_dir();
  EXPECT_THAT(run(in).out, HasSubstr("DATA_DIR_IN_USE"));
  ASSERT_EQ(node.terminate(), 0);
  const auto done = run(in);
  EXPECT_EQ(done.status, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("{\"forgotten\":true}"));
  EXPECT_EQ(run(in).status, 1) << "nobody is left to be forgotten";
  const auto checked = verify(node.data_dir());
  EXPECT_EQ(checked.status, 0) << checked.out;
  ASSERT_TRUE(node.start());
  auto client = node.connect();
  EXPECT_EQ(state_of(client, id), "revoked");
  EXPECT_EQ(client.result("session.list", user("bob"))["sessions"].size(), 1U);
  const auto live =
      run(binary() + " forget --tenant acme --user bob --reason asked --address 127.0.0.1:" +
          std::to_string(node.rpc_port));
  EXPECT_EQ(live.status, 0) << live.out;
  EXPECT_TRUE(client.result("session.list", user("bob"))["sessions"].empty());
}

// The user's row is gone, the session's is not marked as ended: its tenant's revocation ended it.
// The loader gave it to a tenant without a name, where it was live again.
TEST(forgetting, of_a_user_whose_tenant_was_revoked_before_brings_no_session_back) {
  server node;
  json id;
  {
    auto client = node.connect();
    id = create(client, "ada")["session_id"];
    client.result("session.revoke_tenant", {{"tenant_id", "acme"}});
    auto params = user("ada");
    params["reason"] = "asked for";
    EXPECT_EQ(client.result("admin.forget", params)["forgotten"], true);
  }
  ASSERT_EQ(node.terminate(), 0);
  ASSERT_TRUE(node.start());
  auto client = node.connect();
  EXPECT_EQ(state_of(client, id), "revoked");
  EXPECT_EQ(client.result("session.stats")["live"], 0);
  const auto end = digest_of(client);
  node.kill_at_once();
  EXPECT_EQ(replayed(node.data_dir(), end.seq), end.digest);
}

/// The rows that a tenant's revocation had ended kept tags of address and user agent, which the key
/// file tests, for hours.
TEST(forgetting, empties_the_rows_of_sessions_that_a_tenant_s_revocation_ended) {
  server node;
  place end;
  {
    auto client = node.connect();
    for (const char* who : {"ada", "bob"}) create(client, who, {{"data", {{"a", 1}}}});
    client.result("session.revoke_tenant", {{"tenant_id", "acme"}});
    create(client, "ada");
    auto params = user("ada");
    params["reason"] = "asked for";
    EXPECT_EQ(client.result("admin.forget", params)["forgotten"], true);
    const auto told = events(client, {{"types", {"user_forgotten"}}});
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0]["count"], 1) << "the tenant's revocation had counted the other";
    EXPECT_EQ(client.result("session.stats")["live"], 0);
    end = digest_of(client);
  }
  node.kill_at_once();
  EXPECT_EQ(replayed(node.data_dir(), end.seq), end.digest);
  EXPECT_EQ(verify(node.data_dir()).status, 0);
  // And on the stopped node.
  const auto left =
      "SELECT count(*) FROM sessions WHERE find_ip<>0 OR find_user_agent<>0 OR ip IS NOT NULL OR "
      "sealed IS NOT NULL OR data IS NOT NULL OR fields IS NOT NULL";
  EXPECT_EQ(number(node.data_dir(), left), 1) << "bob's";
  EXPECT_EQ(run(binary() + " forget --tenant acme --user bob --reason asked --data-dir " +
                node.data_dir())
                .status,
            0);
  EXPECT_EQ(number(node.data_dir(), left), 0);
  EXPECT_EQ(verify(node.data_dir()).status, 0);
  // An import does the same.
  const auto copy = node.folder().file("copy");
  const auto done = run(binary() + " events export --data-dir " + node.data_dir() + " | " +
                        binary() + " events import --in - --data-dir " + copy + " --keys-file " +
                        node.data_dir() + "/portcullis.keys");
  EXPECT_EQ(done.status, 0) << done.out;
  EXPECT_EQ(number(copy, left), 0);
  ASSERT_TRUE(node.start());
  auto client = node.connect();
  EXPECT_EQ(client.result("session.stats")["live"], 0);
}

TEST(forgetting, of_a_name_that_nobody_has_is_no_error_and_leaves_no_event) {
  server node;
  auto client = node.connect();
  auto params = user("nobody");
  params["reason"] = "asked for";
  EXPECT_EQ(client.result("admin.forget", params)["forgotten"], false);
  EXPECT_TRUE(events(client, {{"types", {"user_forgotten"}}}).empty());
  params.erase("reason");
  EXPECT_EQ(client.error("admin.forget", params), "INVALID_PARAMS");
}

TEST(forgetting, creates_that_come_at_the_same_time_are_of_the_user_before_or_of_another) {
  server node({.set = {"server.loops=2"}});
  std::vector<json> ids;
  auto client = node.connect();
  create(client, "ada");
  {
    std::atomic<bool> stop = false;
    std::jthread creating([&] {
      auto mine = node.connect();
      while (!stop) ids.push_back(create(mine, "ada")["session_id"]);
    });
    for (int i = 0; i < 20; ++i) {
      auto params = user("ada");
      params["reason"] = "again";
      client.result("admin.forget", params);
    }
    stop = true;
  }
  std::size_t valid = 0;
  for (const auto& id : ids) valid += state_of(client, id) == "valid";
  EXPECT_EQ(client
                .result("session.list",
                        {{"tenant_id", "acme"}, {"user_id", "ada"}, {"limit", 1000}})["sessions"]
                .size(),
            valid);
  const auto end = digest_of(client);
  node.kill_at_once();
  EXPECT_EQ(replayed(node.data_dir(), end.seq), end.digest);
  EXPECT_EQ(verify(node.data_dir()).status, 0);
}

}  // namespace
}  // namespace portcullis::e2e
