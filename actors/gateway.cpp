#include "actors/gateway.hpp"

#include <algorithm>

#include "actors/shards.hpp"

namespace portcullis::actors {
namespace {

constexpr std::uint32_t cold_tag = 0x8000'0000;

template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
overloaded(Fs...) -> overloaded<Fs...>;

/// The token of an Authorization field; empty, which no token is, for another scheme. The scheme's
/// letters may be of either case (RFC 9110, 11.1).
std::string_view bearer_token(std::string_view authorization) noexcept {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() < scheme.size()) return {};
  for (std::size_t i = 0; i < scheme.size(); ++i) {
    const char c = authorization[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != scheme[i]) return {};
  }
  authorization.remove_prefix(scheme.size());
  while (authorization.starts_with(' ')) authorization.remove_prefix(1);
  while (authorization.ends_with(' ') || authorization.ends_with('\t'))
    authorization.remove_suffix(1);
  return authorization;
}

/// The tenant that a request names; empty: none.
std::string_view tenant_named_by(const core::request_params& params) {
  return std::visit(
      [](const auto& each) -> std::string_view {
        if constexpr (requires { each.user.tenant_id; })
          return each.user.tenant_id;
        else if constexpr (requires { each.by.tenant_id; })
          return each.by.tenant_id;
        else if constexpr (requires { each.tenant_id; })
          return each.tenant_id;
        else
          return {};
      },
      params);
}

/// The service that a request names; empty: none.
std::string_view service_named_by(const core::request_params& params) {
  return std::visit(
      [](const auto& each) -> std::string_view {
        if constexpr (requires { each.name.service; })
          return each.name.service;
        else if constexpr (requires { each.service; })
          return each.service;
        else
          return {};
      },
      params);
}

}  // namespace

gateway::gateway(gateway_options options) : options_(std::move(options)) {
  everybody_.name = "anonymous";
  everybody_.role = core::role::admin;
  batches_.resize(std::size_t{options_.shards} * 2);
  down_.resize(std::size_t{options_.shards} * 2, false);
}

void gateway::wire(gateway_peers peers, gateway_actor self) {
  peers_ = std::move(peers);
  self_ = std::move(self);
}

core::result<const core::caller*> gateway::greet(net::connection_id id, const net::peer& who) {
  visitors_[id] = {core::parse_ip(who.address).value_or(core::ip_address{}),
                   who.loopback || who.encrypted};
  return greet(who);
}

core::result<const core::caller*> gateway::greet(const net::peer& who) {
  if (who.certificate != nullptr)
    if (const auto* known = find_caller(options_.callers.certificates, who.certificate->names))
      return known;
  // Whom a proxy in front names may be anybody: auth.mode "none" is for this machine.
  if (options_.open_to_all && who.loopback) return &everybody_;
  if (who.certificate != nullptr && options_.certificates_only) {
    const auto address = core::parse_ip(who.address).value_or(core::ip_address{});
    tell_of_failed_login(options_.keys->source(address), options_.make_correlation_id());
    return core::fail(core::error_code::CERTIFICATE_REJECTED);
  }
  return &nobody_;
}

void gateway::closed(net::connection_id id) {
  visitors_.erase(id);
  lines_.erase(id);
  if (subscribers_.erase(id) > 0) caf::anon_send(peers_.subscriptions, connection_gone{id});
}

void gateway::fail(net::ticket to, const core::error& why, std::string_view correlation_id) {
  connections_->answer(to, core::failed{why, correlation_id});
}

std::optional<core::error> gateway::forbidden(const core::caller& caller,
                                              const core::request& request) const {
  if (const auto code = core::refusal(caller.role, request.method)) return core::fail(*code);
  if (!caller.services.empty()) {
    const auto service = service_named_by(request.params);
    if (!service.empty() && !caller.sees_service(service))
      return core::fail(core::error_code::FORBIDDEN, "service");
  }
  if (caller.tenants.empty()) return std::nullopt;
  if (request.method == core::method::admin_forget) return core::fail(core::error_code::FORBIDDEN);
  const auto tenant = tenant_named_by(request.params);
  if (!tenant.empty() && !caller.sees_tenant(tenant))
    return core::fail(core::error_code::FORBIDDEN, "tenant_id");
  return std::nullopt;
}

std::optional<gateway::destination> gateway::destination_of(const core::request& request) const {
  const auto by_byte = [this](std::uint8_t byte) {
    return std::optional(destination{shard_of(byte, options_.shards), byte});
  };
  const auto by_user = [&](const core::user_name& user) {
    return by_byte(options_.keys->routing_byte(user.tenant_id, user.user_id));
  };
  return std::visit(
      overloaded{
          [&](const core::validate_session& p) { return by_byte(p.id.bytes[0]); },
          [&](const core::update_session& p) { return by_byte(p.id.bytes[0]); },
          [&](const core::rotate_session& p) { return by_byte(p.id.bytes[0]); },
          [&](const core::revoke_session& p) {
            return by_byte(
                std::visit([](const auto& target) { return target.bytes[0]; }, p.target));
          },
          [&](const core::create_session& p) { return by_user(p.user); },
          [&](const core::revoke_user& p) { return by_user(p.user); },
          [&](const core::list_sessions& p) { return by_user(p.user); },
          [&](const core::lockout_status& p) { return by_user(p.user); },
          [&](const core::clear_lockout& p) { return by_user(p.user); },
          [&](const core::forget_user& p) { return by_user(p.user); },
          [&](const core::revoke_tenant& p) {
            return by_byte(options_.keys->routing_byte(p.tenant_id, {}));
          },
          [&](const auto& p) {
            if constexpr (requires { p.name.service; })
              return std::optional(destination{
                  options_.shards + shard_of_service(p.name.service, options_.shards), 0});
            else
              return std::optional<destination>();
          },
      },
      request.params);
}

