#include "core/replay/recent.hpp"

namespace portcullis::core {

void log_recent::begin(const replayed_state& state) {
  begins_at_ms_ = lost_activity_at_ms_ = state.at_ms();
  for (const auto& [subject, user] : state.lockouts().users()) {
    auto& spans = locks_[subject];
    if (user.whole.locked_until_ms > 0)
      spans.push_back({std::nullopt, 0, user.whole.locked_until_ms, state.seq()});
    for (const auto& [source, counter] : user.sources)
      if (counter.locked_until_ms > 0)
        spans.push_back({source, 0, counter.locked_until_ms, state.seq()});
    if (spans.empty()) locks_.erase(subject);
  }
  const auto& sessions = state.sessions();
  for (tenant_slot slot = 0; slot < sessions.tenant_count(); ++slot)
    if (const auto& tenant = sessions.tenant(slot); tenant.generation > 0)
      revocations_[tenant.name] = {state.seq(), state.at_ms()};  // at the latest
}

void log_recent::note(const event& what, const replayed_state& before) {
  // Before an attempt is noted that `before` does not count yet.
  if (what.at_ms - swept_at_ms_ >= kept_ms) forget_old(what.at_ms, before);
  if (what.subject) note_lockout(what, before);
  if (const auto* touched = std::get_if<session_touched>(&what.body);
      touched != nullptr && touched->touches.empty())
    lost_activity_at_ms_ = what.at_ms;
  note_sessions(what);
}

void log_recent::note_lockout(const event& what, const replayed_state& before) {
  if (const auto* failed = std::get_if<validation_failed>(&what.body)) {
    if (!failed->attempt) return;
    auto& last = attempts_[*what.subject];
    const auto* user = before.lockouts().find(*what.subject);
    last.seq = what.seq;
    last.before = user == nullptr ? user_lockout{} : *user;
    last.what = {*what.subject,
                 what.handle.value_or(nothings_handle),
                 failed->source.value_or(short_hash{}),
                 {}};
  } else if (const auto* started = std::get_if<lockout_started>(&what.body)) {
    locks_[*what.subject].push_back(
        {started->source, what.decided_at_ms, started->locked_until_ms, what.seq});
  } else if (std::holds_alternative<lockout_cleared>(what.body) ||
             std::holds_alternative<user_forgotten>(what.body)) {
    const auto found = locks_.find(*what.subject);
    if (found == locks_.end()) return;
    for (auto& each : found->second)
      if (!each.cleared_at_ms) each.cleared_at_ms = what.at_ms;
  }
}

void log_recent::note_sessions(const event& what) {
  std::uint64_t count = 0;
  switch (what.type()) {
    case event_type::session_created:
    case event_type::session_expired:
    case event_type::session_evicted:
    case event_type::session_reuse_detected:
      count = 1;
      break;
    case event_type::session_rekeyed:
      if (what.handle) rekeying_ = {*what.handle, std::get<session_rekeyed>(what.body).before};
      return;
    case event_type::session_revoked: {
      const auto& body = std::get<session_revoked>(what.body);
      count = body.count;
      if (body.scope == revoke_scope::tenant) revocations_[what.tenant_id] = {what.seq, what.at_ms};
      break;
    }
    case event_type::user_forgotten:
      count = std::get<user_forgotten>(what.body).count;
      break;
    default:
      return;  // NOLINT: the others begin and end no session
  }
  changes_.push_back({what.at_ms, what.tenant_id, count});
  while (changes_.front().at_ms < what.at_ms - kept_ms) changes_.pop_front();
}

void log_recent::forget_old(millis at_ms, const replayed_state& before) {
  swept_at_ms_ = at_ms;
  std::erase_if(attempts_,
                [&](const auto& each) { return before.lockouts().find(each.first) == nullptr; });
  for (auto& [subject, spans] : locks_)
    std::erase_if(spans, [&](const lock_span& each) { return each.ended_ms() < at_ms - kept_ms; });
  std::erase_if(locks_, [](const auto& each) { return each.second.empty(); });
}

const log_recent::counted_attempt* log_recent::last_attempt(const subject_id& subject) const {
  const auto found = attempts_.find(subject);
  return found == attempts_.end() ? nullptr : &found->second;
}

const std::vector<log_recent::lock_span>& log_recent::locks(const subject_id& subject) const {
  static const std::vector<lock_span> none;
  const auto found = locks_.find(subject);
  return found == locks_.end() ? none : found->second;
}

const log_recent::revocation* log_recent::last_revocation(const std::string& tenant) const {
  const auto found = revocations_.find(tenant);
  return found == revocations_.end() ? nullptr : &found->second;
}

std::uint64_t log_recent::changes(const std::string& tenant, millis since_ms) const {
  std::uint64_t sum = 0;
  for (auto each = changes_.rbegin(); each != changes_.rend() && each->at_ms >= since_ms; ++each)
    if (each->tenant == tenant) sum += each->count;
  return sum;
}

}  // namespace portcullis::core
