#include <algorithm>
#include <chrono>

#include "core/event/codec.hpp"
#include "store/database.hpp"
#include "store/readers.hpp"
#include "store/slice.hpp"

namespace portcullis::store {
namespace {

bool passes_body(const event_filter& filter, const core::event& row) {
  const auto is_one_of = [](const std::vector<std::string>& all, std::string_view one) {
    return all.empty() || std::find(all.begin(), all.end(), one) != all.end();
  };
  const auto service = core::service_of(row);
  if (!filter.service.empty() && service != filter.service) return false;
  if (service.empty() ? !is_one_of(filter.tenants, row.tenant_id)
                      : !filter.breakers || !is_one_of(filter.services, service))
    return false;
  if (!filter.handle || row.handle == filter.handle) return true;
  const auto* touched = std::get_if<core::session_touched>(&row.body);
  return touched != nullptr &&
         std::any_of(touched->touches.begin(), touched->touches.end(),
                     [&](const auto& one) { return one.handle == *filter.handle; });
}

}  // namespace

event_query::event_query(journal& log, event_filter filter, std::uint64_t until)
    : log_(&log), filter_(std::move(filter)), until_(until), scanned_(filter_.after) {}

core::result<progress> event_query::step() {
  auto& db = *log_->db_;
  if (db.fatal()) return *db.fatal();
  scanned_ = std::max(scanned_, db.cut_seq());
  const auto committed = db.committed().seq;
  const auto until = until_ == 0 ? committed : std::min(until_, committed);
  if (!placed_ && filter_.from_ms && scanned_ < until)
    if (const int rc = last_seq_at(db.handle(), *filter_.from_ms - 1, scanned_, until, scanned_);
        rc != SQLITE_OK)
      return db.failed(rc);
  placed_ = true;
  if (rows_.size() >= filter_.limit || scanned_ >= until) return progress::done;

  statement rows;
  int rc = rows.prepare(
      db.handle(),
      "SELECT seq,at_ms,type,subject,body,sealed FROM events WHERE seq>?1 AND seq<=?2 ORDER BY seq",
      false);
  if (rc != SQLITE_OK) return db.failed(rc);
  rows.bind(1, scanned_);
  rows.bind(2, until);
  slice time_left;
  while ((rc = rows.step()) == SQLITE_ROW) {
    const auto at_ms = rows.integer(1);
    if (filter_.to_ms && at_ms > *filter_.to_ms) return progress::done;
    const auto seq = rows.natural(0);
    const auto type = core::parse_event_type(rows.text(2));
    const auto subject = rows.blob(3);
    const bool wanted =
        (!type || filter_.types.none() || filter_.types.test(static_cast<std::size_t>(*type))) &&
        (!filter_.subject || std::ranges::equal(subject, filter_.subject->bytes));
    if (wanted) {
      auto decoded = core::decode_body(seq, at_ms, rows.text(2), subject, rows.text(4),
                                       core::as_text(rows.blob(5)));
      if (!decoded) return decoded.error();
      if (passes_body(filter_, *decoded)) rows_.push_back(std::move(*decoded));
    }
    scanned_ = seq;
    if (rows_.size() >= filter_.limit) return progress::done;
    if (time_left.is_over()) return progress::more;
  }
  if (rc != SQLITE_DONE) return db.failed(rc);
  scanned_ = until;
  return progress::done;
}

}  // namespace portcullis::store
