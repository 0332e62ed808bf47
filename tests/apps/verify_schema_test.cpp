// What a file defines beside the tables does not run in a node, and verify names it. Rows that are
// no events are named too.
#include <filesystem>
#include <limits>

#include "apps/cli/secret_file.hpp"
#include "log_folder.hpp"

namespace portcullis::apps {
namespace {

class schema_of_a_log : public log_folder {
 protected:
  [[nodiscard]] std::int64_t count(const std::string& sql) {
    close();
    sqlite3* db = nullptr;
    sqlite3_stmt* rows = nullptr;
    EXPECT_EQ(sqlite3_open((path + "/portcullis.db").c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &rows, nullptr), SQLITE_OK) << sql;
    EXPECT_EQ(sqlite3_step(rows), SQLITE_ROW);
    const auto out = sqlite3_column_int64(rows, 0);
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return out;
  }
};

// A trigger on the users' table kept the key of everyone who was forgotten.
TEST_F(schema_of_a_log, a_trigger_does_not_run_in_the_node_and_is_named) {
  (void)w.create("ada");
  commit();
  edit(
      "CREATE TRIGGER keep AFTER DELETE ON users BEGIN "
      "INSERT OR REPLACE INTO meta VALUES('kept',old.wrapped); END");
  open();
  w.forget_user(w.user("ada"));
  commit();
  EXPECT_EQ(count("SELECT count(*) FROM users"), 0);
  EXPECT_EQ(count("SELECT count(*) FROM meta WHERE key='kept'"), 0);
  expect_wrong(0, "the file's schema: trigger keep does not belong there");
}

TEST_F(schema_of_a_log, what_is_extra_missing_or_different_is_named) {
  (void)w.create("ada");
  commit();
  const auto names = [&](const std::string& sql) {
    edit(sql);
    std::string out;
    for (const auto& each : look().findings) out += each.what + "\n";
    return out;
  };
  EXPECT_EQ(names("CREATE TABLE more(x)"), "the file's schema: table more does not belong there\n");
  EXPECT_EQ(names("DROP TABLE more; CREATE VIEW seen AS SELECT * FROM users"),
            "the file's schema: view seen does not belong there\n");
  EXPECT_EQ(names("DROP VIEW seen; CREATE INDEX fast ON events(type)"),
            "the file's schema: index fast does not belong there\n");
  EXPECT_EQ(names("DROP INDEX fast; ALTER TABLE tenants ADD COLUMN more"),
            "the file's schema: table tenants is defined otherwise\n");
  EXPECT_NE(names("DROP TABLE breaker_sources").find("table breaker_sources is missing"),
            std::string::npos);
}

TEST_F(schema_of_a_log, of_an_older_version_and_one_that_was_migrated_is_as_it_should_be) {
  const std::string golden = PORTCULLIS_SOURCE_DIR "/tests/e2e/golden/schema_2";
  std::filesystem::create_directory(path);
  std::filesystem::copy(golden, path);
  std::string why;
  const auto text = read_secret(path + "/portcullis.keys", why);
  ASSERT_TRUE(text) << why;
  w.ring = *core::parse_keyring(*text);
  w.keys = core::key_material(w.ring);
  const auto old = look();
  ASSERT_EQ(old.findings.size(), 1U);
  EXPECT_NE(old.findings[0].what.find("of an older version"), std::string::npos)
      << old.findings[0].what;
  open();
  close();
  expect_whole();
  // Its records of activity are chained as they are: emptied they would break the chain.
  open();
  drop(std::numeric_limits<core::millis>::max());
  expect_whole();
}

TEST_F(schema_of_a_log, a_row_that_is_larger_than_any_event_is_named) {
  (void)w.create("ada");
  (void)w.create("bob");
  commit();
  edit("UPDATE events SET body=hex(zeroblob(34000000)) WHERE seq=2");
  expect_wrong(2, "it cannot be read as an event (size)");
}

}  // namespace
}  // namespace portcullis::apps
