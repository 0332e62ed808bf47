// Revoking a tenant: one generation for all shards, O(1) (invariant 7). The shard that owns the
// tenant's name counts what lives everywhere, commits the event, tells every shard the new
// generation and answers when all have seen it: a create that starts after the answer is made under
// it, one that ran meanwhile is over with it.
#include <algorithm>

#include "actors/session.hpp"
#include "actors/timeouts.hpp"

namespace portcullis::actors {
void session_shard::revoke_tenant(inbound& request) {
  if (store_trouble_) postpone(request, core::no_slot, core::no_slot);
  if (refuses_durable(request)) return;
  if (waits_for_log(request)) return;  // so that it tells how many there are
  tenant_operations_.push_back({std::move(request), 0, 0, false});
  if (tenant_operations_.size() == 1) next_tenant_operation();
}

void session_shard::next_tenant_operation() {
  auto& current = tenant_operations_.front();
  const auto& tenant_id = std::get<core::revoke_tenant>(current.request.what.params).tenant_id;
  const tenant_question question{{std::string(tenant_id)}};
  current.live = on(question).live;
  current.answers_missing = peers_.sessions.size() - 1;
  if (current.answers_missing == 0) return tenant_counted();
  for (std::size_t shard = 0; shard < peers_.sessions.size(); ++shard) {
    if (shard == options_.shard) continue;
    self_->request(peers_.sessions[shard], peer_timeout, question)
        .then(
            [this](const tenant_answer& reply) {
              tenant_answered(true, reply.live, &session_shard::tenant_counted);
            },
            [this](const caf::error&) {
              tenant_answered(false, 0, &session_shard::tenant_counted);
            });
  }
}

void session_shard::tenant_answered(bool ok, std::uint64_t live, void (session_shard::*then)()) {
  auto& current = tenant_operations_.front();
  current.live += live;
  if (!ok) current.failed = true;
  if (--current.answers_missing > 0) return;
  (this->*then)();
  flush();
}

void session_shard::tenant_counted() {
  auto& current = tenant_operations_.front();
  if (current.failed) return finish_tenant();
  const auto& tenant_id = std::get<core::revoke_tenant>(current.request.what.params).tenant_id;
  if (current.live == 0 && state_->find_tenant(tenant_id) == core::no_slot &&
      peers_.sessions.size() == 1 && !options_.fleet)
    return finish_tenant();  // nobody has ever heard of it
  const auto tenant = state_->need_tenant(tenant_id);
  core::event what;
  what.at_ms = what.decided_at_ms = now_ms_;
  what.tenant_id = tenant_id;
  what.correlation_id = correlation_of(current.request);
  what.actor = current.request.who->name;
  what.body = core::session_revoked{core::revoke_scope::tenant,
                                    current.live,
                                    "requested",
                                    std::nullopt,
                                    state_->tenant(tenant).generation + 1ULL,
                                    {}};
  std::vector<core::event> events;
  events.push_back(std::move(what));
  if (options_.fleet) {
    const auto tag = options_.fleet->of_tenant(tenant_id);
    (void)outbox_->add_shared(std::move(events), {core::no_slot, 1}, {{tag}, {}}, position_);
    return flush();
  }
  outbox_->add_durable(std::move(events), {core::no_slot, 1});
}

void session_shard::tenant_committed(bool refused, const core::error& why) {
  auto& current = tenant_operations_.front();
  if (refused) {
    postpone(current.request, core::no_slot, core::no_slot);
    fail(current.request, why);
    tenant_operations_.pop_front();
    if (!tenant_operations_.empty()) next_tenant_operation();
    return;
  }
  const auto& tenant_id = std::get<core::revoke_tenant>(current.request.what.params).tenant_id;
  current.answers_missing = peers_.sessions.size() - 1;
  if (current.answers_missing == 0) return finish_tenant();
  const tenant_revoked order{std::string(tenant_id),
                             state_->tenant(state_->need_tenant(tenant_id)).generation};
  for (std::size_t shard = 0; shard < peers_.sessions.size(); ++shard) {
    if (shard == options_.shard) continue;
    self_->request(peers_.sessions[shard], peer_timeout, order)
        .then(
            [this](const tenant_answer&) {
              tenant_answered(true, 0, &session_shard::finish_tenant);
            },
            [this](const caf::error&) {
              tenant_answered(false, 0, &session_shard::finish_tenant);
            });
  }
}

void session_shard::finish_tenant() {
  auto current = std::move(tenant_operations_.front());
  tenant_operations_.pop_front();
  if (current.failed)
    fail(current.request, core::fail(core::error_code::OVERLOADED));
  else
    answer(current.request, core::sessions_revoked{current.live});
  if (!tenant_operations_.empty()) next_tenant_operation();
}

tenant_answer session_shard::on(const tenant_question& question) {
  tenant_answer out;
  for (const auto& each : question.tenant_ids) {
    const auto tenant = state_->find_tenant(each);
    if (tenant != core::no_slot) out.live += state_->tenant(tenant).live;
  }
  return out;
}

tenant_answer session_shard::on(const tenant_revoked& order) {
  core::event what;
  what.tenant_id = order.tenant_id;
  what.body =
      core::session_revoked{core::revoke_scope::tenant, 0, {}, std::nullopt, order.generation, {}};
  const auto tenant = state_->need_tenant(order.tenant_id);
  // Told twice, by the coordinator and after a restart: the second time ends nothing.
  if (order.generation <= state_->tenant(tenant).generation) return {};
  const auto live = state_->tenant(tenant).live;
  state_->apply(what);
  return {live};
}

}  // namespace portcullis::actors
