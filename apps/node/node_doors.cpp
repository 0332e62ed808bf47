// The node's loops and listeners.
#include <fmt/format.h>

#include <algorithm>

#include "apps/node/forward_auth.hpp"
#include "apps/node/node.hpp"
#include "apps/node/parts.hpp"
#include "apps/node/refusal_log.hpp"
#include "apps/node/tls_files.hpp"
#include "core/config/parse.hpp"
#include "monitoring/log.hpp"

namespace portcullis::apps {
namespace {

constexpr std::int64_t soon_s = 14 * 86'400;

}  // namespace

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
    gateway.aliases = aliases_;
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
    const auto refusals = std::make_shared<refusal_log>(clock_, keys_);
    options.tcp.on_refused =
        options.http.on_refused = [refusals](const net::refusal& what) { refusals->refused(what); };
    options.routes.on_forwarded_unread = [refusals](const core::ip_address& proxy) {
      refusals->forwarded_unread(proxy);
    };
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
    monitoring::log::write(
        core::log_level::warn, monitoring::component::config, text,
        {{"event.action", "certificate_ends"}, {"key", key}, {"ends_at_ms", at_s * 1'000}});
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
  const auto at = core::parse_endpoint(listen.http.address)->address;
  if ((at == core::ip_address{} || at == core::parse_ip("0.0.0.0")) && listen.http.hosts.empty())
    monitoring::log::write(
        core::log_level::warn, monitoring::component::config,
        "listen.http.hosts is empty and HTTP listens on all addresses: requests "
        "of /rpc and /events that name this host are refused.",
        {{"event.action", "http_hosts_missing"}, {"address", listen.http.address}});
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

}  // namespace portcullis::apps
