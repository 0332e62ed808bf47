// session.list, find and stats: pages, cursors and counts.
#include "harness.hpp"

namespace portcullis::e2e {
namespace {

struct lists : testing::Test {
  server node;
  line_client client = node.connect();
};

TEST_F(lists, list_goes_by_creation_in_pages_without_a_row_twice) {
  std::vector<std::string> made;
  for (int i = 0; i < 25; ++i)
    made.push_back(create(client, "ada",
                          {{"context", context("192.0.2.1", "ua" + std::to_string(i))}})["handle"]);
  create(client, "bob");
  client.result("session.revoke", {{"handle", made[3]}});
  made.erase(made.begin() + 3);
  std::vector<std::string> seen;
  auto params = user("ada");
  params["limit"] = 7;
  int pages = 0;
  for (;; ++pages) {
    const auto page = client.result("session.list", params);
    for (const auto& row : page["sessions"]) {
      seen.push_back(row["handle"]);
      EXPECT_EQ(row["ip"], "192.0.2.1");
      EXPECT_EQ(row["last_seen_at_ms"], row["created_at_ms"]);
      EXPECT_EQ(row["expires_at_ms"].get<std::int64_t>(),
                row["created_at_ms"].get<std::int64_t>() + 900'000);
      EXPECT_EQ(row.size(), 6U) << row;
    }
    EXPECT_LE(page["sessions"].size(), 7U);
    if (!page.contains("cursor")) break;
    params["cursor"] = page["cursor"];
  }
  EXPECT_EQ(seen, made);
  EXPECT_EQ(pages, 3);
}

TEST_F(lists, a_cursor_is_taken_only_by_the_method_that_gave_it) {
  for (int i = 0; i < 3; ++i) create(client, "ada");
  auto params = user("ada");
  params["limit"] = 1;
  const auto cursor = client.result("session.list", params)["cursor"];
  for (const json& bad :
       {json(""), json("x"), json("s"), json("s-1"), json("s1x"), json(std::string(200, '9'))}) {
    params["cursor"] = bad;
    EXPECT_EQ(client.error("session.list", params), "CURSOR_INVALID") << bad;
  }
  EXPECT_EQ(client.error("session.find",
                         {{"tenant_id", "acme"}, {"ip", "192.0.2.1"}, {"cursor", cursor}}),
            "CURSOR_INVALID");
  EXPECT_EQ(client.error("lockout.list", {{"cursor", cursor}}), "CURSOR_INVALID");
  EXPECT_EQ(client.error("server.connections", {{"cursor", cursor}}), "CURSOR_INVALID");
  EXPECT_EQ(client.error("events.query", {{"after", cursor}}), "CURSOR_INVALID");
}

TEST_F(lists, find_goes_by_creations_address_or_user_agent_exactly) {
  std::vector<std::string> by_ip;
  for (int i = 0; i < 5; ++i)
    by_ip.push_back(
        create(client, "u" + std::to_string(i),
               {{"context", context("2001:db8::5", "ua" + std::to_string(i % 2))}})["handle"]);
  create(client, "x", {{"context", context("2001:db8::6", "ua0")}});
  create(client, "y", {{"tenant_id", "other"}, {"context", context("2001:db8::5", "ua0")}});
  const auto find = [&](json params) {
    params["tenant_id"] = "acme";
    std::vector<std::string> handles;
    for (;;) {
      const auto page = client.result("session.find", params);
      for (const auto& row : page["sessions"]) {
        handles.push_back(row["handle"]);
        EXPECT_TRUE(row.contains("user_id"));
        EXPECT_EQ(row.size(), 7U) << row;
      }
      if (!page.contains("cursor")) return handles;
      params["cursor"] = page["cursor"];
    }
  };
  EXPECT_EQ(find({{"ip", "2001:0db8:0::0:5"}}), by_ip);
  EXPECT_EQ(find({{"ip", "2001:db8::5"}, {"limit", 2}}), by_ip);
  EXPECT_EQ(find({{"user_agent", "ua0"}}).size(), 4U);
  EXPECT_EQ(find({{"user_agent", "ua"}}).size(), 0U) << "not by prefix";
  client.result("session.revoke", {{"handle", by_ip[0]}});
  EXPECT_TRUE(eventually([&] { return find({{"ip", "2001:db8::5"}}).size() == 4; }));
}

TEST_F(lists, stats_count_each_end) {
  for (int i = 0; i < 4; ++i) create(client, "ada");
  const auto one = create(client, "bob");
  client.result("session.revoke", {{"session_id", one["session_id"]}});
  EXPECT_EQ(client.result("session.stats"),
            (json{{"live", 4}, {"created", 5}, {"revoked", 1}, {"expired", 0}, {"evicted", 0}}));
}

}  // namespace
}  // namespace portcullis::e2e
