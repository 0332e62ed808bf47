#include "store/database.hpp"

#include "core/event/codec.hpp"
#include "core/planted.hpp"
#include "core/replay/snapshot.hpp"
#include "store/require.hpp"
#include "store/schema.hpp"
#include "store/sync_folder.hpp"

namespace portcullis::store {
namespace {

// 16 MB: recent pages of the append-only tables; rows touched at random come from the page cache of
// the kernel.
constexpr const char* settings = R"sql(
PRAGMA page_size=8192;
PRAGMA locking_mode=EXCLUSIVE;
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA foreign_keys=OFF;
PRAGMA temp_store=MEMORY;
PRAGMA cache_size=-16384;
PRAGMA wal_autocheckpoint=0;
PRAGMA trusted_schema=OFF;
PRAGMA secure_delete=ON;
)sql";

/// What the file defines beside tables is not this program's, and would run in it: a trigger could
/// keep the key of a user who is forgotten.
void defend(sqlite3* db) noexcept {
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
}

int note_wal_pages(void* to, sqlite3*, const char*, int pages) {
  *static_cast<int*>(to) = pages;
  return SQLITE_OK;
}

}  // namespace

core::digest chain_mac(const core::hmac_key& chain, const core::digest& previous, std::uint64_t seq,
                       core::millis at_ms, std::string_view type, core::byte_view subject,
                       std::string_view body, core::byte_view sealed) noexcept {
  return chain.begin()
      .update(previous)
      .update_int(seq)
      .update_int(static_cast<std::uint64_t>(at_ms))
      .update_sized(type)
      .update_sized(subject)
      .update_sized(body)
      .update_sized(sealed)
      .finish();
}

std::string_view mac_body(core::event_type type, std::string_view body,
                          const std::optional<core::digest>& dropped, core::digest& hash) noexcept {
  if (!core::is_dropped_when_old(type)) return body;
  hash = dropped ? *dropped : core::sha256(core::as_bytes(body));
  return core::as_text(hash);
}

int last_seq_at(sqlite3* db, core::millis at_ms, std::uint64_t low, std::uint64_t high,
                std::uint64_t& found) {
  statement row;
  // Not the page of what is before, which may be a damaged one.
  if (const int rc =
          row.prepare(db, "SELECT at_ms FROM events WHERE seq>=?1 ORDER BY seq LIMIT 1", false);
      rc != SQLITE_OK)
    return rc;
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    const resetting at_end(row);
    row.bind(1, middle + 1);
    const int rc = row.step();
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return rc;
    if (rc == SQLITE_ROW && row.integer(0) <= at_ms)
      low = middle + 1;
    else
      high = middle;
  }
  found = low;
  return SQLITE_OK;
}

database::database(data_folder folder, const journal_options& options)
    : folder_(std::move(folder)),
      node_id_(options.node_id),
      chain_(options.chain),
      keyring_check_(options.keyring_check),
      vfs_(options.vfs) {}

database::~database() {
  for (auto* one : {&insert_event_, &begin_, &commit_, &rollback_, &savepoint_, &rollback_to_,
                    &release_, &meta_get_, &meta_put_})
    *one = statement();
  projection_ = projection();
  sqlite3_close(handle_);
}

int database::run(const char* sql) noexcept {
  return sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
}

core::error database::failed(int rc, unsigned line) noexcept {
  const auto why = meaning_of(rc, __FILE__, line, "journal");
  if (is_fatal(why)) fatal_ = why;
  const bool dropped = in_transaction_ && sqlite3_get_autocommit(handle_) != 0;  // by SQLite itself
  if (dropped || is_fatal(why) || is_full(why) || why.rule == "file") rollback();
  return why;
}

core::status database::open() {
  constexpr int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
  const int rc = sqlite3_open_v2(sqlite_name(path()).c_str(), &handle_, flags,
                                 vfs_.empty() ? nullptr : vfs_.c_str());
  if (rc != SQLITE_OK) return meaning_of(rc);
  // Destroyed without close() leaves the log as a crash would; close() checkpoints by itself.
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  defend(handle_);
  for (auto step :
       {&database::configure, &database::read_end, &database::check_keyring, &database::clean_up})
    if (auto done = (this->*step)(); !done) return done;
  return core::nothing{};
}

