// A whole node: what is spawned in which order, who is told of whom, and how it ends.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/alias_book.hpp"
#include "actors/breaker_probers.hpp"
#include "actors/node_quota.hpp"
#include "actors/supervisor.hpp"
#include "apps/config_loader.hpp"
#include "apps/node/boot_clock.hpp"
#include "apps/node/keys.hpp"
#include "apps/node/link_host.hpp"
#include "apps/node/loop_host.hpp"
#include "core/fleet/entry.hpp"
#include "monitoring/metrics.hpp"

namespace portcullis::apps {

class node {
 public:
  /// `stop` is called (any thread, once or more) when the node wants to be stopped in an orderly
  /// way.
  node(const core::config& config, config_sources sources, std::function<void()> stop);
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  /// Opens the store, spawns the actors, listens. `why` is a sentence for the operator.
  [[nodiscard]] core::result<core::nothing> start(std::string& why);
  /// Reads the configuration again; the log says how it went.
  void reload();
  /// Stops accepting, answers what is in flight, commits, closes. False when that took longer than
  /// server.drain_s, or the store could not be closed.
  [[nodiscard]] bool stop();
  /// Asks every loop, the hub and, where nodes share a log, what follows it, all at once, whether
  /// they still take messages. Not the journal: a disk that hangs is no reason to end the process.
  /// The name of one that has not answered `within` that time; empty: all have. Blocks for that
  /// long at most; on the thread that started the node, until stop().
  [[nodiscard]] std::string silent_part(std::chrono::milliseconds within);

  [[nodiscard]] std::string rpc_address() const;
  [[nodiscard]] std::string http_address() const;
  [[nodiscard]] std::string rpc_tls_address() const;  // empty: none
  [[nodiscard]] std::string https_address() const;    // empty: none

 private:
  [[nodiscard]] core::result<core::nothing> open_store(std::string& why);
  void make_loops();
  void set_http_options(loop_host_options& options) const;
  /// Reads the files that `config` names for TLS, and puts them in force; nothing where no listener
  /// speaks it. Returns the keys whose files hold something else than before. Changes nothing on
  /// CONFIG_INVALID.
  [[nodiscard]] core::result<std::vector<std::string>> load_tls(const core::config& config,
                                                                std::string& why);
  [[nodiscard]] net::listener_rules rules_of(bool tls, bool proxy, std::size_t connections_max);
  void spawn_actors();
  [[nodiscard]] actors::shard_moved spawn_shard(std::uint32_t shard, std::uint64_t incarnation,
                                                std::shared_ptr<actors::shard_image> image);
  [[nodiscard]] actors::breaker_actor spawn_breakers(std::uint32_t shard, std::uint64_t incarnation,
                                                     std::vector<core::stored_breaker> stored,
                                                     std::uint64_t position);
  [[nodiscard]] std::function<void(const core::reply&, std::string&)> outcome_encoder() const;
  [[nodiscard]] actors::subscriptions_actor spawn_subscriptions(
      std::uint32_t loop, const std::vector<actors::shard_moved>& shards);
  [[nodiscard]] actors::sources_actor spawn_sources();
  [[nodiscard]] actors::metrics_actor spawn_metrics(const actors::node_actors& all);
  [[nodiscard]] core::result<core::nothing> listen(std::string& why);
  [[nodiscard]] core::result<core::nothing> listen_http(std::string& why);
  [[nodiscard]] core::result<actors::reload_outcome> read_again();
  void log_node_event(core::event_body body);
  [[nodiscard]] std::shared_ptr<const core::config> current_config();
  [[nodiscard]] std::shared_ptr<const core::policy_book> current_policies();
  void apply_log_settings(const core::config& config) const;
  void end_actors();
  // node_fleet.cpp
  [[nodiscard]] core::result<core::nothing> make_store(const core::digest& keyring_check,
                                                       std::string& why);
  [[nodiscard]] core::result<core::nothing> join_fleet(std::string& why);
  core::status wrap_users_anew();
  void spawn_fleet();
  [[nodiscard]] bool await_fleet();

  const core::config config_;  // as it was at the start: what no reload changes is read here
  config_sources sources_;
  std::function<void()> want_stop_;
  boot_clock clock_;
  core::keyring ring_;
  std::shared_ptr<const core::key_material> keys_;  // as they were at the start
  std::mutex current_mutex_;
  std::shared_ptr<const core::config> current_config_;      // guarded by current_mutex_
  std::shared_ptr<const core::policy_book> policies_;       // guarded by current_mutex_
  std::shared_ptr<const core::key_material> current_keys_;  // guarded by current_mutex_
  monitoring::reload_tallies reloads_;                      // guarded by current_mutex_
  std::shared_ptr<net::forward_auth_rules> forward_auth_;
  std::shared_ptr<store::journal> log_;
  std::uint64_t replay_ns_ = 0;
  std::shared_ptr<monitoring::metrics> registry_;
  std::vector<std::shared_ptr<actors::shard_image>> images_;
  std::shared_ptr<actors::alias_book> aliases_ = std::make_shared<actors::alias_book>();
  std::vector<std::vector<core::stored_breaker>> stored_breakers_;  // by shard
  std::vector<std::shared_ptr<actors::known_probers>>
      probers_;  // by shard, where nodes share a log
  std::shared_ptr<core::breaker_quota> breaker_quota_ =
      std::make_shared<actors::node_quota>(random_seed() >> 32);
  actors::known_callers
      callers_;  // as they were at the start: gateways and supervisor mean the same objects

  caf::actor_system_config system_config_;
  std::unique_ptr<caf::actor_system> system_;
  net::tls_contexts tls_;
  std::vector<std::unique_ptr<loop_host>> hosts_;
  // Where nodes share a log:
  std::unique_ptr<link_host> link_;
  std::shared_ptr<const core::fleet_keys> fleet_keys_;
  std::uint64_t fleet_position_ = 0;
  std::optional<core::entry_name> fleet_mark_;
  core::millis fleet_at_ms_ = 0;
  std::atomic<bool> fleet_read_{false};
  actors::node_actors all_;
  actors::supervisor_actor supervisor_;
  std::size_t rpc_connections_max_ = 0;
  std::uint16_t rpc_port_ = 0, rpc_tls_port_ = 0, http_port_ = 0, https_port_ = 0;
  bool running_ = false;
};

/// The policies that a configuration means.
[[nodiscard]] std::shared_ptr<const core::policy_book> policies_of(const core::config& config);

}  // namespace portcullis::apps
