// The node's actors: with what each is made.
#include "actors/breaker.hpp"
#include "actors/directory.hpp"
#include "actors/hub.hpp"
#include "actors/journal.hpp"
#include "actors/lockout.hpp"
#include "actors/log.hpp"
#include "actors/metrics.hpp"
#include "actors/session.hpp"
#include "actors/sources.hpp"
#include "actors/subscriptions.hpp"
#include "apps/node/keys.hpp"
#include "apps/node/node.hpp"
#include "apps/node/parts.hpp"

namespace portcullis::apps {

namespace {

constexpr core::millis hour_ms = 3'600'000;

}  // namespace

[[noreturn]] void die(std::string_view why) {
  monitoring::log::write(core::log_level::error, monitoring::component::server,
                         "The node stops at once.",
                         {{"event.action", "node_died"}, {"reason", why}});
  monitoring::process_log().flush();
  std::_Exit(1);
}

net::correlation_maker& made_up() {
  static thread_local net::correlation_maker maker(random_seed());
  return maker;
}

std::string make_correlation_id() { return made_up().text(); }

std::function<void(const core::reply&, std::string&)> node::outcome_encoder() const {
  const auto maker = std::make_shared<net::correlation_maker>(random_seed());
  const bool development = config_.server.environment == core::environment::development;
  return [maker, development](const core::reply& reply, std::string& out) {
    core::byte_buffer text;
    net::encode_outcome(text, reply, {*maker, development});
    out.append(text.view());
  };
}

actors::shard_moved node::spawn_shard(std::uint32_t shard, std::uint64_t incarnation,
                                      std::shared_ptr<actors::shard_image> image) {
  auto& host = *hosts_[shard];
  std::shared_ptr<const core::policy_book> policies;
  std::shared_ptr<const core::key_material> keys;
  {
    std::lock_guard guard{current_mutex_};
    policies = policies_;
    keys = current_keys_;
  }
  actors::session_options options;
  options.shard = options.loop = shard;
  options.shards = static_cast<std::uint32_t>(hosts_.size());
  options.incarnation = incarnation;
  options.keys = keys;
  options.policies = policies;
  options.random = buffered_random;
  options.clock = &clock_;
  options.image = image;
  options.aliases = aliases_;
  // What the shard's life before this one was making came to nothing, or is in the image.
  aliases_->drop_reservations(actors::bytes_of_shard(shard, options.shards));
  for (const auto& each : std::exchange(image->aliases, {}))
    aliases_->keep(each.tag, each.byte, each.until_ms);
  options.replies = &host.tcp();
  options.pool = host.gateway().pool();
  options.events_in_flight_max = config_.store.journal_queue_events / hosts_.size();
  options.encode = outcome_encoder();
  options.fleet = fleet_keys_;
  options.staleness_ns_max = config_.store.redis.staleness_ms_max * 1'000'000;
  if (config_.store.degraded == core::degraded_action::serve_cached)
    options.staleness_ns_max += config_.store.degraded_max_s * 1'000'000'000;
  actors::shard_moved made;
  made.shard = shard;
  made.lockout = actors::spawn_pinned<actors::lockout_actor, actors::lockout_shard>(
      host.unit(), actors::lockout_behaviour,
      actors::lockout_options{policies, &clock_, image, fleet_keys_ != nullptr});
  made.directory = actors::spawn_pinned<actors::directory_actor, actors::directory_shard>(
      host.unit(), actors::directory_behaviour,
      actors::directory_options{keys, buffered_random, image});
  made.session = actors::spawn_pinned<actors::session_actor, actors::session_shard>(
      host.unit(), actors::session_behaviour, std::move(options));
  return made;
}

actors::breaker_actor node::spawn_breakers(std::uint32_t shard, std::uint64_t incarnation,
                                           std::vector<core::stored_breaker> stored,
                                           std::uint64_t position) {
  auto& host = *hosts_[shard];
  actors::breaker_options options;
  options.shard = options.loop = shard;
  options.shards = static_cast<std::uint32_t>(hosts_.size());
  options.incarnation = incarnation;
  options.policies = current_policies();
  options.random = buffered_random;
  options.clock = &clock_;
  options.quota = breaker_quota_;
  options.stored = std::move(stored);
  options.fleet = fleet_keys_;
  options.node_id = config_.server.node_id;
  options.position = position;
  if (fleet_keys_) {
    probers_.resize(hosts_.size());
    if (!probers_[shard]) probers_[shard] = std::make_shared<actors::known_probers>();
    options.probers = probers_[shard];
  }
  options.replies = &host.tcp();
  options.encode = outcome_encoder();
  options.pool = host.gateway().pool();
  options.events_in_flight_max = config_.store.journal_queue_events / hosts_.size();
  return actors::spawn_pinned<actors::breaker_actor, actors::breaker_shard>(
      host.unit(), actors::breaker_behaviour, std::move(options));
}

actors::subscriptions_actor node::spawn_subscriptions(
    std::uint32_t loop, const std::vector<actors::shard_moved>& shards) {
  actors::subscriptions_options options;
  options.loop = loop;
  options.node_id = config_.server.node_id;
  options.clock = &clock_;
  options.connections = &hosts_[loop]->tcp();
  options.hub = all_.hub;
  options.journal = all_.journal;
  for (const auto& shard : shards) options.sessions.push_back(shard.session);
  options.codec.event = net::encode_event;
  const auto made_up = std::make_shared<net::correlation_maker>(random_seed());
  const bool development = config_.server.environment == core::environment::development;
  options.codec.ended = [made_up, development](core::byte_buffer& out,
                                               std::string_view subscription,
                                               std::string_view cursor, const core::error& why) {
    net::encode_events_ended(out, subscription, cursor, why, {*made_up, development});
  };
  return actors::spawn_pinned<actors::subscriptions_actor, actors::subscriptions_loop>(
      hosts_[loop]->unit(), actors::subscriptions_behaviour, std::move(options));
}

actors::sources_actor node::spawn_sources() {
  std::lock_guard guard{current_mutex_};
  return system_->spawn(actors::sources_behaviour,
                        actors::sources_options{policies_, &clock_, core::limits::source_ids_max});
}

actors::metrics_actor node::spawn_metrics(const actors::node_actors& all) {
  actors::metrics_actor_options options;
  options.registry = registry_;
  options.hub = all.hub;
  options.journal = all.journal;
  options.fleet = all.fleet;
  options.log = all.log;
  for (const auto& shard : all.shards) {
    options.sessions.push_back(shard.session);
    options.lockouts.push_back(shard.lockout);
    options.directories.push_back(shard.directory);
  }
  options.breakers = all.breakers;
  options.gateways = all.gateways;
  options.subscriptions = all.subscriptions;
  options.reloads = [this] {
    std::lock_guard guard{current_mutex_};
    return reloads_;
  };
  options.aliases = aliases_;
  options.clock = &clock_;
  return system_->spawn(actors::metrics_behaviour, std::move(options));
}

void node::spawn_actors() {
  all_.hub = system_->spawn(actors::hub_behaviour);
  all_.journal = system_->spawn<caf::detached>(
      actors::journal_behaviour,
      actors::journal_actor_options{
          log_, static_cast<std::uint32_t>(hosts_.size()), buffered_random,
          [](const core::error&) { die("The journal's file has failed."); }, replay_ns_, &clock_,
          keys_->checkpoints(), config_.store.touch_retention_h * hour_ms,
          config_.store.event_retention_h * hour_ms});
  log_.reset();  // the journal's thread owns it from here on
  spawn_fleet();
  all_.log = system_->spawn(actors::log_behaviour);
  all_.sources = spawn_sources();
  for (std::uint32_t loop = 0; loop < hosts_.size(); ++loop) {
    auto* host = hosts_[loop].get();
    all_.gateways.push_back(actors::spawn_pinned<actors::gateway_actor, actors::gateway_voice>(
        host->unit(), actors::gateway_behaviour, &host->gateway(),
        std::function<core::loop_tallies()>([host] { return host->tallies(); })));
    all_.shards.push_back(spawn_shard(loop, 1, std::move(images_[loop])));
    all_.breakers.push_back(
        spawn_breakers(loop, 1, std::move(stored_breakers_[loop]), fleet_position_));
  }
  images_.clear();
  stored_breakers_.clear();
  for (std::uint32_t loop = 0; loop < hosts_.size(); ++loop)
    all_.subscriptions.push_back(spawn_subscriptions(loop, all_.shards));

  all_.metrics = spawn_metrics(all_);

  actors::supervisor_options options;
  options.development = config_.server.environment == core::environment::development;
  options.clock = &clock_;
  options.random = buffered_random;
  options.ring = ring_;
  options.shared = fleet_keys_ != nullptr;
  options.callers = callers_;
  options.reload = [this] {
    auto outcome = read_again();
    std::lock_guard guard{current_mutex_};
    reloads_.ended(static_cast<bool>(outcome));
    return outcome;
  };
  options.save_keys = [this](const core::keyring& ring) -> core::result<core::nothing> {
    auto saved = save_keys(config_, ring);
    if (saved) {
      std::lock_guard guard{current_mutex_};
      current_keys_ = std::make_shared<const core::key_material>(ring);
    }
    return saved;
  };
  options.make_correlation_id = make_correlation_id;
  options.drain = want_stop_;
  options.fatal = [](std::string_view why) { die(why); };
  options.spawn_shard = [this](std::uint32_t shard, std::uint64_t incarnation,
                               std::shared_ptr<actors::shard_image> image) {
    return spawn_shard(shard, incarnation, std::move(image));
  };
  options.spawn_breakers = [this](std::uint32_t shard, std::uint64_t incarnation,
                                  std::vector<core::stored_breaker> stored,
                                  std::uint64_t position) {
    return spawn_breakers(shard, incarnation, std::move(stored), position);
  };
  options.spawn_subscriptions = [this](std::uint32_t loop,
                                       const std::vector<actors::shard_moved>& shards) {
    return spawn_subscriptions(loop, shards);
  };
  options.spawn_log = [this] { return system_->spawn(actors::log_behaviour); };
  options.spawn_sources = [this] { return spawn_sources(); };
  options.spawn_metrics = [this](const actors::node_actors& all) { return spawn_metrics(all); };
  supervisor_ =
      system_->spawn<caf::detached>(actors::supervisor_behaviour, std::move(options), all_);
  for (std::uint32_t loop = 0; loop < hosts_.size(); ++loop)
    hosts_[loop]->gateway().wire(
        {all_.hub, all_.journal, all_.metrics, supervisor_, all_.subscriptions[loop], all_.gateways,
         all_.shards, all_.breakers, all_.fleet},
        all_.gateways[loop]);
  actors::wire_all(all_);
}

}  // namespace portcullis::apps
