// Streaming what a start needs, and the display rows of lists.
#include <algorithm>
#include <array>

#include "core/limits.hpp"
#include "store/database.hpp"
#include "store/display.hpp"
#include "store/journal.hpp"
#include "store/load.hpp"
#include "store/require.hpp"

namespace portcullis::store {
namespace {

core::error damaged(std::string_view table) {
  return core::fail(core::error_code::STORE_INTEGRITY, {}, table);
}

// The old ids of sessions, read beside the sessions: both come by session.
class retired_reader {
 public:
  [[nodiscard]] int open(sqlite3* db) {
    if (const int rc = rows_.prepare(db,
                                     "SELECT session_seq,id,grace_ends_at_ms FROM "
                                     "retired_ids ORDER BY session_seq,place");
        rc != SQLITE_OK)
      return rc;
    return advance();
  }
  /// Fills `to` with those of session `seq`; sessions are asked for in order. SQLITE_OK,
  /// SQLITE_MISMATCH or an error.
  [[nodiscard]] int read(std::uint64_t seq, std::vector<retired_id>& to) {
    to.clear();
    while (session_ < seq)
      if (const int rc = advance(); rc != SQLITE_OK) return rc;
    while (session_ == seq) {
      auto& one = to.emplace_back();
      if (!rows_.read(1, one.id.bytes)) return SQLITE_MISMATCH;
      one.grace_ends_at_ms = rows_.integer(2);
      if (const int rc = advance(); rc != SQLITE_OK) return rc;
    }
    return SQLITE_OK;
  }

