// A node with something of everything in its log, and what the commands that read logs say of it.
#pragma once
#include <sqlite3.h>

#include "harness.hpp"

namespace portcullis::e2e {

inline std::string binary() { return tested_binary(); }

inline std::string last_line(const std::string& text) {
  const auto end = text.find_last_not_of('\n');
  if (end == std::string::npos) return {};
  const auto begin = text.find_last_of('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

struct place {
  std::uint64_t seq = 0;
  std::string digest;
};
inline place digest_of(line_client& client) {
  const auto info = client.result("server.info", {{"digest", true}});
  return {info["seq"], info["digest"]};
}

/// The digest of a folder's log, up to `seq`.
inline std::string replayed(const std::string& data_dir, std::uint64_t seq) {
  const auto ran =
      run(binary() + " replay --data-dir " + data_dir + " --until " + std::to_string(seq));
  EXPECT_EQ(ran.status, 0) << ran.out;
  return last_line(ran.out);
}

inline ran verify(const std::string& data_dir, const std::string& more = "") {
  return run(binary() + " verify --data-dir " + data_dir + " " + more);
}

/// Runs SQL on a stopped node's file.
inline void edit(const std::string& data_dir, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((data_dir + "/portcullis.db").c_str(), &db), SQLITE_OK);
  char* why = nullptr;
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &why), SQLITE_OK) << why;
  sqlite3_free(why);
  sqlite3_close(db);
}

/// The next start is the first of a boot, whose clock is so far ahead: a stopped node's.
inline void boot_later(const server& node, std::chrono::seconds off) {
  edit(node.data_dir(), "DELETE FROM meta WHERE key='clock'");
  node.step_clock(off);
}

/// Something of everything that leaves events.
inline void live_a_little(line_client& client, const std::string& tenant, int round) {
  const auto name = [&](const char* who) { return who + std::to_string(round); };
  const auto in = [&](const std::string& who) { return user(who, tenant); };
  const json data = {{"tenant_id", tenant}, {"data", {{"n", round}}}};
  const auto a = create(client, name("ada"), data)["session_id"];
  const auto b = create(client, name("ada"), data)["session_id"];
  const auto c = create(client, name("bob"), data)["session_id"];
  const auto d = create(client, name("cyd"), data)["session_id"];
  const auto next = client.result("session.rotate", {{"session_id", a}, {"context", context()}});
  validate(client, next["session_id"]);
  client.result("session.rotate", {{"session_id", b}, {"context", context()}, {"grace", false}});
  client.result("session.update",
                {{"session_id", c}, {"context", context()}, {"data", {{"k", "v"}}}});
  for (int i = 0; i < 3; ++i) validate(client, c, context("198.51.100.7"));
  for (int i = 0; i < 12; ++i) validate(client, d, context("198.51.100.8"));
  client.result("session.revoke", {{"session_id", c}});
  validate(client, b);  // reuse: the session is revoked
  if (round % 2 == 0) {
    auto clear = in(name("cyd"));
    clear["reason"] = "test";
    client.result("lockout.clear", clear);
    client.result("session.revoke_user", in(name("ada")));
  }
  if (round % 3 == 0) {
    auto forget = in(name("bob"));
    forget["reason"] = "asked for";
    EXPECT_EQ(client.result("admin.forget", forget)["forgotten"], true);
  }
  if (round % 4 == 3) client.result("session.revoke_tenant", {{"tenant_id", tenant}});
  const auto service = "svc" + std::to_string(round % 3);
  for (int i = 0; i < 25; ++i)
    client.result("breaker.report",
                  {{"service", service}, {"outcome", "failure"}, {"duration_ms", 5}});
  client.result("breaker.override", {{"service", service},
                                     {"mode", round % 2 == 0 ? "forced_open" : "none"},
                                     {"reason", "drill"}});
  client.result("breaker.observe", {{"service", "watched"},
                                    {"source", "app" + std::to_string(round % 2)},
                                    {"source_epoch", 1},
                                    {"seq", round + 1},
                                    {"state", round % 2 == 0 ? "open" : "half_open"},
                                    {"counts", {{"success", round}}}});
}

/// A node whose log was cut at its first stop: `old` is a cursor from before.
struct cut_node {
  server node{{.set = {"store.event_retention_h=1", "store.touch_retention_h=1",
                       "session.idle_ttl_s=86400", "session.absolute_ttl_s=864000"},
               .own_clock = true}};
  std::string old;
  json kept_id;
  place before;

  void make() {
    {
      auto client = node.connect();
      kept_id =
          create(client, "kept", {{"tenant_id", "stays"}, {"data", {{"n", 1}}}})["session_id"];
      old = client.result("events.query", {{"limit", 1}})["cursor"];
      for (int round = 0; round < 4; ++round) live_a_little(client, "acme", round);
      before = digest_of(client);
    }
    ASSERT_EQ(node.terminate(), 0);
    boot_later(node, std::chrono::hours(3));
    ASSERT_TRUE(node.start()) << node.log();
    auto client = node.connect();
    create(client, "later");
    ASSERT_TRUE(eventually([&] {
      create(client, "more");
      return client.error("events.query", {{"after", old}}) == "EVENTS_CURSOR_EXPIRED";
    }));
  }
};

}  // namespace portcullis::e2e
