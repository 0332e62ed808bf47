// The metrics actor: at a scrape, collects every owner's tallies, sets the registry and renders it.
// On CAF's scheduler: a render takes milliseconds.
#pragma once
#include <functional>
#include <optional>

#include "actors/alias_book.hpp"
#include "actors/interfaces.hpp"
#include "core/clock.hpp"
#include "monitoring/metrics.hpp"

namespace portcullis::actors {

struct metrics_actor_options {
  std::shared_ptr<monitoring::metrics> registry;
  hub_actor hub;
  journal_actor journal;
  fleet_actor fleet;  // where nodes share a log
  log_actor log;
  std::vector<session_actor> sessions;  // by shard
  std::vector<lockout_actor> lockouts;
  std::vector<directory_actor> directories;
  std::vector<breaker_actor> breakers;
  std::vector<gateway_actor> gateways;  // by loop
  std::vector<subscriptions_actor> subscriptions;
  std::function<monitoring::reload_tallies()> reloads;                   // from any thread
  std::shared_ptr<alias_book> aliases = std::make_shared<alias_book>();  // the node's
  core::clock* clock = nullptr;
};

class metrics_state {
 public:
  caf::result<scraped> collect();
  static constexpr const char* name = "metrics";

  metrics_actor::stateful_pointer<metrics_state> self = nullptr;
  metrics_actor_options options;

 private:
  struct round;
  // By the monotonic clock. Absent: the journal has answered whatever it was asked.
  std::optional<std::int64_t> unanswered_since_ns_;
  std::optional<std::int64_t> scraped_at_ns_;
  monitoring::snapshot last_;  // who cannot answer is shown as last seen
};

metrics_actor::behavior_type metrics_behaviour(metrics_actor::stateful_pointer<metrics_state> self,
                                               metrics_actor_options options);

}  // namespace portcullis::actors
