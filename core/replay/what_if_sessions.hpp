// The lives of the log's sessions in another world: other times to live, another cap, other
// revocations by lockouts. docs/what_if.md has the rules.
#pragma once
#include <deque>
#include <functional>
#include <vector>

#include "core/replay/state.hpp"
#include "core/replay/what_if_report.hpp"
#include "core/session/policy_book.hpp"
#include "core/session/wheel.hpp"

namespace portcullis::core {

/// One thread. Tally and recorded state must outlive it.
class what_if_sessions {
 public:
  what_if_sessions(what_if_tally& tally, const replayed_state& recorded)
      : tally_(tally), recorded_(recorded) {}

  /// The recorded state is another one: what it has lives in both worlds from here on.
  void begin(const policy_book& recorded, const policy_book& other);
  /// After session_created was applied to the recorded state. Whom the same cap evicts in both
  /// worlds is as recorded where it is not known who of the user's sessions are idle.
  void created(session_slot slot, const session_policy& recorded, const session_policy& other);
  /// Records of activity up to this time are gone: what was not used after it may have been used
  /// until then.
  void unknown_until(millis at_ms) noexcept { unknown_until_ms_ = at_ms; }
  /// A request that was good in the log. `locked`: the other world's user is locked out. `touches`:
  /// it moved recorded activity.
  void used(session_slot slot, millis at_ms, bool locked, bool touches);
  /// Somebody evicted it for another of its user's sessions, in the log.
  void evicted(session_slot slot, millis at_ms, const session_policy& recorded,
               const session_policy& other);
  /// The request of this time was good in the log and a failed attempt in the other world.
  void failed(session_slot slot, millis at_ms);
  /// A failed attempt of the log that was a good request in the other world.
  void passed(session_slot slot, millis at_ms, const session_policy& other);
  /// Somebody asked for an ended session of this user: the log does not say which.
  void asked_for_ended(const subject_id& subject, millis at_ms);
  [[nodiscard]] bool lives(session_slot slot, millis at_ms) const;
  /// Whether it lived in the other world for an attempt of this time that the log has. The server
  /// looked at it: what ended it in both worlds, and stands before the attempt in the log, came
  /// after that.
  [[nodiscard]] bool lived_for(session_slot slot, millis at_ms) const;

  /// What ends it in both worlds: somebody asked for that.
  void ended(session_slot slot, millis at_ms);
  /// The log's world alone, after the event was applied. `cause`: expiry tells by itself.
  void recorded_ended(session_slot slot, millis at_ms, std::string_view cause, bool approximate);
  /// The other world alone.
  void other_ended(session_slot slot, millis at_ms, std::string_view cause, bool approximate);

  void advance(millis now_ms);
  /// Whether no session is left that ended where it counts, and that may have ended in both worlds.
  [[nodiscard]] bool settled() const noexcept;
  void finish(millis now_ms);

 private:
  enum class parting : std::uint8_t { none, pending, died, lived };
  struct twin {
    std::uint64_t seq = 0;  // of the session's creation: slots are used again
    millis last_seen_ms = 0, absolute_ms = 0;
    millis ended_ms = 0;  // 0: not ended
    millis skip_ms = 0;   // activity of this time is of no good request
    millis parted_ms = 0;
    std::uint32_t idle_ttl_s = 0;
    parting parted = parting::none;
    bool in_use = false, counts = false, watched = false;
    bool ended_alone = false;  // the recorded world had it still
    [[nodiscard]] millis expires_ms(millis used_ms) const noexcept {
      return std::min(used_ms + millis{idle_ttl_s} * 1000, absolute_ms);
    }
  };
  /// An end in one world, a second before it is known whether it is one in the other world, too.
  struct open_parting {
    session_slot slot;
    std::uint64_t seq, at_seq;
    millis at_ms;
    std::string_view cause;
    bool died, approximate, counts;
  };

  [[nodiscard]] twin* find(session_slot slot);
  [[nodiscard]] const twin* find(session_slot slot) const;
  twin& make(session_slot slot, const session_policy& recorded, const session_policy& other);
  /// The latest time that it may live to.
  [[nodiscard]] millis expires_ms(const twin& one) const noexcept {
    return one.expires_ms(std::max(one.last_seen_ms, unknown_until_ms_));
  }
  /// Whether it lives only if it was used when records of that are gone.
  [[nodiscard]] bool is_doubtful(const twin& one, session_slot slot, millis at_ms) const {
    return lives(one, slot, at_ms) && at_ms >= one.expires_ms(one.last_seen_ms);
  }
  [[nodiscard]] bool has_doubtful(user_slot user, millis at_ms) const;
  [[nodiscard]] bool lives(const twin& one, session_slot slot, millis at_ms) const;
  [[nodiscard]] const std::string& tenant_of(session_slot slot) const;
  void keep_to_cap(session_slot slot, millis at_ms, const session_policy& recorded,
                   const session_policy& other);
  void expire(session_slot slot, twin& one);
  void watch(session_slot slot, twin& one);
  void look_again(session_slot slot, twin& one);
  void part(session_slot slot, twin& one, bool died, millis at_ms, std::string_view cause,
            bool approximate);
  void settle(const open_parting& what);
  void count_use(session_slot slot, twin& one, millis at_ms);
  void tell_use(session_slot slot, const twin& one);

  what_if_tally& tally_;
  const replayed_state& recorded_;
  std::vector<twin> twins_;  // by slot of the recorded state
  std::deque<open_parting> open_;
  timer_wheel wheel_;  // those that may end earlier than in the log
  millis now_ms_ = 0, unknown_until_ms_ = 0;
};

}  // namespace portcullis::core
