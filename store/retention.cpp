#include "store/retention.hpp"

#include <algorithm>
#include <chrono>

#include "core/event/codec.hpp"
#include "core/limits.hpp"
#include "store/database.hpp"
#include "store/log_stream.hpp"
#include "store/require.hpp"
#include "store/slice.hpp"

namespace portcullis::store {
namespace {

constexpr int rows_cut_at_once = 256;
constexpr const char* drop_parts =
    "DELETE FROM snapshot WHERE id IN (SELECT id FROM snapshot WHERE seq<>?1 ORDER BY id LIMIT 4)";
constexpr core::millis apart_ms_min = 600'000;
// Where there can be no more threads, in get().
constexpr auto beside = std::launch::async | std::launch::deferred;

core::error corrupt(std::string_view what, std::uint64_t seq = 0) {
  return core::fail(core::error_code::LOG_CORRUPT, {}, what, static_cast<std::int64_t>(seq));
}

template <class T>
bool is_ready(const std::future<T>& of) {
  return of.wait_for(std::chrono::microseconds(core::limits::read_slice_us)) !=
         std::future_status::timeout;
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

log_cutter::log_cutter(journal& log, const core::signing_key& by, core::millis before_ms,
                       core::millis apart_ms)
    : log_(&log),
      by_(by),
      before_ms_(before_ms),
      apart_ms_(apart_ms),
      base_(std::in_place),
      state_(std::make_unique<core::replayed_state>()) {}
log_cutter::~log_cutter() = default;

core::millis log_cutter::apart_ms(core::millis kept_ms) noexcept {
  return std::max(kept_ms / 24, apart_ms_min);
}

core::result<progress> log_cutter::step() {
  auto& db = *log_->db_;
  if (db.fatal()) return *db.fatal();
  require(!db.in_transaction(), "retention goes between commits");
  if (auto went = go_on(); !went) {
    if (db.in_transaction()) db.rollback();
    failed_ = went.error();
    stage_ = stage::letting_go;
  }
  if (stage_ != stage::done) return progress::more;
  if (failed_) return *failed_;
  return progress::done;
}

core::status log_cutter::go_on() {
  switch (stage_) {
    case stage::looking:
      return look();
    case stage::clearing:
      return clear();
    case stage::reading_base:
      return read_base();
    case stage::checking_base:
      return check_base();
    case stage::folding:
      return fold();
    case stage::writing:
      return write();
    case stage::cutting:
      return cut();
    case stage::letting_go:
      let_go();
      break;
    case stage::done:
      break;
  }
  return core::nothing{};
}

void log_cutter::hash_state() {
  digest_ = std::async(beside, [of = state_.get()] { return of->digest(); });
}

/// Freeing a state takes as long as hashing it.
void log_cutter::let_go() {
  writer_.reset();
  if (digest_.valid()) {
    if (!is_ready(digest_)) return;
    (void)digest_.get();
  }
  if (!gone_.valid()) {
    // Not by the lambda's own end: that comes when the future is destroyed, on this thread.
    gone_ = std::async(beside, [state = std::move(state_), base = std::move(base_)]() mutable {
      state.reset();
      base.reset();
    });
  }
  if (is_ready(gone_)) stage_ = stage::done;
}

core::status log_cutter::run(const char* sql, std::uint64_t seq) {
  auto& db = *log_->db_;
  statement todo;
  if (const int rc = todo.prepare(db.handle(), sql, false); rc != SQLITE_OK) return db.failed(rc);
  todo.bind(1, seq);
  if (const int rc = todo.run(); rc != SQLITE_OK) return db.failed(rc);
  return core::nothing{};
}

/// Finds the checkpoint.
core::status log_cutter::look() {
  auto& db = *log_->db_;
  const auto kept = db.meta_get(snapshot_key);
  if (!kept) return kept.error();
  if (*kept) {
    seal_ = core::parse_snapshot_seal(**kept);
    if (!seal_) return corrupt("snapshot");
    folded_ = seal_->of;
  }
  base_seq_ = db.cut_seq();
  if (base_seq_ != folded_.seq) return corrupt("snapshot", base_seq_);
  stage_ = stage::cutting;
  at_.seq = base_seq_;
  const auto last = last_before(db, before_ms_);
  if (!last) return last.error();
  statement row;
  int rc = row.prepare(db.handle(),
                       "SELECT seq,at_ms FROM events WHERE seq<=?1 AND seq>?2 AND "
                       "type='checkpoint' ORDER BY seq DESC LIMIT 1");
  if (rc != SQLITE_OK) return db.failed(rc);
  row.bind(1, *last);
  row.bind(2, base_seq_);
  rc = row.step();
  if (rc == SQLITE_DONE) return core::nothing{};
  if (rc != SQLITE_ROW) return db.failed(rc);
  if (seal_ && row.integer(1) - seal_->of.at_ms < apart_ms_) return core::nothing{};
  at_.seq = row.natural(0);
  stage_ = stage::clearing;
  return core::nothing{};
}

/// Parts of an attempt that came to nothing.
core::status log_cutter::clear() {
  auto& db = *log_->db_;
  if (auto begun = db.begin(); !begun) return begun;
  if (auto gone = run(drop_parts, base_seq_); !gone) return gone;
  const bool more = sqlite3_changes(db.handle()) > 0;
  if (auto done = db.commit(); !done) return done;
  if (!more) stage_ = seal_ ? stage::reading_base : stage::folding;
  return core::nothing{};
}

/// A part a step. What was signed then is believed now if it is that still.
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
    base_parts_.add(row.blob(1));
    return base_->add(core::as_text(row.blob(1)));
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  *state_ = base_->take();
  if (state_->seq() != base_seq_ || base_parts_.finish() != seal_->parts ||
      !core::is_signed(*seal_, by_.verifier()))
    return corrupt("snapshot", base_seq_);
  hash_state();
  stage_ = stage::checking_base;
  return core::nothing{};
}

core::status log_cutter::check_base() {
  if (!is_ready(digest_)) return core::nothing{};
  if (digest_.get() != seal_->state) return corrupt("snapshot", base_seq_);
  stage_ = stage::folding;
  return core::nothing{};
}

core::status log_cutter::fold() {
  auto& db = *log_->db_;
  statement rows;
  int rc =
      rows.prepare(db.handle(),
                   "SELECT seq,at_ms,type,subject,body,sealed,mac FROM events WHERE seq>?1 AND "
                   "seq<=?2 ORDER BY seq");
  if (rc != SQLITE_OK) return db.failed(rc);
  rows.bind(1, folded_.seq);
  rows.bind(2, at_.seq);
  slice time_left;
  while ((rc = rows.step()) == SQLITE_ROW) {
    const log_row row{rows.natural(0), rows.integer(1), rows.text(2), rows.blob(3),
                      rows.text(4),    rows.blob(5),    rows.blob(6)};
    if (auto taken = take(row); !taken) return taken;
    if (time_left.is_over()) return core::nothing{};
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  if (folded_.seq != at_.seq) return corrupt("seq", folded_.seq + 1);
  at_ = folded_;
  writer_.emplace(*state_);
  hash_state();  // while the parts are written: nothing changes it any more
  stage_ = stage::writing;
  return core::nothing{};
}

/// The same that verify asks of an event: once it is cut off nobody can ask any more.
core::status log_cutter::take(const log_row& row) {
  const auto expected = folded_.seq + 1;
  if (row.seq != expected) return corrupt("seq", expected);
  if (row.at_ms < folded_.at_ms) return corrupt("at_ms", expected);
  auto what = core::decode_body(row.seq, row.at_ms, row.type, row.subject, row.body,
                                core::as_text(row.sealed));
  if (!is_chained(log_->db_->chain(), folded_.mac, row, what ? &*what : nullptr))
    return corrupt("mac", expected);
  if (!what) return corrupt("body", expected);
  const auto* signed_here = std::get_if<core::checkpoint>(&what->body);
  if (signed_here != nullptr && !core::is_signed(*signed_here, folded_, by_.verifier()))
    return corrupt("signature", expected);
  state_->apply(*what);
  folded_.seq = row.seq;
  folded_.at_ms = row.at_ms;
  std::copy(row.mac.begin(), row.mac.end(), folded_.mac.begin());
  return core::nothing{};
}

/// A part a step; after the last one its seal makes the snapshot valid, all at once.
core::status log_cutter::write() {
  auto& db = *log_->db_;
  const auto part = writer_->next();
  if (part.empty()) {
    if (!is_ready(digest_)) return core::nothing{};  // there are no parts the next time, either
    const auto seal = core::seal_snapshot(at_, parts_.finish(), digest_.get(), by_);
    if (auto begun = db.begin(); !begun) return begun;
    if (auto put = db.meta_put(snapshot_key, core::to_bytes(seal)); !put) return put;
    if (auto done = db.commit(); !done) return done;
    db.set_cut_seq(at_.seq);
    stage_ = stage::cutting;
    return core::nothing{};
  }
  if (auto begun = db.begin(); !begun) return begun;
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
  if (auto gone = run(drop_parts, at_.seq); !gone) return gone;
  const bool parts_left = sqlite3_changes(db.handle()) > 0;
  static_assert(rows_cut_at_once == 256);
  if (auto gone = run("DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq<=?1 ORDER "
                      "BY seq LIMIT 256)",
                      at_.seq);
      !gone)
    return gone;
  const bool events_left = sqlite3_changes(db.handle()) > 0;
  if (auto done = db.commit(); !done) return done;
  if (!parts_left && !events_left) stage_ = stage::letting_go;
  return core::nothing{};
}

}  // namespace portcullis::store
