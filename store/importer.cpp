#include "store/importer.hpp"

#include <algorithm>
#include <queue>
#include <vector>

#include "core/event/codec.hpp"
#include "core/limits.hpp"
#include "core/session/identity.hpp"
#include "store/database.hpp"
#include "store/require.hpp"
#include "store/schema.hpp"

namespace portcullis::store {
namespace {

constexpr std::uint64_t rows_a_transaction = 10'000;
constexpr std::int64_t tags_a_batch = 1'000;
constexpr core::millis look_again_ms = 16'000;

// Nothing is worth a rollback or an fsync before the file is whole: it is removed as it is. Users
// are found by their subject here, and the log tells no subject twice.
constexpr const char* settings =
    "PRAGMA synchronous=OFF;PRAGMA journal_mode=OFF;"
    "CREATE UNIQUE INDEX import_users ON users(subject);";
// Sources come before the events, one of which may retire a breaker that has had its name.
constexpr const char* hold_sources =
    "CREATE TABLE import_sources AS SELECT * FROM breaker_sources;DELETE FROM breaker_sources;";
// The last: as at every start of a node.
constexpr const char* settle =
    "INSERT OR REPLACE INTO breaker_sources SELECT * FROM import_sources;"
    "DROP TABLE import_sources;DROP INDEX import_users;"
    "DELETE FROM lockouts WHERE locked_until_ms=0 AND"
    " window_ends_at_ms<=ifnull((SELECT at_ms FROM events ORDER BY seq DESC LIMIT 1),0);";

/// Whether the projection needs to know which session it is about.
bool is_about_a_session(const core::event& what) noexcept {
  using type = core::event_type;
  switch (what.type()) {
    case type::session_rotated:
    case type::session_successor_used:
    case type::session_rekeyed:
    case type::session_updated:
    case type::session_expired:
    case type::session_evicted:
    case type::session_reuse_detected:
      return true;
    case type::session_revoked:
      return std::get<core::session_revoked>(what.body).scope == core::revoke_scope::session;
    default:  // NOLINT: no other names one session's row
      return false;
  }
}

/// What this program never writes, and the projection takes for granted.
bool names_whom_it_is_about(const core::event& what) noexcept {
  using type = core::event_type;
  switch (what.type()) {
    case type::session_created:
      return what.subject && what.handle;
    case type::validation_failed:
      return what.subject || !std::get<core::validation_failed>(what.body).attempt;
    case type::lockout_started:
    case type::lockout_ended:
    case type::lockout_cleared:
    case type::user_forgotten:
      return what.subject.has_value();
    default:  // NOLINT
      return true;
  }
}

/// A session whose tombstone may run out at `end_ms`.
struct purge_candidate {
  core::millis end_ms = 0;
  std::uint64_t seq = 0;
  core::session_handle handle;
  friend bool operator>(const purge_candidate& a, const purge_candidate& b) noexcept {
    return a.end_ms > b.end_ms;
  }
};

journal_options as_journal(const import_options& from) {
  journal_options out;
  out.data_dir = from.data_dir;
  out.node_id = from.node_id;
  out.chain = from.keys->chain();
  out.keyring_check = from.keyring_check;
  return out;
}

}  // namespace

struct importer::work {
  work(data_folder folder, const import_options& given)
      : options(given), db(std::move(folder), as_journal(given)) {}

  core::status run(const char* sql) {
    const int rc = sqlite3_exec(db.handle(), sql, nullptr, nullptr, nullptr);
    return rc == SQLITE_OK ? core::status(core::nothing{}) : db.failed(rc);
  }
  core::status open();
  core::status after_row(int rc);
  core::status fail(std::uint64_t seq, log_trouble::kind what, core::error why = {}) {
    trouble = log_trouble{seq, what, why};
    return core::fail(core::error_code::LOG_CORRUPT);
  }
  core::status take(const log_row& row);
  int insert(const log_row& row);
  bool complete(core::event& what) const;
  core::status purge();
  core::status tag_sessions();
  core::status stand_in_for_sources();

