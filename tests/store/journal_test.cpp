#include "store/journal.hpp"
#include "store/schema.hpp"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal_fixture.hpp"
#include "store/schema.hpp"

namespace portcullis::store {
namespace {

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 0777U;
}

void run_sql(const std::string& path, const char* sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
}

TEST_F(journal_test, an_empty_log_starts_at_nothing) {
  EXPECT_EQ(log->last_seq(), 0U);
  EXPECT_EQ(log->last_at_ms(), 0);
  EXPECT_EQ(log->last_mac(), core::digest{});
  EXPECT_TRUE(log->commit());
  EXPECT_TRUE(log->integrity_check());
}

TEST_F(journal_test, folder_and_files_are_for_the_owner_only) {
  commit_session();
  const auto data = folder.path() + "/data";
  EXPECT_EQ(mode_of(data), 0700U);
  for (const auto* name : {"/portcullis.db", "/portcullis.db-wal", "/portcullis.lock"})
    EXPECT_EQ(mode_of(data + name), 0600U) << name;
}

TEST_F(journal_test, the_chain_goes_on_over_a_restart) {
  commit({make.created(), make.created()});
  const auto mac = log->last_mac();
  open();
  EXPECT_EQ(log->last_seq(), 2U);
  EXPECT_EQ(log->last_at_ms(), 1'000'002);
  EXPECT_EQ(log->last_mac(), mac);
  commit({make.about(core::node_started{"0.1.0", "{}"}), make.about(core::session_evicted{}, 1)});
  ASSERT_TRUE(log->close());
  log.reset();
  EXPECT_EQ(first_broken_link(folder.path() + "/data/portcullis.db"), 0U);
}

TEST_F(journal_test, a_changed_row_breaks_the_chain) {
  commit({make.created(), make.created(), make.created()});
  ASSERT_TRUE(log->close());
  log.reset();
  run_sql(folder.path() + "/data/portcullis.db", "UPDATE events SET at_ms=at_ms+1 WHERE seq=2");
  EXPECT_EQ(first_broken_link(folder.path() + "/data/portcullis.db"), 2U);
}

TEST_F(journal_test, what_was_not_committed_is_gone_after_a_restart) {
  commit_session();
  ASSERT_TRUE(log->append(std::vector{make.created()}));
  EXPECT_EQ(log->last_seq(), 2U);
  EXPECT_EQ(log->committed_seq(), 1U);
  open();
  EXPECT_EQ(log->last_seq(), 1U);
  EXPECT_EQ(load().sessions.size(), 1U);
}

TEST_F(journal_test, rollback_goes_back_to_the_last_commit) {
  commit_session();
  const auto mac = log->last_mac();
  ASSERT_TRUE(log->append(std::vector{make.created()}));
  log->rollback();
  EXPECT_EQ(log->last_seq(), 1U);
  EXPECT_EQ(log->last_mac(), mac);
  make.go_on_after(1);
  commit_session();
  EXPECT_EQ(load().sessions.size(), 2U);
}

TEST_F(journal_test, a_refused_batch_leaves_the_others_of_the_transaction) {
  ASSERT_TRUE(log->close());
  log.reset();
  run_sql(folder.path() + "/data/portcullis.db",
          "CREATE INDEX refusing ON sessions(abs(CASE tenant_id WHEN 'refused' THEN "
          "-9223372036854775808 END))");  // which has no absolute value
  open();
  const auto good = make.created();
  ASSERT_TRUE(log->append(std::vector{good}));
  const auto mac = log->last_mac();
  const auto before_it = make.created();
  auto refused = make.created();
  refused.tenant_id = "refused";
  const auto outcome = log->append(std::vector{before_it, refused});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, core::error_code::STORE_INTEGRITY);
  EXPECT_EQ(log->last_seq(), good.seq);
  EXPECT_EQ(log->last_mac(), mac);
  make.go_on_after(good.seq);
  ASSERT_TRUE(log->append(std::vector{make.created()}));
  ASSERT_TRUE(log->commit());
  EXPECT_EQ(load().sessions.size(), 2U);
  ASSERT_TRUE(log->close());
  log.reset();
  EXPECT_EQ(first_broken_link(folder.path() + "/data/portcullis.db"), 0U);
}

TEST_F(journal_test, a_gap_in_seq_stops_the_process) {
  make.go_on_after(5);
  const auto what = make.created();
  EXPECT_DEATH({ static_cast<void>(log->append(std::vector{what})); }, "contiguous");
}

TEST_F(journal_test, meta_values_are_durable_and_replaceable) {
  EXPECT_EQ(*log->meta_get("boot"), std::nullopt);
  ASSERT_TRUE(log->meta_set("boot", "one"));
  ASSERT_TRUE(log->meta_set("boot", std::string("t\0o", 3)));
  ASSERT_TRUE(log->meta_set("empty", ""));
  open();
  EXPECT_EQ(*log->meta_get("boot"), std::string("t\0o", 3));
  EXPECT_EQ(*log->meta_get("empty"), "");
  ASSERT_TRUE(log->append(std::vector{make.created()}));
  ASSERT_TRUE(log->meta_set("boot", "three"));  // joins the transaction
  log->rollback();
  EXPECT_EQ(*log->meta_get("boot"), std::string("t\0o", 3));
}

