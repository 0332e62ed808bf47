// Reading a log whose file is damaged: what is named, and what is read all the same.
#include "store/log_file.hpp"

#include <sqlite3.h>

#include <fstream>

#include "journal_fixture.hpp"

namespace portcullis::store {
namespace {

struct leaf {
  std::int64_t page = 0;
  std::uint64_t first = 0, last = 0;  // rows, from 1
};

class damaged_log : public testing::Test {
 protected:
  static constexpr std::uint64_t rows = 2'000;

  void SetUp() override {
    auto opened = journal::open(options_for(folder.path()));
    ASSERT_TRUE(opened);
    std::vector<core::event> events;
    std::vector<core::user_row> users;
    for (std::uint64_t i = 1; i <= rows; ++i) {
      events.push_back(make.created(i));
      users.push_back(event_maker::user(i));
    }
    ASSERT_TRUE((*opened)->append(events, users));
    ASSERT_TRUE((*opened)->commit());
    ASSERT_TRUE((*opened)->close());
  }
  /// A table's leaves, in the order of their rows.
  std::vector<leaf> leaves(const std::string& table) {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
    sqlite3_stmt* pages = nullptr;
    const auto sql = "SELECT pageno,ncell FROM dbstat WHERE name='" + table +
                     "' AND pagetype='leaf' ORDER BY path";
    EXPECT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &pages, nullptr), SQLITE_OK);
    std::vector<leaf> out;
    while (sqlite3_step(pages) == SQLITE_ROW) {
      const auto before = out.empty() ? 0 : out.back().last;
      out.push_back({sqlite3_column_int64(pages, 0), before + 1,
                     before + static_cast<std::uint64_t>(sqlite3_column_int64(pages, 1))});
    }
    sqlite3_finalize(pages);
    sqlite3_close(db);
    EXPECT_GT(out.size(), 5U);
    return out;
  }
  /// What says of which kind the page is becomes something else.
  void damage(const leaf& which) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp((which.page - 1) * 8192);
    file.put('\x4d');
  }
  std::unique_ptr<log_file> open() {
    auto opened = log_file::open(folder.path());
    EXPECT_TRUE(opened);
    return opened ? std::move(*opened) : nullptr;
  }
  /// The rows after `after` up to what cannot be read.
  static std::uint64_t last_read(log_file& from, std::uint64_t after) {
    auto last = after;
    const auto read = from.read(after, [&](const log_row& row) {
      EXPECT_EQ(row.seq, last + 1);
      last = row.seq;
      return true;
    });
    EXPECT_EQ(static_cast<bool>(read), last == rows);
    return last;
  }

  temporary_folder folder;
  std::string path = folder.path() + "/portcullis.db";
  event_maker make;
};

TEST_F(damaged_log, in_the_middle_reading_goes_on_right_after_the_page) {
  const auto all = leaves("events");
  const auto& gone = all[all.size() / 2];
  damage(gone);
  const auto log = open();
  EXPECT_EQ(log->first_seq(), 1U);
  EXPECT_EQ(log->last_seq(), rows);
  EXPECT_EQ(last_read(*log, 0), gone.first - 1);
  EXPECT_EQ(log->next_readable(gone.first), gone.last + 1);
  EXPECT_EQ(last_read(*log, gone.last), rows);
}

TEST_F(damaged_log, at_the_beginning_it_is_opened_and_read_from_the_next_page) {
  const auto all = leaves("events");
  damage(all.front());
  const auto log = open();
  EXPECT_EQ(log->first_seq(), 1U);
  EXPECT_EQ(last_read(*log, 0), 0U);
  EXPECT_EQ(log->next_readable(1), all.front().last + 1);
  EXPECT_EQ(last_read(*log, all.front().last), rows);
}

TEST_F(damaged_log, at_the_end_it_ends_before_the_page_and_says_so) {
  const auto all = leaves("events");
  damage(all.back());
  damage(all[3]);  // which is in the way of the search
  const auto log = open();
  EXPECT_TRUE(log->is_end_damaged());
  EXPECT_EQ(log->last_seq(), all.back().first);
  EXPECT_EQ(log->next_readable(all[3].first), all[3].last + 1);
  EXPECT_EQ(last_read(*log, all[3].last), all.back().first - 1);
  EXPECT_EQ(log->next_readable(all.back().first), 0U);
}

TEST_F(damaged_log, of_users_only_those_of_the_page_are_lost) {
  const auto all = leaves("users");
  const auto& gone = all[2];
  damage(gone);
  std::uint64_t good = 0, bad = 0;
  EXPECT_TRUE(open()->read_users([&](const user_line& each) { ++(each.good ? good : bad); }));
  EXPECT_EQ(bad, 1U);
  EXPECT_EQ(good, rows - (gone.last + 1 - gone.first));
}

}  // namespace
}  // namespace portcullis::store
