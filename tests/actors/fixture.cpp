#include "fixture.hpp"

namespace portcullis::actors {

void shard_world::start() {
  hub = system.spawn([this](hub_actor::pointer hub_self) -> hub_actor::behavior_type {
    return {
        [this](log_events& order) { logged.push_back(std::move(order.batch)); },
        [](events_durable&) {},
        [](interest_changed&) {},
        [](load_shards&) { return shards_loaded{}; },
        [](count_mail) { return mail_counted{}; },
        [](read_tenants&) { return tenants_read{}; },
        [](load_breakers&) { return breakers_loaded{}; },
        [this, hub_self](await_commits&) -> caf::result<commits_done> {
          if (logged.empty()) return commits_done{};
          awaiting.push_back(hub_self->make_response_promise<commits_done>());
          return awaiting.back();
        },
        [](node_peers&) {},
        [](stop_atom) { return true; },
    };
  });
  journal =
      system.spawn([this](journal_actor::pointer journal_self) -> journal_actor::behavior_type {
        return {
            [](log_events&) {},
            [](flush_atom) {},
            [](slice_atom) {},
            [this, journal_self](read_sessions& question) -> caf::result<sessions_read> {
              sessions_read out;
              for (const auto each : question.seqs)
                if (const auto found = stored.find(each); found != stored.end())
                  out.rows.push_back(found->second);
              if (!store_waits) return out;
              reading.emplace_back(journal_self->make_response_promise<sessions_read>(),
                                   std::move(out));
              return reading.back().first;
            },
            [this](query_log& question) {
              queries.push_back(std::move(question.filter));
              log_queried out;
              out.committed_seq = out.scanned_seq = seq;
              return out;
            },
            [](find_in_store&) { return found_in_store{}; },
            [](back_up&) { return backup_done{}; },
            [](rewrap_keys&) { return keys_rewrapped{}; },
            [](load_shards&) { return shards_loaded{}; },
            [](read_tenants&) { return tenants_read{}; },
            [](load_breakers&) { return breakers_loaded{}; },
            [](await_commits&) { return commits_done{}; },
            [](collect_journal&) { return journal_collected{}; },
            [](store_gate&) {},
            [](decision_refused&) {},
            [](read_snapshot&) { return snapshot_read{}; },
            [this](want_log_time& wanted) { log_times.push_back(wanted.at_ms); },
            [](tick_atom) {},
            [](sign_atom) {},
            [](erase_atom) {},
            [](node_peers&) {},
            [](stop_atom) { return true; },
        };
      });
  sources = system.spawn([this]() -> sources_actor::behavior_type {
    return {
        [this](unknown_id_seen& seen) { unknown_ids.push_back(seen); },
        [](policies_changed&) {},
        [](node_peers&) {},
        [](tick_atom) {},
    };
  });
  if (shared) start_fleet();
  moved.resize(shards_);
  for (std::uint32_t shard = 0; shard < shards_; ++shard) spawn_shard(shard, 1);
  for (const auto& each : moved)
    caf::anon_send(each.session, [&] {
      auto peers = peers_of();
      peers.lockout = each.lockout;
      peers.directory = each.directory;
      return peers;
    }());
  settle();
}

void shard_world::start_fleet() {
  gateway_ = system.spawn([this](caf::event_based_actor*) {
    return caf::behavior{
        [this](cold_request& order) { given_back.push_back(std::move(order.request)); }};
  });
  fleet_ = system.spawn([this]() -> fleet_actor::behavior_type {
    return {
        [](log_events&) {},
        [this](catch_up&) { ++ends_asked; },
        [](load_shards&) { return shards_loaded{}; },
        [](read_tenants&) { return tenants_read{}; },
        [](load_breakers&) { return breakers_loaded{}; },
        [](await_commits&) { return commits_done{}; },
        [](collect_fleet&) { return fleet_collected{}; },
        [](list_members&) { return members_listed{}; },
        [](login_changed&) {},
        [](log_was_cut&) {},
        [](hold_log&) { return log_held{}; },
        [](go_on&) {},
        [](shard_down&) {},
        [](breakers_down&) {},
        [](node_peers&) {},
        [](flush_atom) {},
        [](stop_atom) { return true; },
    };
  });
}

void shard_world::read(std::vector<batch_ptr> batches) {
  log_advanced news;
  news.batches = std::move(batches);
  news.position = seq;
  news.at_ms = news.batches.empty() ? 0 : news.batches.back()->events.back().at_ms;
  news.fresh_ns = clock.mono_ns();
  news.sweeps = sweeps;
  for (const auto& each : moved) caf::anon_send(each.session, news);
}

void shard_world::overtake_one() {
  ASSERT_FALSE(logged.empty());
  auto batch = std::move(logged.front());
  logged.pop_front();
  caf::anon_send(moved[batch->shard].session, decision_refused{batch, true, seq, {}});
  settle();
}

wire_session shard_world::peers_of() const {
  wire_session peers;
  peers.hub = hub;
  peers.journal = journal;
  peers.sources = sources;
  peers.fleet = fleet_;
  if (gateway_) peers.gateways.push_back(caf::actor_cast<gateway_actor>(gateway_));
  for (const auto& each : moved) peers.sessions.push_back(each.session);
  return peers;
}

void shard_world::spawn_shard(std::uint32_t shard, std::uint64_t incarnation) {
  auto image = std::make_shared<shard_image>();
  image->sessions = std::make_unique<core::session_state>();
  image->directory = std::make_unique<core::directory_state>();
  image->lockouts = std::make_unique<core::lockout_state>();
  session_options options;
  options.shard = shard;
  options.shards = shards_;
  options.incarnation = incarnation;
  options.keys = keys;
  options.policies = book;
  options.random = counted_random(shard + 100);
  options.clock = &clock;
  options.image = image;
  options.aliases = aliases;
  options.replies = &port;
  options.pool = pool_;
  options.events_in_flight_max = events_in_flight_max;
  if (shared) {
    options.fleet = std::make_shared<const core::fleet_keys>(*keys);
    options.staleness_ns_max = staleness_ns_max;
  }
  options.encode = [](const core::reply& reply, std::string& out) {
    out += "reply " + std::to_string(reply.index());
  };
  auto& made = moved[shard];
  made.shard = shard;
  made.lockout = spawn_pinned<lockout_actor, lockout_shard>(
      unit, lockout_behaviour, lockout_options{book, &clock, image, shared});
  made.directory = spawn_pinned<directory_actor, directory_shard>(
      unit, directory_behaviour, directory_options{keys, counted_random(shard + 200), image});
  made.session =
      spawn_pinned<session_actor, session_shard>(unit, session_behaviour, std::move(options));
  caf::anon_send(made.lockout, wire_shard{made.session});
  caf::anon_send(made.directory, wire_shard{made.session});
  settle();
}

core::context shard_world::context_of(std::string_view ip) {
  core::context out;
  out.ip = *core::parse_ip(ip);
  out.fields[0] = "browser/1";
  out.fields[1] = "text/html";
  return out;
}

std::uint32_t shard_world::add(core::method method, core::request_params params, std::uint8_t byte,
                               const core::caller* who) {
  inbound request;
  request.to = {++last_ticket_, 1};
  request.from = from;
  request.routing = byte;
  request.who = who != nullptr ? who : &admin;
  request.what.method = method;
  request.what.params = std::move(params);
  if (const auto* made = std::get_if<core::create_session>(&request.what.params))
    request.what.has_alias = !made->alias.empty();
  batches_[shard_of(byte, shards_)].requests.push_back(std::move(request));
  return last_ticket_;
}

std::uint32_t shard_world::create(std::string user, std::string tenant, std::string data) {
  core::create_session params;
  params.user = {keep(std::move(tenant)), keep(std::move(user))};
  params.context = context_of(home);
  params.data = keep(std::move(data));
  const auto byte = routing(params.user.tenant_id, params.user.user_id);
  return add(core::method::session_create, params, byte);
}
std::uint32_t shard_world::create_as(std::string alias, std::string user, std::int64_t idle_ttl_s) {
  core::create_session params;
  params.user = {"acme", keep(std::move(user))};
  params.context = context_of(home);
  params.alias = keep(std::move(alias));
  params.idle_ttl_s = idle_ttl_s;
  const auto byte = routing(params.user.tenant_id, params.user.user_id);
  EXPECT_TRUE(aliases->reserve(keys->alias_tag("acme", params.alias), byte, clock.at_ms));
  return add(core::method::session_create, params, byte);
}
std::uint32_t shard_world::by_alias(std::uint32_t ticket, std::string_view alias) {
  for (auto& [shard, batch] : batches_)
    for (auto& each : batch.requests) {
      if (each.to.slot != ticket) continue;
      each.what.has_alias = true;
      if (auto* seen = std::get_if<core::validate_session>(&each.what.params))
        seen->by = {"acme", alias};
      else
        std::get<core::revoke_session>(each.what.params).by = {"acme", alias};
    }
  return ticket;
}
std::uint32_t shard_world::validate(const core::session_id& id, std::string_view ip) {
  return add(core::method::session_validate, core::validate_session{id, context_of(ip), true},
             id.bytes[0]);
}
std::uint32_t shard_world::validate_as(const core::caller& who, const core::session_id& id) {
  return add(core::method::session_validate, core::validate_session{id, context_of(home), true},
             id.bytes[0], &who);
}
std::uint32_t shard_world::update(const core::session_id& id, std::string data) {
  return add(core::method::session_update,
             core::update_session{id, context_of(home), keep(std::move(data)), std::nullopt},
             id.bytes[0]);
}
std::uint32_t shard_world::rotate(const core::session_id& id, bool grace) {
  return add(core::method::session_rotate, core::rotate_session{id, context_of(home), grace},
             id.bytes[0]);
}
std::uint32_t shard_world::revoke(const core::session_handle& handle) {
  return add(core::method::session_revoke, core::revoke_session{handle}, handle.bytes[0]);
}
std::uint32_t shard_world::revoke(const core::session_id& id) {
  return add(core::method::session_revoke, core::revoke_session{id}, id.bytes[0]);
}
void shard_world::store_answers() {
  for (auto& [promise, rows] : std::exchange(reading, {})) promise.deliver(std::move(rows));
  settle();
}
std::uint32_t shard_world::revoke_user(std::string user, std::string tenant,
                                       std::optional<core::session_id> except) {
  const core::user_name name{keep(std::move(tenant)), keep(std::move(user))};
  return add(core::method::session_revoke_user, core::revoke_user{name, except},
             routing(name.tenant_id, name.user_id));
}
std::uint32_t shard_world::revoke_tenant(std::string tenant) {
  const auto name = keep(std::move(tenant));
  return add(core::method::session_revoke_tenant, core::revoke_tenant{name}, routing(name, {}));
}
std::uint32_t shard_world::list(std::string user, std::string tenant, std::uint32_t limit,
                                std::string cursor) {
  const core::user_name name{keep(std::move(tenant)), keep(std::move(user))};
  return add(core::method::session_list,
             core::list_sessions{name, {limit, keep(std::move(cursor))}},
             routing(name.tenant_id, name.user_id));
}
std::uint32_t shard_world::status(std::string user, std::string tenant) {
  const core::user_name name{keep(std::move(tenant)), keep(std::move(user))};
  return add(core::method::lockout_status, core::lockout_status{name},
             routing(name.tenant_id, name.user_id));
}
std::uint32_t shard_world::clear(std::string user, std::string tenant) {
  const core::user_name name{keep(std::move(tenant)), keep(std::move(user))};
  return add(core::method::lockout_clear, core::clear_lockout{name, "asked for"},
             routing(name.tenant_id, name.user_id));
}

std::uint32_t shard_world::forget(std::string user, std::string tenant) {
  const core::user_name name{keep(std::move(tenant)), keep(std::move(user))};
  return add(core::method::admin_forget, core::forget_user{name, "asked for"},
             routing(name.tenant_id, name.user_id));
}

void shard_world::submit() {
  for (auto& [shard, batch] : batches_) {
    batch.now_ms = clock.at_ms;
    caf::anon_send(moved[shard].session, std::move(batch));
  }
  batches_.clear();
  settle();
}

void shard_world::commit_one() {
  ASSERT_FALSE(logged.empty());
  auto batch = std::move(logged.front());
  logged.pop_front();
  for (auto& each : batch->events) {
    each.seq = ++seq;
    each.at_ms = each.decided_at_ms;
    if (each.type() == core::event_type::session_created) {
      each.session_seq = seq;
      stored[seq] = {seq, *each.subject, *each.handle, store::session_state::live, each.sealed};
    }
    history.push_back(each);
  }
  for (const auto& each : batch->users) saved_users.push_back(each);
  purged.insert(purged.end(), batch->purges.begin(), batch->purges.end());
  if (shared && !batch->events.empty())
    read({batch});
  else
    caf::anon_send(moved[batch->shard].session, events_committed{batch, false, {}});
  tell_of_commits();
  settle();
}

void shard_world::tell_of_commits() {
  if (!logged.empty()) return;
  for (auto& each : std::exchange(awaiting, {})) each.deliver(commits_done{});
}

std::size_t shard_world::commit_all() {
  std::size_t batches = 0;
  for (; !logged.empty(); ++batches) commit_one();
  return batches;
}

void shard_world::refuse_one(core::error_code code) {
  ASSERT_FALSE(logged.empty());
  auto batch = std::move(logged.front());
  logged.pop_front();
  caf::anon_send(moved[batch->shard].session, events_committed{batch, true, core::fail(code)});
  tell_of_commits();
  settle();
}

std::vector<core::event> shard_world::events(core::event_type type) const {
  std::vector<core::event> out;
  for (const auto& each : history)
    if (each.type() == type) out.push_back(each);
  for (const auto& batch : logged)
    for (const auto& each : batch->events)
      if (each.type() == type) out.push_back(each);
  return out;
}

}  // namespace portcullis::actors
