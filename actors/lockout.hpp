// The lockout actor: one a shard, pinned beside its session actor. Owns failed attempts and locks,
// and nothing else.
#pragma once
#include "actors/interfaces.hpp"
#include "actors/pinned.hpp"
#include "core/clock.hpp"

namespace portcullis::actors {

struct lockout_options {
  std::shared_ptr<const core::policy_book> policies;
  core::clock* clock = nullptr;
  std::shared_ptr<shard_image> image;
  bool shared = false;  // nodes share the log
};

class lockout_shard;
using lockout_self = pinned_actor<lockout_actor, lockout_shard>;
lockout_actor::behavior_type lockout_behaviour(lockout_self* self, lockout_options options);

class lockout_shard {
 public:
  void start(lockout_self* self, lockout_options options);
  void on(failed_attempt& failed);
  void on(const lockout_question& question);
  void on(const clear_counters& order);
  void on(const lockouts_logged& news);
  locks_listed on(const list_locks& question) const;
  locks_counted on(const count_locks&) const;
  void on(policies_changed& change) { options_.policies = std::move(change.book); }
  void on(wire_shard& peers);
  stood_still on(const stand_still& order);
  lockouts_digested on(const take_digest& question) const;
  void on(const go_on& order) {
    if (still_.is_for(order.number)) still_.end();
  }
  void on(const log_time& time) { log_at_ms_ = std::max(log_at_ms_, time.at_ms); }
  void tick();
  static constexpr const char* name = "lockout";

 private:
  void end_locks(const core::subject_id& subject);
  void apply_now(const core::event& what);
  [[nodiscard]] std::vector<core::event> ends_of(const core::subject_id& subject) const;
  void propose_ends(const core::subject_id& subject);

  lockout_self* self_ = nullptr;
  lockout_options options_;
  std::unique_ptr<core::lockout_state> state_;
  session_actor session_;
  core::millis now_ms_ = 0;
  core::millis log_at_ms_ = 0;  // of the last event on the disk that it was told of
  stillness still_;
  std::map<core::subject_id, core::millis> proposed_;  // ends of locks, and when to tell them again
};

}  // namespace portcullis::actors
