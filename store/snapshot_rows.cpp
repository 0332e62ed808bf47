#include "store/snapshot_rows.hpp"

#include <algorithm>
#include <vector>

#include "store/require.hpp"

namespace portcullis::store {
namespace {

std::uint32_t state_of(core::session_status status) {
  switch (status) {
    case core::session_status::live:
      return static_cast<std::uint32_t>(session_state::live);
    case core::session_status::revoked:
      return static_cast<std::uint32_t>(session_state::revoked);
    case core::session_status::expired:
      return static_cast<std::uint32_t>(session_state::expired);
    case core::session_status::evicted:
      return static_cast<std::uint32_t>(session_state::evicted);
    case core::session_status::none:
      break;
  }
  require(false, "a snapshot has no empty places");
  __builtin_unreachable();
}

core::field_hashes fields_of(const core::session_record& s) {
  core::field_hashes out;
  out.present = s.present;
  for (std::size_t i = 0; i < s.hashes.size(); ++i)
    std::copy(s.hashes[i].begin(), s.hashes[i].end(), out.hashes[i].begin());
  return out;
}

class row_writer {
 public:
  row_writer(database& db, const core::replayed_state& of) : db_(db), of_(of) {}

  core::status run() {
    for (auto step : {&row_writer::prepare, &row_writer::put_tenants, &row_writer::put_lockouts,
                      &row_writer::put_breakers, &row_writer::put_sessions})
      if (const int rc = (this->*step)(); rc != SQLITE_OK) return db_.failed(rc);
    return core::nothing{};
  }

 private:
  int prepare() {
    struct {
      statement* to;
      std::string_view sql;
    } const all[] = {
        {&tenant_, "INSERT INTO tenants(tenant_id,generation) VALUES(?1,?2)"},
        {&lockout_,
         "INSERT INTO lockouts(subject,source,failed_attempts,window_ends_at_ms,locked_until_ms) "
         "VALUES(?1,?2,?3,?4,?5)"},
        {&breaker_,
         "INSERT INTO breakers(service,breaker,kind,state,epoch,cause,since_ms,until_ms,"
         "failed_rounds,mode,scope,actor,reason,expires_at_ms) "
         "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)"},
        {&session_,
         "INSERT INTO sessions(seq,subject,tenant_id,handle,id,ring_key,created_at_ms,"
         "last_seen_at_ms,absolute_expires_at_ms,idle_ttl_s,version,state,ended_seq,"
         "tenant_generation,find_ip,find_user_agent,fields,ip,data,alias) "
         "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,0,?13,0,0,?14,?15,?16,?17)"},
        {&rotation_,
         "UPDATE sessions SET predecessor=?2,predecessor_ring_key=?3,nonce=?4,grace_ends_at_ms=?5,"
         "rotation_ring_key=?6,successor_used=?7 WHERE seq=?1"},
        {&retired_,
         "INSERT INTO retired_ids(session_seq,place,id,ring_key,grace_ends_at_ms) "
         "VALUES(?1,?2,?3,0,?4)"},
    };
    for (const auto& one : all)
      if (const int rc = one.to->prepare(db_.handle(), one.sql); rc != SQLITE_OK) return rc;
    return SQLITE_OK;
  }

  int put_tenants() {
    const auto& sessions = of_.sessions();
    for (core::tenant_slot slot = 0; slot < sessions.tenant_count(); ++slot) {
      const auto& each = sessions.tenant(slot);
      if (each.generation == 0) continue;
      tenant_.bind_text(1, each.name);
      tenant_.bind(2, each.generation);
      if (const int rc = tenant_.run(); rc != SQLITE_OK) return rc;
    }
    return SQLITE_OK;
  }

  int put_counter(const core::subject_id& subject, core::byte_view source,
                  const core::lockout_counter& counter) {
    if (counter.ends_at_ms() == 0) return SQLITE_OK;  // nothing counts
    lockout_.bind_blob(1, subject.bytes);
    if (source.empty())
      lockout_.bind_empty_blob(2);  // the user's own
    else
      lockout_.bind_blob(2, source);
    lockout_.bind(3, counter.failed_attempts);
    lockout_.bind(4, counter.window_ends_at_ms);
    lockout_.bind(5, counter.locked_until_ms);
    return lockout_.run();
  }
  int put_lockouts() {
    for (const auto& [subject, user] : of_.lockouts().users()) {
      if (const int rc = put_counter(subject, {}, user.whole); rc != SQLITE_OK) return rc;
      for (const auto& [source, counter] : user.sources)
        if (const int rc = put_counter(subject, source, counter); rc != SQLITE_OK) return rc;
    }
    return SQLITE_OK;
  }

