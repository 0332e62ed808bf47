// The gateway's actor: what takes more than one step.
#include "actors/gateway.hpp"

#include "actors/handlers.hpp"
#include "actors/timeouts.hpp"
#include "monitoring/metrics.hpp"

namespace portcullis::actors {
namespace {

/// What concerns all tenants at once: not for callers that may see only some.
bool is_of_the_whole_node(core::method which) noexcept {
  switch (which) {
    case core::method::session_stats:
    case core::method::server_connections:
    case core::method::admin_reload:
    case core::method::admin_drain:
    case core::method::admin_backup:
    case core::method::admin_rotate_keys:
    case core::method::admin_crash:
      return true;
    default:
      return false;  // NOLINT: the others name a tenant, or are filtered
  }
}

}  // namespace

gateway_actor::behavior_type gateway_behaviour(gateway_self* self, gateway* owner,
                                               std::function<core::loop_tallies()> tallies) {
  set_default_handlers(self);
  self->state.start(self, owner, std::move(tallies));
  auto& state = self->state;
  return {
      [&state](reply_batch& replies) { state.on(replies); },
      [&state](cold_request& request) { state.on(request); },
      [&state](http_scrape& request) { state.on(request); },
      [&state](collect_loop& question) { return state.on(question); },
      [&state](list_loop& question) { return state.on(question); },
      [&state](shard_down& which) { state.on(which); },
      [&state](shard_moved& moved) { state.on(moved); },
      [&state](breakers_down& which) { state.on(which); },
      [&state](breakers_moved& moved) { state.on(moved); },
      [&state](subscriptions_moved& moved) { state.on(moved); },
      [&state](metrics_moved& moved) { state.on(moved); },
      [&state](caught_up& answer) { state.on(answer); },
      [&state](callers_changed& change) { state.on(change); },
      [&state](keys_changed& change) { state.on(change); },
      [&state](store_state_changed& change) { state.on(change); },
      [&state](stop_atom) { state.drain(); },
  };
}

void gateway_voice::start(gateway_self* self, gateway* owner,
                          std::function<core::loop_tallies()> tallies) {
  self_ = self;
  owner_ = owner;
  tallies_ = std::move(tallies);
}

void gateway_voice::answer(const inbound& request, const core::reply& reply) {
  owner_->connections_->answer(request.to, reply);
}

void gateway_voice::fail(const inbound& request, core::error why) {
  answer(request, core::failed{why, request.what.correlation_id});
}

void gateway_voice::on(const reply_batch& replies) {
  std::string_view outcomes = replies.outcomes;
  for (const auto& each : replies.entries) {
    owner_->connections_->answer_encoded(each.to, outcomes.substr(0, each.size));
    outcomes.remove_prefix(each.size);
  }
}

void gateway_voice::on(cold_request& order) {
  auto& request = order.request;
  if (request.what.has_alias) return owner_->pass_on_again(request);
  if (!request.who->tenants.empty() && is_of_the_whole_node(request.what.method))
    return fail(request, core::fail(core::error_code::FORBIDDEN));
  switch (request.what.method) {
    case core::method::session_stats:
      return stats(request);
    case core::method::session_find:
      return find(request);
    case core::method::lockout_list:
      return list_lockouts(request);
    case core::method::breaker_list:
      return list_breakers(request);
    case core::method::events_query:
      return query(request);
    case core::method::server_info:
      return info(request);
    case core::method::server_connections:
      return list_connections(request);
    case core::method::events_subscribe:
      owner_->subscribers_.insert(request.from);
      return self_->send(owner_->peers_.subscriptions, subscribe{std::move(request)});
    case core::method::events_unsubscribe:
      return self_->send(owner_->peers_.subscriptions, unsubscribe{std::move(request)});
    default:
      return administrate(request);  // NOLINT: admin.*
  }
}

void gateway_voice::stats(inbound& request) {
  struct sum {
    core::session_counts counts;
    std::size_t missing;
    bool failed = false;
  };
  auto open = std::make_shared<sum>();
  open->missing = owner_->peers_.shards.size();
  const auto answered = [this, open, request] {
    if (--open->missing > 0) return;
    if (open->failed) return fail(request, core::fail(core::error_code::OVERLOADED));
    answer(request, open->counts);
  };
  for (const auto& shard : owner_->peers_.shards)
    self_->request(shard.session, peer_timeout, count_sessions{})
        .then(
            [open, answered](const sessions_counted& from) {
              open->counts.live += from.counts.live;
              open->counts.created += from.counts.created;
              open->counts.revoked += from.counts.revoked;
              open->counts.expired += from.counts.expired;
              open->counts.evicted += from.counts.evicted;
              answered();
            },
            [open, answered](const caf::error&) {
              open->failed = true;
              answered();
            });
}

void gateway_voice::info(inbound& request) {
  if (std::get<core::info_request>(request.what.params).digest) {
    if (request.who->role != core::role::admin)
      return fail(request, core::fail(core::error_code::FORBIDDEN, "digest"));
    return take_digest(request);
  }
  tell_info(request, std::nullopt);
}

/// Of the moment that the digest is of; the rest is as it is by then.
void gateway_voice::take_digest(inbound& request) {
  owner_->turn_ended();  // what came before on this connection goes first
  self_->request(owner_->peers_.supervisor, whole_store_timeout, digest_request{})
      .then(
          [this, request](const digest_answer& answer) {
            if (answer.why) return fail(request, *answer.why);
            tell_info(request, answer);
          },
          [this, request](const caf::error&) {
            fail(request, core::fail(core::error_code::OVERLOADED));
          });
}

void gateway_voice::tell_info(const inbound& request, const std::optional<digest_answer>& digest) {
  struct sum {
    core::info_reply reply;
    std::size_t missing;
  };
  auto open = std::make_shared<sum>();
  const auto& options = owner_->options_;
  open->reply.node_id = options.node_id;
  const auto& fleet = owner_->peers_.fleet;
  open->reply.mode = fleet ? "redis" : "embedded";
  open->reply.version = options.version;
  open->reply.store_kind = fleet ? "redis" : "sqlite";
  open->reply.degraded = owner_->store_trouble_.has_value();
  open->reply.uptime_ms = options.clock->now_ms() - options.started_at_ms;
  open->reply.loops = options.loops;
  open->missing =
      owner_->peers_.shards.size() + owner_->peers_.gateways.size() + 1 + (fleet ? 1 : 0);
  const auto answered = [this, open, request, digest] {
    if (--open->missing > 0) return;
    if (digest) {
      open->reply.seq = digest->seq;
      open->reply.digest = core::to_hex(digest->digest);
    }
    answer(request, open->reply);
  };
  const auto lost = [answered](const caf::error&) { answered(); };
  for (const auto& shard : owner_->peers_.shards) {
    if (!request.who->tenants.empty()) {  // other tenants' sessions are unknown to it
      self_->request(shard.session, peer_timeout, tenant_question{request.who->tenants})
          .then(
              [open, answered](const tenant_answer& from) {
                open->reply.sessions += from.live;
                answered();
              },
              lost);
      continue;
    }
    self_->request(shard.session, peer_timeout, count_sessions{})
        .then(
            [open, answered](const sessions_counted& from) {
              open->reply.sessions += from.counts.live;
              answered();
            },
            lost);
  }
  for (const auto& each : owner_->peers_.gateways)
    self_->request(each, peer_timeout, list_loop{0, 0})
        .then(
            [open, answered](const loop_listed& from) {
              open->reply.connections += from.count;
              answered();
            },
            lost);
  if (fleet)
    self_->request(fleet, peer_timeout, list_members{})
        .then(
            [open, answered](const members_listed& from) {
              for (const auto& each : from.members)
                open->reply.nodes.push_back({each.node_id, each.version, each.started_at_ms,
                                             each.told_at_ms, each.position, each.sessions,
                                             each.connections});
              answered();
            },
            lost);
  query_log question;
  question.filter.after = ~std::uint64_t{0} >> 1;
  question.filter.limit = 1;
  self_->request(owner_->peers_.journal, peer_timeout, std::move(question))
      .then(
          [open, answered](const log_queried& from) {
            open->reply.seq = from.committed_seq;
            answered();
          },
          lost);
}

void gateway_voice::administrate(inbound& request) {
  admin_request order{request.what.params, request.block, request.who->name,
                      std::string(request.what.correlation_id)};
  self_->request(owner_->peers_.supervisor, whole_store_timeout, std::move(order))
      .then(
          [this, request](admin_answer& done) {
            if (done.why) return fail(request, *done.why);
            switch (request.what.method) {
              case core::method::admin_reload:
                return answer(request, core::reloaded{std::move(done.changed)});
              case core::method::admin_backup:
                return answer(request,
                              core::backed_up{std::get<core::backup>(request.what.params).path,
                                              done.number, done.bytes});
              case core::method::admin_rotate_keys:
                return answer(request, core::keys_rotated{done.number});
              default:
                return answer(request, core::done{});  // NOLINT: drain, crash
            }
          },
          [this, request](const caf::error&) {
            fail(request, core::fail(core::error_code::OVERLOADED));
          });
}

void gateway_voice::on(http_scrape& request) {
  self_->request(owner_->peers_.metrics, peer_timeout, scrape{})
      .then(
          [then = request.then](scraped& text) {
            then(net::http_page{std::string(monitoring::metrics_content_type),
                                std::move(text.text)});
          },
          [then = request.then](const caf::error&) {
            then(core::fail(core::error_code::OVERLOADED));
          });
}

loop_collected gateway_voice::on(const collect_loop&) const {
  return {tallies_(), self_->mailbox().size()};
}

loop_listed gateway_voice::on(const list_loop& question) const {
  loop_listed out;
  out.count = owner_->connections_->count();
  if (question.limit > 0) out.rows = owner_->connections_->list(question.after, question.limit);
  return out;
}

void gateway_voice::destination_down(std::uint32_t which) {
  owner_->down_[which] = true;
  owner_->batches_[which].requests.clear();
  owner_->connections_->fail_in_flight(which + 1, core::fail(core::error_code::OVERLOADED));
}

void gateway_voice::on(const shard_down& which) { destination_down(which.shard); }

void gateway_voice::on(const breakers_down& which) {
  destination_down(owner_->options_.shards + which.shard);
}

void gateway_voice::on(const breakers_moved& moved) {
  owner_->peers_.breakers[moved.shard] = moved.breakers;
  owner_->down_[owner_->options_.shards + moved.shard] = false;
}

void gateway_voice::on(const shard_moved& moved) {
  owner_->peers_.shards[moved.shard] = moved;
  owner_->down_[moved.shard] = false;
}

void gateway_voice::on(subscriptions_moved& moved) {
  owner_->peers_.subscriptions = std::move(moved.subscriptions);
  // Their subscriptions are gone: they must notice, and come again with their cursors.
  for (const auto id : std::exchange(owner_->subscribers_, {})) owner_->connections_->close(id);
}

void gateway_voice::on(const caught_up& answer) { owner_->caught_up_with(answer); }

void gateway_voice::on(metrics_moved& moved) { owner_->peers_.metrics = std::move(moved.metrics); }

void gateway_voice::on(callers_changed& change) {
  owner_->options_.callers = std::move(change.known);
  for (const auto* gone : change.gone) owner_->connections_->close_callers(gone);
}

void gateway_voice::on(keys_changed& change) { owner_->options_.keys = std::move(change.keys); }

void gateway_voice::on(const store_state_changed& change) {
  owner_->store_trouble_.reset();
  if (change.degraded) owner_->store_trouble_ = change.why;
}

void gateway_voice::drain() {
  owner_->draining_ = true;
  owner_->options_.stop_accepting();
}

}  // namespace portcullis::actors
