// The supervisor: starts a shard's actors again when one fails, with their state rebuilt from the
// journal, and carries out what administrators ask. On its own thread: it reads and writes small
// files.
#pragma once
#include <deque>

#include "actors/interfaces.hpp"
#include "core/clock.hpp"
#include "core/config/config.hpp"

namespace portcullis::actors {

/// What a reload brings.
struct reload_outcome {
  std::shared_ptr<const core::policy_book> policies;
  std::vector<core::auth_token> tokens;
  std::vector<core::auth_certificate> certificates;
  std::vector<std::string> changed;
};

struct supervisor_options {
  bool development = false;
  bool shared = false;  // several nodes have the key file
  core::clock* clock = nullptr;
  core::random_source random;
  core::keyring ring;
  known_callers callers;  // those behind them are never freed
  std::function<core::result<reload_outcome>()> reload;
  std::function<core::result<core::nothing>(const core::keyring&)>
      save_keys;  // durable when it returns
  std::function<std::string()> make_correlation_id;
  std::function<void()> drain;                  // the process stops in an orderly way
  std::function<void(std::string_view)> fatal;  // the process stops at once
  /// Spawns the three actors of a shard on its loop.
  std::function<shard_moved(std::uint32_t shard, std::uint64_t incarnation,
                            std::shared_ptr<shard_image>)>
      spawn_shard;
  std::function<breaker_actor(std::uint32_t shard, std::uint64_t incarnation,
                              std::vector<core::stored_breaker>, std::uint64_t position)>
      spawn_breakers;
  std::function<subscriptions_actor(std::uint32_t loop, const std::vector<shard_moved>&)>
      spawn_subscriptions;
  // What has no state that must be kept.
  std::function<log_actor()> spawn_log;
  std::function<sources_actor()> spawn_sources;
  std::function<metrics_actor(const struct node_actors&)> spawn_metrics;
};

/// All actors, as they are now.
struct node_actors {
  hub_actor hub;
  journal_actor journal;
  fleet_actor fleet;  // where nodes share a log
  log_actor log;
  metrics_actor metrics;
  sources_actor sources;
  std::vector<gateway_actor> gateways;             // by loop
  std::vector<subscriptions_actor> subscriptions;  // by loop
  std::vector<shard_moved> shards;
  std::vector<breaker_actor> breakers;  // by shard

  [[nodiscard]] node_peers for_hub() const;
  [[nodiscard]] wire_session for_session(std::uint32_t shard) const;
};
/// Tells every actor who the others are.
void wire_all(const node_actors& all);

/// The callers that a configuration names: those of `known` that stay the same keep their identity,
/// new ones are made, for the life of the process.
[[nodiscard]] known_callers callers_of(const std::vector<core::auth_token>& tokens,
                                       const std::vector<core::auth_certificate>& certificates,
                                       const known_callers& known);

class supervisor_state {
 public:
  void start(supervisor_actor::stateful_pointer<supervisor_state> self, supervisor_options options,
             node_actors all);
  caf::result<admin_answer> on(admin_request& order);
  caf::result<digest_answer> on(const digest_request&);
  caf::result<bool> stop();
  static constexpr const char* name = "supervisor";

 private:
  void down(const caf::down_msg& message);
  void ended(std::uint32_t shard, const caf::actor_addr& which);
  bool end_others(std::uint32_t shard);
  void load(std::uint32_t shard);
  void restarted(std::uint32_t shard, shards_loaded& loaded);
  void tenants_known(std::uint32_t shard, std::uint64_t incarnation, const tenants_read& read);
  void open_shard(std::uint32_t shard, std::uint64_t incarnation);
  [[nodiscard]] bool still(std::uint32_t shard, std::uint64_t incarnation) const;
  void breakers_ended(std::uint32_t shard);
  void breakers_restarted(std::uint32_t shard, breakers_loaded& loaded);
  void restart_stateless(const caf::actor_addr& which);
  void restart_subscriptions(std::uint32_t loop);
  bool too_often();
  admin_answer reload(const admin_request& order);
  caf::result<admin_answer> rotate(const admin_request& order);
  void ask_for_oldest(const caf::typed_response_promise<admin_answer>& promise);
  void rotate_now(bool oldest_in_use, caf::typed_response_promise<admin_answer> promise);
  void finish_rotation(caf::typed_response_promise<admin_answer> promise, admin_answer with);
  admin_answer crash(const core::crash_actor& order);

  supervisor_actor::stateful_pointer<supervisor_state> self_ = nullptr;
  supervisor_options options_;
  node_actors all_;
  std::vector<std::uint64_t> incarnations_;          // by shard
  std::vector<std::uint64_t> breaker_incarnations_;  // by shard
  std::vector<bool> restarting_;                     // by shard
  std::vector<std::vector<caf::actor_addr>>
      ending_;  // by shard: of a failed one, who has not ended
  std::deque<core::millis> restarts_;
  /// A digest being taken, and who else has asked for one.
  struct digest_round {
    std::uint64_t number = 0;
    std::size_t missing = 0;
    std::optional<core::error> why;  // set: it has failed
    std::uint64_t seq = 0;
    core::millis at_ms = 0;
    std::vector<core::shard_digests> shards;
    std::vector<core::breaker_entity> breakers;
    caf::typed_response_promise<digest_answer> promise;
  };
  void next_digest();
  template <class Answer, class Actor, class Question, class Take>
  void ask_for_digest(const Actor& whom, Question question, void (supervisor_state::*then)(),
                      Take take);
  void all_still();
  void take_digests();
  void finish_digest();
  std::optional<digest_round> digest_;
  std::deque<caf::typed_response_promise<digest_answer>> digests_wanted_;
  std::uint64_t digests_ = 0;
  bool rotating_ = false;  // one at a time: each drops the key that was asked about
};

supervisor_actor::behavior_type supervisor_behaviour(
    supervisor_actor::stateful_pointer<supervisor_state> self, supervisor_options options,
    node_actors all);

}  // namespace portcullis::actors