  /// By creation, which orders lists.
  int put_breakers() {
    std::vector<const core::breaker_standing*> all;
    for (const auto& [name, each] : of_.breakers().all()) all.push_back(&each);
    std::sort(all.begin(), all.end(),
              [](const auto* a, const auto* b) { return a->first_seq < b->first_seq; });
    for (const auto* each : all) {
      const auto& from = each->record;
      auto& s = breaker_;
      s.bind_text(1, from.service);
      s.bind_text(2, from.breaker);
      s.bind(3, static_cast<std::uint32_t>(from.kind));
      s.bind(4, static_cast<std::uint32_t>(from.state));
      s.bind(5, from.epoch);
      s.bind(6, static_cast<std::uint32_t>(from.cause));
      s.bind(7, from.since_ms);
      s.bind(8, from.until_ms);
      s.bind(9, from.failed_rounds);
      s.bind(10, static_cast<std::uint32_t>(from.override_.mode));
      s.bind(11, static_cast<std::uint32_t>(from.override_.scope));
      s.bind_text(12, from.override_.actor);
      s.bind_text(13, from.override_.reason);
      s.bind(14, from.override_.expires_at_ms.value_or(0));
      if (const int rc = s.run(); rc != SQLITE_OK) return rc;
    }
    return SQLITE_OK;
  }

  int put_sessions() {
    const auto& sessions = of_.sessions();
    for (core::session_slot slot = 0; slot < sessions.slots_used(); ++slot)
      if (const auto& each = sessions.at(slot); each.status != core::session_status::none)
        if (const int rc = put_session(each); rc != SQLITE_OK) return rc;
    return SQLITE_OK;
  }
  int put_session(const core::session_record& from) {
    const auto& owner = of_.sessions().user(from.user);
    core::byte_array<1 + 16 * core::context_field_count> packed;
    std::size_t packed_size = 0;
    std::string ip;
    auto& s = session_;
    s.bind(1, from.seq);
    s.bind_blob(2, owner.subject.bytes);
    s.bind_text(3, of_.sessions().tenant(owner.tenant).name);
    s.bind_blob(4, from.handle.bytes);
    s.bind_blob(5, from.id.bytes);
    s.bind(6, from.ring_key);
    s.bind(7, from.created_at_ms);
    s.bind(8, from.last_seen_at_ms);
    s.bind(9, from.absolute_expires_at_ms);
    s.bind(10, from.idle_ttl_s);
    s.bind(11, from.version);
    s.bind(12, state_of(from.status));
    s.bind(13, from.tenant_generation);
    if (from.status == core::session_status::live) {
      packed_size = pack_fields(fields_of(from), packed);
      ip = from.sealed_ip();
    }
    s.bind_blob(14, core::byte_view(packed.data(), packed_size));
    s.bind_blob(15, core::as_bytes(ip));
    s.bind_blob(16, core::as_bytes(from.status == core::session_status::live ? from.data()
                                                                             : std::string_view()));
    const auto alias = of_.alias_of(from.seq);
    s.bind_blob(17, alias ? core::byte_view(*alias) : core::byte_view());
    if (const int rc = s.run(); rc != SQLITE_OK) return rc;
    return from.extra ? put_ids(from.seq, *from.extra) : SQLITE_OK;
  }
  int put_ids(std::uint64_t session, const core::session_extra& from) {
    if (from.has_predecessor) {
      auto& s = rotation_;
      s.bind(1, session);
      s.bind_blob(2, from.predecessor.bytes);
      s.bind(3, from.predecessor_ring_key);
      s.bind_blob(4, from.nonce);
      s.bind(5, from.grace_ends_at_ms);
      s.bind(6, from.rotation_ring_key);
      s.bind(7, std::uint32_t{from.successor_used});
      if (const int rc = s.run(); rc != SQLITE_OK) return rc;
    }
    // Places of later rotations are twice their seq: past these.
    std::uint64_t place = 0;
    for (const auto& old : from.old_ids) {
      retired_.bind(1, session);
      retired_.bind(2, ++place);
      retired_.bind_blob(3, old.id.bytes);
      retired_.bind(4, old.quiet_until_ms);
      if (const int rc = retired_.run(); rc != SQLITE_OK) return rc;
    }
    return SQLITE_OK;
  }

  database& db_;
  const core::replayed_state& of_;
  statement tenant_, lockout_, breaker_, session_, rotation_, retired_;
};

}  // namespace

core::status put_rows(database& db, const core::replayed_state& of) {
  return row_writer(db, of).run();
}

}  // namespace portcullis::store
