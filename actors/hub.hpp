// The hub: everything that happens goes through here to the journal, and comes back durable to be
// fanned out to live readers and the log. On CAF's scheduler.
#pragma once
#include "actors/interfaces.hpp"

namespace portcullis::actors {

class hub_state {
 public:
  void on(log_events& order);
  void on(events_durable& done);
  void on(const interest_changed& change);
  caf::result<shards_loaded> on(load_shards& question);
  caf::result<tenants_read> on(read_tenants& question);
  caf::result<breakers_loaded> on(load_breakers& question);
  caf::result<commits_done> on(await_commits& question);
  void on(node_peers& peers);
  caf::result<bool> stop();
  static constexpr const char* name = "hub";

  hub_actor::stateful_pointer<hub_state> self = nullptr;

 private:
  template <class Question>
  auto ask_log(Question& question);

  node_peers peers_;
  std::vector<bool> interested_;  // by loop
};

hub_actor::behavior_type hub_behaviour(hub_actor::stateful_pointer<hub_state> self);

}  // namespace portcullis::actors