 private:
  [[nodiscard]] int advance() {
    const int rc = rows_.step();
    session_ = rc == SQLITE_ROW ? rows_.natural(0) : UINT64_MAX;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
  }
  statement rows_;
  std::uint64_t session_ = 0;
};

constexpr std::string_view session_columns =
    "SELECT seq,subject,tenant_id,handle,id,ring_key,created_at_ms,last_seen_at_ms,"
    "absolute_expires_at_ms,idle_ttl_s,version,state,tenant_generation,fields,ip,sealed,data,"
    "predecessor,predecessor_ring_key,nonce,grace_ends_at_ms,rotation_ring_key,successor_used,"
    "alias "
    "FROM sessions ORDER BY seq";

[[nodiscard]] bool read_session(const statement& row, session_record& to) {
  const auto narrow = [&](int column) { return static_cast<std::uint32_t>(row.natural(column)); };
  to.tenant_id = row.text(2);
  to.ring_key = narrow(5);
  to.created_at_ms = row.integer(6);
  to.last_seen_at_ms = row.integer(7);
  to.absolute_expires_at_ms = row.integer(8);
  to.idle_ttl_s = row.integer(9);
  to.version = narrow(10);
  const auto state = row.integer(11);
  to.state = static_cast<session_state>(state);
  to.tenant_generation = row.natural(12);
  to.ip = core::as_text(row.blob(14));
  to.sealed = core::as_text(row.blob(15));
  to.data = core::as_text(row.blob(16));
  to.has_predecessor = !row.is_null(17);
  bool good = state >= 0 && state <= 3 && row.read(3, to.handle.bytes) &&
              row.read(4, to.id.bytes) && unpack_fields(row.blob(13), to.fields);
  if (!row.is_null(23)) good = row.read(23, to.alias.emplace()) && good;
  if (to.has_predecessor) {
    good = good && row.read(17, to.predecessor.bytes) && row.read(19, to.nonce);
    to.predecessor_ring_key = narrow(18);
    to.grace_ends_at_ms = row.integer(20);
    to.rotation_ring_key = narrow(21);
    to.successor_used = row.integer(22) != 0;
  }
  return good;
}

core::status read_tenants(database& db, load_visitor& visitor) {
  statement rows;
  int rc = rows.prepare(db.handle(), "SELECT tenant_id,generation FROM tenants");
  if (rc != SQLITE_OK) return db.failed(rc);
  while ((rc = rows.step()) == SQLITE_ROW) visitor.on_tenant({rows.text(0), rows.natural(1)});
  if (rc != SQLITE_DONE) return db.failed(rc);
  return core::nothing{};
}

core::status load_users(database& db, const routing_set& routing, load_visitor& visitor) {
  statement last;
  if (const int rc = last.prepare(db.handle(), "SELECT ifnull(max(id),0) FROM users");
      rc != SQLITE_OK)
    return db.failed(rc);
  if (const int rc = last.step(); rc != SQLITE_ROW) return db.failed(rc);
  visitor.expect_users(last.natural(0));
  statement rows;
  int rc = rows.prepare(
      db.handle(), "SELECT subject,lookup,tenant_id,ring_key,wrapped,id FROM users ORDER BY id");
  if (rc != SQLITE_OK) return db.failed(rc);
  core::user_row row;
  while ((rc = rows.step()) == SQLITE_ROW) {
    if (!rows.read(0, row.subject.bytes) || !rows.read(1, row.lookup)) return damaged("users");
    db.note_user(rows.natural(5), row.subject);
    if (!routing.test(row.subject.bytes[0])) continue;
    row.tenant_id = rows.text(2);
    row.ring_key = static_cast<std::uint32_t>(rows.natural(3));
    row.wrapped = core::as_text(rows.blob(4));
    visitor.on_user(row);
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  return core::nothing{};
}

core::status load_lockouts(database& db, const routing_set& routing, load_visitor& visitor) {
  statement rows;
  int rc = rows.prepare(
      db.handle(),
      "SELECT subject,source,failed_attempts,window_ends_at_ms,locked_until_ms FROM lockouts");
  if (rc != SQLITE_OK) return db.failed(rc);
  while ((rc = rows.step()) == SQLITE_ROW) {
    lockout_record row;
    bool good = rows.read(0, row.subject.bytes);
    if (!rows.blob(1).empty()) good = rows.read(1, row.source.emplace()) && good;
    if (!good) return damaged("lockouts");
    if (!routing.test(row.subject.bytes[0])) continue;
    row.failed_attempts = static_cast<std::uint32_t>(rows.natural(2));
    row.window_ends_at_ms = rows.integer(3);
    row.locked_until_ms = rows.integer(4);
    visitor.on_lockout(row);
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  return core::nothing{};
}

core::status load_sessions(database& db, const routing_set& routing, load_visitor& visitor) {
  statement rows;
  retired_reader old_ids;
  std::vector<retired_id> retired;
  int rc = rows.prepare(db.handle(), session_columns);
  if (rc == SQLITE_OK) rc = old_ids.open(db.handle());
  if (rc != SQLITE_OK) return db.failed(rc);
  while ((rc = rows.step()) == SQLITE_ROW) {
    session_record row;
    row.seq = rows.natural(0);
    if (!rows.read(1, row.subject.bytes)) return damaged("sessions");
    if (!routing.test(row.subject.bytes[0])) continue;
    if (!read_session(rows, row)) return damaged("sessions");
    const int old_rc = old_ids.read(row.seq, retired);
    if (old_rc == SQLITE_MISMATCH) return damaged("retired_ids");
    if (old_rc != SQLITE_OK) return db.failed(old_rc);
    row.retired = retired;
    visitor.on_session(row);
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  return core::nothing{};
}

// A number of an enumeration, or the first one past it.
template <class Enum, std::size_t N>
[[nodiscard]] bool read_enum(const statement& row, int column,
                             const std::array<std::string_view, N>&, Enum& to) {
  const auto value = row.integer(column);
  if (value < 0 || value >= static_cast<std::int64_t>(N)) return false;
  to = static_cast<Enum>(value);
  return true;
}

core::status read_breakers(database& db, breaker_visitor& visitor) {
  statement rows;
  int rc = rows.prepare(db.handle(),
                        "SELECT service,breaker,kind,state,epoch,cause,since_ms,until_ms,"
                        "failed_rounds,mode,scope,actor,reason,expires_at_ms FROM breakers "
                        "ORDER BY id");
  if (rc != SQLITE_OK) return db.failed(rc);
  while ((rc = rows.step()) == SQLITE_ROW) {
    core::breaker_record row;
    row.service = rows.text(0);
    row.breaker = rows.text(1);
    row.epoch = rows.natural(4);
    row.since_ms = rows.integer(6);
    row.until_ms = rows.integer(7);
    row.failed_rounds = static_cast<std::uint32_t>(rows.natural(8));
    row.override_.actor = rows.text(11);
    row.override_.reason = rows.text(12);
    if (const auto at_ms = rows.integer(13); at_ms > 0) row.override_.expires_at_ms = at_ms;
    if (!read_enum(rows, 2, core::breaker_kind_names, row.kind) ||
        !read_enum(rows, 3, core::breaker_state_names, row.state) ||
        static_cast<std::size_t>(row.state) >= core::base_state_count ||
        !read_enum(rows, 5, core::breaker_cause_names, row.cause) ||
        !read_enum(rows, 9, core::override_mode_names, row.override_.mode) ||
        !read_enum(rows, 10, core::override_scope_names, row.override_.scope))
      return damaged("breakers");
    visitor.on_breaker(std::move(row));
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  return core::nothing{};
}

core::status read_sources(database& db, breaker_visitor& visitor) {
  statement rows;
  int rc = rows.prepare(db.handle(),
                        "SELECT service,breaker,source,source_epoch,highest_seq,seen,state,"
                        "open_since_ms,last_report_at_ms,counts,gaps FROM breaker_sources");
  if (rc != SQLITE_OK) return db.failed(rc);
  while ((rc = rows.step()) == SQLITE_ROW) {
    core::breaker_source_record row;
    row.service = rows.text(0);
    row.breaker = rows.text(1);
    row.source = rows.text(2);
    row.what.source_epoch = rows.natural(3);
    row.what.seen = {rows.natural(4), rows.natural(5)};
    row.what.open_since_ms = rows.integer(7);
    row.what.last_report_at_ms = rows.integer(8);
    if (!read_enum(rows, 6, core::breaker_state_names, row.what.state) ||
        !unpack_counts(rows.blob(9), row.what) || !unpack_gaps(rows.blob(10), row.what))
      return damaged("breaker_sources");
    visitor.on_source(std::move(row));
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  return core::nothing{};
}

}  // namespace

core::status load_all(database& db, const routing_set& routing, load_visitor& visitor) {
  if (auto done = read_tenants(db, visitor); !done) return done;
  if (auto done = load_users(db, routing, visitor); !done) return done;
  if (auto done = load_lockouts(db, routing, visitor); !done) return done;
  return load_sessions(db, routing, visitor);
}

core::status load_all_breakers(database& db, breaker_visitor& visitor) {
  if (auto done = read_breakers(db, visitor); !done) return done;
  return read_sources(db, visitor);
}

core::status journal::load_breakers(breaker_visitor& visitor) {
  if (db_->fatal()) return *db_->fatal();
  require(!db_->in_transaction(), "load_breakers reads what is committed");
  return load_all_breakers(*db_, visitor);
}

core::status journal::load(const routing_set& routing, load_visitor& visitor) {
  if (db_->fatal()) return *db_->fatal();
  require(!db_->in_transaction(), "load reads what is committed");
  return load_all(*db_, routing, visitor);
}

core::status journal::load_tenants(load_visitor& visitor) {
  if (db_->fatal()) return *db_->fatal();
  require(!db_->in_transaction(), "load_tenants reads what is committed");
  return read_tenants(*db_, visitor);
}

bool read_display(const statement& row, session_display& to) {
  to.seq = row.natural(0);
  const auto state = row.integer(3);
  to.state = static_cast<session_state>(state);
  to.sealed = core::as_text(row.blob(4));
  return state >= 0 && state <= 3 && row.read(1, to.subject.bytes) && row.read(2, to.handle.bytes);
}

core::result<std::vector<session_display>> journal::read_sessions(
    std::span<const std::uint64_t> seqs) {
  if (db_->fatal()) return *db_->fatal();
  require(seqs.size() <= core::limits::page_rows_max, "a page is bounded");
  std::vector<session_display> found;
  found.reserve(seqs.size());
  statement row;
  int rc = row.prepare(db_->handle(), std::string("SELECT ") + std::string(display_columns) +
                                          " FROM sessions WHERE seq=?1");
  if (rc != SQLITE_OK) return db_->failed(rc);
  for (const auto seq : seqs) {
    if (seq > committed_seq()) continue;
    const resetting at_end(row);
    row.bind(1, seq);
    rc = row.step();
    if (rc == SQLITE_DONE) continue;
    if (rc != SQLITE_ROW) return db_->failed(rc);
    if (!read_display(row, found.emplace_back())) return damaged("sessions");
  }
  return found;
}

}  // namespace portcullis::store
