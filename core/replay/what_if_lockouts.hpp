// The lockouts of two worlds: those of the log, and those that its attempts would have led to under
// another policy. docs/what_if.md has the rules.
#pragma once
#include <functional>
#include <map>
#include <set>

#include "core/lockout/state.hpp"
#include "core/replay/what_if_report.hpp"

namespace portcullis::core {

/// A lockout of the other world, as it begins.
struct other_lockout {
  subject_id subject;
  std::optional<short_hash> source;
  millis from_ms = 0, until_ms = 0;
};

/// One thread. The tally and the recorded counters must outlive it. Each event is told before it is
/// applied to the recorded counters.
class what_if_lockouts {
 public:
  what_if_lockouts(what_if_tally& tally, const lockout_state& recorded,
                   std::function<void(const other_lockout&)> each)
      : tally_(tally), recorded_(recorded), each_(std::move(each)) {}
  void change_policies(const lockout_policy& recorded, const lockout_policy& other);

  /// The recorded counters are other ones: they are those of both worlds from here on.
  void begin(millis at_ms);
  /// A counted mismatch of the log. `fails`: it is a failed attempt in the other world, too;
  /// `estimated`: that is not known for certain. `from`: absent: not known, or needs_address() is
  /// false. The session that the lock revokes there, if any.
  std::optional<session_handle> attempted(const event& what, const validation_failed& failed,
                                          const std::optional<ip_address>& from, bool fails,
                                          bool estimated);
  /// Whether attempted() has to know from which address: repeats are told apart by it, and the log
  /// has a hash of its network only.
  [[nodiscard]] bool needs_address() const noexcept { return policy_.repeat_collapse_s > 0; }
  /// Attempts that the log only counts: while locked out, and collapsed repeats. `lives`: whether
  /// the session is live in the other world.
  std::optional<session_handle> coalesced(const event& what, const validation_failed& failed,
                                          const std::function<bool(const session_handle&)>& lives);
  /// A request that was good in the log and would have been a failed attempt.
  std::optional<session_handle> signalled(const event& what, const validation_signalled& signal);

  void started(const event& what, const lockout_started& lock);
  void ended(const event& what);
  /// lockout_cleared, user_forgotten.
  void cleared(const event& what);

  /// Whether the user as a whole is locked out in the other world.
  [[nodiscard]] bool locked(const subject_id& subject, millis at_ms) const;
  /// Whether the other world's counters of this user are the recorded ones.
  [[nodiscard]] bool same(const subject_id& subject) const {
    return same_rules_ && !diverged_.contains(subject);
  }
  [[nodiscard]] bool estimated(const subject_id& subject) const {
    return estimated_.contains(subject);
  }

  /// Settles lockouts that are over, forgets counters that are.
  void advance(millis now_ms);
  /// Whether a lockout that counts may still meet one of the other world.
  [[nodiscard]] bool settled() const noexcept { return open_counted_ == 0; }
  void finish();

 private:
  struct span {
    bool of_other = false, met = false, counts = false, approximate = false;
    std::optional<short_hash> source;
    std::optional<session_handle> handle;
    std::string tenant_id;
    millis from_ms = 0, until_ms = 0;
    std::uint64_t seq = 0;
  };
  /// Who failed in the recorded window of a user, and what that is in the other world.
  struct offender {
    std::optional<short_hash> source;
    session_handle handle;
    short_hash context{};
    bool fails = true;
  };
  struct window {
    millis ends_ms = 0;
    std::vector<offender> offenders;
  };

  void note_offender(const event& what, const validation_failed& failed, const attempt& tried,
                     bool fails);
  [[nodiscard]] millis time_of(const event& what, const validation_failed& failed) const;
  void diverge(const subject_id& subject, millis now_ms);
  struct decided {
    bool counted = false, locked_already = false, locks = false;
    std::optional<session_handle> revoke;
  };
  decided decide(const event& what, const attempt& tried, millis at_ms, bool estimated);
  void end_locks(const subject_id& subject, millis now_ms);
  void began(const subject_id& subject, span what);
  void doubt(const subject_id& subject);
  void settle(const subject_id& subject, const span& what);
  void settle_over(millis now_ms);
  [[nodiscard]] bool locked(const subject_id& subject, const std::optional<short_hash>& source,
                            millis at_ms) const;

  what_if_tally& tally_;
  const lockout_state& recorded_;
  std::function<void(const other_lockout&)> each_;
  lockout_policy recorded_policy_, policy_;
  bool same_rules_ = true;
  lockout_state other_;
  std::set<subject_id> diverged_;   // counters that differ, or may
  std::set<subject_id> estimated_;  // the other world's counters rest on estimates
  std::map<subject_id, window> windows_;
  std::map<subject_id, std::vector<span>> spans_;
  std::multimap<millis, subject_id> due_;  // when spans are over
  std::size_t open_counted_ = 0;
  millis swept_at_ms_ = 0;
};

}  // namespace portcullis::core
