// All state that the log gives, folded by the same apply functions that the actors use: one process
// can rebuild any moment of a node. No keys are needed: users are known by their subjects.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/lockout/state.hpp"
#include "core/replay/breaker_standings.hpp"
#include "core/replay/digest.hpp"
#include "core/session/directory.hpp"
#include "core/session/state.hpp"
#include "core/session/wheel.hpp"

namespace portcullis::core {

/// One thread. Movable, not copyable.
class replayed_state {
 public:
  /// Applies the next event of the log: each once, in the order of seq. Cannot fail; an event about
  /// what is not there changes nothing. What has ended by its time is forgotten.
  void apply(const event& what);

  /// Of the last event applied; 0 before.
  [[nodiscard]] std::uint64_t seq() const noexcept { return seq_; }
  [[nodiscard]] millis at_ms() const noexcept { return at_ms_; }
  /// The same as the live node's at that sequence number (architecture.md, invariant 12).
  [[nodiscard]] core::digest digest() const;

  [[nodiscard]] const session_state& sessions() const noexcept { return sessions_; }
  [[nodiscard]] session_state& sessions() noexcept { return sessions_; }
  [[nodiscard]] const lockout_state& lockouts() const noexcept { return lockouts_; }
  [[nodiscard]] lockout_state& lockouts() noexcept { return lockouts_; }
  [[nodiscard]] const breaker_standings& breakers() const noexcept { return breakers_; }
  [[nodiscard]] breaker_standings& breakers() noexcept { return breakers_; }
  /// Slots of a user's sessions, by creation; ended ones too.
  [[nodiscard]] std::vector<session_slot> sessions_of(user_slot user) const {
    return directory_.sessions(user);
  }
  /// Past the last user that has, or had, sessions.
  [[nodiscard]] user_slot users_end() const noexcept { return directory_.users_end(); }
  /// The policy that node_started or config_reloaded told last, a JSON object; empty before.
  [[nodiscard]] const std::string& policy() const noexcept { return policy_; }

  /// The keyed hash of a session's alias, by the seq of its creation; absent: it has none.
  [[nodiscard]] std::optional<short_hash> alias_of(std::uint64_t session_seq) const {
    const auto found = aliases_.find(session_seq);
    return found == aliases_.end() ? std::nullopt : std::optional(found->second);
  }
  void know_alias(std::uint64_t session_seq, const short_hash& alias) {
    aliases_[session_seq] = alias;
  }

  /// Where a snapshot begins instead of an empty log: loads what it holds.
  user_slot load_user(const subject_id& subject, std::string_view tenant);
  session_slot load_session(session_record&& loaded, std::span<const old_id> old_ids);
  void set_position(std::uint64_t seq, millis at_ms, std::string policy);

 private:
  user_slot need_user(const event& what);
  void started(session_slot slot);
  void forget_ended();

  session_state sessions_;
  directory_state directory_;
  lockout_state lockouts_;
  breaker_standings breakers_;
  std::unordered_map<std::uint64_t, short_hash> aliases_;  // of sessions that are remembered
  timer_wheel wheel_{4096, 16'000};  // 18 hours wide: few sessions are looked at twice
  std::string policy_;
  std::uint64_t seq_ = 0;
  millis at_ms_ = 0;
  millis swept_at_ms_ = 0;
};

}  // namespace portcullis::core
