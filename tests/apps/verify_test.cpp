// A bit that flipped in the file is found: by SQLite, by the chain, by the comparison with a
// replay, or it changed nothing that anyone reads.
#include "apps/log/verify.hpp"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "../core/session/world.hpp"
#include "../store/journal_fixture.hpp"

namespace portcullis::apps {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// A stopped node's folder with a little of everything, some pages long.
class a_folder : public testing::Test {
 protected:
  a_folder()
      : path(folder.path() + "/data"), ring(core::generate_keyring(core::counted_random(5), 1)) {
    keys.emplace(ring);
    w.ring = ring;
    w.keys = core::key_material(ring);
    fill();
    original = read_file(path + "/portcullis.db");
  }

  void fill() {
    store::journal_options options;
    options.data_dir = path;
    options.node_id = "node-1";
    options.chain = keys->chain();
    options.keyring_check = core::sha256(core::as_bytes(keys->check_value()));
    auto log = store::journal::open(options);
    ASSERT_TRUE(log);
    for (int i = 0; i < 40; ++i) {
      w.now_ms += 1'000;
      const auto name = "user" + std::to_string(i % 7);
      auto command = w.creation(name);
      const auto data = "{\"n\":" + std::to_string(i) + "}";
      command.data = data;
      const auto s = w.create(command);
      if (i % 3 == 0) (void)w.rotate(s.id, i % 2 == 0);
      if (i % 5 == 0) w.revoke(s.handle);
      if (i % 6 == 0) w.apply(failure(s.handle));
    }
    w.apply(w.tenant_revocation("other"));
    core::event opened;
    opened.decided_at_ms = w.now_ms;
    core::breaker_opened body;
    body.service = "mail";
    body.breaker = "default";
    body.epoch = 2;
    opened.body = body;
    w.apply(std::move(opened));
    ASSERT_TRUE((*log)->append(w.log, w.rows));
    ASSERT_TRUE((*log)->commit());
    ASSERT_TRUE((*log)->close());
  }
  core::event failure(const core::session_handle& handle) {
    auto what = core::about(w.state, w.state.find(handle), w.now_ms);
    core::validation_failed failed;
    failed.reason = core::invalid_reason::ip_mismatch;
    failed.attempt = 1;
    failed.source = core::short_hash{3};
    failed.window_ends_at_ms = w.now_ms + 900'000;
    what.body = failed;
    return what;
  }

  struct seen {
    bool opened = false;
    std::vector<verify_finding> findings;
    std::string content;  // of all tables, as they are read
  };
  seen look() {
    seen out;
    auto file = store::log_file::open(path);
    if (!file) return out;
    out.opened = true;
    log_source from{std::move(*file), ring, core::key_material(ring)};
    out.findings = verify_log(from, {}).findings;
    return out;
  }
  /// All that a node reads of log and projections. Not the node's notes to itself (meta).
  [[nodiscard]] std::string content() const {
    sqlite3* db = nullptr;
    std::string out;
    if (sqlite3_open_v2((path + "/portcullis.db").c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) !=
        SQLITE_OK)
      return out;
    for (const char* sql :
         {"SELECT * FROM events ORDER BY seq",
          "SELECT subject,lookup,tenant_id,ring_key,wrapped FROM users ORDER BY id",
          "SELECT seq,subject,tenant_id,handle,id,ring_key,created_at_ms,last_seen_at_ms,"
          "absolute_expires_at_ms,idle_ttl_s,version,state,tenant_generation,find_ip,"
          "find_user_agent,substr(ip,13),sealed,data,predecessor,predecessor_ring_key,nonce,"
          "grace_ends_at_ms,rotation_ring_key,successor_used,alias FROM sessions ORDER BY seq",
          "SELECT session_seq,id,grace_ends_at_ms FROM retired_ids ORDER BY session_seq,place",
          "SELECT * FROM lockouts", "SELECT * FROM tenants",
          "SELECT * FROM breakers ORDER BY id"}) {
      sqlite3_stmt* rows = nullptr;
      sqlite3_prepare_v2(db, sql, -1, &rows, nullptr);
      while (rows != nullptr && sqlite3_step(rows) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(rows); ++i) {
          const auto* at = static_cast<const char*>(sqlite3_column_blob(rows, i));
          out.append(at == nullptr ? "" : at,
                     static_cast<std::size_t>(sqlite3_column_bytes(rows, i)));
          out += '|';
        }
      sqlite3_finalize(rows);
    }
    sqlite3_close(db);
    return out;
  }

  store::temporary_folder folder;
  std::string path;
  core::keyring ring;
  std::optional<core::key_material> keys;
  core::world w;
  std::string original;
};

TEST_F(a_folder, as_it_was_left_is_whole) {
  const auto now = look();
  EXPECT_TRUE(now.opened);
  for (const auto& each : now.findings) ADD_FAILURE() << each.seq << " " << each.what;
}

TEST_F(a_folder, a_bit_that_flipped_anywhere_is_found_or_changes_nothing) {
  const auto whole = content();
  ASSERT_GT(original.size(), 60'000U);
  const bool all = std::getenv("PORTCULLIS_LONG_TESTS") != nullptr;
  const std::size_t stride = all ? 7 : 89;  // primes: every kind of place
  std::size_t found = 0, named = 0, harmless = 0;
  for (std::size_t at = 0; at < original.size(); at += stride) {
    auto bytes = original;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    write_file(path + "/portcullis.db", bytes);
    const auto now = look();
    if (!now.opened || !now.findings.empty()) {
      ++found;
      named += now.opened && now.findings.front().seq > 0;
      continue;
    }
    ++harmless;
    EXPECT_EQ(content(), whole) << "byte " << at;
    if (HasFailure()) break;
  }
  EXPECT_GT(found, 0U);
  EXPECT_GT(named, 0U);
  RecordProperty("found", static_cast<int>(found));
  RecordProperty("harmless", static_cast<int>(harmless));
}

TEST_F(a_folder, a_row_that_was_changed_is_named_and_the_others_can_be_read) {
  for (const std::uint64_t seq : {1U, 7U, 23U}) {
    write_file(path + "/portcullis.db", original);
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((path + "/portcullis.db").c_str(), &db), SQLITE_OK);
    const auto sql = "UPDATE events SET mac=zeroblob(32) WHERE seq=" + std::to_string(seq);
    ASSERT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(db);
    const auto now = look();
    ASSERT_FALSE(now.findings.empty());
    EXPECT_EQ(now.findings.front().seq, seq);
    auto file = store::log_file::open(path);
    ASSERT_TRUE(file);
    std::set<std::uint64_t> read;
    ASSERT_TRUE((*file)->read(0, [&](const store::log_row& row) {
      read.insert(row.seq);
      return true;
    }));
    EXPECT_EQ(read.size(), w.log.size());
  }
}

}  // namespace
}  // namespace portcullis::apps
