// What is older than the log is kept for: cut off, with a snapshot in its place. A stopped node
// signs its log to the end, and there the next one may cut it.
#include "history.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(retention_of_events, old_events_are_cut_off_and_the_state_stays) {
  cut_node cut;
  cut.make();
  auto client = cut.node.connect();
  EXPECT_EQ(validate(client, cut.kept_id)["data"]["n"], 1) << "created in an event that is gone";
  const auto all = events(client);
  ASSERT_FALSE(all.empty());
  EXPECT_GT(all.front()["seq"], cut.before.seq) << "a query without a cursor begins at the oldest";
  const auto seen = digest_of(client);
  cut.node.kill_at_once();
  EXPECT_EQ(replayed(cut.node.data_dir(), seen.seq), seen.digest);
  const auto checked = verify(cut.node.data_dir());
  EXPECT_EQ(checked.status, 0) << checked.out;
  const auto early = run(binary() + " replay --data-dir " + cut.node.data_dir() + " --until " +
                         std::to_string(cut.before.seq));
  EXPECT_EQ(early.status, 1);
  EXPECT_THAT(early.out, HasSubstr("what came before was cut off"));
  ASSERT_TRUE(cut.node.start());
  auto again = cut.node.connect();
  EXPECT_EQ(state_of(again, cut.kept_id), "valid");
}

TEST(retention_of_events, an_expired_cursor_names_the_oldest_one_left_and_that_one_works) {
  cut_node cut;
  cut.make();
  auto client = cut.node.connect();
  for (const char* method : {"events.query", "events.subscribe"}) {
    const auto refused = client.call(method, {{"after", cut.old}});
    ASSERT_EQ(error_of(refused), "EVENTS_CURSOR_EXPIRED") << method;
    const auto& details = refused["error"]["data"]["details"];
    EXPECT_EQ(details["field"], "after");
    EXPECT_EQ(details["rule"], "oldest");
    const auto oldest = "e" + std::to_string(details["limit"].get<std::uint64_t>());
    EXPECT_EQ(error_of(client.call(method, {{"after", oldest}})), "") << method;
    const auto earlier = "e" + std::to_string(details["limit"].get<std::uint64_t>() - 1);
    EXPECT_EQ(error_of(client.call(method, {{"after", earlier}})), "EVENTS_CURSOR_EXPIRED");
  }
}

TEST(retention_of_events, a_snapshot_that_was_changed_is_found) {
  cut_node cut;
  cut.make();
  ASSERT_EQ(cut.node.terminate(), 0);
  ASSERT_EQ(verify(cut.node.data_dir()).status, 0);
  edit(cut.node.data_dir(), "UPDATE snapshot SET body=body||x'00'");
  const auto checked = verify(cut.node.data_dir());
  EXPECT_EQ(checked.status, 1);
  EXPECT_THAT(checked.out, HasSubstr("the snapshot here is damaged"));
}

TEST(retention_of_events, kill_9_while_it_cuts_leaves_a_log_that_is_whole) {
  for (int round = 0; round < (long_tests() ? 60 : 6); ++round) {
    server node({.set = {"store.event_retention_h=1", "session.idle_ttl_s=86400",
                         "session.absolute_ttl_s=864000"},
                 .own_clock = true});
    {
      auto client = node.connect();
      for (int i = 0; i < 300; ++i)
        create(client, "u" + std::to_string(i), {{"tenant_id", "stays"}});
      live_a_little(client, "acme", round);
    }
    ASSERT_EQ(node.terminate(), 0);
    boot_later(node, std::chrono::hours(3));
    ASSERT_TRUE(node.start());
    {
      auto client = node.connect();
      for (int i = 0; i <= round % 6; ++i) create(client, "later");
    }
    node.kill_at_once();
    const auto checked = verify(node.data_dir());
    EXPECT_EQ(checked.status, 0) << checked.out;
    ASSERT_TRUE(node.start());
    auto client = node.connect();
    EXPECT_EQ(client.result("session.list", user("u0", "stays"))["sessions"].size(), 1U);
    if (HasFailure()) break;
  }
}

TEST(retention_of_events, records_of_activity_stay_empty_and_are_told_of_no_more) {
  server node({.set = {"session.touch_granularity_s=1", "session.idle_ttl_s=86400",
                       "session.absolute_ttl_s=864000", "store.touch_retention_h=1"},
               .own_clock = true});
  json id;
  {
    auto client = node.connect();
    id = create(client, "ada")["session_id"];
    ASSERT_TRUE(eventually([&] {
      validate(client, id);
      return !events(client, {{"types", {"session_touched"}}}).empty();
    }));
  }
  ASSERT_EQ(node.terminate(), 0);
  boot_later(node, std::chrono::hours(3));
  ASSERT_TRUE(node.start());
  auto client = node.connect();
  create(client, "bob");
  ASSERT_TRUE(eventually([&] {
    create(client, "bob");
    for (const auto& each : events(client, {{"types", {"session_touched"}}}))
      if (!each.contains("handle") && each["handles"].empty()) return true;
    return false;
  }));
  EXPECT_EQ(state_of(client, id), "valid");
  node.kill_at_once();
  EXPECT_EQ(verify(node.data_dir()).status, 0);
}

}  // namespace
}  // namespace portcullis::e2e
