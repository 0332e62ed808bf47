#include "store/log_file.hpp"

#include "store/database.hpp"
#include "store/load.hpp"
#include "store/schema.hpp"

namespace portcullis::store {
namespace {

constexpr std::string_view event_columns =
    "SELECT seq,at_ms,type,subject,body,sealed,mac FROM events ";
constexpr std::string_view user_columns =
    "SELECT subject,lookup,tenant_id,ring_key,wrapped,id FROM users ";
constexpr int user_id_column = 5;

log_row row_of(const statement& from) {
  return {from.natural(0), from.integer(1), from.text(2), from.blob(3),
          from.text(4),    from.blob(5),    from.blob(6)};
}

user_line user_of(const statement& from) {
  user_line out;
  const bool subject = from.read(0, out.row.subject.bytes), lookup = from.read(1, out.row.lookup);
  out.good = subject && lookup;
  out.row.tenant_id = from.text(2);
  out.row.ring_key = static_cast<std::uint32_t>(from.natural(3));
  out.row.wrapped = core::as_text(from.blob(4));
  return out;
}

}  // namespace

log_file::log_file() = default;
log_file::~log_file() = default;

core::result<std::unique_ptr<log_file>> log_file::open(const std::string& data_dir) {
  auto folder = data_folder::enter_to_read(data_dir);
  if (!folder) return folder.error();
  std::unique_ptr<log_file> made(new log_file);
  made->db_ = std::make_unique<database>(std::move(*folder), journal_options{});
  if (auto opened = made->db_->open_to_read(); !opened) return opened.error();
  if (auto found = made->find_ends(); !found) return found.error();
  return made;
}

core::status log_file::find_ends() {
  const auto kept = meta(snapshot_key);
  if (!kept) return kept.error();
  if (*kept) {
    cut_ = core::parse_snapshot_seal(**kept);
    if (!cut_) return core::fail(core::error_code::STORE_INTEGRITY, {}, "snapshot");
  }
  const auto find = [this](const char* sql, std::uint64_t& to) {
    statement end;
    int rc = end.prepare(db_->handle(), sql);
    if (rc == SQLITE_OK) rc = end.step();
    if (rc == SQLITE_ROW) to = end.natural(0);
    return rc;
  };
  if (const int rc = find("SELECT min(seq) FROM events", first_seq_); rc != SQLITE_ROW) {
    if (auto why = db_->failed(rc); why.code != core::error_code::STORE_INTEGRITY) return why;
    first_seq_ = 1;
  }
  if (const int rc = find("SELECT max(seq) FROM events", last_seq_); rc != SQLITE_ROW) {
    auto why = db_->failed(rc);
    if (why.code != core::error_code::STORE_INTEGRITY || !find_end_before_damage()) return why;
  }
  if (!cut_) return core::nothing{};
  // What is being cut off may still be there in part.
  last_seq_ = std::max(last_seq_, cut_->of.seq);
  first_seq_ = last_seq_ == cut_->of.seq ? 0 : cut_->of.seq + 1;
  return core::nothing{};
}

core::result<core::replayed_state> log_file::read_snapshot() {
  const auto corrupt = core::fail(core::error_code::LOG_CORRUPT, {}, "snapshot");
  statement rows;
  int rc = rows.prepare(db_->handle(), "SELECT body FROM snapshot WHERE seq=?1 ORDER BY id", false);
  if (rc != SQLITE_OK) return db_->failed(rc);
  rows.bind(1, cut_->of.seq);
  core::snapshot_reader reader;
  core::running_sha256 parts;
  while ((rc = rows.step()) == SQLITE_ROW) {
    parts.add(rows.blob(0));
    if (auto added = reader.add(core::as_text(rows.blob(0))); !added) return added.error();
  }
  if (rc != SQLITE_DONE) return db_->failed(rc);
  auto state = reader.take();
  if (parts.finish() != cut_->parts || state.digest() != cut_->state || state.seq() != cut_->of.seq)
    return corrupt;
  return state;
}

/// Every place past the end is looked for on the last page, which cannot be read. False: nothing
/// can.
bool log_file::find_end_before_damage() {
  statement row;
  if (row.prepare(db_->handle(),
                  "SELECT seq FROM events WHERE seq<=?1 ORDER BY seq DESC LIMIT 1") != SQLITE_OK)
    return false;
  const auto has_row_until = [&](std::uint64_t seq) {
    row.bind(1, seq);
    const bool found = row.step() == SQLITE_ROW;
    row.reset();
    return found;
  };
  std::uint64_t low = 0;
  for (std::uint64_t seq = 1; seq < std::uint64_t{1} << 62U; seq *= 2)
    if (has_row_until(seq)) low = seq;
  if (low == 0) return false;
  last_seq_ = low * 2;
  for (auto next = low; next != 0; next = next_readable(low + 1)) {
    low = next;
    for (auto high = last_seq_; high > low + 1;) {
      const auto middle = low + (high - low) / 2;
      (has_row_until(middle) ? low : high) = middle;
    }
  }
  last_seq_ = low + 1;
  end_damaged_ = true;
  return true;
}

int log_file::schema() const noexcept { return db_->version(); }

bool log_file::is_current() const noexcept { return db_->version() == schema_version(); }

core::status log_file::read(std::uint64_t after, const row_reader& each) {
  statement rows;
  int rc =
      rows.prepare(db_->handle(), std::string(event_columns) + "WHERE seq>=?1 ORDER BY seq", false);
  if (rc != SQLITE_OK) return db_->failed(rc);
  rows.bind(1, after + 1);  // not the page of `after`, which may be a damaged one
  while ((rc = rows.step()) == SQLITE_ROW)
    if (!each(row_of(rows))) return core::nothing{};
  if (rc != SQLITE_DONE) return db_->failed(rc);
  return core::nothing{};
}

/// Damage is of whole pages: first near, then in strides that grow, then back to where it ends.
std::uint64_t log_file::next_readable(std::uint64_t from) {
  const auto row_from = [this](std::uint64_t seq) -> std::optional<std::uint64_t> {
    statement row;
    if (row.prepare(db_->handle(),
                    std::string(event_columns) + "WHERE seq>=?1 ORDER BY seq LIMIT 1",
                    false) != SQLITE_OK)
      return std::nullopt;
    row.bind(1, seq);
    const int rc = row.step();
    if (rc == SQLITE_ROW) return row.natural(0);
    return rc == SQLITE_DONE ? std::optional<std::uint64_t>(0) : std::nullopt;
  };
  std::uint64_t damaged = from;  // the last place that was not readable
  for (std::uint64_t stride = 1; from <= last_seq_; from += stride, stride += stride / 4 + 1) {
    auto found = row_from(from);
    if (!found) {
      damaged = from;
      continue;
    }
    for (auto high = from; high > damaged + 1;) {
      const auto middle = damaged + (high - damaged) / 2;
      if (const auto nearer = row_from(middle)) {
        found = nearer;
        high = middle;
      } else {
        damaged = middle;
      }
    }
    return *found;
  }
  return 0;
}

core::result<std::uint64_t> log_file::seq_at(core::millis at_ms) {
  // at_ms never decreases with seq.
  const auto begin = cut_ ? cut_->of.seq + 1 : first_seq_;
  std::uint64_t low = begin, high = last_seq_ + 1;  // the answer is before `high`
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    std::optional<core::millis> found;
    const auto read = this->read(middle - 1, [&](const log_row& row) {
      found = row.at_ms;
      return false;
    });
    if (!read) return read.error();
    if (found && *found <= at_ms)
      low = middle + 1;
    else
      high = middle;
  }
  return low == begin ? 0 : low - 1;
}