TEST_F(journal_test, another_key_file_is_refused) {
  log.reset();
  auto options = options_for(folder.path() + "/data");
  options.keyring_check.fill(8);
  const auto refused = journal::open(options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, core::error_code::KEYRING_MISMATCH);
  open();
}

TEST_F(journal_test, a_newer_schema_is_refused_and_left_alone) {
  commit_session();
  ASSERT_TRUE(log->close());
  log.reset();
  const auto path = folder.path() + "/data/portcullis.db";
  run_sql(path, "PRAGMA user_version=1000");
  const auto refused = journal::open(options_for(folder.path() + "/data"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, core::error_code::SCHEMA_TOO_NEW);
  run_sql(path, ("PRAGMA user_version=" + std::to_string(schema_version())).c_str());
  open();
  EXPECT_EQ(log->last_seq(), 1U);
}

TEST_F(journal_test, a_file_that_is_no_journal_is_refused) {
  log.reset();
  const auto path = folder.path() + "/data/portcullis.db";
  std::filesystem::remove(path + "-wal");
  std::filesystem::resize_file(path, 0);
  FILE* file = fopen(path.c_str(), "w");
  for (int i = 0; i < 5'000; ++i) fputs("not a database ", file);
  fclose(file);
  const auto refused = journal::open(options_for(folder.path() + "/data"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, core::error_code::STORE_INTEGRITY);
}

TEST_F(journal_test, a_folder_that_cannot_be_made_is_unavailable) {
  // Of /proc the kernel says that a folder is missing, also where its parent is there: it was tried
  // again until the stack was full.
  for (const auto* each : {"/dev/null/data", "/proc/data", "/proc/a/data"}) {
    const auto refused = journal::open(options_for(each));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, core::error_code::STORE_UNAVAILABLE);
    EXPECT_EQ(refused.error().rule, "data_dir");
  }
}

TEST_F(journal_test, a_second_opener_is_refused_until_the_first_is_gone) {
  const auto child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto second = journal::open(options_for(folder.path() + "/data"));
    _exit(!second && second.error().code == core::error_code::DATA_DIR_IN_USE ? 0 : 1);
  }
  int outcome = -1;
  waitpid(child, &outcome, 0);
  EXPECT_EQ(outcome, 0);
  const auto same_process = journal::open(options_for(folder.path() + "/data"));
  ASSERT_FALSE(same_process);
  EXPECT_EQ(same_process.error().code, core::error_code::DATA_DIR_IN_USE);
  open();
}

TEST_F(journal_test, after_close_nothing_is_accepted_and_the_log_is_one_file) {
  commit_session();
  const auto grown = log->size_bytes();
  EXPECT_GT(grown, 0U);
  ASSERT_TRUE(log->close());
  const auto refused = log->append(std::vector{make.created()});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, core::error_code::STORE_UNAVAILABLE);
  log.reset();
  const auto wal = folder.path() + "/data/portcullis.db-wal";
  EXPECT_TRUE(!std::filesystem::exists(wal) || std::filesystem::file_size(wal) == 0);
}

TEST_F(journal_test, a_checkpoint_is_wanted_after_a_while_and_lets_the_log_start_anew) {
  EXPECT_FALSE(log->wants_checkpoint());
  const auto wal = folder.path() + "/data/portcullis.db-wal";
  for (int i = 0; i < 400 && !log->wants_checkpoint(); ++i) {
    std::vector<core::event> events;
    for (int j = 0; j < 200; ++j) events.push_back(make.created());
    commit(events);
  }
  ASSERT_TRUE(log->wants_checkpoint());
  ASSERT_TRUE(log->checkpoint());
  EXPECT_FALSE(log->wants_checkpoint());
  const auto size = std::filesystem::file_size(wal);
  for (int i = 0; i < 5; ++i) commit_session();
  EXPECT_EQ(std::filesystem::file_size(wal), size);
  EXPECT_TRUE(log->integrity_check());
}

TEST_F(journal_test, users_are_rewrapped_in_slices) {
  std::vector<core::user_row> users;
  for (std::uint64_t i = 1; i <= 200; ++i) users.push_back(event_maker::user(i));
  commit({}, users);
  struct second_key final : journal::rewrapper {
    bool rewrap(core::user_row& row) override {
      if (row.wrapped == "wrapped 7") return false;
      row.ring_key = 2;
      row.wrapped += " anew";
      return true;
    }
  } with;
  std::uint64_t after = 0;
  int slices = 0;
  do {
    const auto next = log->rewrap_users(after, with);
    ASSERT_TRUE(next);
    after = *next;
    ++slices;
  } while (after != 0);
  EXPECT_GT(slices, 1);
  open();
  const auto all = load().users;
  ASSERT_EQ(all.size(), 200U);
  EXPECT_EQ(all[6].wrapped, "wrapped 7");
  EXPECT_EQ(all[6].ring_key, 1U);
  EXPECT_EQ(all[199].wrapped, "wrapped 200 anew");
  EXPECT_EQ(all[199].ring_key, 2U);
}

}  // namespace
}  // namespace portcullis::store