core::status database::open_to_read() {
  constexpr int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
  // Without write access (and without a log to be read first) it is read as it is.
  int rc = sqlite3_open_v2(sqlite_name(path()).c_str(), &handle_, flags | SQLITE_OPEN_READWRITE,
                           nullptr);
  if (rc != SQLITE_OK) return meaning_of(rc);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  defend(handle_);
  // Exclusive: the log's index is in memory, no file is made for it.
  rc =
      run("PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY;"
          "PRAGMA trusted_schema=OFF; PRAGMA query_only=ON;");
  if (rc != SQLITE_OK) return meaning_of(rc);
  if (const int read = read_schema_version(handle_, version_); read != SQLITE_OK)
    return meaning_of(read);
  if (version_ > schema_version()) return core::fail(core::error_code::SCHEMA_TOO_NEW);
  if (version_ < 1) return core::fail(core::error_code::STORE_INTEGRITY, {}, "schema");
  return core::nothing{};
}

core::status database::configure() {
  if (const int rc = run(settings); rc != SQLITE_OK) return meaning_of(rc);
  if (core::is_planted("fsync"))
    if (const int rc = run("PRAGMA synchronous=OFF"); rc != SQLITE_OK) return meaning_of(rc);
  statement mode;
  if (const int rc = mode.prepare(handle_, "PRAGMA journal_mode", false); rc != SQLITE_OK)
    return meaning_of(rc);
  if (const int rc = mode.step(); rc != SQLITE_ROW) return meaning_of(rc);
  if (mode.text(0) != "wal") return core::fail(core::error_code::STORE_UNAVAILABLE, {}, "open");
  mode.reset();
  sqlite3_wal_hook(handle_, &note_wal_pages, &wal_pages_);
  if (auto done = migrate(handle_); !done) return done;
  struct {
    statement* to;
    std::string_view sql;
  } const all[] = {
      {&insert_event_,
       "INSERT INTO events(seq,at_ms,type,subject,body,sealed,mac) VALUES(?1,?2,?3,?4,?5,?6,?7)"},
      {&begin_, "BEGIN IMMEDIATE"},
      {&commit_, "COMMIT"},
      {&rollback_, "ROLLBACK"},
      {&savepoint_, "SAVEPOINT batch"},
      {&rollback_to_, "ROLLBACK TO batch"},
      {&release_, "RELEASE batch"},
      {&meta_get_, "SELECT value FROM meta WHERE key=?1"},
      {&meta_put_,
       "INSERT INTO meta(key,value) VALUES(?1,?2) ON CONFLICT DO UPDATE SET value=excluded.value"},
  };
  for (const auto& one : all)
    if (const int rc = one.to->prepare(handle_, one.sql); rc != SQLITE_OK) return meaning_of(rc);
  if (const int rc = projection_.prepare(handle_); rc != SQLITE_OK) return meaning_of(rc);
  return core::nothing{};
}

core::status database::check_keyring() {
  const auto kept = meta_get(keyring_check_key);
  if (!kept) return kept.error();
  const auto given = core::as_text(keyring_check_);
  if (*kept && !core::equal_secrets(core::as_bytes(**kept), keyring_check_))
    return core::fail(core::error_code::KEYRING_MISMATCH);
  // It was kept before the first event: somebody took it away, and any key file would do.
  if (!*kept && end_.seq > 0)
    return core::fail(core::error_code::STORE_INTEGRITY, {}, keyring_check_key);
  const auto node = meta_get("node_id");
  if (!node) return node.error();
  if (*kept && *node == node_id_) return core::nothing{};
  if (auto begun = begin(); !begun) return begun;
  if (auto put = meta_put(keyring_check_key, given); !put) return put;
  if (auto put = meta_put("node_id", node_id_); !put) return put;
  return commit();
}