core::status log_file::load(load_visitor& visitor) {
  return load_all(*db_, routing_set().set(), visitor);
}

core::status log_file::load_breakers(breaker_visitor& visitor) {
  return load_all_breakers(*db_, visitor);
}

core::status log_file::read_users(const std::function<void(const user_line&)>& each) {
  constexpr std::uint64_t widest_gap = std::uint64_t{1} << 40U;
  constexpr std::uint64_t rows_of_a_page = 1'000;  // one by one, then in strides that grow
  statement rows;
  int rc =
      rows.prepare(db_->handle(), std::string(user_columns) + "WHERE id>=?1 ORDER BY id", false);
  std::uint64_t next = 1;
  std::uint64_t stride = 0, failures = 0;  // past rows that cannot be read
  do {
    if (stride > 0) rows.reset();
    next += stride;
    rows.bind(1, next);
    while (rc == SQLITE_OK && (rc = rows.step()) == SQLITE_ROW) {
      each(user_of(rows));
      next = rows.natural(user_id_column) + 1;
      stride = failures = 0;
      rc = SQLITE_OK;
    }
    if ((rc & 0xff) != SQLITE_CORRUPT) break;
    if (stride == 0) each({{}, false});
    stride = ++failures < rows_of_a_page ? 1 : stride + stride / 4 + 1;
    rc = SQLITE_OK;
  } while (stride < widest_gap);
  if (rc == SQLITE_DONE) return core::nothing{};
  return db_->failed(rc == SQLITE_OK ? SQLITE_CORRUPT : rc);
}

