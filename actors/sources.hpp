// The sources actor: one a node. Counts distinct unknown session ids of a source in a window
// (lockout.source_threshold) and tells the shards which sources are over it. Approximate by design:
// it hears of an id after it was answered. Bounded: past source_counters_max sources, or
// source_ids_max ids of all of them, what is new is not counted until windows end.
#pragma once
#include <map>
#include <set>

#include "actors/interfaces.hpp"
#include "core/clock.hpp"
#include "core/limits.hpp"

namespace portcullis::actors {

struct sources_options {
  std::shared_ptr<const core::policy_book> policies;
  core::clock* clock = nullptr;
  std::size_t ids_max = core::limits::source_ids_max;
};

class sources_state {
 public:
  void start(sources_actor::stateful_pointer<sources_state> self, sources_options options);
  void on(const unknown_id_seen& seen);
  void on(policies_changed& change) { options_.policies = std::move(change.book); }
  void on(node_peers& peers) { sessions_ = std::move(peers.sessions); }
  void tick();
  static constexpr const char* name = "sources";

 private:
  struct window {
    core::millis ends_at_ms = 0;
    bool limited = false;
    std::set<core::short_hash> ids;  // at most source_threshold
  };
  sources_actor::stateful_pointer<sources_state> self_ = nullptr;
  sources_options options_;
  std::vector<session_actor> sessions_;
  std::map<core::short_hash, window> windows_;
  std::size_t ids_ = 0;  // of all windows
};

sources_actor::behavior_type sources_behaviour(sources_actor::stateful_pointer<sources_state> self,
                                               sources_options options);

}  // namespace portcullis::actors
