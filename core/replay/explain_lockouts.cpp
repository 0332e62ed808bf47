// Why validations failed, and why users and sources were locked out.
#include <algorithm>

#include "core/limits.hpp"
#include "core/replay/explain_parts.hpp"
#include "core/session/recorded.hpp"

namespace portcullis::core::explaining {
namespace {

/// Where the attempt was made from; absent: its user is forgotten, or it was not kept.
std::optional<shown_context> presented(const judged_event& e, const identity_ptr& who) {
  if (who == nullptr || e.what.sealed.empty()) return std::nullopt;
  return open_shown(*who, e.what.sealed);
}

void tell_fields(reasoning& r, const session_record& s, const validation_failed& body,
                 const session_policy& policy) {
  const auto differing = differing_fields(s, body.fields);
  r.value("bound_to", bound_to(s, policy));
  r.value("differing_fields", names_of(differing));
  r.value("enforced_among_them", names_of(differing & policy.enforced));
  const auto absent = static_cast<field_set>(differing & ~body.fields.present);
  if (absent != 0) r.value("absent_fields", names_of(absent));
}

/// Judges the fields alone: the addresses' key is destroyed.
void expect_reason_by_fields(reasoning& r, const judged_event& e, const session_record& s,
                             const validation_failed& body, const session_policy& policy) {
  const bool differs = (differing_fields(s, body.fields) & policy.enforced) != 0;
  if (body.reason == invalid_reason::ip_mismatch && policy.ip_binding != ip_binding::enforce)
    return r.disagree("ip_mismatch", "no such reason: ip_binding does not enforce");
  if (body.reason == invalid_reason::fingerprint_mismatch && !differs)
    return r.disagree("fingerprint_mismatch", "no enforced field that differs");
  if (policy.ip_binding == ip_binding::enforce)
    r.leave_open(e.in.open(*e.what.subject) == nullptr
                     ? "the user is forgotten: the addresses cannot be compared"
                     : "the addresses cannot be opened with this key file");
}

void expect_reason(reasoning& r, const judged_event& e, session_slot slot,
                   const validation_failed& body) {
  const auto& s = e.sessions.at(slot);
  const auto& policy = e.policies.of(e.what.tenant_id);
  tell_fields(r, s, body, policy);
  const auto who = e.in.open(*e.what.subject);
  const auto from = presented(e, who);
  reasoning quiet;
  if (!from || !open_address(quiet, e, slot, who))
    return expect_reason_by_fields(r, e, s, body, policy);
  r.value("presented_ip", to_text(from->ip));
  r.value("session_ip", to_text(s.ip));
  r.value("ip_binding", ip_binding_names[static_cast<std::size_t>(policy.ip_binding)]);
  if (e.in.keys != nullptr && body.source) {
    const auto source = e.in.keys->source(from->ip);
    if (*body.source != source)
      r.disagree(fmt::format("source {}", text_of(*body.source)), text_of(source));
  }
  const auto found = check_recorded(s, from->ip, body.fields, policy);
  std::optional<invalid_reason> given;
  if (found.ip_mismatch) given = invalid_reason::ip_mismatch;
  if (found.fingerprint_mismatch) given = invalid_reason::fingerprint_mismatch;
  if (given == body.reason) return r.value("reason", body.reason);
  r.disagree(fmt::format("reason {}", to_string(body.reason)), given ? text_of(given) : "valid");
}

/// When the lockout's actor counted it: the session's had decided a little before.
millis counted_at_ms(const judged_event& e, const validation_failed& body) {
  const auto window_ms = e.policies.lockout.window_s * 1000;
  auto at_ms = e.decided_at_ms;
  if (body.attempt == 1) at_ms = body.window_ends_at_ms - window_ms;
  if (body.counted_for_source && body.user_attempt == 1)
    at_ms = body.user_window_ends_at_ms - window_ms;
  const bool possible = at_ms >= e.decided_at_ms && at_ms <= e.decided_at_ms + apart_ms;
  return possible ? at_ms : e.decided_at_ms;
}

void counted(reasoning& r, const judged_event& e, const validation_failed& body) {
  r.rule(
      "A validation from another network, or with other enforced fields, than its session was made "
      "with is a failed attempt; the policy at that time decides what is compared, and the attempt "
      "is counted in a window fixed from the first.");
  if (!e.what.subject) return r.disagree("an attempt against nobody", "one that counts for a user");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  expect_live(r, e, slot);
  expect_reason(r, e, slot, body);
  const attempt what{*e.what.subject, *e.what.handle, body.source.value_or(short_hash{}), {}};
  const auto& policy = e.policies.lockout;
  const auto given = decide_attempt(e.lockouts, what, policy, counted_at_ms(e, body));
  r.value("threshold", policy.threshold);
  if (given.locked_already) return r.disagree("an attempt that counts", "locked_out");
  r.expect("attempt", *body.attempt, given.number);
  r.expect("window_ends_at_ms", body.window_ends_at_ms, given.window_ends_at_ms);
  if (body.counted_for_source || policy.scope == lockout_scope::user_source) {
    r.expect("counted_for_source", body.counted_for_source,
             policy.scope == lockout_scope::user_source);
    r.expect("user_attempt", body.user_attempt, given.user_number);
    r.expect("user_window_ends_at_ms", body.user_window_ends_at_ms, given.user_window_ends_at_ms);
  }
  r.value("starts_a_lock", given.locks_until_ms > 0);
}

/// Whether this source of the user was locked out then. Of a lock's begin, and of an end that was
/// asked for, is heard a little later.
bool was_locked(const judged_event& e, const std::optional<short_hash>& source, millis at_ms) {
  const auto& spans = e.in.recent.locks(*e.what.subject);
  return std::any_of(spans.begin(), spans.end(), [&](const auto& span) {
    const bool his = !span.source || !source || *span.source == *source;
    const bool heard_of =
        at_ms < span.until_ms && (!span.cleared_at_ms || at_ms < *span.cleared_at_ms + apart_ms);
    return his && at_ms >= span.from_ms - apart_ms && heard_of;
  });
}

void expect_locked(reasoning& r, const judged_event& e, const std::optional<short_hash>& source,
                   millis at_ms, std::string_view which) {
  if (was_locked(e, source, at_ms)) return;
  if (!e.in.recent.knows_since(at_ms - apart_ms)) return r.leave_open(before_the_log);
  r.disagree("locked_out", fmt::format("no lock at the {}", which));
}

/// Whether a session of the user was answered so.
bool has_ended_so(const judged_event& e, invalid_reason reason, millis at_ms) {
  const auto user = e.sessions.find_user(*e.what.subject);
  if (user == no_slot) return false;
  const auto sessions = e.in.before.sessions_of(user);
  return std::any_of(sessions.begin(), sessions.end(), [&](session_slot slot) {
    const auto& s = e.sessions.at(slot);
    const bool replaced = s.extra && !s.extra->old_ids.empty();  // an earlier id, still quiet
    return reason_of(over_because(e.sessions, slot, at_ms)) == reason ||
           (reason == invalid_reason::revoked && replaced) ||
           (reason == invalid_reason::expired && s.status == session_status::expired);
  });
}

void coalesced(reasoning& r, const judged_event& e, const validation_failed& body) {
  r.value("reason", body.reason);
  r.value("count", body.count.value_or(0));
  const auto first_ms = body.first_at_ms.value_or(e.decided_at_ms);
  const auto last_ms = body.last_at_ms.value_or(e.decided_at_ms);
  r.value("first_at_ms", first_ms);
  r.value("last_at_ms", last_ms);
  if (body.count.value_or(0) == 0) r.disagree("no failure", "at least one");
  if (first_ms > last_ms || last_ms > e.what.at_ms)
    r.disagree(fmt::format("failures from {} to {}", first_ms, last_ms),
               fmt::format("an order, up to {}", e.what.at_ms));
  if (!e.what.subject) {
    if (body.reason != invalid_reason::not_found && body.source)
      return r.disagree("a known session", "a user that it is of");
    return r.rule(body.reason == invalid_reason::not_found
                      ? "An id that no session has is answered not_found and counts against nobody."
                      : "Past a bound, failures are counted together, of any source.");
  }
  switch (body.reason) {
    case invalid_reason::locked_out:
      r.rule("While a user, or this source of the user, is locked out, nothing is compared.");
      expect_locked(r, e, body.source, first_ms, "first");
      return expect_locked(r, e, body.source, last_ms, "last");
    case invalid_reason::ip_mismatch:
    case invalid_reason::fingerprint_mismatch:
      r.rule("The same failing context of a session counts once in repeat_collapse_s.");
      r.value("repeat_collapse_s", e.policies.lockout.repeat_collapse_s);
      if (e.policies.lockout.repeat_collapse_s == 0)
        r.disagree("failures that do not count", "each counts: repeat_collapse_s is 0");
      return;
    case invalid_reason::expired:
    case invalid_reason::revoked:
      r.rule("A session that is over is answered with why, before anything is compared.");
      if (!has_ended_so(e, body.reason, last_ms))
        r.leave_open(
            "which session it was is not in the log, and none of the user's is known to "
            "have ended so");
      return;
    case invalid_reason::not_found:
      return r.disagree("not_found for a user", "an id that nobody has is nobody's");
  }
}

}  // namespace

void on(reasoning& r, const judged_event& e, const validation_failed& body) {
  if (body.attempt)
    counted(r, e, body);
  else
    coalesced(r, e, body);
}

void on(reasoning& r, const judged_event& e, const validation_signalled& body) {
  r.rule(
      "A difference in a field that is only observed, or challenged, is told and refuses nothing. "
      "What was presented is not kept: the log has which fields differed.");
  const auto slot = need_session(r, e);
  if (slot == no_slot) return;
  expect_live(r, e, slot);
  const auto& policy = e.policies.of(e.what.tenant_id);
  const bool challenges = body.action == signal_action::challenge;
  auto listened = challenges ? policy.challenged : policy.observed;
  if (policy.ip_binding == (challenges ? ip_binding::challenge : ip_binding::observe))
    listened |= ip_bit;
  r.value("action", body.action);
  r.value("fields", names_of(body.fields));
  r.value("fields_of_this_action", names_of(listened));
  if (body.fields == 0 || (body.fields & ~listened) != 0)
    r.disagree(fmt::format("{} of {}", to_string(body.action), names_of(body.fields)),
               names_of(listened));
  const auto compared = static_cast<field_set>(e.sessions.at(slot).present | ip_bit);
  if ((body.fields & ~compared) != 0)
    r.disagree("a difference", "a field that the session was not made with");
}

void on(reasoning& r, const judged_event& e, const lockout_started& body) {
  r.rule(
      "The attempt that reaches the threshold in its window starts a lock of duration_s: of the "
      "user, or with scope user_source of the source that failed.");
  const auto* last = e.what.subject ? e.in.recent.last_attempt(*e.what.subject) : nullptr;
  if (last == nullptr) {
    const auto* user = e.what.subject ? e.lockouts.find(*e.what.subject) : nullptr;
    if (user != nullptr && user->whole.failed_attempts > 0)
      return r.leave_open("the attempt that started it is before the log begins");
    return r.disagree("a lock", "no attempt that counted before it");
  }
  lockout_state then;
  then.need(*e.what.subject) = last->before;
  const auto& policy = e.policies.lockout;
  const auto given = decide_attempt(then, last->what, policy, e.decided_at_ms);
  r.value("attempt_seq", last->seq);
  r.value("threshold", policy.threshold);
  if (policy.scope == lockout_scope::user_source) r.value("user_threshold", policy.user_threshold);
  r.value("duration_s", policy.duration_s);
  if (given.locks_until_ms == 0)
    return r.disagree(fmt::format("a lock after {} attempts", body.attempts),
                      fmt::format("none: it is attempt {} of {}", given.number, policy.threshold));
  const bool of_source = given.locks_source_only;
  r.expect("locked_until_ms", body.locked_until_ms, given.locks_until_ms);
  r.expect("attempts", body.attempts,
           of_source || policy.scope == lockout_scope::user ? given.number : given.user_number);
  r.expect("of_one_source", body.source.has_value(), of_source);
  if (body.source && of_source) r.expect("source", *body.source, last->what.source);
}

namespace {

/// A lock that ended so shortly before that who decided had perhaps not heard of it.
template <class Like>
bool lock_just_ended(const judged_event& e, Like&& like) {
  if (!e.what.subject) return false;
  const auto& spans = e.in.recent.locks(*e.what.subject);
  return std::any_of(spans.begin(), spans.end(), [&](const log_recent::lock_span& span) {
    return like(span) && span.ended_ms() >= e.decided_at_ms - apart_ms &&
           span.ended_ms() <= e.what.at_ms;
  });
}

}  // namespace

void on(reasoning& r, const judged_event& e, const lockout_ended& body) {
  r.rule("A lock ends by itself, duration_s after it began.");
  const auto* user = e.what.subject ? e.lockouts.find(*e.what.subject) : nullptr;
  const lockout_counter* counter = nullptr;
  if (user != nullptr && !body.source) counter = &user->whole;
  if (user != nullptr && body.source) {
    const auto found = user->sources.find(*body.source);
    if (found != user->sources.end()) counter = &found->second;
  }
  if (counter == nullptr || counter->locked_until_ms == 0) {
    if (lock_just_ended(e, [&](const auto& span) {
          return span.source == body.source && span.cleared_at_ms &&
                 span.until_ms <= e.decided_at_ms;
        }))
      return r.value("cleared", std::string("while its end was on its way to the log"));
    if (!e.in.recent.knows_since(e.decided_at_ms - apart_ms)) return r.leave_open(before_the_log);
    return r.disagree("the end of a lock", "no lock");
  }
  r.value("locked_until_ms", counter->locked_until_ms);
  r.value("decided_at_ms", e.decided_at_ms);
  if (!counter->lock_over(e.decided_at_ms))
    r.disagree("the end of a lock", fmt::format("one until {}", counter->locked_until_ms));
}

void on(reasoning& r, const judged_event& e, const lockout_cleared& body) {
  r.rule("An administrator may clear a user's failed attempts and locks, where there are any.");
  r.value("reason", body.reason);
  r.value("actor", e.what.actor);
  const auto* user = e.what.subject ? e.lockouts.find(*e.what.subject) : nullptr;
  // The two actors that it takes may be apart by a little.
  if (user == nullptr || user->over(e.decided_at_ms - apart_ms)) {
    if (lock_just_ended(e, [](const auto& span) { return !span.cleared_at_ms; }))
      return r.value("locked", std::string("until just before"));
    if (!e.in.recent.knows_since(e.decided_at_ms - apart_ms)) return r.leave_open(before_the_log);
    return r.disagree("counters to clear", "none");
  }
  const auto was = status_of(e.lockouts, &*e.what.subject, e.policies.lockout, e.decided_at_ms);
  r.value("locked", was.locked);
  r.value("failed_attempts", was.failed_attempts);
}

void on(reasoning& r, const judged_event& e, const source_limited& body) {
  r.rule(
      "A source that tried source_threshold ids that nobody has is refused further unknown ids for "
      "duration_s.");
  r.value("source", body.source);
  r.value("source_threshold", e.policies.lockout.source_threshold);
  r.value("until_ms", body.until_ms);
  if (e.policies.lockout.source_threshold == 0)
    r.disagree("a source over the threshold", "none: source_threshold is 0");
  const auto began_ms = body.until_ms - e.policies.lockout.duration_s * 1000;
  if (began_ms > e.decided_at_ms + apart_ms || began_ms < e.decided_at_ms - apart_ms)
    r.disagree(fmt::format("until_ms {}", body.until_ms),
               fmt::format("{}", e.decided_at_ms + e.policies.lockout.duration_s * 1000));
  if (r.agrees()) r.leave_open("ids that nobody has are not in the log one by one");
}

}  // namespace portcullis::core::explaining
