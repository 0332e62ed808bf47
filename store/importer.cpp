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
#include "store/snapshot_rows.hpp"

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
constexpr const char* settle =
    "INSERT OR REPLACE INTO breaker_sources SELECT * FROM import_sources;"
    "DROP TABLE import_sources;DROP INDEX import_users;";

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
  core::status take_part(std::string_view part);
  core::status end_snapshot();
  core::status take(const untold_session& row);
  core::result<bool> was_session(std::uint64_t seq);
  int insert(const log_row& row);
  bool complete(core::event& what) const;
  core::status purge();
  core::status tag_sessions();
  core::status stand_in_for_sources();

  import_options options;
  database db;
  projection rows;
  statement insert_event, insert_part, put_seen, put_sealed, find_session;
  core::replayed_state state;
  std::optional<core::snapshot_seal> base;
  core::running_sha256 parts;
  std::vector<std::uint64_t> base_sessions;  // sorted
  std::uint64_t parts_left = 0, last_untold = 0;
  std::priority_queue<purge_candidate, std::vector<purge_candidate>, std::greater<>> ending;
  log_end end;
  std::optional<log_trouble> trouble;
  std::uint64_t in_transaction = 0;
  bool events_began = false, events_ended = false, done = false;
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
  if (rc == SQLITE_OK)
    rc = insert_part.prepare(db.handle(), "INSERT INTO snapshot(seq,body) VALUES(?1,?2)");
  if (rc == SQLITE_OK)
    rc = put_seen.prepare(
        db.handle(), "UPDATE sessions SET last_seen_at_ms=max(last_seen_at_ms,?2) WHERE seq=?1");
  if (rc == SQLITE_OK)
    rc = put_sealed.prepare(db.handle(), "UPDATE sessions SET sealed=?2 WHERE seq=?1");
  if (rc == SQLITE_OK)
    rc = find_session.prepare(db.handle(),
                              "SELECT s.state,s.created_at_ms,s.sealed,u.ring_key,u.wrapped FROM "
                              "sessions s LEFT JOIN users u ON u.subject=s.subject WHERE s.seq=?1");
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
  const auto live_seqs = [&](const std::optional<core::session_handle>& except, bool outlived) {
    std::vector<std::uint64_t> out;
    const auto owner = what.subject ? sessions.find_user(*what.subject) : core::no_slot;
    if (owner == core::no_slot) return out;
    for (const auto slot : state.sessions_of(owner)) {
      const auto& s = sessions.at(slot);
      if (s.status == core::session_status::live && (outlived || !sessions.outlived(s)) &&
          s.handle != except)
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
      revoked->session_seqs = live_seqs(revoked->except_handle, false);
  } else if (auto* forgotten = std::get_if<core::user_forgotten>(&what.body)) {
    forgotten->session_seqs = live_seqs(std::nullopt, true);
  }
  return what.session_seq != 0 || !is_about_a_session(what);
}

