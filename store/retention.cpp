#include "store/retention.hpp"

#include "core/event/codec.hpp"
#include "store/database.hpp"
#include "store/require.hpp"
#include "store/slice.hpp"

namespace portcullis::store {
namespace {

constexpr int rows_cut_at_once = 256;

core::error corrupt(std::string_view what) {
  return core::fail(core::error_code::LOG_CORRUPT, {}, what);
}

/// The last event at or before a time, or one that takes no longer to look past.
core::result<std::uint64_t> last_before(database& db, core::millis before_ms) {
  statement row;
  if (const int rc =
          row.prepare(db.handle(), "SELECT at_ms FROM events WHERE seq>?1 ORDER BY seq LIMIT 1");
      rc != SQLITE_OK)
    return db.failed(rc);
  std::uint64_t low = db.cut_seq(), high = db.committed().seq;
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    const resetting at_end(row);
    row.bind(1, middle);
    const int rc = row.step();
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return db.failed(rc);
    if (rc == SQLITE_ROW && row.integer(0) <= before_ms)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

}  // namespace

log_cutter::log_cutter(journal& log, const core::signing_key& by, core::millis before_ms)
    : log_(&log), by_(by), before_ms_(before_ms) {}
log_cutter::~log_cutter() = default;

core::result<progress> log_cutter::step() {
  auto& db = *log_->db_;
  if (db.fatal()) return *db.fatal();
  require(!db.in_transaction(), "retention goes between commits");
  auto went = core::status(core::nothing{});
  switch (stage_) {
    case stage::looking:
      went = look();
      break;
    case stage::reading_base:
      went = read_base();
      break;
    case stage::folding:
      went = fold();
      break;
    case stage::writing:
      went = write();
      break;
    case stage::cutting:
      went = cut();
      break;
    case stage::done:
      break;
  }
  if (!went) {
    if (db.in_transaction()) db.rollback();
    return went.error();
  }
  return stage_ == stage::done ? progress::done : progress::more;
}

core::status log_cutter::run(const char* sql, std::uint64_t seq) {
  auto& db = *log_->db_;
  statement todo;
  if (const int rc = todo.prepare(db.handle(), sql, false); rc != SQLITE_OK) return db.failed(rc);
  todo.bind(1, seq);
  if (const int rc = todo.run(); rc != SQLITE_OK) return db.failed(rc);
  return core::nothing{};
}

/// Finds the checkpoint. What an earlier attempt left behind is taken away first.
core::status log_cutter::look() {
  auto& db = *log_->db_;
  base_seq_ = folded_ = db.cut_seq();
  stage_ = stage::cutting;
  at_.seq = base_seq_;
  const auto last = last_before(db, before_ms_);
  if (!last) return last.error();
  statement row;
  int rc = row.prepare(db.handle(),
                       "SELECT seq,at_ms,mac FROM events WHERE seq<=?1 AND seq>?2 AND "
                       "type='checkpoint' ORDER BY seq DESC LIMIT 1");
  if (rc != SQLITE_OK) return db.failed(rc);
  row.bind(1, *last);
  row.bind(2, base_seq_);
  rc = row.step();
  if (rc == SQLITE_DONE) return core::nothing{};
  if (rc != SQLITE_ROW) return db.failed(rc);
  at_.seq = row.natural(0);
  at_.at_ms = row.integer(1);
  if (!row.read(2, at_.mac)) return corrupt("mac");
  stage_ = base_seq_ == 0 ? stage::folding : stage::reading_base;
  return core::nothing{};
}

core::status log_cutter::read_base() {
  auto& db = *log_->db_;
  statement row;
  int rc = row.prepare(db.handle(),
                       "SELECT id,body FROM snapshot WHERE seq=?1 AND id>?2 ORDER BY id LIMIT 1");
  if (rc != SQLITE_OK) return db.failed(rc);
  row.bind(1, base_seq_);
  row.bind(2, base_part_);
  rc = row.step();
  if (rc == SQLITE_ROW) {
    base_part_ = row.natural(0);
    return base_.add(core::as_text(row.blob(1)));
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  state_ = base_.take();
  if (state_.seq() != base_seq_) return corrupt("snapshot");
  stage_ = stage::folding;
  return core::nothing{};
}

core::status log_cutter::fold() {
  auto& db = *log_->db_;
  statement rows;
  int rc = rows.prepare(db.handle(),
                        "SELECT seq,at_ms,type,subject,body,sealed FROM events WHERE seq>?1 AND "
                        "seq<=?2 ORDER BY seq");
  if (rc != SQLITE_OK) return db.failed(rc);
  rows.bind(1, folded_);
  rows.bind(2, at_.seq);
  slice time_left;
  while ((rc = rows.step()) == SQLITE_ROW) {
    auto what = core::decode_body(rows.natural(0), rows.integer(1), rows.text(2), rows.blob(3),
                                  rows.text(4), core::as_text(rows.blob(5)));
    if (!what) return what.error();
    if (what->seq != folded_ + 1) return corrupt("seq");
    state_.apply(*what);
    folded_ = what->seq;
    if (time_left.is_over()) return core::nothing{};
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  if (folded_ != at_.seq) return corrupt("seq");
  writer_.emplace(state_);
  stage_ = stage::writing;
  // Parts of an attempt that came to nothing.
  if (auto begun = db.begin(); !begun) return begun;
  if (auto gone = run("DELETE FROM snapshot WHERE seq<>?1", base_seq_); !gone) return gone;
  return db.commit();
}

/// A part a step; after the last one its seal makes the snapshot valid, all at once.
core::status log_cutter::write() {
  auto& db = *log_->db_;
  const auto part = writer_->next();
  if (auto begun = db.begin(); !begun) return begun;
  if (part.empty()) {
    const auto seal = core::seal_snapshot(at_, parts_.finish(), state_.digest(), by_);
    if (auto put = db.meta_put(snapshot_key, core::to_bytes(seal)); !put) return put;
    if (auto done = db.commit(); !done) return done;
    db.set_cut_seq(at_.seq);
    stage_ = stage::cutting;
    writer_.reset();
    state_ = {};
    return core::nothing{};
  }
  parts_.add(part);
  statement row;
  int rc = row.prepare(db.handle(), "INSERT INTO snapshot(seq,body) VALUES(?1,?2)");
  if (rc != SQLITE_OK) return db.failed(rc);
  row.bind(1, at_.seq);
  row.bind_blob(2, core::as_bytes(part));
  if (rc = row.run(); rc != SQLITE_OK) return db.failed(rc);
  return db.commit();
}

core::status log_cutter::cut() {
  auto& db = *log_->db_;
  if (auto begun = db.begin(); !begun) return begun;
  if (auto gone = run("DELETE FROM snapshot WHERE id IN (SELECT id FROM snapshot WHERE seq<>?1 "
                      "ORDER BY id LIMIT 4)",
                      at_.seq);
      !gone)
    return gone;
  const bool parts_left = sqlite3_changes(db.handle()) > 0;
  static_assert(rows_cut_at_once == 256);
  if (auto gone = run("DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq<=?1 ORDER "
                      "BY seq LIMIT 256)",
                      at_.seq);
      !gone)
    return gone;
  const bool events_left = sqlite3_changes(db.handle()) > 0;
  if (auto done = db.commit(); !done) return done;
  if (!parts_left && !events_left) stage_ = stage::done;
  return core::nothing{};
}

}  // namespace portcullis::store