namespace {

core::result<std::optional<core::user_row>> find_row(database& db, const char* where,
                                                     core::byte_view key) {
  statement row;
  if (const int rc = row.prepare(db.handle(), std::string(user_columns) + where, false);
      rc != SQLITE_OK)
    return db.failed(rc);
  row.bind_blob(1, key);
  const int rc = row.step();
  if (rc == SQLITE_DONE) return std::optional<core::user_row>();
  if (rc != SQLITE_ROW) return db.failed(rc);
  auto found = user_of(row);
  if (!found.good) return core::fail(core::error_code::STORE_INTEGRITY, {}, "users");
  return std::optional(std::move(found.row));
}

}  // namespace

core::result<std::optional<core::user_row>> log_file::find_user(
    const core::byte_array<16>& lookup) {
  return find_row(*db_, "WHERE lookup=?1", lookup);
}

core::result<std::optional<core::user_row>> log_file::find_user(const core::subject_id& subject) {
  return find_row(*db_, "WHERE subject=?1", subject.bytes);
}

core::status log_file::read_found_by(const std::function<void(const found_by&)>& each) {
  statement rows;
  int rc = rows.prepare(db_->handle(),
                        "SELECT seq,find_ip,find_user_agent,subject,tenant_id,sealed FROM sessions "
                        "WHERE state=0 ORDER BY seq",
                        false);
  if (rc != SQLITE_OK) return db_->failed(rc);
  while ((rc = rows.step()) == SQLITE_ROW) {
    found_by one{rows.natural(0), rows.natural(1),
                 rows.natural(2), {},
                 rows.text(4),    core::as_text(rows.blob(5))};
    if (!rows.read(3, one.subject.bytes))
      return core::fail(core::error_code::STORE_INTEGRITY, {}, "sessions");
    each(one);
  }
  if (rc != SQLITE_DONE) return db_->failed(rc);
  return core::nothing{};
}

core::result<std::optional<std::string>> log_file::meta(std::string_view key) {
  statement row;
  if (const int rc = row.prepare(db_->handle(), "SELECT value FROM meta WHERE key=?1", false);
      rc != SQLITE_OK)
    return db_->failed(rc);
  row.bind_text(1, key);
  const int rc = row.step();
  if (rc == SQLITE_DONE) return std::optional<std::string>();
  if (rc != SQLITE_ROW) return db_->failed(rc);
  return std::optional<std::string>(core::as_text(row.blob(0)));
}

core::result<std::vector<std::string>> log_file::schema_differences() {
  std::vector<std::string> out;
  if (const int rc = compare_schema(db_->handle(), out); rc != SQLITE_OK) return db_->failed(rc);
  return out;
}

core::status log_file::integrity_check(std::string& why) {
  statement check;
  if (const int rc = check.prepare(db_->handle(), "PRAGMA integrity_check(1)", false);
      rc != SQLITE_OK)
    return db_->failed(rc);
  if (const int rc = check.step(); rc != SQLITE_ROW) {
    why = sqlite3_errmsg(db_->handle());
    return db_->failed(rc);
  }
  why = check.text(0);
  if (why != "ok") return core::fail(core::error_code::STORE_INTEGRITY, {}, "file");
  return core::nothing{};
}

}  // namespace portcullis::store
