#include "core/replay/what_if.hpp"

namespace portcullis::core {

what_if::what_if(what_if_options options)
    : options_(std::move(options)),
      tally_(options_.range),
      lockouts_(tally_, recorded_.lockouts(), std::move(options_.each_lockout)),
      sessions_(tally_, recorded_),
      breakers_(tally_, recorded_.breakers()) {
  if (!options_.who) options_.who = [](const subject_id&) { return identity_ptr(); };
}

void what_if::change_policies(policy_book recorded, policy_book other) {
  recorded_book_ = std::move(recorded);
  other_book_ = std::move(other);
  lockouts_.change_policies(recorded_book_.lockout, other_book_.lockout);
  breakers_.change_policies(recorded_book_.breakers, other_book_.breakers, recorded_.at_ms());
  for (auto& each : blind_spots(recorded_book_, other_book_)) tally_.note(std::move(each));
}

void what_if::begin(replayed_state base) {
  recorded_ = std::move(base);
  activity_is_gone(recorded_.at_ms());  // it was, where it was old, before the cut
  sessions_.begin(recorded_book_, other_book_);
  lockouts_.begin(recorded_.at_ms());
  breakers_.begin(recorded_.at_ms());
}

void what_if::apply(const event& what) {
  tally_.at(what.seq);
  sessions_.advance(what.at_ms);
  lockouts_.advance(what.at_ms);
  switch (what.type()) {
    case event_type::session_created:
      recorded_.apply(what);
      if (const auto slot = slot_of(what); slot != no_slot)
        sessions_.created(slot, recorded_book_.of(what.tenant_id), other_book_.of(what.tenant_id));
      return;
    case event_type::session_touched:
      touched(what, std::get<session_touched>(what.body));
      break;
    case event_type::session_rotated:
    case event_type::session_updated:
      used(what, true);
      break;
    case event_type::session_successor_used:
    case event_type::session_rekeyed:
      used(what, false);
      break;
    case event_type::session_revoked:
    case event_type::session_expired:
    case event_type::session_evicted:
    case event_type::session_reuse_detected:
      recorded_.apply(what);
      return ended(what);
    case event_type::validation_failed:
      failed(what, std::get<validation_failed>(what.body));
      break;
    case event_type::validation_signalled:
      signalled(what, std::get<validation_signalled>(what.body));
      break;
    case event_type::lockout_started:
      lockouts_.started(what, std::get<lockout_started>(what.body));
      break;
    case event_type::lockout_ended:
      lockouts_.ended(what);
      break;
    case event_type::lockout_cleared:
    case event_type::user_forgotten:
      lockouts_.cleared(what);
      break;
    default:  // NOLINT: the others are of breakers, or change nothing here
      breakers_.apply(what);
      break;
  }
  recorded_.apply(what);
}

bool what_if::locked(session_slot slot, millis at_ms) const {
  const auto& sessions = recorded_.sessions();
  const auto& subject = sessions.user(sessions.at(slot).user).subject;
  if (!lockouts_.locked(subject, at_ms)) return false;
  // What was good just before both worlds locked out may be told just after.
  const auto* both = recorded_.lockouts().find(subject);
  return both == nullptr || !both->whole.locked(at_ms);
}

void what_if::activity_is_gone(millis until_ms) {
  sessions_.unknown_until(until_ms);
  tally_.note(
      "old records of activity are gone (store.touch_retention_h, or the log was cut): "
      "idle times are as recorded there");
}

void what_if::touched(const event& what, const session_touched& body) {
  if (body.dropped) activity_is_gone(what.at_ms);
  for (const auto& each : body.touches) {
    const auto slot = recorded_.sessions().find(each.handle);
    if (slot != no_slot)
      sessions_.used(slot, each.last_seen_at_ms, locked(slot, each.last_seen_at_ms), true);
  }
}

void what_if::used(const event& what, bool touches) {
  if (const auto slot = slot_of(what); slot != no_slot)
    sessions_.used(slot, what.decided_at_ms, locked(slot, what.decided_at_ms), touches);
}

void what_if::failed(const event& what, const validation_failed& body) {
  const auto at_ms = what.decided_at_ms;
  const bool mismatch = body.reason == invalid_reason::ip_mismatch ||
                        body.reason == invalid_reason::fingerprint_mismatch;
  if (body.attempt) {
    const auto slot = slot_of(what);
    const auto& other = other_book_.of(what.tenant_id);
    auto* session = slot == no_slot ? nullptr : &recorded_.sessions().at(slot);
    const auto anew =
        judge_anew(what, body, session, recorded_book_.of(what.tenant_id), other, options_.who);
    const bool lives = slot == no_slot || sessions_.lived_for(slot, at_ms);
    if (!anew.fails && lives && slot != no_slot && !locked(slot, at_ms))
      sessions_.passed(slot, at_ms, other);
    const auto from =
        lockouts_.needs_address() ? presented_address(what, options_.who) : std::nullopt;
    const auto revoked = lockouts_.attempted(what, body, from, anew.fails && lives, anew.estimated);
    if (anew.estimated && tally_.counts(at_ms))
      tally_.row(what.tenant_id, at_ms).approximate = true;
    if (what.subject) revoke(revoked, at_ms, *what.subject);
  } else if (body.count && (mismatch || body.reason == invalid_reason::locked_out)) {
    const auto revoked = lockouts_.coalesced(what, body, [&](const session_handle& handle) {
      const auto slot = recorded_.sessions().find(handle);
      return slot == no_slot || sessions_.lives(slot, at_ms);
    });
    if (what.subject) revoke(revoked, at_ms, *what.subject);
  } else if (what.subject && body.reason != invalid_reason::not_found) {
    sessions_.asked_for_ended(*what.subject, body.last_at_ms.value_or(at_ms));
  }
}

void what_if::signalled(const event& what, const validation_signalled& body) {
  if (!fails_under(body, other_book_.of(what.tenant_id))) return;
  const auto slot = slot_of(what);
  const auto at_ms = what.decided_at_ms;
  if (slot != no_slot && !sessions_.lived_for(slot, at_ms))
    return sessions_.used(slot, at_ms, false, false);
  if (signalled_ == what.handle && signalled_at_ms_ == at_ms) return;
  signalled_ = what.handle;
  signalled_at_ms_ = at_ms;
  if (slot != no_slot) sessions_.failed(slot, at_ms);
  const auto revoked = lockouts_.signalled(what, body);
  if (what.subject) revoke(revoked, at_ms, *what.subject);
}

/// The other world's lockout revokes the session that took most of the failures.
void what_if::revoke(const std::optional<session_handle>& whose, millis at_ms,
                     const subject_id& subject) {
  const auto slot = whose ? recorded_.sessions().find(*whose) : no_slot;
  if (slot != no_slot) sessions_.other_ended(slot, at_ms, "lockout", lockouts_.estimated(subject));
}

void what_if::ended(const event& what) {
  const auto slot = slot_of(what);
  if (slot == no_slot) return;  // of a whole user or tenant: in both worlds
  const auto at_ms = what.decided_at_ms;
  const bool doubtful = what.subject && lockouts_.estimated(*what.subject);
  if (what.type() == event_type::session_expired) {
    const auto expired_ms = recorded_.sessions().at(slot).expires_at_ms();
    return sessions_.recorded_ended(slot, std::min(expired_ms, at_ms), {}, false);
  }
  if (what.type() == event_type::session_evicted)
    return sessions_.evicted(slot, at_ms, recorded_book_.of(what.tenant_id),
                             other_book_.of(what.tenant_id));
  const auto* revoked = std::get_if<session_revoked>(&what.body);
  const bool by_lockout = revoked != nullptr && revoked->scope == revoke_scope::session &&
                          revoked->reason == "lockout" && what.actor.empty();
  if (by_lockout && what.subject && !lockouts_.same(*what.subject))
    return sessions_.recorded_ended(slot, at_ms, "lockout", doubtful);
  sessions_.ended(slot, at_ms);
}

what_if_report what_if::finish() {
  sessions_.finish(recorded_.at_ms());
  lockouts_.finish();
  return tally_.finish();
}

}  // namespace portcullis::core
