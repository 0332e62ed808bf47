#include "core/session/state.hpp"

#include "core/limits.hpp"
#include "core/session/check.hpp"

namespace portcullis::core {

namespace {

// What seal_ip() makes: a nonce, which is the handle's last bytes, then 16 bytes and their tag.
constexpr std::size_t sealed_ip_bytes = 16 + aead_overhead, nonce_bytes = sizeof(aead_nonce);

}  // namespace

void session_record::keep_sealed_ip(std::string_view sealed) noexcept {
  ip_known = memo_known = false;
  if (sealed.size() != sealed_ip_bytes) return;  // damaged: opening it fails
  std::memcpy(ip.bytes.data(), sealed.data() + nonce_bytes, 16);
  std::memcpy(memo.data(), sealed.data() + nonce_bytes + 16, 16);
}

std::string session_record::sealed_ip() const {
  std::string sealed(as_text(byte_view(handle.bytes).last(nonce_bytes)));
  sealed += as_text(ip.bytes);
  sealed += as_text(memo);
  return sealed;
}

void session_state::apply(const event& what) {
  std::visit([&](const auto& body) { on(what, body); }, what.body);
}

found_session session_state::find(const id_hash& id) const {
  found_session found;
  found.slot = by_id_.find(hash_at(id.bytes, 4), [&](session_slot slot) {
    const auto& s = sessions_[slot];
    if (s.id == id) {
      found.kind = id_kind::current;
      return true;
    }
    if (!s.extra) return false;
    if (s.extra->has_predecessor && s.extra->predecessor == id) {
      found.kind = id_kind::predecessor;
      return true;
    }
    for (const auto& old : s.extra->old_ids) {
      if (old.id != id) continue;
      found.kind = id_kind::old;
      found.quiet_until_ms = old.quiet_until_ms;
      return true;
    }
    return false;
  });
  return found;
}

session_slot session_state::find(const session_handle& handle) const {
  return by_handle_.find(hash_at(handle.bytes, 4),
                         [&](session_slot slot) { return sessions_[slot].handle == handle; });
}

user_slot session_state::find_user(const byte_array<16>& lookup) const {
  return users_by_lookup_.find(hash_at(lookup, 0),
                               [&](user_slot slot) { return users_[slot].lookup == lookup; });
}

user_slot session_state::find_user(const subject_id& subject) const {
  return users_by_subject_.find(hash_at(subject.bytes, 4),
                                [&](user_slot slot) { return users_[slot].subject == subject; });
}

tenant_slot session_state::find_tenant(std::string_view name) const {
  const auto found = tenants_by_name_.find(std::string(name));
  return found == tenants_by_name_.end() ? no_slot : found->second;
}

tenant_slot session_state::need_tenant(std::string_view name) {
  const auto [at, made] =
      tenants_by_name_.try_emplace(std::string(name), static_cast<tenant_slot>(tenants_.size()));
  if (made) tenants_.push_back({std::string(name), 0, 0});
  return at->second;
}

user_slot session_state::need_user(const byte_array<16>& lookup, std::string_view tenant) {
  const auto found = find_user(lookup);
  return found != no_slot ? found : add_user(lookup, tenant);
}

user_slot session_state::add_user(const byte_array<16>& lookup, std::string_view tenant) {
  const auto slot = users_.take();
  users_[slot].lookup = lookup;
  users_[slot].tenant = need_tenant(tenant);
  users_by_lookup_.insert(hash_at(lookup, 0), slot);
  return slot;
}

void session_state::identify(user_slot user, const subject_id& subject, identity_ptr who) {
  auto& record = users_[user];
  if (record.subject != subject) {
    record.subject = subject;
    users_by_subject_.insert(hash_at(subject.bytes, 4), user);
  }
  record.who = std::move(who);
}

void session_state::rename_user(user_slot user, const subject_id& subject) {
  auto& record = users_[user];
  if (record.subject == subject) return;
  if (record.subject != subject_id{})
    users_by_subject_.erase(hash_at(record.subject.bytes, 4), user);
  record.subject = subject;
  record.who.reset();
  users_by_subject_.insert(hash_at(subject.bytes, 4), user);
}

user_slot session_state::load_user(const subject_id& subject, const byte_array<16>& lookup,
                                   std::string_view tenant) {
  const auto slot = add_user(lookup, tenant);
  users_[slot].subject = subject;
  users_by_subject_.insert(hash_at(subject.bytes, 4), slot);
  return slot;
}

void session_state::load_tenant(std::string_view name, std::uint32_t generation) {
  tenants_[need_tenant(name)].generation = generation;
}

session_slot session_state::load_session(session_record&& loaded, std::span<const old_id> old_ids) {
  const auto slot = sessions_.take();
  auto& s = sessions_[slot] = std::move(loaded);
  // A free alias that is given again is the id that it was before: that leads to the session made
  // last, from here on, though the one before may not be purged yet.
  const auto index = [&](const id_hash& id) {
    if (const auto other = find(id).slot; other != no_slot) {
      if (sessions_[other].seq > sessions_[slot].seq) return;
      unindex_id(id, other);
    }
    index_id(id, slot);
  };
  for (const auto& old : old_ids) {
    s.need_extra().old_ids.push_back(old);
    index(old.id);
  }
  index(s.id);
  if (s.extra && s.extra->has_predecessor) index(s.extra->predecessor);
  by_handle_.insert(hash_at(s.handle.bytes, 4), slot);
  ++users_[s.user].sessions;
  if (s.status == session_status::live && !outlived(s)) {
    ++tenants_[users_[s.user].tenant].live;
    ++counts_.live;
  }
  return slot;
}

void session_state::forget_user(user_slot user) {
  auto& record = users_[user];
  users_by_lookup_.erase(hash_at(record.lookup, 0), user);
  record.lookup = {};
  record.who.reset();
  record.locked_until_ms = 0;
  record.sources_locked = false;
}

void session_state::purge(session_slot slot) {
  auto& s = sessions_[slot];
  unindex_id(s.id, slot);
  if (s.extra) {
    if (s.extra->has_predecessor) unindex_id(s.extra->predecessor, slot);
    for (const auto& old : s.extra->old_ids) unindex_id(old.id, slot);
  }
  by_handle_.erase(hash_at(s.handle.bytes, 4), slot);
  --users_[s.user].sessions;
  sessions_.give_back(slot);
}

void session_state::reserve(std::size_t sessions, std::size_t users) {
  by_id_.reserve(sessions);
  by_handle_.reserve(sessions);
  users_by_lookup_.reserve(users);
  users_by_subject_.reserve(users);
}

session_slot session_state::live_slot(const event& what) const {
  if (!what.handle) return no_slot;
  const auto slot = find(*what.handle);
  return slot != no_slot && sessions_[slot].status == session_status::live ? slot : no_slot;
}

void session_state::end(session_slot slot, session_status as) {
  auto& s = sessions_[slot];
  if (s.status != session_status::live) return;
  const bool counted = !outlived(s);  // else the revocation of all has counted it
  s.status = as;
  s.hashes = {};
  s.ip = {};
  s.memo = {};
  if (s.extra) std::string().swap(s.extra->data);
  if (!counted) return;
  --tenants_[users_[s.user].tenant].live;
  --counts_.live;
  switch (as) {
    case session_status::revoked:
      ++counts_.revoked;
      break;
    case session_status::expired:
      ++counts_.expired;
      break;
    case session_status::evicted:
      ++counts_.evicted;
      break;
    case session_status::none:
    case session_status::live:
      break;
  }
}

void session_state::on(const event& what, const session_created& body) {
  const auto owner = what.subject ? find_user(*what.subject) : no_slot;
  if (owner == no_slot) return;
  session_record s;
  s.id = body.id;
  s.handle = *what.handle;
  s.created_at_ms = s.last_seen_at_ms = what.decided_at_ms;
  s.absolute_expires_at_ms = body.absolute_expires_at_ms;
  s.seq = what.seq;
  s.user = owner;
  s.tenant_generation = static_cast<std::uint32_t>(body.tenant_generation);
  s.user_generation = users_[owner].generation;
  s.idle_ttl_s = static_cast<std::uint32_t>(body.idle_ttl_s);
  s.ring_key = body.ring_key;
  s.status = session_status::live;
  s.present = body.fields.present;
  s.hashes = keep_hashes(body.fields);
  if (body.ip_plain) {
    s.ip = *body.ip_plain;
    s.ip_known = true;
  } else {
    s.keep_sealed_ip(body.ip);
  }
  if (!body.data.empty()) s.need_extra().data = body.data;
  ++counts_.created;
  load_session(std::move(s), {});
  // A tenant revoked between decision and commit takes this session along.
  if (body.tenant_generation != tenants_[users_[owner].tenant].generation) ++counts_.revoked;
}

void session_state::on(const event&, const session_touched& body) {
  for (const auto& each : body.touches)
    if (const auto slot = find(each.handle); slot != no_slot) touch(slot, each.last_seen_at_ms);
}

void session_state::know_ip(session_slot slot, const ip_address& ip) {
  auto& s = sessions_[slot];
  s.ip = ip;
  s.ip_known = true;
  s.memo = {};
}

void session_state::retire_id(session_slot slot, const id_hash& id, millis quiet_until_ms) {
  auto& olds = sessions_[slot].need_extra().old_ids;
  if (olds.size() == limits::old_ids_per_session_max) {
    unindex_id(olds.front().id, slot);
    olds.erase(olds.begin());
  }
  olds.push_back({id, quiet_until_ms});
}

void session_state::on(const event& what, const session_rotated& body) {
  const auto slot = live_slot(what);
  if (slot == no_slot) return;
  auto& s = sessions_[slot];
  auto& extra = s.need_extra();
  // The predecessor's grace is over: after a rotation with grace it stays quiet for as long as its
  // own would have lasted; one without ends every earlier id at once.
  if (extra.has_predecessor) {
    extra.has_predecessor = false;
    const auto before = extra.predecessor;
    retire_id(slot, before, extra.grace_ends_at_ms);
  }
  if (body.grace) {
    extra.predecessor = s.id;
    extra.predecessor_ring_key = s.ring_key;
    extra.has_predecessor = true;
    extra.nonce = body.nonce;
    extra.grace_ends_at_ms = body.grace_ends_at_ms;
    extra.rotation_ring_key = body.ring_key;
    extra.successor_used = false;
  } else {
    retire_id(slot, s.id, 0);
    for (auto& each : extra.old_ids) each.quiet_until_ms = 0;
  }
  s.id = body.id;
  s.ring_key = body.ring_key;
  index_id(s.id, slot);
  extra.data = body.data;
  s.last_seen_at_ms = std::max(s.last_seen_at_ms, what.decided_at_ms);
}

void session_state::on(const event& what, const session_successor_used& body) {
  const auto slot = live_slot(what);
  if (slot == no_slot || !sessions_[slot].extra) return;
  sessions_[slot].extra->successor_used = true;
  sessions_[slot].extra->grace_ends_at_ms = body.grace_ends_at_ms;
}

void session_state::on(const event& what, const session_rekeyed& body) {
  const auto slot = live_slot(what);
  if (slot == no_slot) return;
  auto& s = sessions_[slot];
  if (s.id != body.before) return;
  unindex_id(s.id, slot);
  s.id = body.id;
  s.ring_key = body.ring_key;
  index_id(s.id, slot);
}

void session_state::on(const event& what, const session_updated& body) {
  const auto slot = live_slot(what);
  if (slot == no_slot) return;
  auto& s = sessions_[slot];
  s.version = body.version;
  s.need_extra().data = body.data;
  s.last_seen_at_ms = std::max(s.last_seen_at_ms, what.decided_at_ms);
}

void session_state::on(const event& what, const session_revoked& body) {
  switch (body.scope) {
    case revoke_scope::session: {
      const auto slot = live_slot(what);
      if (slot != no_slot) end(slot, session_status::revoked);
      return;
    }
    case revoke_scope::user: {
      const auto owner = what.subject ? find_user(*what.subject) : no_slot;
      if (owner == no_slot) return;
      return end_user(owner, body.except_handle ? find(*body.except_handle) : no_slot, body.count,
                      body.tenant_generation);
    }
    case revoke_scope::tenant: {
      auto& tenant = tenants_[need_tenant(what.tenant_id)];
      tenant.generation = static_cast<std::uint32_t>(body.tenant_generation);
      counts_.live -= tenant.live;
      counts_.revoked += tenant.live;
      tenant.live = 0;
      return;
    }
  }
}

void session_state::end_user(user_slot owner, session_slot excepted, std::uint64_t count,
                             std::uint64_t tenant_generation) {
  const bool spare =
      excepted != no_slot && sessions_[excepted].user == owner && !outlived(sessions_[excepted]);
  const auto generation = ++users_[owner].generation;
  if (spare) sessions_[excepted].user_generation = generation;
  // A revocation of the tenant that was applied between decision and commit has counted them
  // already.
  auto& tenant = tenants_[users_[owner].tenant];
  if (tenant_generation != tenant.generation) return;
  tenant.live -= count;
  counts_.live -= count;
  counts_.revoked += count;
}

void session_state::on(const event& what, const user_forgotten& body) {
  const auto owner = what.subject ? find_user(*what.subject) : no_slot;
  if (owner == no_slot) return;
  end_user(owner, no_slot, body.count, body.tenant_generation);
  forget_user(owner);
}

void session_state::on(const event& what, const session_expired&) {
  if (const auto slot = live_slot(what); slot != no_slot) end(slot, session_status::expired);
}

void session_state::on(const event& what, const session_evicted&) {
  if (const auto slot = live_slot(what); slot != no_slot) end(slot, session_status::evicted);
}

void session_state::on(const event& what, const session_reuse_detected&) {
  if (const auto slot = live_slot(what); slot != no_slot) end(slot, session_status::revoked);
}

}  // namespace portcullis::core
