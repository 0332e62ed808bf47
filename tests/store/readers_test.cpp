#include "store/readers.hpp"

#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>
#include "../core/event/body_text.hpp"

#include "journal_fixture.hpp"

namespace portcullis::store {
namespace {

class readers_test : public journal_test {
 protected:
  std::vector<std::uint64_t> query(event_filter filter) {
    event_query reader(*log, std::move(filter));
    for (;;) {
      const auto step = reader.step();
      EXPECT_TRUE(step);
      if (!step || *step == progress::done) break;
    }
    std::vector<std::uint64_t> seqs;
    for (const auto& row : reader.rows()) seqs.push_back(row.seq);
    return seqs;
  }
  std::vector<std::uint64_t> find(session_filter filter, bool* at_end = nullptr) {
    session_find reader(*log, std::move(filter));
    for (;;) {
      const auto step = reader.step();
      EXPECT_TRUE(step);
      if (!step || *step == progress::done) break;
    }
    if (at_end != nullptr) *at_end = reader.at_end();
    std::vector<std::uint64_t> seqs;
    for (const auto& row : reader.rows()) seqs.push_back(row.seq);
    return seqs;
  }
};

using seqs = std::vector<std::uint64_t>;

TEST_F(readers_test, events_come_back_as_they_went_in) {
  const auto what = make.created();
  commit({what});
  event_query reader(*log, {});
  ASSERT_TRUE(reader.step());
  ASSERT_EQ(reader.rows().size(), 1U);
  EXPECT_EQ(core::encode_body(reader.rows()[0], "node-1"), core::encode_body(what, "node-1"));
  EXPECT_EQ(reader.rows()[0].subject, what.subject);
  EXPECT_EQ(reader.rows()[0].sealed, what.sealed);
  EXPECT_EQ(reader.rows()[0].session_seq, what.seq);
}

TEST_F(readers_test, each_filter_narrows_the_query) {
  auto first = make.created();          // 1
  auto other_tenant = make.created(2);  // 2
  other_tenant.tenant_id = "globex";
  auto evicted = make.about(core::session_evicted{}, 1);  // 3
  evicted.handle = first.handle;
  core::session_touched touches;
  touches.touches = {{*other_tenant.handle, 5, 2}, {*first.handle, 6, 1}};
  auto touched = make.about(touches);  // 4
  touched.subject.reset();
  auto started = make.about(core::node_started{"1", "{}"});  // 5
  started.tenant_id.clear();
  started.subject.reset();
  commit({first, other_tenant, evicted, touched, started});

  EXPECT_EQ(query({}), (seqs{1, 2, 3, 4, 5}));
  EXPECT_EQ(query({.after = 3}), (seqs{4, 5}));
  EXPECT_EQ(query({.limit = 2}), (seqs{1, 2}));
  event_filter types;
  types.types.set(static_cast<std::size_t>(core::event_type::session_evicted));
  types.types.set(static_cast<std::size_t>(core::event_type::node_started));
  EXPECT_EQ(query(types), (seqs{3, 5}));
  EXPECT_EQ(query({.tenants = {"globex"}}), (seqs{2}));
  EXPECT_EQ(query({.tenants = {"globex", "acme"}}), (seqs{1, 2, 3, 4}));
  EXPECT_EQ(query({.subject = event_maker::subject(1)}), (seqs{1, 3}));
  EXPECT_EQ(query({.handle = first.handle}), (seqs{1, 3, 4}));
  EXPECT_EQ(query({.from_ms = 1'000'002, .to_ms = 1'000'004}), (seqs{2, 3, 4}));
  EXPECT_EQ(query({.from_ms = 2'000'000}), seqs{});
  EXPECT_EQ(query({.to_ms = 1}), seqs{});
  EXPECT_EQ(query({.from_ms = 1}), (seqs{1, 2, 3, 4, 5}));
}

TEST_F(readers_test, events_of_an_open_transaction_are_not_seen) {
  commit_session();
  ASSERT_TRUE(log->append(std::vector{make.created()}));
  EXPECT_EQ(query({}), (seqs{1}));
  EXPECT_EQ(find({.tenant_id = "acme", .find_user_agent = 11}), (seqs{1}));
  EXPECT_TRUE(log->read_sessions(seqs{2})->empty());
  ASSERT_TRUE(log->commit());
  EXPECT_EQ(query({}), (seqs{1, 2}));
}

TEST_F(readers_test, a_long_query_gives_way_and_goes_on) {
  std::vector<core::event> events;
  for (int i = 0; i < 20'000; ++i) events.push_back(make.about(core::node_stopped{}));
  commit(events);
  event_filter filter;
  filter.limit = 100'000;
  event_query reader(*log, filter, 20'000);
  int steps = 0;
  for (;;) {
    const auto step = reader.step();
    ASSERT_TRUE(step);
    ++steps;
    if (*step == progress::done) break;
    commit({make.about(core::node_stopped{})});
  }
  EXPECT_GT(steps, 3);
  ASSERT_EQ(reader.rows().size(), 20'000U);
  for (std::size_t i = 0; i < reader.rows().size(); ++i) ASSERT_EQ(reader.rows()[i].seq, i + 1);
  EXPECT_EQ(reader.scanned_seq(), 20'000U);
}

TEST_F(readers_test, a_damaged_row_is_log_corrupt) {
  commit_session();
  ASSERT_TRUE(log->close());
  log.reset();
  sqlite3* db = nullptr;
  sqlite3_open((folder.path() + "/data/portcullis.db").c_str(), &db);
  ASSERT_EQ(sqlite3_exec(db, "UPDATE events SET body='{}'", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  open();
  event_query reader(*log, {});
  const auto step = reader.step();
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().code, core::error_code::LOG_CORRUPT);
}

TEST_F(readers_test, sessions_are_found_by_address_or_agent_within_their_tenant) {
  auto a = make.created(), b = make.created(), c = make.created(), d = make.created(),
       ended = make.created();
  std::get<core::session_created>(b.body).find_ip = 5;
  c.tenant_id = "globex";
  std::get<core::session_created>(d.body).find_user_agent = 12;
  commit({a, b, c, d, ended});
  commit({make.about(core::session_expired{}, ended.seq)});
  EXPECT_EQ(find({.tenant_id = "acme", .find_ip = 0xfedcba9876543210}), (seqs{a.seq, d.seq}));
  EXPECT_EQ(find({.tenant_id = "acme", .find_user_agent = 11}), (seqs{a.seq, b.seq}));
  EXPECT_EQ(find({.tenant_id = "globex", .find_user_agent = 11}), (seqs{c.seq}));
  bool at_end = true;
  EXPECT_EQ(find({.tenant_id = "acme", .find_user_agent = 11, .limit = 1}, &at_end), (seqs{a.seq}));
  EXPECT_FALSE(at_end);
  EXPECT_EQ(find({.tenant_id = "acme", .find_user_agent = 11, .after = a.seq}, &at_end),
            (seqs{b.seq}));
  EXPECT_TRUE(at_end);
}

TEST_F(readers_test, display_rows_come_in_the_order_asked_and_leave_out_what_is_gone) {
  const auto a = commit_session(), b = commit_session();
  const auto rows = log->read_sessions(seqs{b, 999, a});
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ((*rows)[0].seq, b);
  EXPECT_EQ((*rows)[1].seq, a);
  EXPECT_EQ((*rows)[1].sealed, "sealed display");
  EXPECT_EQ((*rows)[1].subject, event_maker::subject(1));
  EXPECT_EQ((*rows)[1].state, session_state::live);
}

TEST_F(readers_test, a_backup_made_while_appending_is_whole) {
  std::vector<core::event> events;
  for (int i = 0; i < 2'000; ++i) events.push_back(make.created());
  commit(events);
  const auto path = folder.path() + "/copy.db";
  auto begun = backup::begin(*log, path);
  ASSERT_TRUE(begun);
  auto& copy = **begun;
  int steps = 0;
  for (;;) {
    const auto step = copy.step();
    ASSERT_TRUE(step);
    if (*step == progress::done) break;
    ++steps;
    if (steps % 3 == 1) {
      ASSERT_TRUE(log->append(std::vector{make.created()}));
    } else if (steps % 3 == 0) {
      ASSERT_TRUE(log->commit());
    }
  }
  EXPECT_GT(steps, 5);
  EXPECT_EQ(copy.seq(), log->committed_seq());
  EXPECT_EQ(copy.bytes(), std::filesystem::file_size(path));
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);

  EXPECT_EQ(first_broken_link(path), 0U);
  sqlite3* db = nullptr;
  sqlite3_stmt* check = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  ASSERT_EQ(
      sqlite3_prepare_v2(db, "SELECT max(seq),(SELECT * FROM pragma_integrity_check) FROM events",
                         -1, &check, nullptr),
      SQLITE_OK);
  ASSERT_EQ(sqlite3_step(check), SQLITE_ROW);
  EXPECT_EQ(static_cast<std::uint64_t>(sqlite3_column_int64(check, 0)), copy.seq());
  EXPECT_STREQ(reinterpret_cast<const char*>(sqlite3_column_text(check, 1)), "ok");
  sqlite3_finalize(check);
  sqlite3_close(db);
}

TEST_F(readers_test, a_backup_overwrites_nothing_and_leaves_nothing_half_done) {
  for (int i = 0; i < 200; ++i) commit_session();
  const auto path = folder.path() + "/copy.db";
  {
    auto begun = backup::begin(*log, path);
    ASSERT_TRUE(begun);
    ASSERT_EQ(*(*begun)->step(), progress::more);
    const auto again = backup::begin(*log, path);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, core::error_code::INVALID_PARAMS);
    EXPECT_EQ(again.error().field, "path");
    EXPECT_EQ(again.error().rule, "exists");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  const auto nowhere = backup::begin(*log, folder.path() + "/missing/copy.db");
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().rule, "unusable");
}

/// Half of a file stood under the backup's name, and another try was refused.
TEST_F(readers_test,
       a_backup_has_its_name_when_it_is_whole_and_what_a_killed_one_left_is_replaced) {
  for (int i = 0; i < 200; ++i) commit_session();
  const auto path = folder.path() + "/copy.db";
  std::ofstream(path + ".partial") << "of a backup that was killed";
  auto begun = backup::begin(*log, path);
  ASSERT_TRUE(begun);
  for (;;) {
    EXPECT_FALSE(std::filesystem::exists(path));
    const auto went = (*begun)->step();
    ASSERT_TRUE(went);
    if (*went == progress::done) break;
  }
  EXPECT_EQ(std::filesystem::file_size(path), (*begun)->bytes());
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
  EXPECT_FALSE(backup::begin(*log, path));
}

/// Names that mean something else to SQLite: such a backup was none, and told as done.
TEST_F(readers_test, a_backup_is_in_the_file_that_is_named_whatever_its_name) {
  commit_session();
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  for (const std::string path : {":memory:", "file:copy.db", "file:copy?mode=memory", "a%20b"}) {
    auto begun = backup::begin(*log, path);
    ASSERT_TRUE(begun) << path;
    for (;;) {
      const auto went = (*begun)->step();
      ASSERT_TRUE(went) << path;
      if (*went == progress::done) break;
    }
    EXPECT_GT((*begun)->bytes(), 0U) << path;
    EXPECT_EQ(std::filesystem::file_size(path), (*begun)->bytes()) << path;
    EXPECT_EQ(first_broken_link("./" + path), 0U) << path;
  }
  std::filesystem::current_path(before);
}

TEST_F(readers_test, a_store_is_in_the_folder_that_is_named_whatever_its_name) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  {
    const auto opened = journal::open(options_for("file:data"));
    EXPECT_TRUE(opened);
  }
  EXPECT_GT(std::filesystem::file_size("file:data/portcullis.db"), 0U);
  std::filesystem::current_path(before);
}

TEST_F(readers_test, a_file_that_comes_while_a_backup_goes_on_is_left_as_it_is) {
  for (int i = 0; i < 200; ++i) commit_session();
  const auto path = folder.path() + "/copy.db";
  {
    auto begun = backup::begin(*log, path);
    ASSERT_TRUE(begun);
    std::ofstream(path) << "another's";
    for (;;) {
      const auto went = (*begun)->step();
      if (went && *went == progress::more) continue;
      ASSERT_FALSE(went);
      EXPECT_EQ(went.error().rule, "exists");
      break;
    }
  }
  EXPECT_EQ(std::filesystem::file_size(path), 9U);
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
}

}  // namespace
}  // namespace portcullis::store
