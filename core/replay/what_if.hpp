// What if the policy had been another one: the attempts of a log, not its verdicts, replayed under
// both, and how the two worlds differ. docs/what_if.md says what is exact and what an estimate.
#pragma once
#include "core/replay/state.hpp"
#include "core/replay/what_if_breakers.hpp"
#include "core/replay/what_if_judge.hpp"
#include "core/replay/what_if_lockouts.hpp"
#include "core/replay/what_if_report.hpp"
#include "core/replay/what_if_sessions.hpp"

namespace portcullis::core {

struct what_if_options {
  what_if_range range;
  identity_lookup who;  // may be empty: then nobody's addresses can be opened
  std::function<void(const other_lockout&)> each_lockout;  // may be empty
};

/// One thread. Not movable.
class what_if {
 public:
  explicit what_if(what_if_options options);
  what_if(const what_if&) = delete;
  what_if& operator=(const what_if&) = delete;

  /// From the next event on: the policy that the log was written under, and the one to try.
  void change_policies(policy_book recorded, policy_book other);
  /// Where the log's beginning was cut off: the state that stands in its place. After
  /// change_policies(), before the first event. The two worlds part from here on.
  void begin(replayed_state base);
  /// The next event of the log: each once, in the order of seq, from the log's first on. Cannot
  /// fail; what an event is about and the log does not have is taken as recorded.
  void apply(const event& what);
  /// Whether events past the range can change nothing of the report any more.
  [[nodiscard]] bool settled() const noexcept { return lockouts_.settled() && sessions_.settled(); }
  /// Once, after the last event.
  [[nodiscard]] what_if_report finish();

  [[nodiscard]] const replayed_state& recorded() const noexcept { return recorded_; }

 private:
  void failed(const event& what, const validation_failed& body);
  void signalled(const event& what, const validation_signalled& body);
  void activity_is_gone(millis until_ms);
  void touched(const event& what, const session_touched& body);
  void used(const event& what, bool touches);
  void ended(const event& what);
  void revoke(const std::optional<session_handle>& whose, millis at_ms, const subject_id& subject);
  /// Whether the other world alone has locked out the session's user.
  [[nodiscard]] bool locked(session_slot slot, millis at_ms) const;
  [[nodiscard]] session_slot slot_of(const event& what) const {
    return what.handle ? recorded_.sessions().find(*what.handle) : no_slot;
  }

  what_if_options options_;
  policy_book recorded_book_, other_book_;
  replayed_state recorded_;
  what_if_tally tally_;
  what_if_lockouts lockouts_;
  what_if_sessions sessions_;
  what_if_breakers breakers_;
  // The last request that was signalled and failed: one request may be signalled twice.
  std::optional<session_handle> signalled_;
  millis signalled_at_ms_ = 0;
};

}  // namespace portcullis::core
