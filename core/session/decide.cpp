#include "core/session/decide.hpp"

#include "core/limits.hpp"
#include "core/session/recorded.hpp"

namespace portcullis::core {

namespace {

const session_policy& policy_for(const decision_input& in, const session_record& s) {
  return in.policies.of(in.state.tenant(in.state.user(s.user).tenant).name);
}

}  // namespace

located locate(const session_state& state, const key_material& keys, const session_id& id,
               const id_hash& under_newest) {
  const auto found = state.find(under_newest);
  if (found.slot != no_slot) return {found, keys.newest().id};
  for (const auto& key : keys.ring().subspan(1)) {
    const auto older = state.find(id_hash{key.ids(byte_view(id.bytes))});
    if (older.slot != no_slot) return {older, key.id};
  }
  return {};
}

located locate(const session_state& state, const key_material& keys, const session_id& id) {
  return locate(state, keys, id, hash_id(keys, id));
}

bool is_live(const session_state& state, session_slot slot, millis now_ms) noexcept {
  const auto& s = state.at(slot);
  return s.status == session_status::live && now_ms < s.expires_at_ms() && !state.outlived(s);
}

verdict over_because(const session_state& state, session_slot slot, millis now_ms) noexcept {
  const auto& s = state.at(slot);
  switch (s.status) {
    case session_status::live:
      break;
    case session_status::expired:
      return verdict::expired;
    case session_status::revoked:
    case session_status::evicted:
      return verdict::revoked;
    case session_status::none:
      return verdict::unknown;
  }
  if (state.outlived(s)) return verdict::revoked;
  return now_ms >= s.expires_at_ms() ? verdict::expired : verdict::valid;
}

bool is_reuse(const session_record& session, const found_session& found, millis now_ms) noexcept {
  switch (found.kind) {
    case id_kind::current:
      return false;
    case id_kind::predecessor:
      return now_ms >= session.extra->grace_ends_at_ms;
    case id_kind::old:
      return now_ms >= found.quiet_until_ms;
  }
  __builtin_unreachable();
}

judgement judge(const decision_input& in, const located& where, const context& presented,
                bool source_locked) {
  judgement out;
  const auto slot = where.found.slot;
  if (slot == no_slot) return out;
  const auto& s = in.state.at(slot);
  // The tombstone's time is over, though the sweep has not come yet.
  if (in.now_ms >= s.absolute_expires_at_ms + limits::tombstone_keep_ms) return out;
  out.slot = slot;
  out.kind = where.found.kind;
  out.ring_key = where.ring_key;
  out.verdict = over_because(in.state, slot, in.now_ms);
  if (out.verdict != verdict::valid) return out;

  if (is_reuse(s, where.found, in.now_ms)) {
    out.verdict = verdict::reused;
    return out;
  }
  if (out.kind == id_kind::old) {
    out.verdict = verdict::revoked;
    return out;
  }
  const auto& user = in.state.user(s.user);
  if (user.locked_until_ms > in.now_ms || source_locked) {
    out.verdict = verdict::locked;
    return out;
  }
  if (user.who == nullptr || !s.ip_known) {
    out.verdict = verdict::unopened;
    return out;
  }
  const auto& policy = policy_for(in, s);
  out.memo = context_memo(in.memo_key, presented);
  if (!s.memo_known || out.memo != s.memo) {
    const auto found = check_context(s, *user.who, presented, policy);
    if (found.ip_mismatch || found.fingerprint_mismatch) {
      out.verdict = found.ip_mismatch ? verdict::ip_mismatch : verdict::fingerprint_mismatch;
      return out;
    }
    out.observed = found.observed;
    out.challenged = found.challenged;
    out.remember = found.clean();
  }
  out.touch_due = in.now_ms - s.last_seen_at_ms >= touch_granularity_ms(s, policy);
  out.first_successor_use = out.kind == id_kind::current && s.extra && s.extra->has_predecessor &&
                            !s.extra->successor_used;
  out.rekey_due = out.kind == id_kind::current && out.ring_key != in.keys.newest().id;
  return out;
}

invalid_reason reason_of(verdict value) noexcept {
  switch (value) {
    case verdict::expired:
      return invalid_reason::expired;
    case verdict::revoked:
    case verdict::reused:
      return invalid_reason::revoked;
    case verdict::locked:
      return invalid_reason::locked_out;
    case verdict::ip_mismatch:
      return invalid_reason::ip_mismatch;
    case verdict::fingerprint_mismatch:
      return invalid_reason::fingerprint_mismatch;
    case verdict::valid:
    case verdict::unopened:
    case verdict::unknown:
      break;
  }
  return invalid_reason::not_found;
}

error_code error_of(verdict value) noexcept {
  switch (value) {
    case verdict::expired:
      return error_code::SESSION_EXPIRED;
    case verdict::revoked:
      return error_code::SESSION_REVOKED;
    case verdict::reused:
      return error_code::SESSION_REUSE_DETECTED;
    case verdict::locked:
      return error_code::USER_LOCKED_OUT;
    case verdict::ip_mismatch:
      return error_code::SESSION_IP_MISMATCH;
    case verdict::fingerprint_mismatch:
      return error_code::SESSION_FINGERPRINT_MISMATCH;
    case verdict::valid:
    case verdict::unopened:
    case verdict::unknown:
      break;
  }
  return error_code::SESSION_NOT_FOUND;
}

session_id current_id(const session_record& session, const session_id& presented, id_kind kind,
                      const key_material& keys) {
  if (kind != id_kind::predecessor) return presented;
  const auto* key = keys.find(session.extra->rotation_ring_key);
  return key == nullptr ? presented : successor_of(presented, session.extra->nonce, *key);
}

std::optional<std::string> open_data(const session_record& session, const session_id& presented,
                                     id_kind kind, const key_material& keys) {
  return open(data_key(current_id(session, presented, kind, keys)), session.data(),
              as_text(session.handle.bytes));
}

event about(const session_state& state, session_slot slot, millis now_ms) {
  const auto& s = state.at(slot);
  const auto& user = state.user(s.user);
  event what;
  what.at_ms = what.decided_at_ms = now_ms;
  what.tenant_id = state.tenant(user.tenant).name;
  what.subject = user.subject;
  what.handle = s.handle;
  what.session_seq = s.seq;
  if (user.who) what.user_id = user.who->user_id;
  return what;
}

void consequences_of_use(const decision_input& in, const judgement& verdict,
                         const session_id& presented, std::vector<event>& out) {
  const auto& s = in.state.at(verdict.slot);
  if (verdict.first_successor_use) {
    auto what = about(in.state, verdict.slot, in.now_ms);
    const auto grace_ms = policy_for(in, s).rotation_grace_s * 1000;
    what.body = session_successor_used{std::min(s.extra->grace_ends_at_ms, in.now_ms + grace_ms)};
    out.push_back(std::move(what));
  }
  if (verdict.rekey_due) {
    auto what = about(in.state, verdict.slot, in.now_ms);
    const auto& newest = in.keys.newest();
    what.body = session_rekeyed{s.id, id_hash{newest.ids(byte_view(presented.bytes))}, newest.id};
    out.push_back(std::move(what));
  }
}

result<nothing> check_ttls(const create_session& command, const session_policy& policy) {
  if (command.idle_ttl_s && (*command.idle_ttl_s < 1 || *command.idle_ttl_s > policy.idle_ttl_s))
    return fail(error_code::TTL_OUT_OF_RANGE, "idle_ttl_s", "1..policy", policy.idle_ttl_s);
  if (command.absolute_ttl_s &&
      (*command.absolute_ttl_s < 1 || *command.absolute_ttl_s > policy.absolute_ttl_s))
    return fail(error_code::TTL_OUT_OF_RANGE, "absolute_ttl_s", "1..policy", policy.absolute_ttl_s);
  return nothing{};
}

namespace {

std::string seal_data(const session_id& id, const session_handle& handle, std::string_view data,
                      const random_source& random) {
  if (data.empty()) return {};
  aead_nonce nonce;
  random(nonce);
  return seal(data_key(id), nonce, data, as_text(handle.bytes));
}

}  // namespace

created decide_create(const decision_input& in, const create_session& command, user_slot user,
                      const random_source& random) {
  const auto& owner = in.state.user(user);
  const auto& who = *owner.who;
  const auto& policy = in.policies.of(command.user.tenant_id);
  const auto& key = in.keys.newest();
  const auto& tenant_id = in.state.tenant(owner.tenant).name;
  created out;
  session_created body;
  if (command.alias.empty()) {
    random(out.id.bytes);
    out.id.bytes[0] = owner.subject.bytes[0];
  } else {
    out.id = in.keys.alias_id(tenant_id, command.alias, owner.subject.bytes[0]);
    body.alias = in.keys.alias_tag(tenant_id, command.alias);
  }
  session_handle handle;
  random(handle.bytes);
  handle.bytes[0] = owner.subject.bytes[0];

  const auto idle_ttl_s = command.idle_ttl_s.value_or(policy.idle_ttl_s);
  const auto absolute_ttl_s = command.absolute_ttl_s.value_or(policy.absolute_ttl_s);
  const auto user_agent =
      command.context.fields[static_cast<std::size_t>(context_field::user_agent)];
  body.absolute_expires_at_ms = in.now_ms + absolute_ttl_s * 1000;
  body.expires_at_ms = std::min(in.now_ms + idle_ttl_s * 1000, body.absolute_expires_at_ms);
  body.id = id_hash{key.ids(byte_view(out.id.bytes))};
  body.ring_key = key.id;
  body.idle_ttl_s = idle_ttl_s;
  body.tenant_generation = in.state.tenant(owner.tenant).generation;
  body.fields = hash_fields(who, command.context);
  body.ip = seal_ip(who, handle, command.context.ip);
  body.ip_plain = command.context.ip;
  body.data = seal_data(out.id, handle, command.data, random);
  body.find_ip = in.keys.find_tag(tenant_id, as_text(command.context.ip.bytes));
  body.find_user_agent = user_agent.empty() ? 0 : in.keys.find_tag(tenant_id, user_agent);

  out.what.at_ms = out.what.decided_at_ms = in.now_ms;
  out.what.tenant_id = tenant_id;
  out.what.user_id = who.user_id;
  out.what.subject = owner.subject;
  out.what.handle = handle;
  out.what.sealed = seal_shown(who, command.context.ip, user_agent, random);
  out.what.body = std::move(body);
  return out;
}

result<rotated> decide_rotate(const decision_input& in, const rotate_session& command,
                              const judgement& verdict, const random_source& random) {
  const auto& s = in.state.at(verdict.slot);
  rotated out;
  // Asked again with the id that was rotated: the same successor, so that parallel requests do not
  // fight.
  if (command.grace && verdict.kind == id_kind::predecessor) {
    out.id = current_id(s, command.id, verdict.kind, in.keys);
    return out;
  }
  if (verdict.first_successor_use) consequences_of_use(in, verdict, command.id, out.events);

  const auto& key = in.keys.newest();
  session_rotated body;
  body.grace = command.grace;
  body.predecessor = s.id;
  body.ring_key = key.id;
  if (command.grace) {
    random(body.nonce);
    body.grace_ends_at_ms = in.now_ms + limits::rotation_grace_after_rotation_ms;
    out.id = successor_of(command.id, body.nonce, key);
  } else {
    random(out.id.bytes);
    out.id.bytes[0] = command.id.bytes[0];
  }
  body.id = id_hash{key.ids(byte_view(out.id.bytes))};
  if (!s.data().empty()) {
    const auto plain = open_data(s, command.id, verdict.kind, in.keys);
    if (!plain) return fail(error_code::STORE_INTEGRITY);
    body.data = seal_data(out.id, s.handle, *plain, random);
  }
  auto what = about(in.state, verdict.slot, in.now_ms);
  what.body = std::move(body);
  out.events.push_back(std::move(what));
  return out;
}

result<event> decide_update(const decision_input& in, const update_session& command,
                            const judgement& verdict, const random_source& random) {
  const auto& s = in.state.at(verdict.slot);
  if (command.version && *command.version != s.version)
    return fail(error_code::SESSION_VERSION_CONFLICT, "version", "current", s.version);
  auto what = about(in.state, verdict.slot, in.now_ms);
  const auto sealed_under = current_id(s, command.id, verdict.kind, in.keys);
  what.body =
      session_updated{s.version + 1, seal_data(sealed_under, s.handle, command.data, random)};
  return what;
}

session_made made_reply(const session_record& s, const session_id& id) {
  session_made out;
  out.id = id;
  out.handle = s.handle;
  out.version = s.version;
  out.created_at_ms = s.created_at_ms;
  out.expires_at_ms = s.expires_at_ms();
  out.idle_expires_at_ms = s.idle_expires_at_ms();
  out.absolute_expires_at_ms = s.absolute_expires_at_ms;
  return out;
}

swept sweep(const session_state& state, session_slot slot, millis now_ms) noexcept {
  const auto& s = state.at(slot);
  const auto purge_at_ms = s.absolute_expires_at_ms + limits::tombstone_keep_ms;
  if (now_ms >= purge_at_ms) {
    // A session that nobody swept for so long still gets its event first.
    if (s.status == session_status::live && !state.outlived(s))
      return {swept::action::expire, expiry_kind::absolute, 0};
    return {swept::action::purge, {}, 0};
  }
  if (s.status != session_status::live || state.outlived(s))
    return {swept::action::keep, {}, purge_at_ms};
  if (now_ms < s.expires_at_ms()) return {swept::action::keep, {}, s.expires_at_ms()};
  return {swept::action::expire,
          s.absolute_expires_at_ms <= s.idle_expires_at_ms() ? expiry_kind::absolute
                                                             : expiry_kind::idle,
          0};
}

}  // namespace portcullis::core