  import_options options;
  database db;
  projection rows;
  statement insert_event;
  core::replayed_state state;
  std::priority_queue<purge_candidate, std::vector<purge_candidate>, std::greater<>> ending;
  log_end end;
  std::optional<log_trouble> trouble;
  std::uint64_t in_transaction = 0;
  bool events_began = false, done = false;
};

core::status importer::work::open() {
  if (auto opened = db.open(); !opened) return opened;
  // Which a connection that is defended may not go without: a rollback journal.
  sqlite3_db_config(db.handle(), SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
  if (auto set = run(settings); !set) return set;
  int rc = rows.prepare(db.handle());
  if (rc == SQLITE_OK)
    rc = insert_event.prepare(
        db.handle(),
        "INSERT INTO events(seq,at_ms,type,subject,body,sealed,mac) VALUES(?1,?2,?3,?4,?5,?6,?7)");
  if (rc != SQLITE_OK) return db.failed(rc);
  return db.begin();
}

core::status importer::work::after_row(int rc) {
  if (rc != SQLITE_OK) return db.failed(rc);
  if (++in_transaction < rows_a_transaction) return core::nothing{};
  in_transaction = 0;
  if (auto purged = purge(); !purged) return purged;
  if (auto kept = db.commit(); !kept) return kept;
  return db.begin();
}

int importer::work::insert(const log_row& row) {
  auto& s = insert_event;
  s.bind(1, row.seq);
  s.bind(2, row.at_ms);
  s.bind_text(3, row.type);
  s.bind_blob(4, row.subject);
  s.bind_text(5, row.body);
  s.bind_blob(6, row.sealed);
  s.bind_blob(7, row.mac);
  return s.run();
}

/// Fills in what events know in the process that makes them: the rows of the sessions that they are
/// about, which the state before the event tells. False: the session is gone, and so is its row.
bool importer::work::complete(core::event& what) const {
  const auto& sessions = state.sessions();
  const auto seq_of = [&](const core::session_handle& handle) -> std::uint64_t {
    const auto slot = sessions.find(handle);
    return slot == core::no_slot ? 0 : sessions.at(slot).seq;
  };
  const auto live_seqs = [&](const std::optional<core::session_handle>& except) {
    std::vector<std::uint64_t> out;
    const auto owner = what.subject ? sessions.find_user(*what.subject) : core::no_slot;
    if (owner == core::no_slot) return out;
    for (const auto slot : state.sessions_of(owner)) {
      const auto& s = sessions.at(slot);
      if (s.status == core::session_status::live && !sessions.outlived(s) && s.handle != except)
        out.push_back(s.seq);
    }
    return out;
  };
  if (what.handle && what.type() != core::event_type::session_created)
    what.session_seq = seq_of(*what.handle);
  if (auto* touched = std::get_if<core::session_touched>(&what.body)) {
    for (auto& each : touched->touches) each.session_seq = seq_of(each.handle);
    std::erase_if(touched->touches, [](const auto& each) { return each.session_seq == 0; });
  } else if (auto* revoked = std::get_if<core::session_revoked>(&what.body)) {
    if (revoked->scope == core::revoke_scope::user)
      revoked->session_seqs = live_seqs(revoked->except_handle);
  } else if (auto* forgotten = std::get_if<core::user_forgotten>(&what.body)) {
    forgotten->session_seqs = live_seqs(std::nullopt);
  }
  return what.session_seq != 0 || !is_about_a_session(what);
}

core::status importer::work::take(const log_row& row) {
  using kind = log_trouble::kind;
  if (row.seq != end.seq + 1) return fail(end.seq + 1, kind::missing);
  if (row.at_ms < end.at_ms) return fail(row.seq, kind::time);
  auto decoded = core::decode_body(row.seq, row.at_ms, row.type, row.subject, row.body,
                                   core::as_text(row.sealed));
  if (!is_chained(options.keys->chain(), end.mac, row, decoded ? &*decoded : nullptr))
    return fail(row.seq, kind::mac);
  core::digest mac;
  std::copy(row.mac.begin(), row.mac.end(), mac.begin());
  if (!decoded) return fail(row.seq, kind::body, decoded.error());
  if (!names_whom_it_is_about(*decoded))
    return fail(row.seq, kind::body, core::fail(core::error_code::LOG_CORRUPT, {}, "subject"));
  if (!events_began)
    if (auto held = run(hold_sources); !held) return held;
  events_began = true;
  int rc = insert(row);
  if (rc == SQLITE_OK && complete(*decoded)) rc = rows.apply(*decoded);
  if (rc != SQLITE_OK) return after_row(rc);
  state.apply(*decoded);
  end = {row.seq, row.at_ms, mac};
  if (const auto* created = std::get_if<core::session_created>(&decoded->body))
    ending.push({created->absolute_expires_at_ms + core::limits::tombstone_keep_ms, row.seq,
                 *decoded->handle});
  return after_row(rc);
}

/// A session's row goes when replay has forgotten the session.
core::status importer::work::purge() {
  while (!ending.empty() && ending.top().end_ms <= state.at_ms()) {
    auto next = ending.top();
    ending.pop();
    if (state.sessions().find(next.handle) != core::no_slot) {
      next.end_ms = state.at_ms() + look_again_ms;
      ending.push(next);
    } else if (const int rc = rows.purge_session(next.seq); rc != SQLITE_OK) {
      return db.failed(rc);
    }
  }
  return core::nothing{};
}

/// What session.find compares is not in the log: made again from what is sealed there, as far as
/// the user's key opens it.
core::status importer::work::tag_sessions() {
  struct tags {
    std::uint64_t seq = 0, ip = 0, user_agent = 0;
  };
  statement live, put;
  int rc = live.prepare(db.handle(),
                        "SELECT s.seq,s.tenant_id,s.ip,s.sealed,u.ring_key,u.wrapped FROM sessions "
                        "s CROSS JOIN users u ON u.subject=s.subject WHERE s.seq>?1 AND s.state=0 "
                        "ORDER BY s.seq LIMIT ?2");
  if (rc == SQLITE_OK)
    rc = put.prepare(db.handle(), "UPDATE sessions SET find_ip=?2,find_user_agent=?3 WHERE seq=?1");
  if (rc != SQLITE_OK) return db.failed(rc);
  std::vector<tags> batch;
  std::uint64_t after = 0;
  do {
    batch.clear();
    live.bind(1, after);
    live.bind(2, tags_a_batch);
    while ((rc = live.step()) == SQLITE_ROW) {
      after = live.natural(0);
      const auto tenant = live.text(1);
      auto& made = batch.emplace_back(tags{after, 0, 0});
      const auto who = core::open_user(static_cast<std::uint32_t>(live.natural(4)),
                                       core::as_text(live.blob(5)), *options.keys);
      if (!who) continue;
      if (const auto ip = core::open_ip(*who, core::as_text(live.blob(2))))
        made.ip = options.keys->find_tag(tenant, core::as_text(ip->bytes));
      if (const auto shown = core::open_shown(*who, core::as_text(live.blob(3)));
          shown && !shown->user_agent.empty())
        made.user_agent = options.keys->find_tag(tenant, shown->user_agent);
    }
    if (rc != SQLITE_DONE) return db.failed(rc);
    live.reset();
    for (const auto& each : batch) {
      put.bind(1, each.seq);
      put.bind(2, each.ip);
      put.bind(3, each.user_agent);
      if (rc = put.run(); rc != SQLITE_OK) return db.failed(rc);
    }
  } while (!batch.empty());
  return core::nothing{};
}

core::status importer::work::stand_in_for_sources() {
  for (const auto& [name, standing] : state.breakers().all())
    for (const auto& [source, how] : standing.sources) {
      core::breaker_source_record row{name.first, name.second, source, {}};
      row.what.state = how;
      row.what.last_report_at_ms = state.at_ms();
      if (how == core::breaker_state::open) row.what.open_since_ms = state.at_ms();
      if (const int rc = rows.put_source(row); rc != SQLITE_OK) return db.failed(rc);
    }
  return core::nothing{};
}

int current_schema() noexcept { return schema_version(); }

importer::importer(std::unique_ptr<work> made) : work_(std::move(made)) {}

importer::~importer() {
  if (!work_->done) work_->db.discard();
}

core::result<std::unique_ptr<importer>> importer::begin(const import_options& options) {
  auto folder = data_folder::enter_to_import(options.data_dir);
  if (!folder) return folder.error();
  std::unique_ptr<importer> made(new importer(std::make_unique<work>(std::move(*folder), options)));
  if (auto opened = made->work_->open(); !opened) return opened.error();
  return made;
}

core::status importer::add(const core::user_row& row) {
  require(!work_->events_began, "users come before events");
  return work_->after_row(work_->rows.add_user(row));
}

core::status importer::add(const core::breaker_source_record& row) {
  require(!work_->events_began, "sources come before events");
  return work_->after_row(work_->rows.put_source(row));
}

core::status importer::add(const log_row& row) { return work_->take(row); }

const std::optional<log_trouble>& importer::trouble() const noexcept { return work_->trouble; }
const core::replayed_state& importer::state() const noexcept { return work_->state; }

core::status importer::finish() {
  auto& w = *work_;
  if (!w.events_began)
    if (auto held = w.run(hold_sources); !held) return held;
  if (auto purged = w.purge(); !purged) return purged;
  if (auto tagged = w.tag_sessions(); !tagged) return tagged;
  if (w.options.cut)
    if (auto stood = w.stand_in_for_sources(); !stood) return stood;
  if (auto settled = w.run(settle); !settled) return settled;
  if (auto kept = w.db.commit(); !kept) return kept;
  if (auto placed = w.db.put_in_place(); !placed) return placed;
  w.done = true;
  return core::nothing{};
}

}  // namespace portcullis::store
