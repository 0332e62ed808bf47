// A node's folder without a node: what a world does is committed, signed, emptied of old activity
// and cut as a node would; then it is edited, and verify looks.
#pragma once
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "../core/session/world.hpp"
#include "../store/journal_fixture.hpp"
#include "apps/log/verify.hpp"
#include "store/retention.hpp"

namespace portcullis::apps {

class log_folder : public testing::Test {
 protected:
  [[nodiscard]] store::journal_options options() const {
    store::journal_options out;
    out.data_dir = path;
    out.node_id = "node-1";
    out.chain = w.keys.chain();
    out.keyring_check = core::sha256(core::as_bytes(w.keys.check_value()));
    return out;
  }
  void open() {
    auto opened = store::journal::open(options());
    ASSERT_TRUE(opened) << opened.error().rule;
    log = std::move(*opened);
  }
  /// Lets go of the folder.
  void close() {
    if (!log) return;
    EXPECT_TRUE(log->close());
    log.reset();
  }
  /// Commits what the world has done since the last time.
  void commit() {
    if (!log) open();
    const std::vector<core::event> events(w.log.begin() + static_cast<std::ptrdiff_t>(taken),
                                          w.log.end());
    const std::vector<core::user_row> users(
        w.rows.begin() + static_cast<std::ptrdiff_t>(users_taken), w.rows.end());
    taken = w.log.size();
    users_taken = w.rows.size();
    ASSERT_TRUE(log->append(events, users));
    ASSERT_TRUE(log->commit());
  }
  [[nodiscard]] core::log_place end() const {
    return {log->last_seq(), log->last_at_ms(), log->last_mac()};
  }
  /// Commits and signs; what was signed.
  exported_checkpoint sign() {
    commit();
    const exported_checkpoint out{end(), core::make_checkpoint(end(), w.keys.checkpoints())};
    core::event what;
    what.decided_at_ms = w.now_ms;
    what.body = out.what;
    w.apply(std::move(what));
    commit();
    return out;
  }
  template <class Work>
  static void run(Work work) {
    for (;;) {
      const auto went = work.step();
      ASSERT_TRUE(went) << went.error().rule;
      if (*went == store::progress::done) return;
    }
  }
  void drop(core::millis before_ms) { run(store::touch_dropper(*log, before_ms)); }
  void cut(core::millis before_ms) {
    run(store::log_cutter(*log, w.keys.checkpoints(), before_ms));
  }

  void edit(const std::string& sql) {
    close();
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((path + "/portcullis.db").c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db) << sql;
    sqlite3_close(db);
  }
  verify_report look(const std::vector<exported_checkpoint>& kept = {}) {
    close();
    auto file = store::log_file::open(path);
    EXPECT_TRUE(file);
    if (!file) return {};
    log_source from{std::move(*file), w.ring, core::key_material(w.ring)};
    return verify_log(from, kept);
  }
  void expect_whole(const std::vector<exported_checkpoint>& kept = {}) {
    for (const auto& each : look(kept).findings) ADD_FAILURE() << each.seq << " " << each.what;
  }
  /// Only that is found, at `seq`.
  void expect_wrong(std::uint64_t seq, const std::string& what,
                    const std::vector<exported_checkpoint>& kept = {}) {
    const auto found = look(kept).findings;
    ASSERT_FALSE(found.empty()) << what;
    for (const auto& each : found) {
      EXPECT_EQ(each.seq, seq) << each.what;
      EXPECT_NE(each.what.find(what), std::string::npos) << each.seq << " " << each.what;
    }
  }
  template <class Bytes>
  static std::string blob(const Bytes& bytes) {
    std::string out = "x'";
    for (const auto byte : bytes) {
      constexpr std::string_view digits = "0123456789abcdef";
      out += digits[static_cast<std::uint8_t>(byte) >> 4U];
      out += digits[static_cast<std::uint8_t>(byte) & 15U];
    }
    return out + "'";
  }

  store::temporary_folder folder;
  std::string path = folder.path() + "/data";
  core::world w;
  std::unique_ptr<store::journal> log;
  std::size_t taken = 0, users_taken = 0;
};

}  // namespace portcullis::apps
