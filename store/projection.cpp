#include "store/projection.hpp"

#include <algorithm>

#include "core/limits.hpp"
#include "store/records.hpp"
#include "store/require.hpp"

namespace portcullis::store {
namespace {

core::byte_view source_of(const std::optional<core::short_hash>& source) noexcept {
  return source ? core::byte_view(*source) : core::byte_view();
}

// The lockouts table's key has no NULL: the user's own row has an empty source.
void bind_source(statement& to, int at, core::byte_view source) noexcept {
  if (source.empty())
    to.bind_empty_blob(at);
  else
    to.bind_blob(at, source);
}

core::byte_view subject_of(const core::event& what) noexcept {
  require(what.subject.has_value(), "an event about a user names its subject");
  return what.subject->bytes;
}

std::uint64_t session_of(const core::event& what) noexcept {
  require(what.session_seq != 0, "an event about a session carries its creation seq");
  return what.session_seq;
}

/// Bytes are random; the first one routes.
std::uint32_t tag_of(core::byte_view subject) noexcept {
  std::uint32_t tag = 0;
  if (subject.size() >= sizeof tag)
    std::memcpy(&tag, subject.data() + subject.size() - sizeof tag, sizeof tag);
  return tag;
}

// Ids have gaps where users were forgotten; what a damaged row says is not believed.
constexpr std::uint64_t id_gap_max = 1'000'000;

}  // namespace

std::size_t pack_fields(const core::field_hashes& fields,
                        core::byte_array<1 + 16 * core::context_field_count>& out) noexcept {
  if (fields.present == 0) return 0;
  out[0] = fields.present;
  std::size_t size = 1;
  for (std::size_t i = 0; i < core::context_field_count; ++i) {
    if ((fields.present >> i & 1U) == 0) continue;
    std::memcpy(out.data() + size, fields.hashes[i].data(), 16);
    size += 16;
  }
  return size;
}

bool unpack_fields(core::byte_view from, core::field_hashes& out) noexcept {
  out.present = 0;
  if (from.empty()) return true;
  out.present = from[0];
  std::size_t at = 1;
  for (std::size_t i = 0; i < core::context_field_count; ++i) {
    if ((out.present >> i & 1U) == 0) continue;
    if (from.size() < at + 16) return false;
    std::memcpy(out.hashes[i].data(), from.data() + at, 16);
    at += 16;
  }
  return at == from.size() && out.present >> core::context_field_count == 0;
}

int projection::prepare(sqlite3* db) {
  db_ = db;
  struct {
    statement* to;
    std::string_view sql;
  } const all[] = {
      {&insert_session_,
       "INSERT INTO "
       "sessions(seq,subject,tenant_id,handle,id,ring_key,created_at_ms,last_seen_at_ms,"
       "absolute_expires_at_ms,idle_ttl_s,version,state,ended_seq,tenant_generation,find_ip,find_"
       "user_agent,fields,ip,"
       "sealed,data,alias) "
       "VALUES(?1,?2,?3,?4,?5,?6,?7,?7,?8,?9,1,0,0,?10,?11,?12,?13,?14,?15,?16,?17)"},
      {&touch_,
       "UPDATE sessions SET last_seen_at_ms=max(last_seen_at_ms,?2) WHERE seq=?1 AND state=0"},
      {&retire_predecessor_,
       "INSERT INTO retired_ids SELECT seq,?2,predecessor,predecessor_ring_key,grace_ends_at_ms "
       "FROM sessions"
       " WHERE seq=?1 AND state=0 AND predecessor IS NOT NULL"},
      {&retire_current_,
       "INSERT INTO retired_ids SELECT seq,?2,id,ring_key,0 FROM sessions WHERE seq=?1 AND "
       "state=0"},
      {&end_graces_, "UPDATE retired_ids SET grace_ends_at_ms=0 WHERE session_seq=?1"},
      {&rotate_,
       "UPDATE sessions SET predecessor=iif(?2,id,NULL),predecessor_ring_key=iif(?2,ring_key,NULL),"
       "nonce=iif(?2,?3,NULL),grace_ends_at_ms=iif(?2,?4,NULL),rotation_ring_key=iif(?2,?5,NULL),"
       "successor_used=0,"
       "id=?6,ring_key=?5,data=?7,last_seen_at_ms=max(last_seen_at_ms,?8) WHERE seq=?1 AND "
       "state=0"},
      {&trim_retired_,
       "DELETE FROM retired_ids WHERE session_seq=?1 AND place<=(SELECT place FROM retired_ids "
       "WHERE session_seq=?1"
       " ORDER BY place DESC LIMIT 1 OFFSET ?2)"},
      {&successor_used_,
       "UPDATE sessions SET successor_used=1,grace_ends_at_ms=?2 WHERE seq=?1 AND state=0"},
      {&rekey_, "UPDATE sessions SET id=?3,ring_key=?4 WHERE seq=?1 AND state=0 AND id=?2"},
      {&update_,
       "UPDATE sessions SET version=?2,data=?3,last_seen_at_ms=max(last_seen_at_ms,?4) WHERE "
       "seq=?1 AND state=0"},
      {&end_,
       "UPDATE sessions SET state=?2,ended_seq=?3,find_ip=0,find_user_agent=0,fields=NULL,ip=NULL,"
       "sealed=NULL,data=NULL WHERE seq=?1 AND state=0"},
      {&revoke_tenant_,
       "INSERT INTO tenants(tenant_id,generation) VALUES(?1,?2)"
       " ON CONFLICT DO UPDATE SET generation=max(generation,excluded.generation)"},
      {&count_failure_,
       "INSERT INTO lockouts(subject,source,failed_attempts,window_ends_at_ms,locked_until_ms) "
       "VALUES(?1,?2,?3,?4,0)"
       " ON CONFLICT DO UPDATE SET failed_attempts=excluded.failed_attempts,"
       "window_ends_at_ms=excluded.window_ends_at_ms,locked_until_ms=0"},
      {&lock_,
       "INSERT INTO lockouts(subject,source,failed_attempts,window_ends_at_ms,locked_until_ms) "
       "VALUES(?1,?2,0,0,?3)"
       " ON CONFLICT DO UPDATE SET locked_until_ms=excluded.locked_until_ms"},
      {&unlock_, "DELETE FROM lockouts WHERE subject=?1 AND source=?2"},
      {&drop_over_,
       "DELETE FROM lockouts WHERE subject=?1 AND locked_until_ms=0 AND window_ends_at_ms<=?2"},
      {&clear_locks_, "DELETE FROM lockouts WHERE subject=?1"},
      {&insert_user_,
       "INSERT INTO users(subject,lookup,tenant_id,ring_key,wrapped) VALUES(?1,?2,?3,?4,?5)"},
      {&purge_session_, "DELETE FROM sessions WHERE seq=?1"},
      {&purge_retired_, "DELETE FROM retired_ids WHERE session_seq=?1"},
      {&move_breaker_,
       "INSERT INTO breakers(service,breaker,kind,state,epoch,cause,since_ms,until_ms,"
       "failed_rounds,mode,scope,actor,reason,expires_at_ms) "
       "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,0,0,'','',0) ON CONFLICT(service,breaker) DO UPDATE SET "
       "kind=excluded.kind,state=excluded.state,epoch=excluded.epoch,cause=excluded.cause,"
       "since_ms=excluded.since_ms,until_ms=excluded.until_ms,"
       "failed_rounds=excluded.failed_rounds,mode=0,scope=0,actor='',reason='',expires_at_ms=0"},
      {&override_breaker_,
       "INSERT INTO breakers(service,breaker,kind,state,epoch,cause,since_ms,until_ms,"
       "failed_rounds,mode,scope,actor,reason,expires_at_ms) "
       "VALUES(?1,?2,0,0,?3,?4,?5,0,0,?6,?7,?8,?9,?10) ON CONFLICT(service,breaker) DO UPDATE SET "
       "epoch=excluded.epoch,cause=iif(mode=excluded.mode,cause,excluded.cause),"
       "since_ms=iif(mode=excluded.mode,since_ms,excluded.since_ms),mode=excluded.mode,"
       "scope=excluded.scope,actor=excluded.actor,reason=excluded.reason,"
       "expires_at_ms=excluded.expires_at_ms"},
      {&forget_breaker_, "DELETE FROM breakers WHERE service=?1 AND breaker=?2"},
      {&forget_sources_, "DELETE FROM breaker_sources WHERE service=?1 AND breaker=?2"},
      {&put_source_,
       "INSERT OR REPLACE INTO breaker_sources(service,breaker,source,source_epoch,highest_seq,"
       "seen,state,open_since_ms,last_report_at_ms,counts,gaps) "
       "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)"},
      {&forget_user_, "DELETE FROM users WHERE subject=?1"},
      {&forget_user_at_, "DELETE FROM users WHERE subject=?1 AND id=?2"},
      {&drop_source_, "DELETE FROM breaker_sources WHERE service=?1 AND breaker=?2 AND source=?3"},
  };
  for (const auto& one : all)
    if (const int rc = one.to->prepare(db, one.sql); rc != SQLITE_OK) return rc;
  return SQLITE_OK;
}

int projection::apply(const core::event& happened) {
  return std::visit([&](const auto& body) { return on(happened, body); }, happened.body);
}

int projection::add_user(const core::user_row& user) {
  auto& s = insert_user_;
  s.bind_blob(1, user.subject.bytes);
  s.bind_blob(2, user.lookup);
  s.bind_text(3, user.tenant_id);
  s.bind(4, user.ring_key);
  s.bind_blob(5, core::as_bytes(user.wrapped));
  const int rc = s.run();
  if (rc == SQLITE_OK)
    note_user(static_cast<std::uint64_t>(sqlite3_last_insert_rowid(db_)), user.subject);
  return rc;
}

void projection::note_user(std::uint64_t id, const core::subject_id& subject) {
  if (id > user_tags_.size() + id_gap_max) return;
  if (id >= user_tags_.size()) user_tags_.resize(id + 1);
  user_tags_[id] = tag_of(subject.bytes);
}

int projection::forget_row(core::byte_view subject) {
  auto at = user_tags_.begin();
  while ((at = std::find(at, user_tags_.end(), tag_of(subject))) != user_tags_.end()) {
    forget_user_at_.bind_blob(1, subject);
    forget_user_at_.bind(2, static_cast<std::uint64_t>(at++ - user_tags_.begin()));
    if (const int rc = forget_user_at_.run(); rc != SQLITE_OK) return rc;
    if (sqlite3_changes(db_) > 0) return SQLITE_OK;
  }
  forget_user_.bind_blob(1, subject);
  return forget_user_.run();
}

int projection::purge_session(std::uint64_t seq) {
  purge_retired_.bind(1, seq);
  if (const int rc = purge_retired_.run(); rc != SQLITE_OK) return rc;
  purge_session_.bind(1, seq);
  return purge_session_.run();
}

int projection::on(const core::event& what, const core::session_created& body) {
  require(what.handle.has_value(), "session_created names its handle");
  core::byte_array<1 + 16 * core::context_field_count> packed;
  const auto packed_size = pack_fields(body.fields, packed);
  auto& s = insert_session_;
  s.bind(1, what.seq);
  s.bind_blob(2, subject_of(what));
  s.bind_text(3, what.tenant_id);
  s.bind_blob(4, what.handle->bytes);
  s.bind_blob(5, body.id.bytes);
  s.bind(6, body.ring_key);
  s.bind(7, what.decided_at_ms == 0 ? what.at_ms : what.decided_at_ms);
  s.bind(8, body.absolute_expires_at_ms);
  s.bind(9, body.idle_ttl_s);
  s.bind(10, body.tenant_generation);
  s.bind(11, body.find_ip);
  s.bind(12, body.find_user_agent);
  s.bind_blob(13, core::byte_view(packed.data(), packed_size));
  s.bind_blob(14, core::as_bytes(body.ip));
  s.bind_blob(15, core::as_bytes(what.sealed));
  s.bind_blob(16, core::as_bytes(body.data));
  s.bind_blob(17, body.alias ? core::byte_view(*body.alias) : core::byte_view());
  return s.run();
}

int projection::on(const core::event&, const core::session_touched& body) {
  for (const auto& one : body.touches) {
    require(one.session_seq != 0, "a touch carries its session's creation seq");
    touch_.bind(1, one.session_seq);
    touch_.bind(2, one.last_seen_at_ms);
    if (const int rc = touch_.run(); rc != SQLITE_OK) return rc;
  }
  return SQLITE_OK;
}

int projection::on(const core::event& what, const core::session_rotated& body) {
  const auto session = session_of(what);
  retire_predecessor_.bind(1, session);
  retire_predecessor_.bind(2, what.seq * 2);
  if (const int rc = retire_predecessor_.run(); rc != SQLITE_OK) return rc;
  if (!body.grace) {
    retire_current_.bind(1, session);
    retire_current_.bind(2, what.seq * 2 + 1);
    if (const int rc = retire_current_.run(); rc != SQLITE_OK) return rc;
    end_graces_.bind(1, session);
    if (const int rc = end_graces_.run(); rc != SQLITE_OK) return rc;
  }
  auto& s = rotate_;
  s.bind(1, session);
  s.bind(2, std::uint32_t{body.grace});
  s.bind_blob(3, body.nonce);
  s.bind(4, body.grace_ends_at_ms);
  s.bind(5, body.ring_key);
  s.bind_blob(6, body.id.bytes);
  s.bind_blob(7, core::as_bytes(body.data));
  s.bind(8, what.decided_at_ms == 0 ? what.at_ms : what.decided_at_ms);
  if (const int rc = s.run(); rc != SQLITE_OK) return rc;
  trim_retired_.bind(1, session);
  trim_retired_.bind(2, std::uint64_t{core::limits::old_ids_per_session_max});
  return trim_retired_.run();
}

int projection::on(const core::event& what, const core::session_successor_used& body) {
  successor_used_.bind(1, session_of(what));
  successor_used_.bind(2, body.grace_ends_at_ms);
  return successor_used_.run();
}

int projection::on(const core::event& what, const core::session_rekeyed& body) {
  rekey_.bind(1, session_of(what));
  rekey_.bind_blob(2, body.before.bytes);
  rekey_.bind_blob(3, body.id.bytes);
  rekey_.bind(4, body.ring_key);
  return rekey_.run();
}

int projection::on(const core::event& what, const core::session_updated& body) {
  update_.bind(1, session_of(what));
  update_.bind(2, body.version);
  update_.bind_blob(3, core::as_bytes(body.data));
  update_.bind(4, what.decided_at_ms == 0 ? what.at_ms : what.decided_at_ms);
  return update_.run();
}

int projection::on(const core::event& what, const core::session_revoked& body) {
  switch (body.scope) {
    case core::revoke_scope::session:
      return end_session(session_of(what), what, static_cast<int>(session_state::revoked));
    case core::revoke_scope::user:
      for (const auto session : body.session_seqs)
        if (const int rc = end_session(session, what, static_cast<int>(session_state::revoked));
            rc != SQLITE_OK)
          return rc;
      return SQLITE_OK;
    case core::revoke_scope::tenant:
      return revoke_tenant(what, body);
  }
  return SQLITE_OK;
}

int projection::on(const core::event& what, const core::session_expired&) {
  return end_session(session_of(what), what, static_cast<int>(session_state::expired));
}

int projection::on(const core::event& what, const core::session_evicted&) {
  return end_session(session_of(what), what, static_cast<int>(session_state::evicted));
}

int projection::on(const core::event& what, const core::session_reuse_detected&) {
  return end_session(session_of(what), what, static_cast<int>(session_state::revoked));
}

int projection::on(const core::event& what, const core::validation_failed& body) {
  if (!body.attempt) return SQLITE_OK;  // only a counted mismatch has a number
  const auto subject = subject_of(what);
  const auto count = [&](core::byte_view source, std::uint32_t number,
                         core::millis window_ends_at_ms) {
    auto& s = count_failure_;
    s.bind_blob(1, subject);
    bind_source(s, 2, source);
    s.bind(3, number);
    s.bind(4, window_ends_at_ms);
    return s.run();
  };
  if (!body.counted_for_source || !body.source)
    return count({}, *body.attempt, body.window_ends_at_ms);
  // Of a user that always has some source failing they would gather until the next start.
  drop_over_.bind_blob(1, subject);
  drop_over_.bind(2, what.at_ms);
  if (const int rc = drop_over_.run(); rc != SQLITE_OK) return rc;
  if (const int rc = count(*body.source, *body.attempt, body.window_ends_at_ms); rc != SQLITE_OK)
    return rc;
  return count({}, body.user_attempt, body.user_window_ends_at_ms);
}

int projection::on(const core::event& what, const core::lockout_started& body) {
  auto& s = lock_;
  s.bind_blob(1, subject_of(what));
  bind_source(s, 2, source_of(body.source));
  s.bind(3, body.locked_until_ms);
  return s.run();
}

int projection::on(const core::event& what, const core::lockout_ended& body) {
  unlock_.bind_blob(1, subject_of(what));
  bind_source(unlock_, 2, source_of(body.source));
  return unlock_.run();
}

int projection::on(const core::event& what, const core::lockout_cleared&) {
  clear_locks_.bind_blob(1, subject_of(what));
  return clear_locks_.run();
}

int projection::on(const core::event& what, const core::user_forgotten& body) {
  for (const auto session : body.session_seqs)
    if (const int rc = end_session(session, what, static_cast<int>(session_state::revoked));
        rc != SQLITE_OK)
      return rc;
  clear_locks_.bind_blob(1, subject_of(what));
  if (const int rc = clear_locks_.run(); rc != SQLITE_OK) return rc;
  return forget_row(subject_of(what));
}

int projection::end_session(std::uint64_t session, const core::event& what, int state) {
  end_.bind(1, session);
  end_.bind(2, std::int64_t{state});
  end_.bind(3, what.seq);
  return end_.run();
}

int projection::revoke_tenant(const core::event& what, const core::session_revoked& body) {
  revoke_tenant_.bind_text(1, what.tenant_id);
  revoke_tenant_.bind(2, body.tenant_generation);
  return revoke_tenant_.run();
}

int projection::put_source(const core::breaker_source_record& row) {
  auto& s = row.gone ? drop_source_ : put_source_;
  s.bind_text(1, row.service);
  s.bind_text(2, row.breaker);
  s.bind_text(3, row.source);
  if (row.gone) return s.run();
  const auto counts = pack_counts(row.what), gaps = pack_gaps(row.what);
  s.bind(4, row.what.source_epoch);
  s.bind(5, row.what.seen.highest());
  s.bind(6, row.what.seen.bits());
  s.bind(7, static_cast<std::uint32_t>(row.what.state));
  s.bind(8, row.what.open_since_ms);
  s.bind(9, row.what.last_report_at_ms);
  s.bind_blob(10, counts);
  s.bind_blob(11, gaps);
  return s.run();
}

int projection::move_breaker(const core::event& what) {
  const auto to = *core::record_after(what);
  auto& s = move_breaker_;
  s.bind_text(1, to.service);
  s.bind_text(2, to.breaker);
  s.bind(3, static_cast<std::uint32_t>(to.kind));
  s.bind(4, static_cast<std::uint32_t>(to.state));
  s.bind(5, to.epoch);
  s.bind(6, static_cast<std::uint32_t>(to.cause));
  s.bind(7, to.since_ms);
  s.bind(8, to.until_ms);
  s.bind(9, to.failed_rounds);
  return s.run();
}

int projection::on(const core::event& what, const core::breaker_override_set& body) {
  auto& s = override_breaker_;
  s.bind_text(1, body.service);
  s.bind_text(2, body.breaker);
  s.bind(3, body.epoch);
  s.bind(4, static_cast<std::uint32_t>(core::breaker_cause::override_set));
  s.bind(5, what.decided_at_ms == 0 ? what.at_ms : what.decided_at_ms);
  s.bind(6, static_cast<std::uint32_t>(body.mode));
  s.bind(7, static_cast<std::uint32_t>(body.scope));
  s.bind_text(8, what.actor);
  s.bind_text(9, body.reason);
  s.bind(10, body.expires_at_ms.value_or(0));
  return s.run();
}

int projection::on(const core::event&, const core::breaker_retired& body) {
  for (auto* s : {&forget_sources_, &forget_breaker_}) {
    s->bind_text(1, body.service);
    s->bind_text(2, body.breaker);
    if (const int rc = s->run(); rc != SQLITE_OK) return rc;
  }
  return SQLITE_OK;
}

}  // namespace portcullis::store