core::status importer::work::take(const log_row& row) {
  using kind = log_trouble::kind;
  require(parts_left == 0, "events come after all of the snapshot");
  require(!events_ended, "what the log does not tell comes after the events");
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

core::status importer::work::take_part(std::string_view part) {
  require(parts_left > 0, "a snapshot has as many parts as it said");
  parts.add(core::as_bytes(part));
  insert_part.bind(1, base->of.seq);
  insert_part.bind_blob(2, core::as_bytes(part));
  if (auto kept = after_row(insert_part.run()); !kept) return kept;
  return --parts_left == 0 ? end_snapshot() : core::nothing{};
}

/// Nothing is read out of the parts before they are known to be those that this node's key sealed.
core::status importer::work::end_snapshot() {
  const auto corrupt = [](std::string_view rule) {
    return core::fail(core::error_code::LOG_CORRUPT, {}, rule);
  };
  if (parts.finish() != base->parts) return corrupt("parts");
  statement kept;
  int rc = kept.prepare(db.handle(), "SELECT body FROM snapshot ORDER BY id", false);
  if (rc != SQLITE_OK) return db.failed(rc);
  core::snapshot_reader reader;
  while ((rc = kept.step()) == SQLITE_ROW)
    if (auto added = reader.add(core::as_text(kept.blob(0))); !added) return added;
  if (rc != SQLITE_DONE) return db.failed(rc);
  state = reader.take();
  if (state.seq() != base->of.seq || state.digest() != base->state) return corrupt("state");
  if (auto put = db.meta_put(snapshot_key, core::to_bytes(*base)); !put) return put;
  if (auto put = put_rows(db, state); !put) return put;
  const auto& sessions = state.sessions();
  for (core::session_slot slot = 0; slot < sessions.slots_used(); ++slot)
    if (const auto& each = sessions.at(slot); each.status != core::session_status::none) {
      base_sessions.push_back(each.seq);
      ending.push(
          {each.absolute_expires_at_ms + core::limits::tombstone_keep_ms, each.seq, each.handle});
    }
  std::sort(base_sessions.begin(), base_sessions.end());
  end = {base->of.seq, base->of.at_ms, base->of.mac};
  return core::nothing{};
}

/// Whether a session of this seq was ever there, though replay has forgotten it.
core::result<bool> importer::work::was_session(std::uint64_t seq) {
  if (std::binary_search(base_sessions.begin(), base_sessions.end(), seq)) return true;
  statement row;
  int rc = row.prepare(db.handle(), "SELECT 1 FROM events WHERE seq=?1 AND type='session_created'",
                       false);
  if (rc != SQLITE_OK) return db.failed(rc);
  row.bind(1, seq);
  rc = row.step();
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return db.failed(rc);
  return rc == SQLITE_ROW;
}

core::status importer::work::take(const untold_session& row) {
  const auto wrong = [](std::string_view rule) {
    return core::fail(core::error_code::LOG_CORRUPT, {}, rule);
  };
  events_ended = true;
  if (row.seq <= std::exchange(last_untold, row.seq)) return wrong("order");
  auto& s = find_session;
  const resetting at_end(s);
  s.bind(1, row.seq);
  const int rc = s.step();
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return db.failed(rc);
  if (rc == SQLITE_DONE || s.integer(0) != 0) {  // it is over: nothing to know of it any more
    const auto known = rc == SQLITE_ROW ? core::result<bool>(true) : was_session(row.seq);
    if (!known) return known.error();
    return *known ? core::status(core::nothing{}) : wrong("session");
  }
  const auto created_at_ms = s.integer(1);
  const bool has_sealed = !s.is_null(2);
  const auto who = row.sealed.empty() || s.is_null(4)
                       ? nullptr
                       : core::open_user(static_cast<std::uint32_t>(s.natural(3)),
                                         core::as_text(s.blob(4)), *options.keys);
  s.reset();
  if (!row.sealed.empty()) {
    if (has_sealed || (who && !core::open_shown(*who, row.sealed))) return wrong("sealed");
    put_sealed.bind(1, row.seq);
    put_sealed.bind_blob(2, core::as_bytes(row.sealed));
    if (const int put = put_sealed.run(); put != SQLITE_OK) return db.failed(put);
  }
  if (row.last_seen_at_ms == 0) return after_row(SQLITE_OK);
  if (row.last_seen_at_ms <= created_at_ms || row.last_seen_at_ms > end.at_ms)
    return wrong("last_seen_at_ms");
  put_seen.bind(1, row.seq);
  put_seen.bind(2, row.last_seen_at_ms);
  return after_row(put_seen.run());
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
/// the user's key opens it. Where that was cut off and lost with a session that has ended since,
/// the address is left.
core::status importer::work::tag_sessions() {
  struct tags {
    std::uint64_t seq = 0, ip = 0, user_agent = 0;
    std::string sealed;
  };
  statement live, put;
  int rc = live.prepare(db.handle(),
                        "SELECT s.seq,s.tenant_id,s.ip,s.sealed,u.ring_key,u.wrapped FROM sessions "
                        "s CROSS JOIN users u ON u.subject=s.subject WHERE s.seq>?1 AND s.state=0 "
                        "ORDER BY s.seq LIMIT ?2");
  if (rc == SQLITE_OK)
    rc = put.prepare(db.handle(),
                     "UPDATE sessions SET find_ip=?2,find_user_agent=?3,sealed=ifnull(?4,sealed) "
                     "WHERE seq=?1");
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
      auto& made = batch.emplace_back(tags{after, 0, 0, {}});
      const auto who = core::open_user(static_cast<std::uint32_t>(live.natural(4)),
                                       core::as_text(live.blob(5)), *options.keys);
      if (!who) continue;
      if (const auto ip = core::open_ip(*who, core::as_text(live.blob(2)))) {
        made.ip = options.keys->find_tag(tenant, core::as_text(ip->bytes));
        if (live.is_null(3)) made.sealed = core::seal_shown(*who, *ip, {}, options.random);
      }
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
      put.bind_blob(4, core::as_bytes(each.sealed));
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
  const int rc = work_->rows.add_user(row);
  if ((rc & 0xff) == SQLITE_CONSTRAINT)
    return core::fail(core::error_code::STORE_INTEGRITY, {}, "twice");
  return work_->after_row(rc);
}

core::status importer::add(const core::breaker_source_record& row) {
  require(!work_->events_began, "sources come before events");
  return work_->after_row(work_->rows.put_source(row));
}

core::status importer::begin_snapshot(const core::snapshot_seal& seal, std::uint64_t parts) {
  auto& w = *work_;
  require(!w.events_began && !w.base, "one snapshot, before the events");
  if (!core::is_signed(seal, w.options.keys->checkpoints().verifier()))
    return core::fail(core::error_code::LOG_CORRUPT, {}, "signature");
  w.base = seal;
  w.parts_left = parts;
  return parts == 0 ? w.end_snapshot() : core::nothing{};
}

core::status importer::add_part(std::string_view part) { return work_->take_part(part); }
core::status importer::add(const log_row& row) { return work_->take(row); }
core::status importer::add(const untold_session& row) { return work_->take(row); }

const std::optional<log_trouble>& importer::trouble() const noexcept { return work_->trouble; }
const core::replayed_state& importer::state() const noexcept { return work_->state; }

core::status importer::finish() {
  auto& w = *work_;
  require(w.parts_left == 0, "a snapshot has as many parts as it said");
  if (!w.events_began)
    if (auto held = w.run(hold_sources); !held) return held;
  if (auto purged = w.purge(); !purged) return purged;
  if (auto tagged = w.tag_sessions(); !tagged) return tagged;
  if (w.options.cut)
    if (auto stood = w.stand_in_for_sources(); !stood) return stood;
  if (auto settled = w.run(settle); !settled) return settled;
  if (auto pruned = w.run(prune_lockouts); !pruned) return pruned;  // as at every start of a node
  if (auto kept = w.db.commit(); !kept) return kept;
  if (auto placed = w.db.put_in_place(); !placed) return placed;
  w.done = true;
  return core::nothing{};
}

}  // namespace portcullis::store
