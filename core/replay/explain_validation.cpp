// Why a validation of a session would have been answered as it would, at a moment of the past: the
// order of reasons of protocol.md.
#include <algorithm>

#include "core/limits.hpp"
#include "core/replay/explain_parts.hpp"

namespace portcullis::core {
namespace {

using explaining::reasoning;

/// Whether it ends such a session, with this answer from then on.
bool ends(const past_event& each, const session_handle& handle, invalid_reason answer) {
  const bool forgotten = answer == invalid_reason::not_found;  // by now, however it ended
  switch (each.type) {
    case event_type::session_expired:
      return each.handle == handle && (forgotten || answer == invalid_reason::expired);
    case event_type::session_evicted:
    case event_type::session_reuse_detected:
      return each.handle == handle && (forgotten || answer == invalid_reason::revoked);
    case event_type::session_revoked:
      return (!each.handle || each.handle == handle) && each.except != handle &&
             (forgotten || answer == invalid_reason::revoked);
    case event_type::user_forgotten:
      return forgotten || answer == invalid_reason::revoked;
    default:
      return false;  // NOLINT: all others end nothing
  }
}

/// The first one after its creation that ended it; null: it was over by time alone, or is not.
const past_event* end_of(const validation_question& asked, std::uint64_t created_seq,
                         std::optional<invalid_reason> answer) {
  if (!answer || *answer == invalid_reason::locked_out) return nullptr;
  const auto& all = asked.past.all();
  const auto found = std::find_if(all.begin(), all.end(), [&](const past_event& each) {
    return each.seq > created_seq && ends(each, asked.handle, *answer);
  });
  return found == all.end() ? nullptr : &*found;
}

/// The creation, what was last done with it, and for a lock its attempts.
std::vector<past_event> history(const validation_question& asked, std::uint64_t created_seq,
                                std::optional<invalid_reason> reason) {
  std::vector<past_event> out;
  std::size_t attempts = 0;
  const auto& all = asked.past.all();
  const bool locked = reason == invalid_reason::locked_out;
  const auto* end = end_of(asked, created_seq, reason);
  for (auto each = all.rbegin(); each != all.rend() && out.size() < 32; ++each) {
    const bool mine = each->handle == asked.handle;
    const bool its_end = &*each == end;
    const bool lock = each->type == event_type::lockout_started && locked && attempts == 0;
    const bool attempt = locked && each->is_attempt;
    attempts += attempt ? 1 : 0;
    const bool life = mine && each->type != event_type::validation_failed &&
                      each->type != event_type::validation_signalled;
    if (its_end || lock || attempt || life) out.push_back(*each);
  }
  if (const auto& made = asked.past.creation();
      made && std::none_of(out.begin(), out.end(),
                           [&](const past_event& each) { return each.seq == made->seq; }))
    out.push_back(*made);
  std::sort(out.begin(), out.end(),
            [](const past_event& a, const past_event& b) { return a.seq < b.seq; });
  return out;
}

void over(reasoning& r, answered_validation& out, const session_state& state, session_slot slot,
          verdict found) {
  const auto& s = state.at(slot);
  out.reason = reason_of(found);
  if (found == verdict::revoked)
    return r.rule(s.status == session_status::evicted
                      ? "A session that made room for another is answered revoked."
                  : s.status == session_status::live
                      ? "All sessions of its user, or of its tenant, were revoked."
                      : "A session that was revoked stays so.");
  r.rule(s.absolute_expires_at_ms <= s.idle_expires_at_ms()
             ? "A session ends at its absolute end, whatever its activity."
             : "A session ends idle_ttl_s after its recorded activity.");
}

/// Until when the user, or one of its sources, is locked out; tells them.
millis locked_until(reasoning& r, const user_lockout* user, millis at_ms) {
  if (user == nullptr) return 0;
  millis until_ms = 0;
  if (user->whole.locked(at_ms)) until_ms = user->whole.locked_until_ms;
  r.value("failed_attempts", user->whole.over(at_ms) ? 0U : user->whole.failed_attempts);
  for (const auto& [source, counter] : user->sources)
    if (counter.locked(at_ms))
      r.value("locked_source_" + to_base64url(source), counter.locked_until_ms);
  return until_ms;
}

void would_be_compared(reasoning& r, const validation_question& asked, session_slot slot) {
  auto& state = asked.then.sessions();
  const auto& s = state.at(slot);
  const auto& owner = state.user(s.user);
  const auto& policy = asked.policies.of(state.tenant(owner.tenant).name);
  r.rule(
      "A session that lives is valid from the network and with the enforced fields that it was "
      "made with; from elsewhere ip_mismatch, with other fields fingerprint_mismatch.");
  r.value("bound_to", bound_to(s, policy));
  r.value("ip_binding", ip_binding_names[static_cast<std::size_t>(policy.ip_binding)]);
  r.value("observed_fields", names_of(static_cast<field_set>(s.present & policy.observed)));
  r.value("challenged_fields", names_of(static_cast<field_set>(s.present & policy.challenged)));
  const auto who = asked.open(owner.subject);
  if (!s.ip_known && who != nullptr)
    if (const auto ip = open_ip(*who, s.sealed_ip())) state.know_ip(slot, *ip);
  if (s.ip_known)
    r.value("session_ip", to_text(s.ip));
  else
    r.leave_open("the user is forgotten by now: the address cannot be opened");
}

}  // namespace

answered_validation explain_validation(const validation_question& asked) {
  answered_validation out;
  reasoning r;
  const auto& state = asked.then.sessions();
  const auto slot = state.find(asked.handle);
  const bool there = slot != no_slot && asked.at_ms < state.at(slot).absolute_expires_at_ms +
                                                          limits::tombstone_keep_ms;
  if (!there) {
    out.known = slot != no_slot || asked.past.creation().has_value();
    out.reason = invalid_reason::not_found;
    r.rule(out.known ? "An ended session is forgotten 900 s past its absolute end."
                     : "No session of this handle had been made by then.");
  } else {
    const auto& s = state.at(slot);
    r.value("created_at_ms", s.created_at_ms);
    r.value("last_seen_at_ms", s.last_seen_at_ms);
    r.value("idle_expires_at_ms", s.idle_expires_at_ms());
    r.value("absolute_expires_at_ms", s.absolute_expires_at_ms);
    r.value("version", s.version);
    const auto found = over_because(state, slot, asked.at_ms);
    const auto* user = asked.then.lockouts().find(state.user(s.user).subject);
    if (found != verdict::valid) {
      over(r, out, state, slot, found);
      if (found == verdict::expired && s.status == session_status::live &&
          asked.at_ms < s.absolute_expires_at_ms && asked.lost_activity_at_ms > s.last_seen_at_ms)
        r.leave_open(explaining::activity_lost);
    } else if (const auto until_ms = locked_until(r, user, asked.at_ms); until_ms > 0) {
      out.reason = invalid_reason::locked_out;
      out.retry_after_ms = until_ms - asked.at_ms;
      r.value("locked_until_ms", until_ms);
      r.rule("While its user is locked out, no session of the user is valid.");
    } else {
      would_be_compared(r, asked, slot);
    }
  }
  out.how = r.take();
  const auto& made = asked.past.creation();
  const auto created_seq = slot != no_slot ? state.at(slot).seq : made ? made->seq : 0;
  out.how.because = history(asked, created_seq, out.reason);
  return out;
}

}  // namespace portcullis::core
