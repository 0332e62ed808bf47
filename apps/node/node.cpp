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
#include "apps/node/parts.hpp"
#include "apps/node/tls_files.hpp"
#include "core/config/parse.hpp"
#include "monitoring/log.hpp"
#include "net/rpc/encode.hpp"

namespace portcullis::apps {
namespace {

using monitoring::component;

constexpr std::int64_t soon_s = 14 * 86'400;

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
        {{"ahead_ms", *ahead}});
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

void node::make_loops() {
  const auto loops = static_cast<std::uint32_t>(images_.size());
  const bool development = config_.server.environment == core::environment::development;
  const auto limiter = std::make_shared<actors::auth_limiter>();
  const auto per_source = config_.listen.rpc.max_connections_per_source;
  const auto sources = per_source > 0 ? std::make_shared<net::source_counts>(per_source) : nullptr;
  callers_ = actors::callers_of(config_.auth.tokens, config_.auth.certificates, {});
  for (std::uint32_t loop = 0; loop < loops; ++loop) {
    actors::gateway_options gateway;
    gateway.loop = loop;
    gateway.loops = gateway.shards = loops;
    gateway.node_id = config_.server.node_id;
    gateway.version = PORTCULLIS_VERSION;
    gateway.open_to_all = config_.auth.mode == core::auth_mode::none;
    gateway.keys = keys_;
    gateway.clock = &clock_;
    gateway.started_at_ms = clock_.now_ms();
    gateway.callers = callers_;
    gateway.certificates_only = config_.auth.mode == core::auth_mode::mtls;
    gateway.limiter = limiter;
    gateway.pool = std::make_shared<actors::batch_pool>();
    gateway.make_correlation_id = make_correlation_id;

    loop_host_options options;
    options.tcp.message = {config_.limits.value_bytes, config_.limits.depth, config_.limits.batch,
                           config_.limits.data_bytes, false};
    options.tcp.connections_max = std::max<std::size_t>(1, rpc_connections_max_ / loops);
    options.tcp.in_flight_per_connection_max = config_.limits.in_flight_per_connection;
    options.tcp.request_timeout_ms = config_.limits.request_timeout_ms;
    options.tcp.read_blocks_max = core::limits::read_blocks_max * loops;
    options.tcp.development = development;
    options.tcp.correlation_seed = random_seed();
    options.tcp.loop_index = loop;
    options.tcp.bind_to_connection = config_.listen.rpc.bind_to_connection;
    options.tcp.message.context_ip_optional = config_.listen.rpc.bind_to_connection;
    options.tcp.idle_ms_max = config_.listen.rpc.idle_timeout_s * 1'000;
    options.tcp.sources = sources;
    options.with_http = loop == 0;
    if (loop == 0) options.tls = &tls_;
    if (options.with_http) set_http_options(options);
    hosts_.push_back(std::make_unique<loop_host>(*system_, clock_, std::move(gateway), options));
  }
}

void node::set_http_options(loop_host_options& options) const {
  const auto& http = config_.listen.http;
  const bool development = config_.server.environment == core::environment::development;
  options.http.message.body_bytes_max = config_.limits.value_bytes;
  if (http.max_connections_per_source > 0)
    options.http.sources = std::make_shared<net::source_counts>(http.max_connections_per_source);
  options.http.development = options.routes.development = development;
  options.http.correlation_seed = random_seed();
  options.routes.correlation_seed = random_seed();
  options.routes.needs_token = http.auth == core::http_auth::token;
  options.routes.hosts = http.hosts;
  options.routes.origins = http.origins;
  options.routes.message = options.tcp.message;
  const auto streams_of = [](std::size_t connections) {
    return std::max<std::size_t>(connections / core::limits::event_stream_share, 1);
  };
  options.routes.streams_max = {streams_of(http.max_connections),
                                streams_of(config_.listen.https.max_connections)};
  options.routes.authz = forward_auth_;
  options.routes.random = buffered_random;
}

core::result<std::vector<std::string>> node::load_tls(const core::config& config,
                                                      std::string& why) {
  std::vector<std::string> changed;
  if (!speaks_tls(config)) return changed;
  auto made = net::tls_context::make(tls_options_of(config), tls_.tickets(), why);
  if (!made) return made.error();
  // Neither keeps the node from serving who can be served; both keep somebody out.
  const std::pair<std::string_view, std::int64_t> ends[] = {
      {"tls.certificate_file", (*made)->ends_at_s()}, {"tls.crl_file", (*made)->lists_end_at_s()}};
  for (const auto& [key, at_s] : ends) {
    const auto left_s = at_s - clock_.now_ms() / 1'000;
    if (at_s == 0 || left_s > soon_s) continue;
    const auto text = left_s <= 0 ? monitoring::fixed_text("A file of TLS is out of date.")
                                  : monitoring::fixed_text("A file of TLS is out of date soon.");
    monitoring::log::write(core::log_level::warn, component::config, text,
                           {{"key", key}, {"ends_at_ms", at_s * 1'000}});
  }
  const auto before = tls_.current();
  for (const auto& [key, digest] : (*made)->files()) {
    const auto known = before ? before->files().find(key) : (*made)->files().end();
    const bool same = before && known != before->files().end() && known->second == digest;
    if (!same) changed.push_back(key);
  }
  tls_.replace(*std::move(made));
  return changed;
}

net::listener_rules node::rules_of(bool tls, bool proxy, std::size_t connections_max) {
  net::listener_rules rules;
  rules.connections_max = connections_max;
  rules.opening.proxy = proxy;
  for (const auto& each : config_.listen.proxy_sources)
    if (const auto network = core::address_set::parse_one(each))
      rules.opening.proxy_sources.add(*network);
  if (tls) rules.opening.tls = &tls_;
  return rules;
}

core::result<core::nothing> node::listen(std::string& why) {
  const auto& listen = config_.listen;
  const auto refused = [&](std::string_view key, const std::string& where, core::error error) {
    why = fmt::format("{} {}: {}", key, where, error.rule);
    return error;
  };
  const auto per_loop = [this](std::size_t all) {
    return std::max<std::size_t>(1, all / hosts_.size());
  };
  const bool shared = hosts_.size() > 1;
  auto rpc = core::parse_endpoint(listen.rpc.address);
  auto rpc_tls = core::parse_endpoint(listen.rpc_tls.address);
  for (const auto& host : hosts_) {
    const auto port = host->tcp().listen(
        *rpc, core::listener::rpc, shared,
        rules_of(false, listen.rpc.proxy_protocol, per_loop(listen.rpc.max_connections)));
    if (!port) return refused("listen.rpc.address", listen.rpc.address, port.error());
    rpc->port = rpc_port_ = *port;
    if (!rpc_tls) continue;
    const auto tls_port = host->tcp().listen(
        *rpc_tls, core::listener::rpc_tls, shared,
        rules_of(true, listen.rpc_tls.proxy_protocol, per_loop(listen.rpc_tls.max_connections)));
    if (!tls_port)
      return refused("listen.rpc_tls.address", listen.rpc_tls.address, tls_port.error());
    rpc_tls->port = rpc_tls_port_ = *tls_port;
  }
  if (!listen.rpc_unix.path.empty()) {
    const auto opened = hosts_.front()->tcp().listen_unix(listen.rpc_unix.path);
    if (!opened) return refused("listen.rpc_unix.path", listen.rpc_unix.path, opened.error());
  }
  return listen_http(why);
}

core::result<core::nothing> node::listen_http(std::string& why) {
  const auto& listen = config_.listen;
  auto& host = *hosts_.front();
  const auto http =
      host.listen_http(*core::parse_endpoint(listen.http.address), core::listener::http,
                       rules_of(false, listen.http.proxy_protocol, listen.http.max_connections));
  if (!http) {
    why = fmt::format("listen.http.address {}: {}", listen.http.address, http.error().rule);
    return http.error();
  }
  http_port_ = *http;
  const auto where = core::parse_endpoint(listen.https.address);
  if (!where) return core::nothing{};
  auto rules = rules_of(true, listen.https.proxy_protocol, listen.https.max_connections);
  rules.opening.use = net::tls_use::http;
  const auto https = host.listen_http(*where, core::listener::https, std::move(rules));
  if (!https) {
    why = fmt::format("listen.https.address {}: {}", listen.https.address, https.error().rule);
    return https.error();
  }
  https_port_ = *https;
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
  for (const auto& host : hosts_) host->start();
  log_node_event(core::node_started{PORTCULLIS_VERSION, core::to_json(*current_policies())});
  monitoring::log::write(
      core::log_level::info, component::server, "The node is ready.",
      {{"rpc", rpc_address()},
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
  auto loaded = load_config(sources_);
  const auto before = current_config();
  auto problems = std::move(loaded.problems);
  if (problems.empty())
    for (auto& each : core::reload_problems(*before, loaded.value, loaded.origins))
      problems.push_back(std::move(each));
  if (!problems.empty()) {
    for (const auto& each : problems)
      monitoring::log::write(core::log_level::error, component::config,
                             "A problem in the configuration.", {{"problem", core::to_text(each)}});
    return core::fail(core::error_code::CONFIG_INVALID);
  }
  std::string why;
  const auto authz = load_forward_auth(loaded.value, why);
  using files_changed = core::result<std::vector<std::string>>;
  auto files = authz ? load_tls(loaded.value, why) : files_changed(authz.error());
  if (!files) {
    monitoring::log::write(core::log_level::error, component::config,
                           "A problem in the configuration.", {{"problem", why}});
    return files.error();
  }
  forward_auth_->replace(*authz);
  actors::reload_outcome outcome;
  for (const auto& change : core::config_diff(*before, loaded.value))
    outcome.changed.push_back(change.key);
  // Who revokes a certificate changes no key: the file has the same name.
  for (auto& each : *files) {
    monitoring::log::write(core::log_level::info, component::config,
                           "A file of TLS holds something else now.", {{"key", each}});
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
  monitoring::log::write(core::log_level::info, component::server, "The node is draining.");
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
                                 : monitoring::fixed_text("The node has stopped, not in order."));
  monitoring::process_log().flush();
  return orderly;
}

void node::end_actors() {
  // First the actors, with their loops still running; then the loops; then handles, units and the
  // system (loops first: it hangs).
  for (const auto& host : hosts_) host->unit().exit_all();
  while (std::any_of(hosts_.begin(), hosts_.end(),
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
  all_ = actors::node_actors{};
  supervisor_ = actors::supervisor_actor{};
  system_->await_all_actors_done();
  hosts_.clear();
  system_.reset();
}

}  // namespace portcullis::apps
