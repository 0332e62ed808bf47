#include <sqlite3.h>

#include "fault_vfs.hpp"
#include "journal_fixture.hpp"

namespace portcullis::store {
namespace {

class fault_test : public journal_test {
 protected:
  void SetUp() override {
    forget_history();
    disarm();
    open(fault_vfs_name);
  }
  void TearDown() override {
    log.reset();
    forget_history();
    disarm();
  }
  std::vector<core::event> batch(int size) {
    std::vector<core::event> out;
    for (int i = 0; i < size; ++i) out.push_back(make.created());
    return out;
  }
  core::status append_and_commit(const std::vector<core::event>& events) {
    if (auto appended = log->append(events); !appended) return appended;
    return log->commit();
  }
  void expect_whole(std::uint64_t at_least) {
    EXPECT_GE(log->last_seq(), at_least);
    EXPECT_TRUE(log->integrity_check());
    EXPECT_EQ(load().sessions.size(), log->last_seq());
    ASSERT_TRUE(log->close());
    log.reset();
    EXPECT_EQ(first_broken_link(folder.path() + "/data/portcullis.db"), 0U);
  }
};

TEST_F(fault_test, a_full_disk_refuses_and_the_same_events_go_in_later) {
  commit_session();
  for (unsigned nth = 1; nth <= 6; ++nth) {
    const auto events = batch(20);
    const auto before = log->committed_seq();
    arm({.fail_write = nth,
         .fail_sync = {},
         .write_error = SQLITE_FULL,
         .lasting = true,
         .cut_at = {}});
    const auto refused = append_and_commit(events);
    ASSERT_FALSE(refused) << nth;
    EXPECT_EQ(refused.error().code, core::error_code::STORE_FULL);
    EXPECT_EQ(log->last_seq(), before);
    EXPECT_EQ(log->committed_seq(), before);
    EXPECT_EQ(load().sessions.size(), before);  // reading goes on
    disarm();
    ASSERT_TRUE(append_and_commit(events)) << nth;
    EXPECT_EQ(log->committed_seq(), before + 20);
  }
  expect_whole(121);
}

TEST_F(fault_test, a_full_disk_at_a_checkpoint_loses_nothing) {
  ASSERT_TRUE(append_and_commit(batch(500)));
  arm({.fail_write = 1,
       .fail_sync = {},
       .write_error = SQLITE_FULL,
       .lasting = true,
       .cut_at = {}});
  const auto refused = log->checkpoint();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, core::error_code::STORE_FULL);
  disarm();
  ASSERT_TRUE(append_and_commit(batch(10)));
  ASSERT_TRUE(log->checkpoint());
  expect_whole(510);
}

TEST_F(fault_test, a_failed_sync_is_final) {
  commit_session();
  arm({.fail_write = {}, .fail_sync = 1, .write_error = 0, .lasting = false, .cut_at = {}});
  const auto failed = append_and_commit(batch(3));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, core::error_code::STORE_UNAVAILABLE);
  EXPECT_EQ(failed.error().rule, "io_error");
  EXPECT_EQ(log->committed_seq(), 1U);
  // The disk works again, the page cache is not to be believed.
  disarm();
  make.go_on_after(1);
  for (const auto& outcome :
       {append_and_commit(batch(1)), log->commit(), log->checkpoint(), log->meta_set("a", "b")}) {
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().rule, "io_error");
  }
  loaded nothing;
  EXPECT_FALSE(log->load(everything(), nothing));
  open(fault_vfs_name);
  expect_whole(1);
}

TEST_F(fault_test, a_failed_write_is_final) {
  commit_session();
  for (unsigned nth = 1; nth <= 3; ++nth) {
    arm({.fail_write = nth,
         .fail_sync = {},
         .write_error = SQLITE_IOERR_WRITE,
         .lasting = false,
         .cut_at = {}});
    make.go_on_after(log->last_seq());
    const auto failed = append_and_commit(batch(3));
    ASSERT_FALSE(failed) << nth;
    EXPECT_EQ(failed.error().rule, "io_error");
    disarm();
    EXPECT_FALSE(log->commit());
    open(fault_vfs_name);
    commit_session();
  }
  expect_whole(4);
}

// What a run does: commits, a rotation of rows, checkpoints. Returns the last seq that commit()
// acknowledged.
std::uint64_t run_until_cut(journal& log, event_maker& make) {
  std::uint64_t acknowledged = log.committed_seq();
  for (int round = 0; round < 6 && !power_is_cut(); ++round) {
    std::vector<core::event> events;
    for (int i = 0; i < 4; ++i) events.push_back(make.created());
    if (!log.append(events, std::vector{event_maker::user(static_cast<std::uint64_t>(round))}))
      break;
    if (!log.commit()) break;
    acknowledged = log.committed_seq();
    if (round % 2 == 1 && !log.checkpoint()) break;
  }
  return acknowledged;
}

TEST_F(fault_test, whatever_was_acknowledged_survives_a_power_cut_at_any_write_or_sync) {
  run_until_cut(*log, make);
  const auto operations = operations_seen();
  ASSERT_GT(operations, 20U);
  unsigned ended_at_acknowledged = 0;
  for (unsigned cut_at = 1; cut_at <= operations; ++cut_at) {
    for (std::uint32_t seed = 1; seed <= 3; ++seed) {
      SCOPED_TRACE(testing::Message() << "cut at " << cut_at << " seed " << seed);
      log.reset();
      std::filesystem::remove_all(folder.path() + "/data");
      forget_history();
      disarm();
      open(fault_vfs_name);
      ASSERT_NE(log, nullptr);
      arm({.fail_write = {},
           .fail_sync = {},
           .write_error = 0,
           .lasting = false,
           .cut_at = cut_at});
      const auto acknowledged = run_until_cut(*log, make);
      log.reset();
      power_up(seed * 1'000 + cut_at);
      open(fault_vfs_name);
      ASSERT_NE(log, nullptr);
      ended_at_acknowledged += log->last_seq() == acknowledged;
      expect_whole(acknowledged);
    }
  }
  EXPECT_GT(ended_at_acknowledged, 0U);
}

}  // namespace
}  // namespace portcullis::store
