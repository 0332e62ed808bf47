// A log that is cut begins with a signed snapshot and gives the same state; what interrupts the
// cutting leaves it as it was, or cut.
#include "store/retention.hpp"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "../core/session/world.hpp"
#include "journal_fixture.hpp"
#include "store/log_file.hpp"
#include "store/log_stream.hpp"

namespace portcullis::store {
namespace {

using core::millis;

class retention : public testing::Test {
 protected:
  retention() : key(core::digest{7}) { open(); }

  void open() {
    log.reset();
    auto opened = journal::open(options_for(folder.path() + "/data"));
    ASSERT_TRUE(opened) << opened.error().rule;
    log = std::move(*opened);
  }

  /// Commits what the world has done since the last time.
  void commit() {
    std::vector<core::event> events(w.log.begin() + static_cast<std::ptrdiff_t>(taken),
                                    w.log.end());
    std::vector<core::user_row> users(w.rows.begin() + static_cast<std::ptrdiff_t>(users_taken),
                                      w.rows.end());
    taken = w.log.size();
    users_taken = w.rows.size();
    ASSERT_TRUE(log->append(events, users));
    ASSERT_TRUE(log->commit());
  }
  /// Time passes, things happen, the log is signed.
  void live(int sessions) {
    for (int i = 0; i < sessions; ++i) {
      w.now_ms += 1'000;
      auto command = w.creation(i % 2 == 0 ? "ada" : "bob");
      command.data = "{\"n\":1}";
      const auto s = w.create(command);
      ids.push_back(s.id);
      if (i % 3 == 0) (void)w.rotate(s.id);
      if (i % 4 == 1) w.revoke(s.handle);
      w.now_ms += 90'000;
      (void)w.use(s.id);
    }
    commit();
    core::event what;
    what.decided_at_ms = w.now_ms;
    what.body = core::make_checkpoint({log->last_seq(), log->last_at_ms(), log->last_mac()}, key);
    w.apply(std::move(what));
    commit();
    checkpoints.push_back({w.seq, w.now_ms});
  }

