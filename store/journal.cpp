#include "store/journal.hpp"

#include <sys/stat.h>

#include "core/limits.hpp"
#include "store/database.hpp"
#include "store/require.hpp"

namespace portcullis::store {
namespace {

// 8 KB each: from 8 MB on a quiet moment is used; at 64 MB a commit does not wait for one any
// longer.
constexpr int wal_pages_wanted = 1'024;
constexpr int wal_pages_max = 8'192;
constexpr int rewrap_rows_per_slice = 64;

std::uint64_t file_bytes(const std::string& path) noexcept {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

}  // namespace

journal::journal() = default;
journal::~journal() = default;

core::result<std::unique_ptr<journal>> journal::open(const journal_options& options) {
  auto folder = data_folder::enter(options.data_dir);
  if (!folder) return folder.error();
  std::unique_ptr<journal> made(new journal);
  made->db_ = std::make_unique<database>(std::move(*folder), options);
  if (auto opened = made->db_->open(); !opened) return opened.error();
  return made;
}

std::uint64_t journal::last_seq() const noexcept { return db_->end().seq; }
core::millis journal::last_at_ms() const noexcept { return db_->end().at_ms; }
const core::digest& journal::last_mac() const noexcept { return db_->end().mac; }
std::uint64_t journal::committed_seq() const noexcept { return db_->committed().seq; }
core::millis journal::committed_at_ms() const noexcept { return db_->committed().at_ms; }

std::uint64_t journal::cut_seq() const noexcept { return db_->cut_seq(); }

core::status journal::append(std::span<const core::event> events,
                             std::span<const core::user_row> users,
                             std::span<const std::uint64_t> purge_session_seqs,
                             std::span<const core::breaker_source_record> sources) {
  return db_->append(events, users, purge_session_seqs, sources);
}

core::status journal::commit() {
  if (auto done = db_->commit(); !done) return done;
  // What is committed stays so whatever becomes of the checkpoint, short of an IO error.
  if (db_->wal_pages() >= wal_pages_max)
    if (auto moved = db_->checkpoint(SQLITE_CHECKPOINT_PASSIVE); !moved && db_->fatal())
      return moved;
  return core::nothing{};
}

bool journal::in_transaction() const noexcept { return db_->in_transaction(); }
void journal::rollback() noexcept { db_->rollback(); }

core::result<bool> journal::ends_with(const core::event& what) { return db_->ends_with(what); }

bool journal::wants_checkpoint() const noexcept { return db_->wal_pages() >= wal_pages_wanted; }
core::status journal::checkpoint() { return db_->checkpoint(SQLITE_CHECKPOINT_PASSIVE); }

core::status journal::truncate_log() { return db_->checkpoint(SQLITE_CHECKPOINT_TRUNCATE); }

core::result<std::string> journal::read_snapshot_part(std::uint64_t index) {
  if (index == 0) {
    auto seal = db_->meta_get(snapshot_key);
    if (!seal) return seal.error();
    return (*seal).value_or(std::string());
  }
  statement row;
  int rc =
      row.prepare(db_->handle(), "SELECT body FROM snapshot ORDER BY id LIMIT 1 OFFSET ?1", false);
  if (rc != SQLITE_OK) return db_->failed(rc);
  row.bind(1, index - 1);
  rc = row.step();
  if (rc == SQLITE_DONE) return std::string();
  if (rc != SQLITE_ROW) return db_->failed(rc);
  return std::string(core::as_text(row.blob(0)));
}

core::result<std::optional<std::string>> journal::meta_get(std::string_view key) {
  return db_->meta_get(key);
}

core::status journal::meta_set(std::string_view key, std::string_view value) {
  const bool joins = db_->in_transaction();
  if (auto begun = db_->begin(); !begun) return begun;
  if (auto put = db_->meta_put(key, value); !put) {
    if (!joins) db_->rollback();
    return put;
  }
  return joins ? core::status(core::nothing{}) : db_->commit();
}

namespace {

core::result<std::uint64_t> rewrap_slice(database& db, std::uint64_t after,
                                         journal::rewrapper& with) {
  statement read;
  statement write;
  int rc = read.prepare(db.handle(),
                        "SELECT id,subject,lookup,tenant_id,ring_key,wrapped FROM users WHERE "
                        "id>?1 ORDER BY id LIMIT ?2");
  if (rc == SQLITE_OK)
    rc = write.prepare(db.handle(), "UPDATE users SET ring_key=?2,wrapped=?3 WHERE id=?1");
  if (rc != SQLITE_OK) return db.failed(rc);
  read.bind(1, after);
  read.bind(2, std::int64_t{rewrap_rows_per_slice});
  std::uint64_t last = after;
  int rows = 0;
  while ((rc = read.step()) == SQLITE_ROW) {
    ++rows;
    last = read.natural(0);
    core::user_row row;
    if (!read.read(1, row.subject.bytes) || !read.read(2, row.lookup))
      return core::fail(core::error_code::STORE_INTEGRITY, {}, "users");
    row.tenant_id = read.text(3);
    row.ring_key = static_cast<std::uint32_t>(read.natural(4));
    row.wrapped = core::as_text(read.blob(5));
    if (!with.rewrap(row)) continue;
    write.bind(1, last);
    write.bind(2, row.ring_key);
    write.bind_blob(3, core::as_bytes(row.wrapped));
    if (const int written = write.run(); written != SQLITE_OK) return db.failed(written);
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  return rows < rewrap_rows_per_slice ? 0 : last;
}

}  // namespace

core::result<std::uint64_t> journal::rewrap_users(std::uint64_t after, rewrapper& with) {
  if (auto done = db_->commit(); !done) return done.error();
  if (auto begun = db_->begin(); !begun) return begun.error();
  auto next = rewrap_slice(*db_, after, with);
  if (!next) {
    db_->rollback();
    return next;
  }
  if (auto done = db_->commit(); !done) return done.error();
  return next;
}

std::uint64_t journal::size_bytes() const noexcept {
  return file_bytes(db_->path()) + file_bytes(db_->path() + "-wal");
}

core::status journal::integrity_check() {
  if (db_->fatal()) return *db_->fatal();
  statement check;
  if (const int rc = check.prepare(db_->handle(), "PRAGMA integrity_check(1)"); rc != SQLITE_OK)
    return db_->failed(rc);
  if (const int rc = check.step(); rc != SQLITE_ROW) return db_->failed(rc);
  if (check.text(0) != "ok") return core::fail(core::error_code::STORE_INTEGRITY, {}, "file");
  return core::nothing{};
}

core::status journal::close() { return db_->close(); }

}  // namespace portcullis::store
