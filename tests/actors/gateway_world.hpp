// A gateway with scripted actors around it, and requests of every method.
#pragma once
#include <gmock/gmock.h>

#include "actors/gateway.hpp"
#include "fixture.hpp"

namespace portcullis::actors {

inline constexpr core::breaker_name payments{"payments", "default"};

inline core::request_params params_of(core::method which, std::string_view tenant) {
  switch (which) {
    case core::method::session_validate:
      return core::validate_session{};
    case core::method::session_create:
      return core::create_session{{tenant, "alice"}, {}, {}, {}, {}};
    case core::method::session_update:
      return core::update_session{};
    case core::method::session_rotate:
      return core::rotate_session{};
    case core::method::session_revoke:
      return core::revoke_session{core::session_handle{}};
    case core::method::session_revoke_user:
      return core::revoke_user{{tenant, "alice"}, {}};
    case core::method::session_revoke_tenant:
      return core::revoke_tenant{tenant};
    case core::method::session_list:
      return core::list_sessions{{tenant, "alice"}, {}};
    case core::method::session_find:
      return core::find_sessions{tenant, std::string_view("browser"), {}};
    case core::method::session_stats:
      return core::session_stats{};
    case core::method::lockout_status:
      return core::lockout_status{{tenant, "alice"}};
    case core::method::lockout_list:
      return core::list_lockouts{tenant, {}};
    case core::method::lockout_clear:
      return core::clear_lockout{{tenant, "alice"}, "why"};
    case core::method::events_subscribe:
      return core::subscribe_events{{}, {}, tenant};
    case core::method::events_unsubscribe:
      return core::unsubscribe_events{"sub-1"};
    case core::method::events_query: {
      core::query_events query;
      query.tenant_id = tenant;
      return query;
    }
    case core::method::breaker_acquire:
      return core::acquire_permit{payments};
    case core::method::breaker_report:
      return core::report_call{payments, {}, {}, {}, {}, {}};
    case core::method::breaker_report_batch:
      return core::report_calls{payments, {}, {}, {}, {}};
    case core::method::breaker_observe:
      return core::observe_breaker{payments, {}, {}, {}, {}, {}, {}};
    case core::method::breaker_status:
      return core::breaker_question{payments};
    case core::method::breaker_list:
      return core::list_breakers{};
    case core::method::breaker_override:
      return core::override_breaker{payments, {}, {}, {}};
    case core::method::breaker_reset:
      return core::reset_breaker{payments, {}};
    case core::method::server_ping:
      return core::ping{};
    case core::method::server_version:
      return core::version_request{};
    case core::method::server_info:
      return core::info_request{};
    case core::method::server_connections:
      return core::list_connections{};
    case core::method::auth_login:
      return core::login{"not a token"};
    case core::method::admin_reload:
      return core::reload_config{};
    case core::method::admin_drain:
      return core::drain{};
    case core::method::admin_backup:
      return core::backup{"/tmp/x"};
    case core::method::admin_forget:
      return core::forget_user{{tenant, "alice"}, "why"};
    case core::method::admin_rotate_keys:
      return core::rotate_keys{};
    case core::method::admin_crash:
      return core::crash_actor{"hub"};
  }
  __builtin_unreachable();
}

class gateway_world : public virtual_loop {
 public:
  explicit gateway_world(std::uint32_t shards = 2, bool shared = false) {
    gateway_options options;
    options.shards = shards;
    options.keys = keys;
    options.clock = &clock;
    options.aliases = aliases;
    options.version = "1.2.3";
    options.limiter = std::make_shared<auth_limiter>();
    options.pool = std::make_shared<batch_pool>();
    options.callers.tokens = {{core::sha256(core::as_bytes(token)), &known}};
    options.make_correlation_id = [this] { return "made-up-" + std::to_string(++made_up); };
    door = std::make_unique<gateway>(std::move(options));
    door->attach(port);
    voice = spawn_pinned<gateway_actor, gateway_voice>(
        unit, gateway_behaviour, door.get(),
        std::function<core::loop_tallies()>([] { return core::loop_tallies{}; }));
    gateway_peers peers;
    hub = system.spawn([this](caf::event_based_actor*) {
      return caf::behavior{[this](log_events& order) { logged.push_back(order.batch); }};
    });
    peers.hub = caf::actor_cast<hub_actor>(hub);
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      sessions.push_back(system.spawn([this, shard](caf::event_based_actor*) {
        return caf::behavior{
            [this, shard](request_batch& batch) { batches[shard].push_back(std::move(batch)); },
            [](count_sessions&) {
              sessions_counted out;
              out.counts.live = 3;
              out.counts.created = 5;
              return out;
            }};
      }));
      peers.shards.push_back({shard, caf::actor_cast<session_actor>(sessions.back()), {}, {}});
    }
    if (shared) {
      fleet = system.spawn([this](caf::event_based_actor*) {
        return caf::behavior{[this](catch_up& question) { questions.push_back(question); }};
      });
      peers.fleet = caf::actor_cast<fleet_actor>(fleet);
    }
    // In place of the voice: what is cold only has to arrive.
    cold = system.spawn([this](caf::event_based_actor*) {
      return caf::behavior{
          [this](cold_request& order) { cold_ones.push_back(order.request.what.method); }};
    });
    door->wire(std::move(peers), caf::actor_cast<gateway_actor>(cold));
    settle();
    (void)door->greet(1, {"127.0.0.1", true, "rpc"});
  }
  ~gateway_world() {
    settle();
    door->wire({}, {});
    unit.exit_all();
    voice = gateway_actor{};
    for (const auto& each : sessions) caf::anon_send_exit(each, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(hub, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(cold, caf::exit_reason::user_shutdown);
    if (fleet) caf::anon_send_exit(fleet, caf::exit_reason::user_shutdown);
    settle();
  }
  std::uint32_t submit(const core::caller& who, core::request request,
                       net::connection_id from = 1) {
    last_tag = door->submit(from, who, {++ticket, 1}, request, {});
    return ticket;
  }
  std::uint32_t call(const core::caller& who, core::method which,
                     std::string_view tenant = "acme") {
    core::request request;
    request.method = which;
    request.params = params_of(which, tenant);
    return submit(who, std::move(request));
  }
  [[nodiscard]] std::optional<core::error_code> error(std::uint32_t of) const {
    const auto found = port.replies.find(of);
    if (found == port.replies.end()) return std::nullopt;
    const auto* failed = std::get_if<core::failed>(&found->second.reply);
    return failed == nullptr ? std::nullopt : std::optional(failed->why.code);
  }
  [[nodiscard]] std::optional<core::error_code> not_ready() const {
    const auto why = door->unready();
    return why ? std::optional(why->code) : std::nullopt;
  }
  /// Who presents this over HTTP, or the error's name.
  std::string identified(const std::string& authorization, bool private_way = true) {
    const auto who = door->identify(*core::parse_ip("198.51.100.9"), private_way, authorization,
                                    "request-" + std::to_string(++made_up));
    return who ? (*who)->name : std::string(core::describe(who.error().code).name);
  }
  static core::caller with_role(core::role role, std::vector<std::string> tenants = {}) {
    core::caller out;
    out.role = role;
    out.tenants = std::move(tenants);
    return out;
  }

  const std::string token = core::to_base64url(core::byte_array<32>{1, 2, 3});
  core::caller known = with_role(core::role::app);
  std::shared_ptr<const core::key_material> keys =
      std::make_shared<const core::key_material>(core::generate_keyring(counted_random(77), 1));
  recording_port port;
  std::unique_ptr<gateway> door;
  gateway_actor voice;
  caf::actor hub, cold, fleet;
  std::vector<caf::actor> sessions;
  std::map<std::uint32_t, std::vector<request_batch>> batches;
  std::vector<core::method> cold_ones;
  std::vector<batch_ptr> logged;
  std::vector<catch_up> questions;  // to the fleet actor
  std::shared_ptr<alias_book> aliases = std::make_shared<alias_book>();
  std::uint32_t ticket = 0, last_tag = 0;
  int made_up = 0;
};

}  // namespace portcullis::actors
