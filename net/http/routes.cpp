#include "net/http/routes.hpp"

#include <utility>

namespace portcullis::net {
namespace {

constexpr std::string_view text_plain = "text/plain; charset=utf-8";
constexpr std::string_view ready_verbose = "[+]store ok\n[+]shards ok\n[+]not draining\nready\n";

host_rules rules_of(const http_route_options& options, std::optional<core::ip_address> address) {
  return host_rules({options.hosts, options.origins, address});
}

}  // namespace

http_routes::http_routes(loop& on, http_route_options options, http_port& gateway,
                         calls_port& calls)
    : loop_(on),
      options_(std::move(options)),
      gateway_(gateway),
      calls_(calls),
      made_up_(options_.correlation_seed),
      encoding_{made_up_, options_.development},
      hosts_{rules_of(options_, {}), rules_of(options_, {})} {
  proxies_.name = "authz";
  proxies_.role = core::role::app;
}
http_routes::~http_routes() = default;

void http_routes::set_address(core::listener as, const core::ip_address& address) {
  // One that listens on all addresses has no name of its own.
  const bool any = address == core::ip_address{} || address == core::parse_ip("0.0.0.0");
  hosts_[as == core::listener::https ? 1 : 0] =
      rules_of(options_, any ? std::nullopt : std::optional(address));
}

void http_routes::handle(http_exchange& on) {
  const auto& request = on.request();
  const auto path = request.path;
  if (const auto kind = authz_kind_of(path); kind && options_.authz) return authz(on, *kind);
  const auto& rules = hosts_[on.peer().listener == core::listener::https ? 1 : 0];
  if (request.origin && !rules.origin_allowed(*request.origin))
    return deny(on, core::error_code::FORBIDDEN, "origin");
  if (path == "/livez") return health(on, false);
  if (path == "/readyz") return health(on, true);
  if (path == "/metrics") return metrics(on);
  if (path == "/rpc") return rpc(on);
  if (path == "/events") return events(on);
  if (path == "/events/ticket") return give_ticket(on);
  deny(on, core::error_code::METHOD_NOT_FOUND, {}, "path");
}

void http_routes::deny(http_exchange& on, core::error_code why, std::string_view field,
                       std::string_view rule) {
  on.refuse(core::fail(why, field, rule));
}

bool http_routes::takes(http_exchange& on, std::string_view allowed) {
  const auto method = on.request().method;
  for (auto left = allowed; !left.empty();) {
    const auto size = std::min(left.find(", "), left.size());
    if (left.substr(0, size) == method) return true;
    left.remove_prefix(std::min(size + 2, left.size()));
  }
  on.refuse(core::fail(core::error_code::METHOD_NOT_FOUND, "method"), 405,
            "Allow: " + std::string(allowed) + "\r\n");
  return false;
}

bool http_routes::trusts_host(http_exchange& on) {
  const auto& request = on.request();
  // One with an Origin has been looked at.
  if (!request.origin && is_cross_site(request.fields)) {
    deny(on, core::error_code::FORBIDDEN, "origin");
    return false;
  }
  const auto& host = request.host;
  const auto& rules = hosts_[on.peer().listener == core::listener::https ? 1 : 0];
  if (!host || rules.host_allowed(*host)) return true;  // only HTTP/1.0 may be without: no browser
  deny(on, core::error_code::FORBIDDEN, "host", "of_listen.http.hosts");
  return false;
}

http_routes::identified http_routes::identify(http_exchange& on, std::string& correlation_id) {
  const auto& peer = on.peer();
  const auto& authorization = on.request().authorization;
  if (authorization) {
    if (correlation_id.empty()) correlation_id = made_up_.text();
    return gateway_.identify(peer.source, peer.private_way(), *authorization, correlation_id);
  }
  if (!gateway_.is_current(peer.caller)) return core::fail(core::error_code::AUTH_FAILED);
  return peer.caller;
}

const core::caller* http_routes::caller_of(http_exchange& on) {
  std::string correlation_id;
  const auto found = identify(on, correlation_id);
  if (found) return *found;
  on.refuse(found.error(), 0, {}, correlation_id);
  return nullptr;
}

bool http_routes::may_look(http_exchange& on) {
  if (!options_.needs_token) return true;
  const auto* caller = caller_of(on);
  if (caller == nullptr) return false;
  if (caller->role == core::role::observer || caller->role == core::role::admin) return true;
  deny(on,
       caller->role == core::role::none ? core::error_code::AUTH_REQUIRED
                                        : core::error_code::FORBIDDEN,
       {});
  return false;
}

void http_routes::health(http_exchange& on, bool ready) {
  on.count_as(ready ? core::http_route::readyz : core::http_route::livez);
  if (!takes(on, "GET, HEAD") || !may_look(on)) return;
  if (!ready) return on.answer({200, text_plain, "ok\n"});
  if (const auto why = gateway_.unready()) return on.refuse(*why);
  const bool verbose = on.request().query.find("verbose") != std::string_view::npos;
  on.answer({200, text_plain, verbose ? ready_verbose : "ok\n"});
}

void http_routes::metrics(http_exchange& on) {
  on.count_as(core::http_route::metrics);
  if (!takes(on, "GET, HEAD") || !may_look(on)) return;
  gateway_.scrape(on.later());
}

}  // namespace portcullis::net
