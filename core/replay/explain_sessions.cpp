// Why sessions began, went on and ended.
#include <algorithm>

#include "core/limits.hpp"
#include "core/replay/explain_parts.hpp"
#include "core/session/recorded.hpp"

namespace portcullis::core::explaining {
namespace {

void expect_within_ttls(reasoning& r, const judged_event& e, const session_created& body,
                        const session_policy& policy) {
  const auto absolute_ms = body.absolute_expires_at_ms - e.decided_at_ms;
  create_session command;
  command.idle_ttl_s = body.idle_ttl_s;
  command.absolute_ttl_s = absolute_ms / 1000;
  r.value("idle_ttl_s", body.idle_ttl_s);
  r.value("idle_ttl_s_max", policy.idle_ttl_s);
  r.value("absolute_ttl_s", absolute_ms / 1000);
  r.value("absolute_ttl_s_max", policy.absolute_ttl_s);
  if (absolute_ms % 1000 != 0)
    r.disagree(fmt::format("an absolute time to live of {} ms", absolute_ms), "whole seconds");
  if (const auto ok = check_ttls(command, policy); !ok)
    r.disagree(fmt::format("{} beyond the policy", ok.error().field),
               fmt::format("TTL_OUT_OF_RANGE past {}", ok.error().limit));
  r.expect("expires_at_ms", body.expires_at_ms,
           std::min(e.decided_at_ms + body.idle_ttl_s * 1000, body.absolute_expires_at_ms));
}

}  // namespace

void on(reasoning& r, const judged_event& e, const session_created& body) {
  const auto& policy = e.policies.of(e.what.tenant_id);
  r.rule(
      "A session is made when its times to live are within the policy and its user has fewer "
      "sessions than max_sessions_per_user.");
  if (!e.what.subject || !e.what.handle)
    return r.disagree("a session of nobody", "one with a user and a handle");
  expect_within_ttls(r, e, body, policy);
  expect_generation(r, e, body.tenant_generation);
  if (e.sessions.find(*e.what.handle) != no_slot)
    r.disagree("a new handle", "one that is another session's");
  const auto live = live_sessions(e, e.sessions.find_user(*e.what.subject)).live.size();
  r.value("live_sessions", live);
  r.value("max_sessions_per_user", policy.max_sessions_per_user);
  if (policy.max_sessions_per_user > 0 && live >= policy.max_sessions_per_user)
    r.disagree("one more session",
               policy.on_cap == cap_action::deny ? "SESSION_CAP_REACHED" : "an eviction first");
}

void on(reasoning& r, const judged_event& e, const session_touched& body) {
  r.rule(
      "Recorded activity moves when it is newer by touch_granularity_s, or by half the session's "
      "idle time to live where that is shorter.");
  if (body.touches.empty()) return r.leave_open("this activity was dropped: it is old");
  r.value("sessions", body.touches.size());
  for (const auto& each : body.touches) {
    const auto slot = e.sessions.find(each.handle);
    if (slot == no_slot || e.sessions.at(slot).status != session_status::live) continue;
    const auto& s = e.sessions.at(slot);
    const auto least_ms = touch_granularity_ms(s, e.policies.of(e.what.tenant_id));
    const auto newer_ms = each.last_seen_at_ms - s.last_seen_at_ms;
    if (body.touches.size() == 1) {
      r.value("newer_by_ms", newer_ms);
      r.value("granularity_ms", least_ms);
    }
    if (newer_ms < least_ms)
      r.disagree(fmt::format("activity of {} newer by {} ms", to_text(each.handle), newer_ms),
                 fmt::format("at least {} ms", least_ms));
  }
}

void on(reasoning& r, const judged_event& e, const session_rotated& body) {
  r.rule(
      "Rotation replaces the id of a session that was just judged valid; with grace the id before "
      "goes on until its successor is used, at the latest 300 s after.");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  expect_live(r, e, slot);
  const auto& s = e.sessions.at(slot);
  r.value("grace", body.grace);
  const auto& rekeyed = e.in.recent.last_rekeying();
  const bool was_rekeyed =
      rekeyed && rekeyed->handle == *e.what.handle && rekeyed->before == body.predecessor;
  if (!was_rekeyed) r.expect("predecessor", body.predecessor, s.id);
  if (body.id == s.id) r.disagree("the id as before", "another one");
  r.expect("grace_ends_at_ms", body.grace_ends_at_ms,
           body.grace ? e.decided_at_ms + limits::rotation_grace_after_rotation_ms : 0);
}

void on(reasoning& r, const judged_event& e, const session_successor_used& body) {
  r.rule(
      "The first valid use of a successor ends its predecessor's grace rotation_grace_s later, or "
      "when it would have ended anyway.");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  expect_live(r, e, slot);
  const auto* extra = e.sessions.at(slot).extra.get();
  if (extra == nullptr || !extra->has_predecessor)
    return r.disagree("a successor", "a session without a predecessor in grace");
  if (extra->successor_used) r.disagree("its first use", "a later one");
  const auto grace_s = e.policies.of(e.what.tenant_id).rotation_grace_s;
  r.value("rotation_grace_s", grace_s);
  r.expect("grace_ends_at_ms", body.grace_ends_at_ms,
           std::min(extra->grace_ends_at_ms, e.decided_at_ms + grace_s * 1000));
}

void on(reasoning& r, const judged_event& e, const session_rekeyed& body) {
  r.rule("A session that is found under an older key of the ring is hashed anew when it is used.");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  expect_live(r, e, slot);
  const auto& s = e.sessions.at(slot);
  r.expect("before", body.before, s.id);
  r.value("ring_key", body.ring_key);
  if (body.ring_key <= s.ring_key)
    r.disagree(fmt::format("ring_key {}", body.ring_key), fmt::format("one after {}", s.ring_key));
}

void on(reasoning& r, const judged_event& e, const session_updated& body) {
  r.rule("An update raises the version of a session that was just judged valid by one.");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  expect_live(r, e, slot);
  r.expect("version", body.version, e.sessions.at(slot).version + 1);
}

namespace {

void revoked_by_lock(reasoning& r, const judged_event& e) {
  r.rule("A lock also revokes the session that took most of the failures (revoke_offending).");
  r.value("revoke_offending", e.policies.lockout.revoke_offending);
  if (!e.policies.lockout.revoke_offending)
    r.disagree("a session revoked by a lock", "none: revoke_offending is off");
  const auto* user = e.what.subject ? e.lockouts.find(*e.what.subject) : nullptr;
  const bool locked =
      user != nullptr &&
      (user->whole.locked(e.decided_at_ms) ||
       std::any_of(user->sources.begin(), user->sources.end(),
                   [&](const auto& each) { return each.second.locked(e.decided_at_ms); }));
  if (!locked) r.disagree("a lock", "none");
}

void users_sessions_revoked(reasoning& r, const judged_event& e, std::uint64_t recorded,
                            std::uint64_t generation, session_slot except) {
  expect_generation(r, e, generation);
  const auto user = e.what.subject ? e.sessions.find_user(*e.what.subject) : no_slot;
  auto [live, doubtful] = live_sessions(e, user);
  if (except != no_slot && e.sessions.at(except).user != user)
    r.disagree("an exception", "another user's session");
  std::erase(live, except);
  const auto tenant = e.sessions.find_tenant(e.what.tenant_id);
  if (tenant != no_slot && generation < e.sessions.tenant(tenant).generation) {
    r.value("count", recorded);
    return r.leave_open("the tenant was revoked while the sessions were counted");
  }
  if (doubtful > 0 && recorded >= live.size() && recorded <= live.size() + doubtful) {
    r.value("count", recorded);
    return r.leave_open(activity_lost);
  }
  r.expect("count", recorded, std::uint64_t{live.size()});
}

void tenants_sessions_revoked(reasoning& r, const judged_event& e, const session_revoked& body) {
  r.rule(
      "Revoking a tenant ends every session made under an earlier generation; the count is of "
      "those that no sweep has ended yet.");
  const auto tenant = e.sessions.find_tenant(e.what.tenant_id);
  const std::uint64_t generation = tenant == no_slot ? 0 : e.sessions.tenant(tenant).generation;
  const std::uint64_t live = tenant == no_slot ? 0 : e.sessions.tenant(tenant).live;
  r.expect("tenant_generation", body.tenant_generation, generation + 1);
  // It is counted over all shards while they go on: what began or ended meanwhile may be in it.
  const auto apart = body.count > live ? body.count - live : live - body.count;
  const auto meanwhile = e.in.recent.changes(e.what.tenant_id, e.decided_at_ms - apart_ms);
  const bool known = e.in.recent.knows_since(e.decided_at_ms - apart_ms);
  if (known && apart > meanwhile) {
    r.expect("count", body.count, live);
    return;
  }
  r.value("count", body.count);
  if (apart > 0) r.leave_open("sessions began or ended while it was counted");
}

}  // namespace

void on(reasoning& r, const judged_event& e, const session_revoked& body) {
  r.value("reason", body.reason);
  if (!e.what.actor.empty()) r.value("actor", e.what.actor);
  switch (body.scope) {
    case revoke_scope::session: {
      r.rule("A caller may revoke a session that lives.");
      const auto slot = need_session(r, e);
      if (slot == no_slot) return;
      expect_live(r, e, slot);
      r.expect("count", body.count, std::uint64_t{1});
      if (body.reason == "lockout") revoked_by_lock(r, e);
      return;
    }
    case revoke_scope::user:
      r.rule("Revoking a user ends all sessions of the user that live, but the one excepted.");
      return users_sessions_revoked(
          r, e, body.count, body.tenant_generation,
          body.except_handle ? e.sessions.find(*body.except_handle) : no_slot);
    case revoke_scope::tenant:
      return tenants_sessions_revoked(r, e, body);
  }
}

void on(reasoning& r, const judged_event& e, const user_forgotten& body) {
  r.rule("Forgetting a user ends all sessions of the user and destroys the user's key.");
  r.value("reason", body.reason);
  r.value("actor", e.what.actor);
  users_sessions_revoked(r, e, body.count, body.tenant_generation, no_slot);
}

void on(reasoning& r, const judged_event& e, const session_expired& body) {
  r.rule("A session ends idle_ttl_s after its recorded activity, and at its absolute end.");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  const auto& s = e.sessions.at(slot);
  r.value("last_seen_at_ms", s.last_seen_at_ms);
  r.value("idle_expires_at_ms", s.idle_expires_at_ms());
  r.value("absolute_expires_at_ms", s.absolute_expires_at_ms);
  r.value("decided_at_ms", e.decided_at_ms);
  if (s.status == session_status::live && e.sessions.outlived(s) && tenant_just_revoked(e))
    return r.leave_open("the tenant was revoked at the same time");
  if (s.status == session_status::live && !e.sessions.outlived(s) &&
      e.in.recent.lost_activity_at_ms() > s.last_seen_at_ms)
    return r.leave_open(activity_lost);
  const auto found = sweep(e.sessions, slot, e.decided_at_ms);
  if (found.what == swept::action::expire)
    r.expect("kind", body.kind, found.kind);
  else if (s.status == session_status::live && !e.sessions.outlived(s))
    r.disagree("an end by time", fmt::format("a session that lives until {}", found.next_ms));
  else
    r.disagree("an end by time", "a session that is over already");
}

void on(reasoning& r, const judged_event& e, const session_evicted&) {
  r.rule(
      "Where a user has max_sessions_per_user sessions and on_cap is evict_oldest, the oldest one "
      "makes room for a new one.");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  expect_live(r, e, slot);
  const auto& policy = e.policies.of(e.what.tenant_id);
  const auto [live, doubtful] = live_sessions(e, e.sessions.at(slot).user);
  r.value("live_sessions", live.size());
  r.value("max_sessions_per_user", policy.max_sessions_per_user);
  r.value("on_cap", cap_action_names[static_cast<std::size_t>(policy.on_cap)]);
  if (policy.max_sessions_per_user == 0 || policy.on_cap != cap_action::evict_oldest)
    return r.disagree("an eviction", "none: the policy evicts nobody");
  if (!r.agrees() || live.empty() || tenant_just_revoked(e)) return;
  if (doubtful > 0) return r.leave_open(activity_lost);
  if (live.size() < policy.max_sessions_per_user)
    return r.disagree("an eviction", "none: there is room for one more");
  if (live.front() != slot)
    r.disagree("this session evicted",
               fmt::format("the oldest, {}", to_text(e.sessions.at(live.front()).handle)));
}

void on(reasoning& r, const judged_event& e, const session_reuse_detected&) {
  r.rule("Using an id after its grace is a theft of it: the session is revoked.");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  expect_live(r, e, slot);
  const auto& s = e.sessions.at(slot);
  std::size_t old = 0;
  if (s.extra) {
    if (s.extra->has_predecessor) {
      r.value("grace_ends_at_ms", s.extra->grace_ends_at_ms);
      old += is_reuse(s, {slot, id_kind::predecessor, 0}, e.decided_at_ms) ? 1 : 0;
    }
    for (const auto& each : s.extra->old_ids)
      old += is_reuse(s, {slot, id_kind::old, each.quiet_until_ms}, e.decided_at_ms) ? 1 : 0;
  }
  r.value("ids_past_their_grace", old);
  if (old == 0) r.disagree("an id used after its grace", "a session without such an id");
}

}  // namespace portcullis::core::explaining
