#include "apps/node/node.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "actors/shard_loader.hpp"
#include "actors/shards.hpp"
#include "apps/descriptors.hpp"
#include "apps/node/forward_auth.hpp"
#include "apps/node/keys.hpp"
#include "apps/node/link_host.hpp"
#include "apps/node/parts.hpp"
#include "apps/node/redis_options.hpp"
#include "apps/node/tls_files.hpp"
#include "core/config/parse.hpp"
#include "monitoring/log.hpp"
#include "net/rpc/encode.hpp"

namespace portcullis::apps {
namespace {

using monitoring::component;

}  // namespace

std::shared_ptr<const core::policy_book> policies_of(const core::config& config) {
  auto book = std::make_shared<core::policy_book>();
  book->session = config.session;
  book->lockout = config.lockout;
  book->breakers = config.breakers;
  book->breakers.patterns.try_emplace(std::string(core::store_breaker_pattern),
                                      core::store_breaker_policy());
  book->tenants = {config.tenants.begin(), config.tenants.end()};
  return book;
}

node::node(const core::config& config, config_sources sources, std::function<void()> stop)
    : config_(config),
      sources_(std::move(sources)),
      want_stop_(std::move(stop)),
      current_config_(std::make_shared<const core::config>(config)),
      policies_(policies_of(config)) {}

node::~node() {
  if (running_) (void)this->stop();
}

std::shared_ptr<const core::config> node::current_config() {
  std::lock_guard guard{current_mutex_};
  return current_config_;
}

std::shared_ptr<const core::policy_book> node::current_policies() {
  std::lock_guard guard{current_mutex_};
  return policies_;
}

void node::apply_log_settings(const core::config& config) const {
  monitoring::log_settings settings;
  settings.level = config.log.level;
  settings.levels = config.log.levels;
  settings.format = config.log.format;
  settings.hash_user_ids = config.log.hash_user_ids;
  settings.node_id = config.server.node_id;
  settings.version = PORTCULLIS_VERSION;
  if (keys_)
    settings.user_key = core::hmac_key(core::hmac_key(ring_.lookup)("portcullis log user"));
  (void)monitoring::process_log().configure(settings);
}

core::result<core::nothing> node::open_store(std::string& why) {
  apply_log_settings(config_);
  store::journal_options options;
  options.data_dir = config_.server.data_dir;
  options.node_id = config_.server.node_id;
  auto ring = load_keys(config_, why);
  if (!ring) return ring.error();
  ring_ = std::move(*ring);
  keys_ = std::make_shared<const core::key_material>(ring_);
  current_keys_ = keys_;
  apply_log_settings(config_);
  options.chain = keys_->chain();
  options.keyring_check = core::sha256(core::as_bytes(keys_->check_value()));
  if (const auto made = make_store(options.keyring_check, why); !made) return made.error();
  auto opened = store::journal::open(options);
  if (!opened) {
    why = fmt::format("{}: {}", config_.server.data_dir, why_not_opened(opened.error()));
    return opened.error();
  }
  log_ = std::move(*opened);
  const auto ahead = clock_.settle(*log_);
  if (!ahead) return ahead.error();
  constexpr core::millis worth_telling_ms = 5'000;
  if (*ahead > worth_telling_ms || *ahead < -worth_telling_ms)
    monitoring::log::write(
        core::log_level::warn, component::server,
        "The system's clock was stepped since this machine's start; the node keeps its own time.",
        {{"event.action", "clock_stepped"}, {"ahead_ms", *ahead}});
  if (const auto joined = join_fleet(why); !joined) return joined.error();
  std::vector<std::uint32_t> shards;
  for (std::uint32_t shard = 0; shard < config_.loop_count(std::thread::hardware_concurrency());
       ++shard)
    shards.push_back(shard);
  const auto began = clock_.mono_ns();
  auto images = actors::load_shards_from(*log_, shards, static_cast<std::uint32_t>(shards.size()),
                                         keys_->newest().id);
  if (!images) {
    why = fmt::format("{}: {}", config_.server.data_dir, why_not_opened(images.error()));
    return images.error();
  }
  images_ = std::move(*images);
  auto breakers = actors::load_breakers_from(*log_);
  if (!breakers) {
    why = fmt::format("{}: {}", config_.server.data_dir, why_not_opened(breakers.error()));
    return breakers.error();
  }
  stored_breakers_.resize(shards.size());
  for (auto& each : breakers->take()) {
    each.number = breaker_quota_->next_number();
    const auto shard =
        actors::shard_of_service(each.record.service, static_cast<std::uint32_t>(shards.size()));
    stored_breakers_[shard].push_back(std::move(each));
  }
  replay_ns_ = static_cast<std::uint64_t>(clock_.mono_ns() - began);
  return core::nothing{};
}

core::result<core::nothing> node::start(std::string& why) {
  auto registry =
      monitoring::metrics::create({PORTCULLIS_VERSION, PORTCULLIS_REVISION, config_.metrics.labels,
                                   config_.metrics.breakers_max});
  if (!registry) {
    why = "metrics.labels: a name that cannot be a constant label";
    return registry.error();
  }
  registry_ = std::move(*registry);
  const auto authz = load_forward_auth(config_, why);
  if (!authz) return authz.error();
  forward_auth_ = std::make_shared<net::forward_auth_rules>(*authz);
  if (auto loaded = load_tls(config_, why); !loaded) return loaded.error();
  if (auto opened = open_store(why); !opened) return opened;
  // Few workers: what runs on them is not hot. Policy `sharing` sleeps when there is nothing to do
  // (hazards H4).
  system_config_.set("scheduler.policy", caf::atom("sharing"));
  system_config_.set("scheduler.max-threads", std::size_t{2});
  system_config_.set("scheduler.max-throughput", std::size_t{300});
  system_ = std::make_unique<caf::actor_system>(system_config_);
  const auto connections = rpc_connections_for(config_, images_.size(), why);
  if (!connections) return connections.error();
  rpc_connections_max_ = *connections;
  make_loops();
  auto listening = listen(why);
  if (!listening) {
    hosts_.clear();
    return listening;
  }
  running_ = true;
  spawn_actors();
  if (!await_fleet())  // at once: loops that have not begun cannot end their actors either
    die("The log in Redis cannot be followed: it takes no writes (too few replicas?), or refuses a "
        "command (rights?). docs/cluster.md, What stops a node.");
  for (const auto& host : hosts_) host->start();
  log_node_event(core::node_started{PORTCULLIS_VERSION, core::to_json(*current_policies())});
  monitoring::log::write(
      core::log_level::info, component::server, "The node is ready.",
      {{"event.action", "node_ready"},
       {"rpc", rpc_address()},
       {"rpc_tls", rpc_tls_address()},
       {"http", http_address()},
       {"https", https_address()},
       {"loops", static_cast<std::int64_t>(hosts_.size())},
       {"environment", config_.server.environment == core::environment::development
                           ? std::string_view("development")
                           : std::string_view("production")}});
  return core::nothing{};
}

std::string node::rpc_address() const {
  auto where = core::parse_endpoint(config_.listen.rpc.address).value_or(core::endpoint{});
  where.port = rpc_port_;
  return core::to_text(where);
}

std::string node::rpc_tls_address() const {
  auto where = core::parse_endpoint(config_.listen.rpc_tls.address);
  if (!where) return {};
  where->port = rpc_tls_port_;
  return core::to_text(*where);
}

std::string node::http_address() const {
  auto where = core::parse_endpoint(config_.listen.http.address).value_or(core::endpoint{});
  where.port = http_port_;
  return core::to_text(where);
}

std::string node::https_address() const {
  auto where = core::parse_endpoint(config_.listen.https.address);
  if (!where) return {};
  where->port = https_port_;
  return core::to_text(*where);
}

void node::log_node_event(core::event_body body) {
  auto batch = std::make_shared<actors::event_batch>();
  core::event what;
  what.at_ms = what.decided_at_ms = clock_.now_ms();
  what.body = std::move(body);
  batch->events.push_back(std::move(what));
  caf::anon_send(all_.hub, actors::log_events{std::move(batch)});
}

core::result<actors::reload_outcome> node::read_again() {
  monitoring::process_log().reopen();  // whatever becomes of the rest: logrotate asks by SIGHUP
  auto loaded = load_config(sources_);
  const auto before = current_config();
  auto problems = std::move(loaded.problems);
  if (problems.empty())
    for (auto& each : core::reload_problems(*before, loaded.value, loaded.origins))
      problems.push_back(std::move(each));
  if (!problems.empty()) {
    for (const auto& each : problems)
      monitoring::log::write(
          core::log_level::error, component::config, "A problem in the configuration.",
          {{"event.action", "config_invalid"}, {"problem", core::to_text(each)}});
    return core::fail(core::error_code::CONFIG_INVALID);
  }
  std::string why;
  const auto authz = load_forward_auth(loaded.value, why);
  using files_changed = core::result<std::vector<std::string>>;
  auto files = authz ? load_tls(loaded.value, why) : files_changed(authz.error());
  if (!files) {
    monitoring::log::write(core::log_level::error, component::config,
                           "A problem in the configuration.",
                           {{"event.action", "config_invalid"}, {"problem", why}});
    return files.error();
  }
  if (all_.fleet) {
    auto login = redis_login_of(loaded.value, why);
    if (!login) {
      monitoring::log::write(core::log_level::error, monitoring::component::config,
                             "A problem in the configuration.",
                             {{"event.action", "config_invalid"}, {"problem", why}});
      return login.error();
    }
    caf::anon_send(all_.fleet, actors::login_changed{(*login).user, (*login).password});
  }
  forward_auth_->replace(*authz);
  actors::reload_outcome outcome;
  for (const auto& change : core::config_diff(*before, loaded.value))
    outcome.changed.push_back(change.key);
  // Who revokes a certificate changes no key: the file has the same name.
  for (auto& each : *files) {
    monitoring::log::write(core::log_level::info, component::config,
                           "A file of TLS holds something else now.",
                           {{"event.action", "tls_file_changed"}, {"key", each}});
    if (std::find(outcome.changed.begin(), outcome.changed.end(), each) == outcome.changed.end())
      outcome.changed.push_back(std::move(each));
  }
  const auto now = std::make_shared<const core::config>(std::move(loaded.value));
  outcome.tokens = now->auth.tokens;
  outcome.certificates = now->auth.certificates;
  outcome.policies = policies_of(*now);
  {
    std::lock_guard guard{current_mutex_};
    current_config_ = now;
    policies_ = outcome.policies;
  }
  apply_log_settings(*now);
  return outcome;
}

void node::reload() {
  caf::anon_send(supervisor_, actors::admin_request{core::reload_config{}, {}, "SIGHUP", {}});
}

bool node::stop() {
  running_ = false;
  monitoring::log::write(core::log_level::info, component::server, "The node is draining.",
                         {{"event.action", "node_draining"}});
  for (const auto& gateway : all_.gateways) caf::anon_send(gateway, actors::stop_atom::value);
  const auto deadline_ns = clock_.mono_ns() + current_config()->server.drain_s * 1'000'000'000;
  const auto drained = [this] {
    return std::all_of(hosts_.begin(), hosts_.end(),
                       [](const auto& host) { return host->drained(); });
  };
  bool orderly = true;
  while (!drained()) {
    if (clock_.mono_ns() > deadline_ns) {
      orderly = false;
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (const auto& host : hosts_) host->close_connections();
  const auto taken_leave = [this] {
    return std::all_of(hosts_.begin(), hosts_.end(),
                       [](const auto& host) { return host->taken_leave(); });
  };
  while (!taken_leave() && clock_.mono_ns() < deadline_ns)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  {
    caf::scoped_actor self{
        *system_};  // counts as a running actor: it must be gone before the others are awaited
    self->request(supervisor_, std::chrono::seconds(20), actors::stop_atom::value)
        .receive([&](bool closed) { orderly = orderly && closed; },
                 [&](const caf::error&) { orderly = false; });
  }
  end_actors();
  monitoring::log::write(orderly ? core::log_level::info : core::log_level::error,
                         component::server,
                         orderly ? monitoring::fixed_text("The node has stopped.")
                                 : monitoring::fixed_text("The node has stopped, not in order."),
                         {{"event.action", "node_ended"}});
  monitoring::process_log().flush();
  return orderly;
}

void node::end_actors() {
  // First the actors, with their loops still running; then the loops; then handles, units and the
  // system (loops first: it hangs).
  for (const auto& host : hosts_) host->unit().exit_all();
  if (link_) link_->unit().exit_all();
  while ((link_ && link_->unit().live() > 0) ||
         std::any_of(hosts_.begin(), hosts_.end(),
                     [](const auto& host) { return host->unit().live() > 0; }))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (const auto& handle :
       {caf::actor_cast<caf::actor>(all_.hub), caf::actor_cast<caf::actor>(all_.journal),
        caf::actor_cast<caf::actor>(all_.log), caf::actor_cast<caf::actor>(all_.metrics),
        caf::actor_cast<caf::actor>(all_.sources), caf::actor_cast<caf::actor>(supervisor_)})
    caf::anon_send_exit(handle, caf::exit_reason::user_shutdown);
  for (const auto& host : hosts_) {
    host->stop();
    host->gateway().wire(actors::gateway_peers{}, actors::gateway_actor{});
  }
  if (link_) link_->stop();
  all_ = actors::node_actors{};
  supervisor_ = actors::supervisor_actor{};
  system_->await_all_actors_done();
  hosts_.clear();
  link_.reset();
  system_.reset();
}

}  // namespace portcullis::apps
