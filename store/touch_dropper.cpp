#include <algorithm>
#include <charconv>

#include "core/event/codec.hpp"
#include "store/database.hpp"
#include "store/log_stream.hpp"
#include "store/require.hpp"
#include "store/retention.hpp"
#include "store/slice.hpp"

namespace portcullis::store {
namespace {

constexpr std::string_view dropped_key = "touches_dropped";  // of meta: up to this seq

/// The row's body without what is dropped; empty where that would break the chain: versions before
/// schema 3 chained the body itself, not its hash. Such a row stays as it is until it is cut off,
/// as does the first one after a cut, before which there is no row.
std::string emptied(const log_row& row, std::string_view mac_before, const core::hmac_key& chain) {
  const auto type = core::parse_event_type(row.type);
  core::digest before;
  if (!type || !core::is_dropped_when_old(*type) || mac_before.size() != before.size()) return {};
  std::copy(mac_before.begin(), mac_before.end(), before.begin());
  auto body = core::drop_body(row.body);
  if (body.empty()) return {};
  auto without = row;
  without.body = body;
  const auto decoded =
      core::decode_body(row.seq, row.at_ms, row.type, row.subject, body, core::as_text(row.sealed));
  return decoded && is_chained(chain, before, without, &*decoded) ? body : std::string();
}

}  // namespace

touch_dropper::touch_dropper(journal& log, core::millis before_ms)
    : log_(&log), before_ms_(before_ms) {}

core::result<progress> touch_dropper::step() {
  auto& db = *log_->db_;
  if (db.fatal()) return *db.fatal();
  require(!db.in_transaction(), "retention goes between commits");
  if (!position_) {
    const auto kept = db.meta_get(dropped_key);
    if (!kept) return kept.error();
    std::uint64_t seq = 0;
    if (*kept) std::from_chars((*kept)->data(), (*kept)->data() + (*kept)->size(), seq);
    position_ = std::max(seq, db.cut_seq());
  }
  statement rows, before, write;
  int rc = rows.prepare(db.handle(),
                        "SELECT seq,at_ms,type,subject,body,sealed,mac FROM events WHERE seq>?1 "
                        "AND seq<=?2 ORDER BY seq");
  if (rc == SQLITE_OK) rc = before.prepare(db.handle(), "SELECT mac FROM events WHERE seq=?1");
  if (rc == SQLITE_OK) rc = write.prepare(db.handle(), "UPDATE events SET body=?2 WHERE seq=?1");
  if (rc != SQLITE_OK) return db.failed(rc);
  std::vector<std::pair<std::uint64_t, std::string>> old;
  rows.bind(1, *position_);
  rows.bind(2, db.committed().seq);
  slice time_left;
  auto looked_at = *position_;
  bool at_end = false;
  while ((rc = rows.step()) == SQLITE_ROW) {
    at_end = rows.integer(1) > before_ms_;
    if (at_end) break;
    looked_at = rows.natural(0);
    const auto type = core::parse_event_type(rows.text(2));
    if (type && core::is_dropped_when_old(*type)) {
      before.bind(1, looked_at - 1);
      if (before.step() == SQLITE_ROW) {
        const log_row row{looked_at,    rows.integer(1), rows.text(2), rows.blob(3),
                          rows.text(4), rows.blob(5),    rows.blob(6)};
        if (auto body = emptied(row, core::as_text(before.blob(0)), db.chain()); !body.empty())
          old.emplace_back(looked_at, std::move(body));
      }
      before.reset();
    }
    if (time_left.is_over()) break;
  }
  if (rc != SQLITE_DONE && rc != SQLITE_ROW) return db.failed(rc);
  at_end = at_end || rc == SQLITE_DONE;
  rows.reset();
  if (looked_at == *position_) return progress::done;
  if (auto begun = db.begin(); !begun) return begun.error();
  for (const auto& [seq, body] : old) {
    write.bind(1, seq);
    write.bind_text(2, body);
    if (rc = write.run(); rc != SQLITE_OK) {
      auto why = db.failed(rc);
      if (db.in_transaction()) db.rollback();
      return why;
    }
  }
  if (auto put = db.meta_put(dropped_key, std::to_string(looked_at)); !put) {
    if (db.in_transaction()) db.rollback();
    return put.error();
  }
  if (auto done = db.commit(); !done) return done.error();
  position_ = looked_at;
  return at_end ? progress::done : progress::more;
}

}  // namespace portcullis::store
