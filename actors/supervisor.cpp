#include "actors/supervisor.hpp"

#include <algorithm>

#include "actors/handlers.hpp"
#include "actors/timeouts.hpp"
#include "monitoring/log.hpp"

namespace portcullis::actors {
namespace {

constexpr auto rebuild_timeout = std::chrono::seconds(30);
constexpr auto stop_timeout = std::chrono::seconds(10);
constexpr std::size_t restarts_max = 20;
constexpr core::millis restarts_window_ms = 60'000;

template <class Handle>
bool is(const Handle& handle, const caf::actor_addr& address) {
  return handle && caf::actor_cast<caf::actor_addr>(handle) == address;
}

}  // namespace

node_peers node_actors::for_hub() const {
  node_peers peers{hub, journal, fleet, log, {}, breakers, subscriptions, gateways};
  for (const auto& shard : shards) peers.sessions.push_back(shard.session);
  return peers;
}

wire_session node_actors::for_session(std::uint32_t shard) const {
  wire_session peers{
      shards[shard].lockout, shards[shard].directory, hub, journal, sources, gateways, {}, fleet};
  for (const auto& each : shards) peers.sessions.push_back(each.session);
  return peers;
}

void wire_all(const node_actors& all) {
  caf::anon_send(all.hub, all.for_hub());
  caf::anon_send(all.journal, all.for_hub());
  caf::anon_send(all.sources, all.for_hub());
  caf::anon_send(all.metrics, all.for_hub());
  for (const auto& shard : all.shards) {
    caf::anon_send(shard.session, all.for_session(shard.shard));
    caf::anon_send(shard.directory, wire_shard{shard.session});
    caf::anon_send(shard.lockout, wire_shard{shard.session});
  }
  for (const auto& each : all.breakers)
    caf::anon_send(each, wire_breakers{all.hub, all.journal, all.gateways, all.fleet});
  // Last: what it has kept for them, they hand on to those whom they know by now.
  if (all.fleet) caf::anon_send(all.fleet, all.for_hub());
}

namespace {

/// The caller of an entry of the configuration. `known` has callers by what shows who they are;
/// `shows` reads that of one of them.
template <class Entry, class Known, class Shows>
const core::caller* caller_of(const Entry& entry, const std::vector<Known>& known, Shows shows) {
  const auto same = std::find_if(known.begin(), known.end(), [&](const Known& each) {
    return shows(each) && each.who->name == entry.name && each.who->role == entry.role &&
           each.who->tenants == entry.tenants && each.who->services == entry.services;
  });
  if (same != known.end()) return same->who;
  // Kept for the life of the process: requests in flight point to their caller.
  static std::mutex mutex;
  static std::deque<core::caller> callers;
  std::lock_guard guard{mutex};
  callers.push_back({entry.name, entry.role, entry.tenants, entry.services});
  return &callers.back();
}

std::vector<const core::caller*> everyone(const known_callers& known) {
  std::vector<const core::caller*> all;
  for (const auto& each : known.tokens) all.push_back(each.who);
  for (const auto& each : known.certificates) all.push_back(each.who);
  return all;
}

}  // namespace

known_callers callers_of(const std::vector<core::auth_token>& tokens,
                         const std::vector<core::auth_certificate>& certificates,
                         const known_callers& known) {
  known_callers out;
  for (const auto& token : tokens)
    out.tokens.push_back({token.sha256, caller_of(token, known.tokens, [&](const auto& each) {
                            return each.sha256 == token.sha256;
                          })});
  for (const auto& each : certificates)
    out.certificates.push_back(
        {each.san, caller_of(each, known.certificates,
                             [&](const auto& other) { return other.san == each.san; })});
  return out;
}

supervisor_actor::behavior_type supervisor_behaviour(
    supervisor_actor::stateful_pointer<supervisor_state> self, supervisor_options options,
    node_actors all) {
  set_default_handlers(self);
  self->state.start(self, std::move(options), std::move(all));
  return {
      [self](admin_request& order) { return self->state.on(order); },
      [self](digest_request& question) { return self->state.on(question); },
      [self](stop_atom) { return self->state.stop(); },
  };
}

void supervisor_state::start(supervisor_actor::stateful_pointer<supervisor_state> self,
                             supervisor_options options, node_actors all) {
  self_ = self;
  options_ = std::move(options);
  all_ = std::move(all);
  incarnations_.resize(all_.shards.size(), 1);
  breaker_incarnations_.resize(all_.breakers.size(), 1);
  restarting_.resize(all_.shards.size(), false);
  ending_.resize(all_.shards.size());
  self_->set_down_handler([this](caf::down_msg& message) { down(message); });
  self_->monitor(all_.hub);
  self_->monitor(all_.journal);
  if (all_.fleet) self_->monitor(all_.fleet);
  self_->monitor(all_.log);
  self_->monitor(all_.sources);
  self_->monitor(all_.metrics);
  for (const auto& each : all_.gateways) self_->monitor(each);
  for (const auto& each : all_.subscriptions) self_->monitor(each);
  for (const auto& each : all_.shards) {
    self_->monitor(each.session);
    self_->monitor(each.lockout);
    self_->monitor(each.directory);
  }
  for (const auto& each : all_.breakers) self_->monitor(each);
}

/// What the shards still hold goes to the hub before the hub is asked to end. A shard that has just
/// failed holds nothing.
caf::result<bool> supervisor_state::stop() {
  auto promise = self_->make_response_promise<bool>();
  auto missing = std::make_shared<std::size_t>(all_.shards.size() + all_.breakers.size());
  auto handed_on = [this, promise, missing]() mutable {
    if (--*missing > 0) return;
    auto batch = std::make_shared<event_batch>();
    core::event what;
    what.at_ms = what.decided_at_ms = options_.clock->now_ms();
    what.body = core::node_stopped{};
    batch->events.push_back(std::move(what));
    self_->send(all_.hub, log_events{std::move(batch)});
    self_->request(all_.hub, stop_timeout, stop_atom::value)
        .then([promise](bool closed) mutable { promise.deliver(closed); },
              [promise](const caf::error&) mutable { promise.deliver(false); });
  };
  for (const auto& shard : all_.shards)
    self_->request(shard.session, stop_timeout, stop_atom::value)
        .then([handed_on](bool) mutable { handed_on(); },
              [handed_on](const caf::error&) mutable { handed_on(); });
  for (const auto& each : all_.breakers)
    self_->request(each, stop_timeout, stop_atom::value)
        .then([handed_on](bool) mutable { handed_on(); },
              [handed_on](const caf::error&) mutable { handed_on(); });
  return promise;
}

void supervisor_state::down(const caf::down_msg& message) {
  if (message.reason == caf::exit_reason::user_shutdown) return;  // the node stops
  for (std::uint32_t shard = 0; shard < all_.shards.size(); ++shard) {
    const auto& each = all_.shards[shard];
    if (is(each.session, message.source) || is(each.lockout, message.source) ||
        is(each.directory, message.source))
      return ended(shard, message.source);
  }
  for (std::uint32_t shard = 0; shard < all_.breakers.size(); ++shard)
    if (is(all_.breakers[shard], message.source)) return breakers_ended(shard);
  for (std::uint32_t loop = 0; loop < all_.subscriptions.size(); ++loop)
    if (is(all_.subscriptions[loop], message.source)) return restart_subscriptions(loop);
  if (is(all_.hub, message.source) || is(all_.journal, message.source))
    return options_.fatal("The log has failed.");
  if (is(all_.fleet, message.source)) return options_.fatal("The shared log has failed.");
  for (const auto& each : all_.gateways)
    if (is(each, message.source)) return options_.fatal("A gateway has failed.");
  restart_stateless(message.source);
}

/// What these know is approximate, or is asked for anew at each scrape.
void supervisor_state::restart_stateless(const caf::actor_addr& which) {
  const bool log = is(all_.log, which), sources = is(all_.sources, which);
  if ((!log && !sources && !is(all_.metrics, which)) || too_often()) return;
  if (log) {
    all_.log = options_.spawn_log();
    self_->monitor(all_.log);
  } else if (sources) {
    all_.sources = options_.spawn_sources();
    self_->monitor(all_.sources);
  } else {
    all_.metrics = options_.spawn_metrics(all_);
    self_->monitor(all_.metrics);
  }
  monitoring::log::write(core::log_level::error, monitoring::component::actors,
                         "An actor has failed and was started again.",
                         {{"event.action", "actor_restarted"},
                          {"actor", log       ? "log"
                                    : sources ? "sources"
                                              : "metrics"}});
  wire_all(all_);
  if (!log && !sources)
    for (const auto& gateway : all_.gateways) self_->send(gateway, metrics_moved{all_.metrics});
}

bool supervisor_state::too_often() {
  const auto now_ms = options_.clock->now_ms();
  restarts_.push_back(now_ms);
  while (restarts_.front() <= now_ms - restarts_window_ms) restarts_.pop_front();
  if (restarts_.size() <= restarts_max) return false;
  options_.fatal("Actors fail too often.");
  return true;
}

/// One of a shard's actors has ended, by a failure or because another one's failure ends it too.
void supervisor_state::ended(std::uint32_t shard, const caf::actor_addr& which) {
  if (!restarting_[shard] && !end_others(shard)) return;
  auto& left = ending_[shard];
  std::erase(left, which);
  if (left.empty()) load(shard);
}

/// False when there is nothing to be done any more.
bool supervisor_state::end_others(std::uint32_t shard) {
  if (too_often()) return false;
  restarting_[shard] = true;
  monitoring::log::write(core::log_level::error, monitoring::component::actors,
                         "A shard's actor has failed; the shard is started again.",
                         {{"event.action", "shard_restarted"}, {"shard", std::int64_t{shard}}});
  for (const auto& gateway : all_.gateways) self_->send(gateway, shard_down{shard});
  if (all_.fleet) self_->send(all_.fleet, shard_down{shard});
  const auto& old = all_.shards[shard];
  self_->send_exit(old.session, caf::exit_reason::kill);
  self_->send_exit(old.lockout, caf::exit_reason::kill);
  self_->send_exit(old.directory, caf::exit_reason::kill);
  ending_[shard] = {caf::actor_cast<caf::actor_addr>(old.session),
                    caf::actor_cast<caf::actor_addr>(old.lockout),
                    caf::actor_cast<caf::actor_addr>(old.directory)};
  return true;
}

/// Through the hub, and only when all three have ended: whatever they handed over on their way out
/// is committed before the journal is read.
void supervisor_state::load(std::uint32_t shard) {
  self_->request(all_.hub, rebuild_timeout, load_shards{{shard}})
      .then([this, shard](shards_loaded& loaded) { restarted(shard, loaded); },
            [this](const caf::error&) { options_.fatal("A shard could not be rebuilt."); });
}

void supervisor_state::restarted(std::uint32_t shard, shards_loaded& loaded) {
  if (loaded.why) return options_.fatal("A shard could not be rebuilt.");
  all_.shards[shard] =
      options_.spawn_shard(shard, ++incarnations_[shard], std::move(loaded.images.front()));
  const auto& fresh = all_.shards[shard];
  self_->monitor(fresh.session);
  self_->monitor(fresh.lockout);
  self_->monitor(fresh.directory);
  restarting_[shard] = false;
  wire_all(all_);
  self_->send(all_.metrics, fresh);
  for (const auto& each : all_.subscriptions) self_->send(each, fresh);
  // A revocation of a tenant may have been committed after the shard was loaded, or by the shard
  // before it could tell the others. Whoever coordinates one from here on knows the new shard.
  self_->request(all_.hub, rebuild_timeout, read_tenants{})
      .then([this, shard, incarnation = incarnations_[shard]](
                const tenants_read& read) { tenants_known(shard, incarnation, read); },
            [this](const caf::error&) { options_.fatal("A shard could not be rebuilt."); });
}

/// A breaker actor starts again by itself: nobody else of its shard holds anything of it. What it
/// handed over is committed before the journal is read.
void supervisor_state::breakers_ended(std::uint32_t shard) {
  if (too_often()) return;
  monitoring::log::write(core::log_level::error, monitoring::component::actors,
                         "A shard's breaker actor has failed and is started again.",
                         {{"event.action", "breakers_restarted"}, {"shard", std::int64_t{shard}}});
  for (const auto& gateway : all_.gateways) self_->send(gateway, breakers_down{shard});
  if (all_.fleet) self_->send(all_.fleet, breakers_down{shard});
  self_->request(all_.hub, rebuild_timeout, load_breakers{shard})
      .then([this, shard](breakers_loaded& loaded) { breakers_restarted(shard, loaded); },
            [this](const caf::error&) { options_.fatal("Breakers could not be rebuilt."); });
}

void supervisor_state::breakers_restarted(std::uint32_t shard, breakers_loaded& loaded) {
  if (loaded.why) return options_.fatal("Breakers could not be rebuilt.");
  all_.breakers[shard] = options_.spawn_breakers(shard, ++breaker_incarnations_[shard],
                                                 std::move(loaded.breakers), loaded.position);
  self_->monitor(all_.breakers[shard]);
  wire_all(all_);
  const breakers_moved fresh{shard, all_.breakers[shard]};
  self_->send(all_.metrics, fresh);
  for (const auto& gateway : all_.gateways) self_->send(gateway, fresh);
}

bool supervisor_state::still(std::uint32_t shard, std::uint64_t incarnation) const {
  return incarnations_[shard] == incarnation && !restarting_[shard];
}

void supervisor_state::tenants_known(std::uint32_t shard, std::uint64_t incarnation,
                                     const tenants_read& read) {
  if (read.why) return options_.fatal("A shard could not be rebuilt.");
  // Also when this shard has failed again: the others must hear of it.
  for (const auto& tenant : read.tenants)
    for (const auto& each : all_.shards) caf::anon_send(each.session, tenant);
  if (!still(shard, incarnation)) return;
  // When it answers, it has told the session actor of its locks.
  self_->request(all_.shards[shard].lockout, rebuild_timeout, count_locks{})
      .then([this, shard, incarnation](const locks_counted&) { open_shard(shard, incarnation); },
            [this, shard, incarnation](const caf::error&) {
              // It has failed, which starts the shard again; if it only does not answer, nobody
              // else would.
              if (still(shard, incarnation)) end_others(shard);
            });
}

void supervisor_state::open_shard(std::uint32_t shard, std::uint64_t incarnation) {
  if (!still(shard, incarnation)) return;
  for (const auto& gateway : all_.gateways) self_->send(gateway, all_.shards[shard]);
  monitoring::log::write(core::log_level::info, monitoring::component::actors, "The shard is back.",
                         {{"event.action", "shard_back"}, {"shard", std::int64_t{shard}}});
}

void supervisor_state::restart_subscriptions(std::uint32_t loop) {
  if (too_often()) return;
  all_.subscriptions[loop] = options_.spawn_subscriptions(loop, all_.shards);
  self_->monitor(all_.subscriptions[loop]);
  self_->send(all_.hub, interest_changed{loop, false});
  wire_all(all_);
  self_->send(all_.gateways[loop], subscriptions_moved{all_.subscriptions[loop]});
}

caf::result<admin_answer> supervisor_state::on(admin_request& order) {
  if (std::holds_alternative<core::reload_config>(order.what)) return reload(order);
  if (std::holds_alternative<core::rotate_keys>(order.what)) return rotate(order);
  if (std::holds_alternative<core::drain>(order.what)) {
    options_.drain();
    return admin_answer{};
  }
  if (const auto* what = std::get_if<core::crash_actor>(&order.what)) return crash(*what);
  const auto* what = std::get_if<core::backup>(&order.what);
  if (what == nullptr)
    return admin_answer{core::fail(core::error_code::METHOD_NOT_FOUND), {}, 0, 0};
  auto promise = self_->make_response_promise<admin_answer>();
  self_->request(all_.journal, whole_store_timeout, back_up{std::string(what->path)})
      .then(
          [promise](const backup_done& done) mutable {
            promise.deliver(admin_answer{done.why, {}, done.seq, done.bytes});
          },
          [promise](const caf::error&) mutable {
            promise.deliver(admin_answer{core::fail(core::error_code::STORE_TIMEOUT), {}, 0, 0});
          });
  return promise;
}

admin_answer supervisor_state::crash(const core::crash_actor& order) {
  if (!options_.development) return {core::fail(core::error_code::METHOD_NOT_FOUND), {}, 0, 0};
  const auto& shard = all_.shards.front();
  if (order.actor == "session")
    self_->send(shard.session, crash_atom::value);
  else if (order.actor == "lockout")
    self_->send(shard.lockout, crash_atom::value);
  else if (order.actor == "directory")
    self_->send(shard.directory, crash_atom::value);
  else if (order.actor == "breaker")
    for (const auto& each : all_.breakers) self_->send(each, crash_atom::value);
  else if (order.actor == "subscriptions")
    self_->send(all_.subscriptions.front(), crash_atom::value);
  else
    return {core::fail(core::error_code::INVALID_PARAMS, "actor",
                       "session, lockout, directory, breaker or subscriptions"),
            {},
            0,
            0};
  return {};
}

admin_answer supervisor_state::reload(const admin_request& order) {
  auto outcome = options_.reload();
  if (!outcome) {
    monitoring::log::write(core::log_level::error, monitoring::component::config,
                           "The configuration was not taken; nothing has changed.",
                           {{"event.action", "config_refused"}});
    return {outcome.error(), {}, 0, 0};
  }
  if (outcome->changed.empty()) {
    monitoring::log::write(core::log_level::info, monitoring::component::config,
                           "The configuration was read again; nothing has changed.",
                           {{"event.action", "config_read"}});
    return {};
  }
  for (const auto& shard : all_.shards) {
    self_->send(shard.session, policies_changed{outcome->policies});
    self_->send(shard.lockout, policies_changed{outcome->policies});
  }
  for (const auto& each : all_.breakers) self_->send(each, policies_changed{outcome->policies});
  self_->send(all_.sources, policies_changed{outcome->policies});
  callers_changed callers{callers_of(outcome->tokens, outcome->certificates, options_.callers), {}};
  const auto stay = everyone(callers.known);
  for (const auto* known : everyone(options_.callers))
    if (std::find(stay.begin(), stay.end(), known) == stay.end()) callers.gone.push_back(known);
  options_.callers = callers.known;
  for (const auto& gateway : all_.gateways) self_->send(gateway, callers);
  auto batch = std::make_shared<event_batch>();
  core::event what;
  what.at_ms = what.decided_at_ms = options_.clock->now_ms();
  what.correlation_id =
      order.correlation_id.empty() ? options_.make_correlation_id() : order.correlation_id;
  what.actor = order.actor;
  what.body = core::config_reloaded{core::to_json(*outcome->policies)};
  batch->events.push_back(std::move(what));
  self_->send(all_.hub, log_events{std::move(batch)});
  return {std::nullopt, std::move(outcome->changed), 0, 0};
}

caf::result<admin_answer> supervisor_state::rotate(const admin_request&) {
  // The others would not have the new key.
  if (options_.shared)
    return admin_answer{
        core::fail(core::error_code::CONFIG_INVALID, "store.mode", "not_with_redis"), {}, 0, 0};
  if (rotating_) return admin_answer{core::fail(core::error_code::OVERLOADED), {}, 0, 0};
  rotating_ = true;
  auto promise = self_->make_response_promise<admin_answer>();
  if (options_.ring.ring.size() < core::limits::key_ring_max) {
    rotate_now(false, promise);
    return promise;
  }
  // The oldest key goes: no user's key may still be wrapped by it, as after rotations of a stopped
  // node.
  self_
      ->request(all_.journal, whole_store_timeout,
                rewrap_keys{std::make_shared<const core::key_material>(options_.ring)})
      .then(
          [this, promise](const keys_rewrapped& done) {
            if (done.why) return finish_rotation(promise, {done.why, {}, 0, 0});
            ask_for_oldest(promise);
          },
          [this, promise](const caf::error&) {
            finish_rotation(promise, {core::fail(core::error_code::STORE_TIMEOUT), {}, 0, 0});
          });
  return promise;
}

void supervisor_state::ask_for_oldest(const caf::typed_response_promise<admin_answer>& promise) {
  struct gathered {
    std::size_t missing;
    bool in_use = false;
  };
  auto open = std::make_shared<gathered>();
  open->missing = all_.shards.size();
  const auto answered = [this, open, promise](bool in_use) {
    open->in_use = open->in_use || in_use;
    if (--open->missing == 0) rotate_now(open->in_use, promise);
  };
  for (const auto& shard : all_.shards)
    self_->request(shard.session, rebuild_timeout, ring_key_question{options_.ring.ring.back().id})
        .then([answered](const ring_key_answer& from) { answered(from.in_use); },
              [answered](const caf::error&) { answered(true); });
}

void supervisor_state::finish_rotation(caf::typed_response_promise<admin_answer> promise,
                                       admin_answer with) {
  rotating_ = false;
  promise.deliver(std::move(with));
}

void supervisor_state::rotate_now(bool oldest_in_use,
                                  caf::typed_response_promise<admin_answer> promise) {
  auto next =
      core::rotate_keyring(options_.ring, oldest_in_use, options_.random, options_.clock->now_ms());
  if (!next) return finish_rotation(promise, {next.error(), {}, 0, 0});
  if (const auto saved = options_.save_keys(*next); !saved)
    return finish_rotation(promise, {saved.error(), {}, 0, 0});
  options_.ring = std::move(*next);
  const auto keys = std::make_shared<const core::key_material>(options_.ring);
  for (const auto& shard : all_.shards) {
    self_->send(shard.session, keys_changed{keys});
    self_->send(shard.directory, keys_changed{keys});
  }
  for (const auto& gateway : all_.gateways) self_->send(gateway, keys_changed{keys});
  const auto count = options_.ring.ring.size();
  self_->request(all_.journal, whole_store_timeout, rewrap_keys{keys})
      .then(
          [this, promise, count](const keys_rewrapped& done) {
            finish_rotation(promise, {done.why, {}, count, 0});
          },
          [this, promise](const caf::error&) {
            finish_rotation(promise, {core::fail(core::error_code::STORE_TIMEOUT), {}, 0, 0});
          });
}

}  // namespace portcullis::actors