  core::result<progress> cut(millis before_ms, millis apart_ms = 0) {
    log_cutter work(*log, key, before_ms, apart_ms);
    for (;;) {
      auto went = work.step();
      if (!went || *went == progress::done) return went;
    }
  }
  void edit_file(const char* sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((folder.path() + "/data/portcullis.db").c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }
  [[nodiscard]] std::uint64_t rows() {
    event_filter filter;
    filter.limit = 1'000'000;
    event_query query(*log, filter);
    for (;;) {
      const auto went = query.step();
      EXPECT_TRUE(went);
      if (!went || *went == progress::done) return query.rows().size();
    }
  }

  /// What the file gives when it is read from the outside, with the chain checked.
  struct outside {
    core::digest digest{};
    std::uint64_t events = 0;
    std::optional<log_trouble> trouble;
  };
  outside replay() {
    log.reset();
    outside out;
    {
      auto file = log_file::open(folder.path() + "/data");
      EXPECT_TRUE(file);
      core::replayed_state state;
      if ((*file)->cut()) {
        auto base = (*file)->read_snapshot();
        EXPECT_TRUE(base);
        if (base) state = std::move(*base);
        EXPECT_TRUE(core::is_signed(*(*file)->cut(), key.verifier()));
      }
      auto options = whole_log(**file);
      const auto chain = chain_key();
      options.chain = &chain;
      options.signer = key.verifier();
      log_stream events(**file, options);
      for (auto some = events.next(); !some.empty(); some = events.next())
        for (const auto& each : some) {
          state.apply(each);
          ++out.events;
        }
      out.trouble = events.trouble();
      out.digest = state.digest();
    }
    open();
    return out;
  }

  /// The digest of all that the world has done.
  [[nodiscard]] core::digest lived() const {
    core::replayed_state state;
    for (const auto& each : w.log) state.apply(each);
    return state.digest();
  }

  temporary_folder folder;
  core::signing_key key;
  core::world w;
  std::unique_ptr<journal> log;
  std::size_t taken = 0, users_taken = 0;
  std::vector<core::session_id> ids;
  struct at {
    std::uint64_t seq;
    millis at_ms;
  };
  std::vector<at> checkpoints;
};

TEST_F(retention, cuts_at_the_newest_checkpoint_before_the_time_and_replay_gives_the_same) {
  live(9);
  live(7);
  live(5);
  const auto before = replay();
  ASSERT_FALSE(before.trouble);
  ASSERT_TRUE(cut(checkpoints[1].at_ms + 1));
  EXPECT_EQ(log->cut_seq(), checkpoints[1].seq);
  EXPECT_EQ(rows(), w.seq - checkpoints[1].seq);
  const auto after = replay();
  EXPECT_FALSE(after.trouble);
  EXPECT_EQ(after.digest, before.digest);
  EXPECT_EQ(after.events, w.seq - checkpoints[1].seq);
  EXPECT_EQ(log->cut_seq(), checkpoints[1].seq) << "and after a start";
}

TEST_F(retention, without_a_checkpoint_before_the_time_nothing_is_cut) {
  live(5);
  ASSERT_TRUE(cut(checkpoints[0].at_ms - 1));
  EXPECT_EQ(log->cut_seq(), 0U);
  EXPECT_EQ(rows(), w.seq);
}

TEST_F(retention, cuts_again_from_the_snapshot_before) {
  live(9);
  ASSERT_TRUE(cut(w.now_ms));
  live(7);
  live(6);
  const auto before = replay();
  ASSERT_TRUE(cut(checkpoints[1].at_ms));
  EXPECT_EQ(log->cut_seq(), checkpoints[1].seq);
  const auto after = replay();
  EXPECT_FALSE(after.trouble);
  EXPECT_EQ(after.digest, before.digest);
  ASSERT_TRUE(cut(checkpoints[1].at_ms));
  EXPECT_EQ(replay().digest, before.digest) << "the same once more changes nothing";
}

TEST_F(retention, a_log_that_was_cut_to_its_end_goes_on_with_the_next_number) {
  live(6);
  const auto end = log->last_seq();
  const auto mac = log->last_mac();
  ASSERT_TRUE(cut(w.now_ms));
  EXPECT_EQ(rows(), 0U);
  open();
  EXPECT_EQ(log->last_seq(), end);
  EXPECT_EQ(log->last_mac(), mac);
  live(3);
  EXPECT_FALSE(replay().trouble);
}

TEST_F(retention, interrupted_at_any_step_it_leaves_the_log_as_it_was_or_cut) {
  live(30);
  live(3);
  for (int steps = 1; steps < 40; ++steps) {
    bool done = false;
    {
      log_cutter work(*log, key, checkpoints[0].at_ms);
      for (int i = 0; i < steps && !done; ++i) {
        const auto went = work.step();
        ASSERT_TRUE(went);
        done = *went == progress::done;
      }
    }  // as a crash: nothing is finished
    const auto now = replay();
    EXPECT_FALSE(now.trouble) << steps;
    EXPECT_EQ(now.digest, lived()) << steps;
    live(1);
    w.now_ms += 1;
    const auto more = replay();
    EXPECT_FALSE(more.trouble);
    if (done) return;
    ASSERT_TRUE(log->cut_seq() == 0 || log->cut_seq() == checkpoints[0].seq);
  }
  ADD_FAILURE() << "it never ended";
}

TEST_F(retention, a_damaged_event_stops_it_and_nothing_is_lost) {
  live(5);
  live(5);
  log.reset();
  edit_file("UPDATE events SET body='{}' WHERE seq=3");
  open();
  const auto went = cut(w.now_ms);
  ASSERT_FALSE(went);
  EXPECT_EQ(went.error().code, core::error_code::LOG_CORRUPT);
  EXPECT_EQ(log->cut_seq(), 0U);
}

// Regression: nothing was checked before it was signed and cut off.
TEST_F(retention, an_event_that_was_edited_is_not_cut_off) {
  live(5);
  live(5);
  log.reset();
  edit_file(
      "UPDATE events SET body=replace(body,'\"idle_ttl_s\":900','\"idle_ttl_s\":901') WHERE "
      "type='session_created' AND seq>2");
  open();
  const auto went = cut(w.now_ms);
  ASSERT_FALSE(went);
  EXPECT_EQ(went.error().code, core::error_code::LOG_CORRUPT);
  EXPECT_EQ(went.error().rule, "mac");
  EXPECT_EQ(log->cut_seq(), 0U);
  const auto seen = replay();
  ASSERT_TRUE(seen.trouble);
  EXPECT_EQ(static_cast<std::int64_t>(seen.trouble->seq), went.error().limit) << "named as before";
}

TEST_F(retention, a_checkpoint_that_another_key_signed_stops_it) {
  live(3);
  const core::signing_key other(core::digest{8});
  core::event what;
  what.decided_at_ms = w.now_ms;
  what.body = core::make_checkpoint({log->last_seq(), log->last_at_ms(), log->last_mac()}, other);
  w.apply(std::move(what));
  commit();
  const auto went = cut(w.now_ms);
  ASSERT_FALSE(went);
  EXPECT_EQ(went.error().rule, "signature");
  EXPECT_EQ(log->cut_seq(), 0U);
}

TEST_F(retention, a_snapshot_that_was_edited_is_not_signed_again) {
  live(5);
  ASSERT_TRUE(cut(w.now_ms));
  const auto before = log->cut_seq();
  live(5);
  log.reset();
  edit_file(  // the tenant's name
      "UPDATE snapshot SET body=substr(body,1,instr(body,x'61636d65')-1)||x'61636d66'||"
      "substr(body,instr(body,x'61636d65')+4) WHERE instr(body,x'61636d65')>0");
  open();
  const auto went = cut(w.now_ms);
  ASSERT_FALSE(went);
  EXPECT_EQ(went.error().code, core::error_code::LOG_CORRUPT);
  EXPECT_EQ(log->cut_seq(), before);
  log.reset();
  const auto file = log_file::open(folder.path() + "/data");
  ASSERT_TRUE(file);
  EXPECT_FALSE((*file)->read_snapshot()) << "and shows still";
}

TEST_F(retention, a_seal_of_another_key_is_not_built_upon) {
  live(5);
  ASSERT_TRUE(cut(w.now_ms));
  live(5);
  const core::signing_key other(core::digest{8});
  log_cutter work(*log, other, w.now_ms);
  auto went = work.step();
  while (went && *went == progress::more) went = work.step();
  ASSERT_FALSE(went);
  EXPECT_EQ(went.error().code, core::error_code::LOG_CORRUPT);
}

// Regression: each newer checkpoint, one a minute, wrote the whole state anew.
TEST_F(retention, is_not_worth_it_for_a_checkpoint_that_is_little_newer_than_the_last_cut) {
  live(5);
  ASSERT_TRUE(cut(w.now_ms, 600'000)) << "the first time anything is";
  const auto first = log->cut_seq();
  EXPECT_GT(first, 0U);
  live(2);
  ASSERT_TRUE(cut(w.now_ms, 600'000));
  EXPECT_EQ(log->cut_seq(), first);
  live(6);
  ASSERT_TRUE(cut(w.now_ms, 600'000));
  EXPECT_EQ(log->cut_seq(), checkpoints[2].seq);
  EXPECT_EQ(log_cutter::apart_ms(240 * 3'600'000), 10 * 3'600'000);
  EXPECT_EQ(log_cutter::apart_ms(3'600'000), 600'000);
}

// Regression: what an attempt had left behind went in one step.
TEST_F(retention, clears_up_behind_an_earlier_attempt_in_steps) {
  live(5);
  log.reset();
  edit_file(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<80) INSERT INTO "
      "snapshot(seq,body) SELECT 3,zeroblob(9) FROM n");
  open();
  log_cutter work(*log, key, w.now_ms);
  int steps = 1;
  auto went = work.step();
  for (; went && *went == progress::more; ++steps) went = work.step();
  ASSERT_TRUE(went);
  EXPECT_GT(steps, 20);
  EXPECT_EQ(replay().digest, lived());
}

TEST_F(retention, a_snapshot_that_was_changed_is_refused) {
  live(5);
  ASSERT_TRUE(cut(w.now_ms));
  log.reset();
  edit_file("UPDATE snapshot SET body=substr(body,1,length(body)-1)||x'07' WHERE id=2");
  const auto file = log_file::open(folder.path() + "/data");
  ASSERT_TRUE(file);
  EXPECT_FALSE((*file)->read_snapshot());
}

TEST_F(retention, records_of_activity_lose_their_bodies_and_the_chain_stays_whole) {
  live(6);
  const auto middle_ms = w.now_ms;
  live(6);
  const auto before = replay();
  {
    touch_dropper work(*log, middle_ms);
    for (;;) {
      const auto went = work.step();
      ASSERT_TRUE(went);
      if (*went == progress::done) break;
    }
  }
  std::size_t dropped = 0, kept = 0;
  event_filter filter;
  filter.limit = 1'000'000;
  event_query query(*log, filter);
  while (*query.step() == progress::more) {
  }
  for (const auto& each : query.rows()) {
    const auto* touched = std::get_if<core::session_touched>(&each.body);
    if (touched == nullptr) continue;
    (touched->dropped ? dropped : kept) += 1;
    EXPECT_EQ(touched->dropped.has_value(), each.at_ms <= middle_ms);
    EXPECT_EQ(touched->touches.empty(), touched->dropped.has_value());
    EXPECT_EQ(each.tenant_id, "acme");
  }
  EXPECT_GT(dropped, 0U);
  EXPECT_GT(kept, 0U);
  const auto after = replay();
  EXPECT_FALSE(after.trouble);
  EXPECT_EQ(after.digest, before.digest);
  log.reset();
  edit_file(
      "UPDATE events SET body=replace(body,'dropped\":\"','dropped\":\"A') WHERE "
      "type='session_touched'");
  EXPECT_TRUE(replay().trouble) << "what is left of it is in the chain";
}

// Regression: the transaction that had begun stayed open, and whatever came next was part of it.
TEST_F(retention, what_stops_the_emptying_of_activity_leaves_no_transaction_open) {
  live(3);
  log.reset();
  edit_file(
      "CREATE INDEX refusing ON meta(abs(CASE key WHEN 'touches_dropped' THEN "
      "-9223372036854775808 END))");  // which has no absolute value
  open();
  touch_dropper work(*log, w.now_ms);
  EXPECT_FALSE(work.step());
  EXPECT_FALSE(log->in_transaction());
}

}  // namespace
}  // namespace portcullis::store
