#include "store/restore.hpp"

#include "core/session/check.hpp"

namespace portcullis::store {
namespace {

core::session_status status_of(session_state state) {
  switch (state) {
    case session_state::live:
      return core::session_status::live;
    case session_state::revoked:
      return core::session_status::revoked;
    case session_state::expired:
      return core::session_status::expired;
    case session_state::evicted:
      return core::session_status::evicted;
  }
  __builtin_unreachable();
}

class restorer final : public load_visitor, public breaker_visitor {
 public:
  explicit restorer(core::replayed_state& to) : to_(to) {}

  void on_tenant(const tenant_record& row) override {
    to_.sessions().load_tenant(row.tenant_id, static_cast<std::uint32_t>(row.generation));
  }
  void on_user(const core::user_row& row) override { to_.load_user(row.subject, row.tenant_id); }
  void on_lockout(const lockout_record& row) override {
    to_.lockouts().load(row.subject, row.source,
                        {row.failed_attempts, row.window_ends_at_ms, row.locked_until_ms});
  }
  void on_session(const session_record& row) override {
    auto restored = session_of(row);
    restored.record.user = to_.load_user(row.subject, row.tenant_id);
    if (restored.alias) to_.know_alias(row.seq, *restored.alias);
    to_.load_session(std::move(restored.record), restored.old_ids);
  }
  void on_breaker(core::breaker_record&& row) override {
    core::breaker_standing standing;
    standing.record = std::move(row);
    to_.breakers().put(std::move(standing));
  }
  void on_source(core::breaker_source_record&& row) override {
    const auto* known = to_.breakers().find(row.service, row.breaker);
    if (known == nullptr || row.what.state == core::breaker_state::closed) return;
    auto standing = *known;
    standing.sources[row.source] = row.what.state;
    to_.breakers().put(std::move(standing));
  }

 private:
  core::replayed_state& to_;
};

}  // namespace

restored_session session_of(const session_record& row) {
  restored_session out;
  out.subject = row.subject;
  out.alias = row.alias;
  auto& s = out.record;
  s.id = row.id;
  s.handle = row.handle;
  s.created_at_ms = row.created_at_ms;
  s.last_seen_at_ms = row.last_seen_at_ms;
  s.absolute_expires_at_ms = row.absolute_expires_at_ms;
  s.seq = row.seq;
  s.tenant_generation = static_cast<std::uint32_t>(row.tenant_generation);
  s.version = row.version;
  s.idle_ttl_s = static_cast<std::uint32_t>(row.idle_ttl_s);
  s.ring_key = row.ring_key;
  s.status = status_of(row.state);
  if (s.status == core::session_status::live) {
    s.present = row.fields.present;
    s.hashes = core::keep_hashes(row.fields);
    s.keep_sealed_ip(row.ip);
    if (!row.data.empty()) s.need_extra().data = row.data;
  }
  if (row.has_predecessor) {
    auto& extra = s.need_extra();
    extra.has_predecessor = true;
    extra.successor_used = row.successor_used;
    extra.predecessor = row.predecessor;
    extra.rotation_ring_key = row.rotation_ring_key;
    extra.predecessor_ring_key = row.predecessor_ring_key;
    extra.nonce = row.nonce;
    extra.grace_ends_at_ms = row.grace_ends_at_ms;
  }
  for (const auto& old : row.retired) out.old_ids.push_back({old.id, old.grace_ends_at_ms});
  return out;
}

core::result<core::replayed_state> restore_projections(log_file& from) {
  core::replayed_state out;
  core::millis at_ms = 0;
  if (from.cut()) at_ms = from.cut()->of.at_ms;
  if (from.first_seq() > 0) {
    const auto read = from.read(from.last_seq() - 1, [&](const log_row& row) {
      at_ms = row.at_ms;
      return true;
    });
    if (!read) return read.error();
  }
  out.set_position(from.last_seq(), at_ms, {});
  restorer visitor(out);
  if (auto loaded = from.load(visitor); !loaded) return loaded.error();
  if (auto loaded = from.load_breakers(visitor); !loaded) return loaded.error();
  return out;
}

}  // namespace portcullis::store