core::status database::read_end() {
  statement last;
  if (const int rc =
          last.prepare(handle_, "SELECT seq,at_ms,mac FROM events ORDER BY seq DESC LIMIT 1");
      rc != SQLITE_OK)
    return meaning_of(rc);
  const int rc = last.step();
  if (rc == SQLITE_ROW) {
    end_.seq = last.natural(0);
    end_.at_ms = last.integer(1);
    if (!last.read(2, end_.mac)) return core::fail(core::error_code::STORE_INTEGRITY, {}, "mac");
  } else if (rc != SQLITE_DONE) {
    return meaning_of(rc);
  }
  if (auto read = read_cut(); !read) return read;
  committed_ = end_;
  return core::nothing{};
}

/// Where retention cut the log; what it has cut may be all.
core::status database::read_cut() {
  const auto kept = meta_get(snapshot_key);
  if (!kept) return kept.error();
  if (!*kept) return core::nothing{};
  const auto seal = core::parse_snapshot_seal(**kept);
  if (!seal) return core::fail(core::error_code::STORE_INTEGRITY, {}, "snapshot");
  cut_seq_ = seal->of.seq;
  if (end_.seq < seal->of.seq) end_ = {seal->of.seq, seal->of.at_ms, seal->of.mac};
  return core::nothing{};
}

core::status database::clean_up() {
  const int rc = run((std::string("BEGIN IMMEDIATE;") + prune_lockouts + "COMMIT;").c_str());
  if (rc == SQLITE_OK) return core::nothing{};
  in_transaction_ = true;
  const auto why = meaning_of(rc);
  rollback();
  return why;
}

core::status database::begin() {
  if (fatal_) return *fatal_;
  if (in_transaction_) return core::nothing{};
  if (const int rc = begin_.run(); rc != SQLITE_OK) return failed(rc);
  in_transaction_ = true;
  return core::nothing{};
}

namespace {

core::byte_view subject_of(const core::event& what) {
  return what.subject ? core::byte_view(what.subject->bytes) : core::byte_view();
}

}  // namespace

/// Leaves the event's body in body_.
core::digest database::mac_of(const core::event& happened, const core::digest& before) {
  body_.clear();
  core::append_body(body_, happened, node_id_);
  core::digest hash;
  return chain_mac(chain_, before, happened.seq, happened.at_ms, core::to_string(happened.type()),
                   subject_of(happened),
                   mac_body(happened.type(), body_.view(), std::nullopt, hash),
                   core::as_bytes(happened.sealed));
}

core::result<bool> database::ends_with(core::event what) {
  if (what.seq != end_.seq) return false;
  core::digest before{};
  if (what.seq > 1) {
    statement row;
    int rc = row.prepare(handle(), "SELECT mac FROM events WHERE seq=?1", false);
    if (rc != SQLITE_OK) return failed(rc);
    row.bind(1, what.seq - 1);
    rc = row.step();
    if (rc == SQLITE_DONE) return true;  // cut off: nothing is left to compare
    if (rc != SQLITE_ROW) return failed(rc);
    if (!row.read(0, before)) return core::fail(core::error_code::STORE_INTEGRITY, {}, "events");
  }
  what.at_ms = end_.at_ms;
  return mac_of(what, before) == end_.mac;
}

int database::insert(const core::event& happened) {
  const auto type = core::to_string(happened.type());
  const auto subject = subject_of(happened);
  const auto sealed = core::as_bytes(happened.sealed);
  const auto mac = mac_of(happened, end_.mac);
  auto& s = insert_event_;
  s.bind(1, happened.seq);
  s.bind(2, happened.at_ms);
  s.bind_text(3, type);
  s.bind_blob(4, subject);
  s.bind_text(5, body_.view());
  s.bind_blob(6, sealed);
  s.bind_blob(7, mac);
  if (const int rc = s.run(); rc != SQLITE_OK) return rc;
  if (const int rc = projection_.apply(happened); rc != SQLITE_OK) return rc;
  end_ = {happened.seq, happened.at_ms, mac};
  return SQLITE_OK;
}

