// Failed attempts and locks, and nothing else. apply() is the only thing that changes a counter.
#pragma once
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/contract/reply.hpp"
#include "core/event/event.hpp"
#include "core/lockout/policy.hpp"

namespace portcullis::core {

/// Failures of a user, or of one source of a user (scope user_source).
struct lockout_counter {
  std::uint32_t failed_attempts = 0;
  millis window_ends_at_ms = 0;
  millis locked_until_ms = 0;  // 0: not locked

  /// Every counter ends by itself: with its lock, or with its window.
  [[nodiscard]] millis ends_at_ms() const noexcept {
    return locked_until_ms > 0 ? locked_until_ms : window_ends_at_ms;
  }
  [[nodiscard]] bool over(millis now_ms) const noexcept { return now_ms >= ends_at_ms(); }
  [[nodiscard]] bool locked(millis now_ms) const noexcept { return now_ms < locked_until_ms; }
  /// A lock that nobody has ended yet.
  [[nodiscard]] bool lock_over(millis now_ms) const noexcept {
    return locked_until_ms > 0 && !locked(now_ms);
  }
  /// Over, with no end of a lock to be told: as if it had never been.
  [[nodiscard]] bool gone(millis now_ms) const noexcept {
    return over(now_ms) && locked_until_ms == 0;
  }
};

/// The counters of one user.
struct user_lockout {
  millis first_window_ends_at_ms = 0;  // stands for when counting began; orders lists
  lockout_counter whole;
  std::map<short_hash, lockout_counter> sources;
  // For repeat_collapse_s and revoke_offending; not in the log: a crash forgets them with at most
  // one count of harm.
  struct repeat {
    session_handle handle;
    short_hash context;
    millis counted_at_ms = 0;
  };
  std::vector<repeat> repeats;
  struct offender {
    session_handle handle;
    std::uint32_t failures = 0;
  };
  std::vector<offender> offenders;

  [[nodiscard]] bool over(millis now_ms) const noexcept;
  /// Whether a lock, the user's or a source's, is over and nobody has ended it yet.
  [[nodiscard]] bool lock_over(millis now_ms) const noexcept;
  /// Whether a source's counter is over and can be dropped.
  [[nodiscard]] bool source_over(millis now_ms) const noexcept;
  /// Which: those sources; absent: the user as a whole.
  [[nodiscard]] std::vector<std::optional<short_hash>> locks_over(millis now_ms) const;
};

class lockout_state {
 public:
  void apply(const event& what);
  void load(const subject_id& subject, const std::optional<short_hash>& source,
            const lockout_counter& counter);

  /// Absent: nothing counts against the user.
  [[nodiscard]] const user_lockout* find(const subject_id& subject) const;
  [[nodiscard]] user_lockout& need(const subject_id& subject) { return users_[subject]; }
  /// Drops a user's counters when all are over, else those of sources that are; the end of a
  /// source's lock has to be told first. True when none are left.
  bool drop_if_over(const subject_id& subject, millis now_ms);
  /// The same of every user; a lock whose end nobody has told yet stays.
  void drop_over(millis now_ms);
  /// In the order of subjects.
  [[nodiscard]] const std::map<subject_id, user_lockout>& users() const noexcept { return users_; }
  /// Users with a lock at this moment.
  [[nodiscard]] std::size_t locked(millis now_ms) const;

 private:
  std::map<subject_id, user_lockout> users_;  // only users with counters: few, and listed in order
};

/// What a failed attempt is: who, from where, with which context.
struct attempt {
  subject_id subject;
  session_handle handle;
  short_hash source{};
  short_hash context{};  // of the failing context as a whole
};

struct attempt_judged {
  bool counted = true;          // false: collapsed as a repeat, or the user is locked already
  bool locked_already = false;  // was locked when it came: answer locked_out
  std::uint32_t number = 0;     // in its window
  millis window_ends_at_ms = 0;
  std::uint32_t user_number = 0;  // scope user_source: over all sources
  millis user_window_ends_at_ms = 0;
  millis locks_until_ms = 0;  // > 0: this attempt starts a lock
  bool locks_source_only = false;
  std::optional<session_handle> revoke;  // revoke_offending
};

/// Judges an attempt; changes nothing. `threshold` attempts are evaluated in a window, the last of
/// them starts the lock.
[[nodiscard]] attempt_judged decide_attempt(const lockout_state& state, const attempt& what,
                                            const lockout_policy& policy, millis now_ms);
/// Notes what decide_attempt needs of this attempt later and what is not in the log.
void note_attempt(lockout_state& state, const attempt& what, const lockout_policy& policy,
                  millis now_ms);

[[nodiscard]] core::lockout_state_reply status_of(const lockout_state& state,
                                                  const subject_id* subject,
                                                  const lockout_policy& policy, millis now_ms);

}  // namespace portcullis::core
