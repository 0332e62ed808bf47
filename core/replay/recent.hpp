// What an explanation needs of the log besides the state before an event: what was the state before
// something that is over, and what happened so shortly before that whoever decided may not have
// heard of it. Bounded by what is counted against somebody now, and by time.
#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "core/replay/state.hpp"

namespace portcullis::core {

class log_recent {
 public:
  /// The last failed attempt of a user that counted, and the user's counters before it.
  struct counted_attempt {
    std::uint64_t seq = 0;
    attempt what;
    user_lockout before;
  };
  /// A time in which a user, or one source of a user, was locked out.
  struct lock_span {
    std::optional<short_hash> source;
    millis from_ms = 0, until_ms = 0;
    std::uint64_t seq = 0;
    std::optional<millis> cleared_at_ms = std::nullopt;  // or forgotten
    [[nodiscard]] millis ended_ms() const noexcept {
      return cleared_at_ms ? std::min(*cleared_at_ms, until_ms) : until_ms;
    }
  };
  struct revocation {
    std::uint64_t seq = 0;
    millis at_ms = 0;
  };
  struct rekeying {
    session_handle handle;
    id_hash before;
  };

  /// Where the log begins with a state, its older part cut off: before the first event. The locks
  /// that the state has began some time before; what is over is not known any more, nor is activity
  /// that was dropped before the cut.
  void begin(const replayed_state& state);
  /// Each event of the log, in order, before it is applied to `before`.
  void note(const event& what, const replayed_state& before);

  [[nodiscard]] const counted_attempt* last_attempt(const subject_id& subject) const;
  /// Those that ended less than kept_ms ago, too.
  [[nodiscard]] const std::vector<lock_span>& locks(const subject_id& subject) const;
  /// The last one of all of the tenant's sessions; null: none.
  [[nodiscard]] const revocation* last_revocation(const std::string& tenant) const;
  /// How many of the tenant's sessions began or ended by events from `since_ms` on; since_ms is not
  /// more than kept_ms ago.
  [[nodiscard]] std::uint64_t changes(const std::string& tenant, millis since_ms) const;
  [[nodiscard]] const std::optional<rekeying>& last_rekeying() const noexcept { return rekeying_; }
  /// Whether the log has all that happened from then on.
  [[nodiscard]] bool knows_since(millis at_ms) const noexcept { return at_ms >= begins_at_ms_; }
  /// When sessions were last used that the log does not name any more: such records are dropped
  /// when they are old. 0: it has all.
  [[nodiscard]] millis lost_activity_at_ms() const noexcept { return lost_activity_at_ms_; }

  static constexpr millis kept_ms = 60'000;

 private:
  struct change {
    millis at_ms = 0;
    std::string tenant;
    std::uint64_t count = 1;
  };
  void note_lockout(const event& what, const replayed_state& before);
  void note_sessions(const event& what);
  void forget_old(millis at_ms, const replayed_state& before);

  std::map<subject_id, counted_attempt> attempts_;
  std::map<subject_id, std::vector<lock_span>> locks_;
  std::map<std::string, revocation> revocations_;
  std::deque<change> changes_;
  std::optional<rekeying> rekeying_;
  millis begins_at_ms_ = 0;
  millis swept_at_ms_ = 0;
  millis lost_activity_at_ms_ = 0;
};

}  // namespace portcullis::core