core::status database::append(std::span<const core::event> events,
                              std::span<const core::user_row> users,
                              std::span<const std::uint64_t> purged,
                              std::span<const core::breaker_source_record> sources) {
  if (auto begun = begin(); !begun) return begun;
  auto expected = end_;
  for (const auto& one : events) {
    require(one.seq == expected.seq + 1, "events are contiguous");
    require(one.at_ms >= expected.at_ms, "at_ms never decreases");
    expected.seq = one.seq;
    expected.at_ms = one.at_ms;
  }
  if (const int rc = savepoint_.run(); rc != SQLITE_OK) return failed(rc);
  const auto before = end_;
  int rc = SQLITE_OK;
  for (const auto& one : users)
    if (rc == SQLITE_OK) rc = projection_.add_user(one);
  for (const auto& one : events)
    if (rc == SQLITE_OK) rc = insert(one);
  for (const auto seq : purged)
    if (rc == SQLITE_OK) rc = projection_.purge_session(seq);
  for (const auto& one : sources)
    if (rc == SQLITE_OK) rc = projection_.put_source(one);
  if (rc == SQLITE_OK) rc = release_.run();
  if (rc == SQLITE_OK) return core::nothing{};
  auto why = failed(rc);
  if (!in_transaction_) return why;  // dropped as a whole
  end_ = before;
  if (rollback_to_.run() != SQLITE_OK || release_.run() != SQLITE_OK) rollback();
  return why;
}

core::status database::commit() {
  if (fatal_) return *fatal_;
  if (!in_transaction_) return core::nothing{};
  if (const int rc = commit_.run(); rc != SQLITE_OK) {
    auto why = failed(rc);
    rollback();
    return why;
  }
  in_transaction_ = false;
  committed_ = end_;
  return core::nothing{};
}

void database::rollback() noexcept {
  // SQLite itself drops the transaction after some errors.
  if (in_transaction_ && sqlite3_get_autocommit(handle_) == 0) {
    const int rc = rollback_.run();
    if (rc != SQLITE_OK && sqlite3_get_autocommit(handle_) == 0 && !fatal_)
      fatal_ = meaning_of(SQLITE_IOERR);  // a transaction that can be neither kept nor dropped
  }
  in_transaction_ = false;
  end_ = committed_;
}

core::status database::checkpoint(int mode) {
  if (fatal_) return *fatal_;
  if (in_transaction_) return core::nothing{};
  int in_log = 0;
  int moved = 0;
  const int rc = sqlite3_wal_checkpoint_v2(handle_, nullptr, mode, &in_log, &moved);
  if (rc != SQLITE_OK) return failed(rc);
  if (in_log == moved) wal_pages_ = 0;  // the next commit starts the log anew
  return core::nothing{};
}

core::status database::close() {
  rollback();
  if (auto done = checkpoint(SQLITE_CHECKPOINT_TRUNCATE); !done) return done;
  fatal_ = core::fail(core::error_code::STORE_UNAVAILABLE, {}, "closed");
  return core::nothing{};
}

core::result<std::optional<std::string>> database::meta_get(std::string_view key) {
  if (fatal_) return *fatal_;
  const resetting at_end(meta_get_);
  meta_get_.bind_text(1, key);
  const int rc = meta_get_.step();
  if (rc == SQLITE_DONE) return std::optional<std::string>();
  if (rc != SQLITE_ROW) return failed(rc);
  return std::optional<std::string>(core::as_text(meta_get_.blob(0)));
}

core::status database::meta_put(std::string_view key, std::string_view value) {
  meta_put_.bind_text(1, key);
  if (value.empty())
    meta_put_.bind_empty_blob(2);
  else
    meta_put_.bind_blob(2, core::as_bytes(value));
  if (const int rc = meta_put_.run(); rc != SQLITE_OK) return failed(rc);
  return core::nothing{};
}

}  // namespace portcullis::store
