#include "store/database.hpp"
#include "store/display.hpp"
#include "store/readers.hpp"
#include "store/require.hpp"
#include "store/slice.hpp"

namespace portcullis::store {

session_find::session_find(journal& log, session_filter filter)
    : log_(&log), filter_(std::move(filter)), scanned_(filter_.after) {
  require(filter_.find_ip.has_value() != filter_.find_user_agent.has_value(),
          "found by one of address and user agent");
}

core::result<progress> session_find::step() {
  auto& db = *log_->db_;
  if (db.fatal()) return *db.fatal();
  if (at_end_ || rows_.size() >= filter_.limit) return progress::done;

  // The comparison is made here and not in SQL: a scan that finds nothing must come back to look at
  // the clock.
  statement rows;
  int rc = rows.prepare(
      db.handle(),
      std::string("SELECT ") + std::string(display_columns) +
          ",tenant_id,find_ip,find_user_agent FROM sessions WHERE seq>?1 AND seq<=?2 ORDER BY seq",
      false);
  if (rc != SQLITE_OK) return db.failed(rc);
  rows.bind(1, scanned_);
  rows.bind(2, db.committed().seq);
  slice time_left;
  while ((rc = rows.step()) == SQLITE_ROW) {
    const bool wanted =
        (filter_.find_ip ? rows.natural(display_column_count + 1) == *filter_.find_ip
                         : rows.natural(display_column_count + 2) == *filter_.find_user_agent) &&
        rows.text(display_column_count) == filter_.tenant_id;
    scanned_ = rows.natural(0);
    if (wanted) {
      session_display row;
      if (!read_display(rows, row))
        return core::fail(core::error_code::STORE_INTEGRITY, {}, "sessions");
      if (row.state == session_state::live) rows_.push_back(std::move(row));
    }
    if (rows_.size() >= filter_.limit) return progress::done;
    if (time_left.is_over()) return progress::more;
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  at_end_ = true;
  return progress::done;
}

}  // namespace portcullis::store
