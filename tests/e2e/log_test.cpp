// The event log from outside: replay gives the live state's digest, verify finds what was changed.
#include <sqlite3.h>

#include <fstream>
#include <random>

#include "history.hpp"
#include "load.hpp"

namespace portcullis::e2e {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(the_log, invariant_12_replay_gives_the_live_digest_on_one_shard_and_on_four) {
  for (const auto loops : {1, 4}) {
    server node({.set = {"server.loops=" + std::to_string(loops)}});
    std::vector<place> seen;
    for (int round = 0; round < 8; ++round) {
      auto client = node.connect();
      live_a_little(client, "t" + std::to_string(round % 2), round);
      seen.push_back(digest_of(client));
      EXPECT_EQ(digest_of(client).digest, seen.back().digest) << "nothing has happened";
      if (round == 3) EXPECT_EQ(node.terminate(), 0);
      if (round == 3) ASSERT_TRUE(node.start());
      if (round == 5) node.restart();
    }
    {
      auto client = node.connect();
      seen.push_back(digest_of(client));
    }
    node.kill_at_once();
    for (const auto& each : seen) EXPECT_EQ(replayed(node.data_dir(), each.seq), each.digest);
    const auto checked = verify(node.data_dir());
    EXPECT_EQ(checked.status, 0) << checked.out;
    EXPECT_EQ(last_line(checked.out), replayed(node.data_dir(), seen.back().seq));
  }
}

TEST(the_log, the_digest_is_the_same_after_what_has_ended_was_expired_evicted_and_purged) {
  server node(
      {.set = {"session.max_sessions_per_user=2", "session.on_cap=evict_oldest",
               "session.idle_ttl_s=2", "session.absolute_ttl_s=2", "session.touch_granularity_s=1",
               "lockout.window_s=1", "lockout.duration_s=1", "lockout.threshold=2"},
       .own_clock = true});
  auto client = node.connect();
  std::vector<place> seen;
  for (int i = 0; i < 4; ++i) create(client, "ada");
  const auto id = create(client, "bob")["session_id"];
  for (int i = 0; i < 4; ++i) validate(client, id, context("198.51.100.9"));
  seen.push_back(digest_of(client));
  EXPECT_FALSE(events_at_least(client, 3, {{"types", {"session_expired"}}}).empty());
  EXPECT_FALSE(events_at_least(client, 1, {{"types", {"lockout_ended"}}}).empty());
  seen.push_back(digest_of(client));
  EXPECT_EQ(node.terminate(), 0);
  // Another boot's clock, past the tombstones.
  boot_later(node, 3600s);
  ASSERT_TRUE(node.start());
  auto later = node.connect();
  create(later, "cyd");
  ASSERT_TRUE(eventually([&] {
    seen.push_back(digest_of(later));
    return events(later, {{"types", {"session_expired"}}}).size() >= 3;
  }));
  node.kill_at_once();
  for (const auto& each : seen) EXPECT_EQ(replayed(node.data_dir(), each.seq), each.digest);
  EXPECT_EQ(verify(node.data_dir()).status, 0);
}

TEST(the_log, kill_9_under_load_leaves_a_whole_chain_and_the_same_digest) {
  const int rounds = long_tests() ? 500 : 50;
  server node({.set = {"server.loops=2"}});
  for (int round = 0; round < rounds; ++round) {
    place during;
    {
      load writing(node, 3, "round" + std::to_string(round));
      ASSERT_TRUE(eventually([&] { return writing.acknowledged() >= 20; }));
      auto client = node.connect();
      during = digest_of(client);
      const auto before = writing.acknowledged();
      ASSERT_TRUE(eventually([&] { return writing.acknowledged() >= before + 10; }))
          << "requests go on after a digest";
      node.kill_at_once();
      writing.stop();
    }
    EXPECT_EQ(replayed(node.data_dir(), during.seq), during.digest);
    const auto checked = verify(node.data_dir());
    EXPECT_EQ(checked.status, 0) << checked.out;
    ASSERT_TRUE(node.start()) << node.log();
    if (HasFailure()) break;
  }
}

TEST(the_log, an_attacker_without_a_valid_id_adds_a_bounded_number_of_events_a_second) {
  // What core/limits.hpp has: different failures told in a second, and one bucket for each reason.
  constexpr std::size_t told_a_second_max = 4'096 + 6;
  constexpr std::size_t requests = 30'000;
  server node({.set = {"limits.in_flight_per_connection=1024"}});
  const auto begun = clock::now();
  std::jthread asking([&] {
    auto mine = node.connect();
    std::size_t answered = 0;
    for (std::size_t at = 0; at < requests;) {
      std::string some;
      const auto end = std::min(requests, at + 500);
      const auto sent = end - at;
      for (; at < end; ++at) {
        const auto number = std::to_string(at);
        const auto source = "10." + std::to_string(at / 65'536) + "." +
                            std::to_string(at / 256 % 256) + "." + std::to_string(at % 256);
        some += R"({"jsonrpc":"2.0","id":1,"method":"session.validate","params":{"session_id":")" +
                std::string(64 - number.size(), '0') + number + R"(","context":{"ip":")" + source +
                "\"}}}\n";
      }
      ASSERT_TRUE(mine.send(some));
      for (std::size_t i = 0; i < sent; ++i) answered += mine.line().has_value();
    }
    EXPECT_EQ(answered, requests) << "each from an address of its own";
  });
  asking.join();
  auto client = node.connect();
  std::size_t told = 0, counted = 0;
  ASSERT_TRUE(eventually([&] {
    told = counted = 0;
    for (const auto& each : events(client, {{"types", {"validation_failed"}}, {"limit", 1000}})) {
      ++told;
      counted += each["count"].get<std::size_t>();
    }
    return counted == requests;
  })) << counted;
  const auto seconds = static_cast<std::size_t>(
      std::chrono::duration_cast<std::chrono::seconds>(clock::now() - begun).count());
  EXPECT_LE(told, told_a_second_max * (seconds + 2));
  EXPECT_LT(told, requests) << "they are not told one by one";
}

TEST(the_log, a_digest_is_for_administrators_and_waits_for_what_was_sent_before) {
  server node;
  auto client = node.connect();
  const auto empty = digest_of(client);
  create(client, "ada");
  EXPECT_NE(digest_of(client).digest, empty.digest);
  client.send(
      R"({"jsonrpc":"2.0","id":1,"method":"session.create","params":{"tenant_id":"acme","user_id":"bob","context":{"ip":"192.0.2.1"}}})"
      R"({"jsonrpc":"2.0","id":2,"method":"server.info","params":{"digest":true}})");
  const auto first = client.reply(), second = client.reply();
  const auto& info = first["id"] == 2 ? first : second;
  EXPECT_EQ(info["result"]["digest"], digest_of(client).digest);
}

TEST(the_log, a_folder_in_use_is_refused_and_one_without_a_store_too) {
  server node;
  for (const char* what : {"replay", "verify"}) {
    const auto ran = run(binary() + " " + what + " --data-dir " + node.data_dir());
    EXPECT_EQ(ran.status, 1);
    EXPECT_THAT(ran.out, HasSubstr("DATA_DIR_IN_USE"));
  }
  const auto nothing = run(binary() + " replay --data-dir " + node.folder().file("nowhere"));
  EXPECT_EQ(nothing.status, 1);
  EXPECT_THAT(nothing.out, HasSubstr("there is no portcullis.db"));
  EXPECT_FALSE(std::filesystem::exists(node.folder().file("nowhere")));
}

TEST(the_log, replay_says_where_the_log_ends_and_takes_times) {
  server node;
  auto client = node.connect();
  create(client, "ada");
  const auto seen = digest_of(client);
  const auto at_ms = now_ms();
  ASSERT_TRUE(eventually([&] { return now_ms() > at_ms + 1; }));
  create(client, "bob");
  node.kill_at_once();
  EXPECT_EQ(run(binary() + " replay --data-dir " + node.data_dir() + " --until 99999").status, 1);
  const auto then =
      run(binary() + " replay --data-dir " + node.data_dir() + " --until " + std::to_string(at_ms));
  EXPECT_EQ(then.status, 0) << then.out;
  EXPECT_EQ(last_line(then.out), seen.digest);
  EXPECT_EQ(run(binary() + " replay --data-dir " + node.data_dir() + " --until soon").status, 64);
  const auto never =
      run(binary() + " replay --data-dir " + node.data_dir() + " --until 2001-01-01T00:00:00Z");
  EXPECT_EQ(never.status, 0) << "before the first event";
}

/// A stopped node's folder with some history.
class tampered : public testing::Test {
 protected:
  void SetUp() override {
    auto client = node.connect();
    for (int round = 0; round < 3; ++round) live_a_little(client, "acme", round);
    end = digest_of(client);
    ASSERT_EQ(node.terminate(), 0);
    ASSERT_EQ(verify(node.data_dir()).status, 0);
  }
  void expect_wrong_at(std::uint64_t seq, const std::string& more = "") {
    const auto checked = verify(node.data_dir(), more);
    EXPECT_EQ(checked.status, 1) << checked.out;
    EXPECT_THAT(checked.out, HasSubstr("wrong at seq " + std::to_string(seq) + ":"));
  }
  server node{{.set = {"lockout.threshold=5"}}};
  place end;
};

TEST_F(tampered, an_edited_event_is_named) {
  edit(node.data_dir(),
       "UPDATE events SET body=replace(body,'\"reason\":','\"reason\" :') WHERE seq=(SELECT "
       "min(seq) FROM events WHERE type='session_revoked')");
  sqlite3* db = nullptr;
  sqlite3_open((node.data_dir() + "/portcullis.db").c_str(), &db);
  sqlite3_stmt* query = nullptr;
  sqlite3_prepare_v2(db, "SELECT min(seq) FROM events WHERE type='session_revoked'", -1, &query,
                     nullptr);
  sqlite3_step(query);
  const auto seq = static_cast<std::uint64_t>(sqlite3_column_int64(query, 0));
  sqlite3_finalize(query);
  sqlite3_close(db);
  expect_wrong_at(seq);
}

TEST_F(tampered, a_dropped_event_is_named) {
  edit(node.data_dir(), "DELETE FROM events WHERE seq=7");
  expect_wrong_at(7);
}

TEST_F(tampered, the_first_event_dropped_is_named) {
  edit(node.data_dir(), "DELETE FROM events WHERE seq=1");
  expect_wrong_at(1);
}

TEST_F(tampered, reordered_events_are_named) {
  edit(node.data_dir(),
       "UPDATE events SET seq=1000000 WHERE seq=5; UPDATE events SET seq=5 WHERE seq=6; UPDATE "
       "events SET seq=6 WHERE seq=1000000");
  expect_wrong_at(5);
}

TEST_F(tampered, a_projection_that_says_something_else_is_named_by_its_event) {
  edit(node.data_dir(),
       "UPDATE sessions SET state=0 WHERE seq=(SELECT min(seq) FROM sessions WHERE state=1)");
  const auto checked = verify(node.data_dir());
  EXPECT_EQ(checked.status, 1);
  EXPECT_THAT(checked.out, HasSubstr("sessions: the row of the session created here"));
}

TEST_F(tampered, a_lock_taken_out_of_its_table_is_found) {
  edit(node.data_dir(), "DELETE FROM lockouts");
  const auto checked = verify(node.data_dir());
  EXPECT_EQ(checked.status, 1);
  EXPECT_THAT(checked.out, HasSubstr("lockouts:"));
}

TEST_F(tampered, users_that_were_exchanged_are_found) {
  edit(node.data_dir(),
       "CREATE TEMP TABLE t AS SELECT id,wrapped FROM users ORDER BY id LIMIT 2;"
       "UPDATE users SET wrapped=(SELECT wrapped FROM t WHERE t.id<>users.id) WHERE id IN (SELECT "
       "id FROM t)");
  const auto checked = verify(node.data_dir());
  EXPECT_EQ(checked.status, 1);
  EXPECT_THAT(checked.out, HasSubstr("users"));
}

TEST_F(tampered, a_cut_tail_is_found_with_a_checkpoint_that_was_kept) {
  const auto kept = node.folder().file("checkpoint.json");
  const auto made = run(binary() + " checkpoint --data-dir " + node.data_dir() + " --out " + kept);
  ASSERT_EQ(made.status, 0) << made.out;
  EXPECT_EQ(verify(node.data_dir(), "--checkpoint " + kept).status, 0);
  edit(node.data_dir(), "DELETE FROM events WHERE seq>=(SELECT max(seq)-3 FROM events)");
  const auto unseen = verify(node.data_dir());
  EXPECT_THAT(unseen.out, Not(HasSubstr("mac"))) << "the chain alone cannot know";
  const auto checked = verify(node.data_dir(), "--checkpoint " + kept);
  EXPECT_EQ(checked.status, 1);
  EXPECT_THAT(checked.out, HasSubstr("its tail was cut"));
}

TEST_F(tampered, a_log_that_was_rolled_back_and_went_on_is_found_with_a_checkpoint) {
  const auto copy = node.folder().file("copy");
  std::filesystem::copy(node.data_dir(), copy);
  ASSERT_TRUE(node.start());
  {
    auto client = node.connect();
    create(client, "eve");
  }
  ASSERT_EQ(node.terminate(), 0);
  const auto kept = node.folder().file("checkpoint.json");
  ASSERT_EQ(run(binary() + " checkpoint --data-dir " + node.data_dir() + " --out " + kept).status,
            0);
  std::filesystem::copy(
      copy, node.data_dir(),
      std::filesystem::copy_options::overwrite_existing | std::filesystem::copy_options::recursive);
  ASSERT_TRUE(node.start());
  {
    auto client = node.connect();
    for (int i = 0; i < 5; ++i) create(client, "mallory");
  }
  ASSERT_EQ(node.terminate(), 0);
  EXPECT_EQ(verify(node.data_dir()).status, 0);
  const auto checked = verify(node.data_dir(), "--checkpoint " + kept);
  EXPECT_EQ(checked.status, 1);
  EXPECT_THAT(checked.out, HasSubstr("another log"));
}

TEST_F(tampered, a_checkpoint_that_nobody_signed_is_refused) {
  const auto kept = node.folder().file("checkpoint.json");
  ASSERT_EQ(run(binary() + " checkpoint --data-dir " + node.data_dir() + " --out " + kept).status,
            0);
  std::ifstream file(kept);
  auto line = json::parse(file);
  line["of_at_ms"] = line["of_at_ms"].get<std::int64_t>() + 1;
  const auto forged = node.folder().write("forged.json", line.dump() + "\n");
  const auto checked = verify(node.data_dir(), "--checkpoint " + forged);
  EXPECT_EQ(checked.status, 1);
  EXPECT_THAT(checked.out, HasSubstr("not signed"));
  EXPECT_EQ(
      verify(node.data_dir(), "--checkpoint " + node.folder().write("no.json", "{}\n")).status, 1);
}

}  // namespace
}  // namespace portcullis::e2e