std::uint32_t gateway::submit(net::connection_id from, const core::caller& caller, net::ticket to,
                              core::request& request, const net::block_ref& block) {
  if (draining_) {
    fail(to, core::fail(core::error_code::NODE_DRAINING), request.correlation_id);
    return 0;
  }
  if (const auto why = forbidden(caller, request)) {
    fail(to, *why, request.correlation_id);
    return 0;
  }
  if ((request.has_alias || !lines_.empty()) && waits_in_line(from, caller, to, request, block))
    return cold_tag;
  return pass_on(from, caller, to, request, block);
}

std::uint32_t gateway::pass_on(net::connection_id from, const core::caller& caller, net::ticket to,
                               core::request& request, const net::block_ref& block, bool certain) {
  if (request.has_alias) resolve_alias(request);
  if (const auto to_whom = destination_of(request)) {
    const auto [where, routing] = *to_whom;
    if (down_[where]) {
      fail(to, core::fail(core::error_code::OVERLOADED), request.correlation_id);
      return 0;
    }
    if (const auto* made =
            request.has_alias ? std::get_if<core::create_session>(&request.params) : nullptr;
        made != nullptr && !reserve_alias(*made)) {
      fail(to, alias_taken(), request.correlation_id);
      return 0;
    }
    batches_[where].requests.push_back(
        {to, &caller, block, std::move(request), options_.loop, certain, routing, from});
    return where + 1;
  }
  switch (request.method) {
    case core::method::server_ping:
      connections_->answer(to, core::done{});
      return 0;
    case core::method::server_version:
      connections_->answer(to, core::version_reply{options_.version});
      return 0;
    case core::method::auth_login:
      log_in(from, to, request);
      return 0;
    default:  // NOLINT: all that is not of one shard
      caf::anon_send(self_,
                     cold_request{{to, &caller, block, std::move(request), options_.loop, false, 0, from}});
      return cold_tag;
  }
}

void gateway::turn_ended() {
  for (std::uint32_t where = 0; where < batches_.size(); ++where) {
    if (batches_[where].requests.empty()) continue;
    batches_[where].now_ms = options_.clock->now_ms();
    batches_[where].loop = options_.loop;
    auto batch = std::exchange(batches_[where], request_batch{options_.pool->take(), 0, 0});
    if (where < options_.shards)
      caf::anon_send(peers_.shards[where].session, std::move(batch));
    else
      caf::anon_send(peers_.breakers[where - options_.shards], std::move(batch));
  }
}

core::result<const core::caller*> gateway::find_by_token(const visitor& from,
                                                         std::string_view token,
                                                         const std::string& correlation_id) {
  if (!from.private_way) return core::fail(core::error_code::TLS_REQUIRED);
  const auto now_ms = options_.clock->now_ms();
  const auto source = options_.keys->source(from.address);
  if (const auto wait_ms = options_.limiter->wait_ms(source, now_ms); wait_ms > 0) {
    auto why = core::fail(core::error_code::AUTH_RATE_LIMITED);
    why.retry_after_ms = wait_ms;
    return why;
  }
  if (const auto* who =
          is_token_form(token) ? find_caller(options_.callers.tokens, token) : nullptr)
    return who;
  options_.limiter->failed(source, now_ms);
  tell_of_failed_login(source, correlation_id);
  return core::fail(core::error_code::AUTH_FAILED);
}

void gateway::tell_of_failed_login(const core::short_hash& source,
                                   const std::string& correlation_id) {
  auto batch = std::make_shared<event_batch>();
  core::event what;
  what.at_ms = what.decided_at_ms = options_.clock->now_ms();
  what.correlation_id = correlation_id;
  what.body = core::auth_failed{source};
  batch->events.push_back(std::move(what));
  caf::anon_send(peers_.hub, log_events{std::move(batch)});
}

void gateway::log_in(net::connection_id from, net::ticket to, const core::request& request) {
  const auto correlation_id = request.correlation_id.empty() ? options_.make_correlation_id()
                                                             : std::string(request.correlation_id);
  const auto who =
      find_by_token(visitors_[from], std::get<core::login>(request.params).token, correlation_id);
  if (!who) return fail(to, who.error(), correlation_id);
  connections_->set_caller(from, *who);
  connections_->answer(to, core::logged_in{(*who)->role, (*who)->name});
}

core::result<const core::caller*> gateway::identify(const core::ip_address& from, bool private_way,
                                                    std::string_view authorization,
                                                    const std::string& correlation_id) {
  return find_by_token({from, private_way}, bearer_token(authorization), correlation_id);
}

bool gateway::is_current(const core::caller* who) const {
  if (who == &nobody_ || who == &everybody_) return true;
  const auto is_it = [who](const auto& each) { return each.who == who; };
  const auto& [tokens, certificates] = options_.callers;
  return std::any_of(tokens.begin(), tokens.end(), is_it) ||
         std::any_of(certificates.begin(), certificates.end(), is_it);
}

std::optional<core::error> gateway::unready() const {
  if (draining_) return core::fail(core::error_code::NODE_DRAINING);
  if (store_trouble_) return store_trouble_;
  for (const bool down : down_)
    if (down) return core::fail(core::error_code::OVERLOADED);
  return std::nullopt;
}

void gateway::scrape(std::function<void(core::result<net::http_page>)> then) {
  caf::anon_send(self_, http_scrape{std::move(then)});
}

}  // namespace portcullis::actors
