#include "core/lockout/state.hpp"

#include <algorithm>

#include "core/planted.hpp"

namespace portcullis::core {
namespace {

void count(lockout_counter& counter, std::uint32_t number, millis window_ends_at_ms) {
  counter.failed_attempts = number;
  counter.window_ends_at_ms = window_ends_at_ms;
  counter.locked_until_ms = 0;
}

struct next_count {
  std::uint32_t number;
  millis window_ends_at_ms;
};
next_count after(const lockout_counter* counter, const lockout_policy& policy, millis now_ms) {
  if (counter == nullptr || counter->failed_attempts == 0 || counter->over(now_ms))
    return {1, now_ms + policy.window_s * 1000};
  return {counter->failed_attempts + 1, counter->window_ends_at_ms};
}

bool collapses(const user_lockout& user, const attempt& what, const lockout_policy& policy,
               millis now_ms) {
  if (policy.repeat_collapse_s == 0) return false;
  return std::any_of(user.repeats.begin(), user.repeats.end(),
                     [&](const user_lockout::repeat& seen) {
                       return seen.handle == what.handle && seen.context == what.context &&
                              now_ms - seen.counted_at_ms < policy.repeat_collapse_s * 1000;
                     });
}

/// One by one: of a user that always has some source failing, all are never over at once.
void drop_sources(user_lockout& user, millis now_ms) {
  std::erase_if(user.sources, [&](const auto& entry) { return entry.second.gone(now_ms); });
}

std::optional<session_handle> worst(const user_lockout* user, const attempt& last) {
  std::uint32_t most = 0;
  auto found = last.handle;
  if (user != nullptr) {
    for (const auto& offender : user->offenders) {
      const auto failures = offender.failures + (offender.handle == last.handle ? 1U : 0U);
      if (failures > most) {
        most = failures;
        found = offender.handle;
      }
    }
  }
  return found;
}

}  // namespace

bool user_lockout::over(millis now_ms) const noexcept {
  return whole.over(now_ms) && std::all_of(sources.begin(), sources.end(), [&](const auto& entry) {
           return entry.second.over(now_ms);
         });
}

bool user_lockout::lock_over(millis now_ms) const noexcept {
  return whole.lock_over(now_ms) ||
         std::any_of(sources.begin(), sources.end(),
                     [&](const auto& entry) { return entry.second.lock_over(now_ms); });
}

bool user_lockout::source_over(millis now_ms) const noexcept {
  return std::any_of(sources.begin(), sources.end(),
                     [&](const auto& entry) { return entry.second.gone(now_ms); });
}

std::vector<std::optional<short_hash>> user_lockout::locks_over(millis now_ms) const {
  std::vector<std::optional<short_hash>> over;
  if (whole.lock_over(now_ms)) over.emplace_back();
  for (const auto& [source, counter] : sources)
    if (counter.lock_over(now_ms)) over.emplace_back(source);
  return over;
}

void lockout_state::apply(const event& what) {
  if (!what.subject) return;
  if (const auto* failed = std::get_if<validation_failed>(&what.body)) {
    if (!failed->attempt) return;
    auto& user = users_[*what.subject];
    if (user.first_window_ends_at_ms == 0)
      user.first_window_ends_at_ms =
          failed->counted_for_source ? failed->user_window_ends_at_ms : failed->window_ends_at_ms;
    if (failed->counted_for_source && failed->source) {
      count(user.sources[*failed->source], *failed->attempt, failed->window_ends_at_ms);
      count(user.whole, failed->user_attempt, failed->user_window_ends_at_ms);
    } else {
      count(user.whole, *failed->attempt, failed->window_ends_at_ms);
    }
  } else if (const auto* started = std::get_if<lockout_started>(&what.body)) {
    auto& user = users_[*what.subject];
    (started->source ? user.sources[*started->source] : user.whole).locked_until_ms =
        started->locked_until_ms;
  } else if (const auto* ended = std::get_if<lockout_ended>(&what.body)) {
    const auto found = users_.find(*what.subject);
    if (found == users_.end()) return;
    if (ended->source) {
      found->second.sources.erase(*ended->source);
    } else {
      found->second.whole = {};
      found->second.repeats.clear();
      found->second.offenders.clear();
    }
    if (found->second.sources.empty() && found->second.whole.failed_attempts == 0)
      users_.erase(found);
  } else if (std::holds_alternative<lockout_cleared>(what.body) ||
             std::holds_alternative<user_forgotten>(what.body)) {
    users_.erase(*what.subject);
  }
}

void lockout_state::load(const subject_id& subject, const std::optional<short_hash>& source,
                         const lockout_counter& counter) {
  auto& user = users_[subject];
  (source ? user.sources[*source] : user.whole) = counter;
  auto& first = user.first_window_ends_at_ms;
  first = first == 0 ? counter.window_ends_at_ms : std::min(first, counter.window_ends_at_ms);
}

const user_lockout* lockout_state::find(const subject_id& subject) const {
  const auto found = users_.find(subject);
  return found == users_.end() ? nullptr : &found->second;
}

bool lockout_state::drop_if_over(const subject_id& subject, millis now_ms) {
  const auto found = users_.find(subject);
  if (found == users_.end()) return true;
  if (found->second.over(now_ms)) {
    users_.erase(found);
    return true;
  }
  drop_sources(found->second, now_ms);
  return false;
}

void lockout_state::drop_over(millis now_ms) {
  for (auto at = users_.begin(); at != users_.end();) {
    auto& user = at->second;
    drop_sources(user, now_ms);
    at = user.over(now_ms) && !user.lock_over(now_ms) ? users_.erase(at) : std::next(at);
  }
}

std::size_t lockout_state::locked(millis now_ms) const {
  std::size_t count = 0;
  for (const auto& [subject, user] : users_)
    count += user.whole.locked(now_ms) ||
             std::any_of(user.sources.begin(), user.sources.end(),
                         [&](const auto& entry) { return entry.second.locked(now_ms); });
  return count;
}

attempt_judged decide_attempt(const lockout_state& state, const attempt& what,
                              const lockout_policy& policy, millis now_ms) {
  attempt_judged out;
  const auto* user = state.find(what.subject);
  const bool by_source = policy.scope == lockout_scope::user_source;
  const lockout_counter* source = nullptr;
  if (user != nullptr) {
    const auto found = user->sources.find(what.source);
    if (found != user->sources.end()) source = &found->second;
    // An attempt while locked neither counts nor extends the lock.
    if (user->whole.locked(now_ms) || (source != nullptr && source->locked(now_ms))) {
      out.counted = false;
      out.locked_already = true;
      return out;
    }
    if (collapses(*user, what, policy, now_ms)) {
      out.counted = false;
      return out;
    }
  }
  const auto whole = after(user == nullptr ? nullptr : &user->whole, policy, now_ms);
  const auto lock_ends_ms = now_ms + policy.duration_s * 1000;
  if (by_source) {
    const auto own = after(source, policy, now_ms);
    out.number = own.number;
    out.window_ends_at_ms = own.window_ends_at_ms;
    out.user_number = whole.number;
    out.user_window_ends_at_ms = whole.window_ends_at_ms;
    if (whole.number >= policy.user_threshold) {
      out.locks_until_ms = lock_ends_ms;
    } else if (own.number >= policy.threshold) {
      out.locks_until_ms = lock_ends_ms;
      out.locks_source_only = true;
    }
  } else {
    out.number = whole.number;
    out.window_ends_at_ms = whole.window_ends_at_ms;
    const auto threshold = policy.threshold + (is_planted("threshold") ? 1 : 0);
    if (whole.number >= threshold) out.locks_until_ms = lock_ends_ms;
  }
  if (out.locks_until_ms > 0 && policy.revoke_offending) out.revoke = worst(user, what);
  return out;
}

void note_attempt(lockout_state& state, const attempt& what, const lockout_policy& policy,
                  millis now_ms) {
  auto& user = state.need(what.subject);
  if (policy.repeat_collapse_s > 0) {
    std::erase_if(user.repeats, [&](const user_lockout::repeat& seen) {
      return now_ms - seen.counted_at_ms >= policy.repeat_collapse_s * 1000;
    });
    // At most as many as attempts that count in a window: bounded by the thresholds.
    user.repeats.push_back({what.handle, what.context, now_ms});
  }
  if (policy.revoke_offending) {
    const auto found =
        std::find_if(user.offenders.begin(), user.offenders.end(),
                     [&](const auto& offender) { return offender.handle == what.handle; });
    if (found == user.offenders.end())
      user.offenders.push_back({what.handle, 1});
    else
      ++found->failures;
  }
}

lockout_state_reply status_of(const lockout_state& state, const subject_id* subject,
                              const lockout_policy& policy, millis now_ms) {
  lockout_state_reply out;
  out.threshold = policy.threshold;
  const auto* user = subject == nullptr ? nullptr : state.find(*subject);
  if (user == nullptr) return out;
  if (!user->whole.over(now_ms)) {
    out.failed_attempts = user->whole.failed_attempts;
    if (!user->whole.locked(now_ms)) out.window_ends_at_ms = user->whole.window_ends_at_ms;
  }
  millis until = user->whole.locked(now_ms) ? user->whole.locked_until_ms : 0;
  for (const auto& [source, counter] : user->sources)
    if (counter.locked(now_ms)) until = std::max(until, counter.locked_until_ms);
  if (until > 0) {
    out.locked = true;
    out.locked_until_ms = until;
  }
  return out;
}

}  // namespace portcullis::core
