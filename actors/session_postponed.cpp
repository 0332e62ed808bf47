// Revocations that the log of the nodes could not be told of: answered as what they are, not done,
// in force on this node at once, and carried out when the store is back. A crash before forgets
// them.
#include <algorithm>

#include "actors/session.hpp"

namespace portcullis::actors {
namespace {

/// The loop of requests that nobody waits for any more: no connection's.
constexpr std::uint32_t nobodys_loop = 0xffff'ffff;

bool is_of_tenant(const inbound& request) {
  return request.what.method == core::method::session_revoke_tenant;
}

}  // namespace

bool session_shard::is_postponed(const inbound& request) const noexcept {
  return options_.fleet && request.loop == nobodys_loop;
}

condemnations::order session_shard::order_of(const inbound& request) const noexcept {
  return {options_.shard, request.to.slot};
}

void session_shard::postpone(const inbound& request, core::user_slot user,
                             core::session_slot slot) {
  if (!options_.fleet || is_postponed(request)) return;  // fail() keeps what is postponed already
  if (std::max(condemned_.size(), postponed_.size()) >= core::limits::fleet_postponed_max) return;
  if (slot != core::no_slot ? is_condemned(slot) : user != core::no_slot && condemned_.covers(user))
    return;
  auto& kept = postponed_.emplace_back(request);
  kept.loop = nobodys_loop;
  kept.to = {++last_postponed_, 0};
  kept.from = 0;
  kept.certain = false;
  own_texts(kept);
  const auto by = order_of(kept);
  if (slot != core::no_slot) {
    condemned_.add_session(by, state_->at(slot).seq);
  } else if (user != core::no_slot) {
    const auto spared = spared_of(user, request);
    condemned_.add_user(by, user, position_,
                        {spared, spared != core::no_slot ? state_->at(spared).seq : 0});
  } else {
    tell_condemned(kept, false);
  }
}

/// It may last for as long as the store is away, and blocks that requests are read into are few.
void session_shard::own_texts(inbound& kept) {
  auto& texts = postponed_texts_[kept.to.slot];
  std::vector<std::string_view*> all{&kept.what.correlation_id};
  if (auto* of_user = std::get_if<core::revoke_user>(&kept.what.params))
    all.insert(all.end(), {&of_user->user.tenant_id, &of_user->user.user_id});
  if (auto* of_session = std::get_if<core::revoke_session>(&kept.what.params))
    of_session->by = {};  // its session is known: the id is enough
  if (auto* of_tenant = std::get_if<core::revoke_tenant>(&kept.what.params))
    all.push_back(&of_tenant->tenant_id);
  std::size_t size = 0;
  for (const auto* each : all) size += each->size();
  texts.reserve(size);
  for (auto* each : all) {
    const auto at = texts.size();
    texts += *each;
    *each = std::string_view(texts).substr(at);
  }
  kept.block = {};
}

/// The same of one that was on its way.
void session_shard::postpone_refused(core::user_slot user) {
  const auto& request = holds_[user].current.request;
  if (request.what.method == core::method::session_revoke_user)
    return postpone(request, user, core::no_slot);
  if (request.what.method != core::method::session_revoke) return;
  const auto& target = std::get<core::revoke_session>(request.what.params).target;
  const auto* id = std::get_if<core::session_id>(&target);
  const auto slot = id != nullptr ? core::locate(*state_, *options_.keys, *id).found.slot
                                  : state_->find(std::get<core::session_handle>(target));
  if (slot != core::no_slot) postpone(request, core::no_slot, slot);
}

/// A tenant's sessions are in all shards.
void session_shard::tell_condemned(const inbound& request, bool over) {
  tenant_condemned news{options_.shard, request.to.slot,
                        std::string(std::get<core::revoke_tenant>(request.what.params).tenant_id),
                        over};
  on(news);
  for (std::size_t shard = 0; shard < peers_.sessions.size(); ++shard)
    if (shard != options_.shard) self_->send(peers_.sessions[shard], news);
}

void session_shard::on(const tenant_condemned& news) {
  const condemnations::order by{news.shard, news.number};
  if (news.over) return condemned_.lift(by);
  // A tenant that this shard has never heard of has no sessions here that could be over.
  if (const auto tenant = state_->find_tenant(news.tenant_id); tenant != core::no_slot)
    condemned_.add_tenant(by, tenant, position_);
}

/// A shard that has begun anew has forgotten what it had postponed, and what others had.
void session_shard::look_for_new_shards(const std::vector<session_actor>& before) {
  for (std::uint32_t shard = 0; shard < before.size(); ++shard) {
    if (shard == options_.shard || before[shard] == peers_.sessions[shard]) continue;
    condemned_.lift_all_of(shard);
    for (const auto& each : postponed_)
      if (is_of_tenant(each))
        self_->send(
            peers_.sessions[shard],
            tenant_condemned{options_.shard, each.to.slot,
                             std::string(std::get<core::revoke_tenant>(each.what.params).tenant_id),
                             false});
  }
}

/// The session that a user's revocation leaves alone; no_slot: none.
core::session_slot session_shard::spared_of(core::user_slot user, const inbound& request) const {
  if (is_postponed(request)) {  // what it was when it was asked for
    const auto kept = condemned_.spared_by(order_of(request));
    return kept.slot != core::no_slot && state_->at(kept.slot).seq == kept.seq ? kept.slot
                                                                               : core::no_slot;
  }
  const auto& params = std::get<core::revoke_user>(request.what.params);
  if (!params.except) return core::no_slot;
  const auto where = core::locate(*state_, *options_.keys, *params.except).found;
  const bool usable = where.slot != core::no_slot && state_->at(where.slot).user == user &&
                      (where.kind == core::id_kind::current ||
                       (where.kind == core::id_kind::predecessor &&
                        now_ms_ < state_->at(where.slot).extra->grace_ends_at_ms));
  return usable ? where.slot : core::no_slot;
}

bool session_shard::is_condemned(core::session_slot slot) const {
  if (condemned_.empty()) return false;
  const auto& s = state_->at(slot);
  return condemned_.covers(s, state_->user(s.user).tenant);
}

void session_shard::carry_out_postponed() {
  spent_texts_.clear();
  for (auto& each : std::exchange(postponed_, {})) take(each);
  flush();
}

/// It is in the log by now, or there is nothing left to be ended.
void session_shard::carried_out(const inbound& request) {
  if (is_of_tenant(request))
    tell_condemned(request, true);
  else
    condemned_.lift(order_of(request));
  forget_texts(request);
}

/// Not at once: who carries it out may still look at it.
void session_shard::forget_texts(const inbound& request) {
  if (auto texts = postponed_texts_.extract(request.to.slot))
    spent_texts_.push_back(std::move(texts));
}

/// What may still be had stays in force, and is tried again at a tick.
void session_shard::not_carried_out(const inbound& request, const core::error& why) {
  if (why.code == core::error_code::STORE_INTEGRITY)
    return forget_texts(request);  // still in force
  if (!core::describe(why.code).retryable) return carried_out(request);
  postponed_.push_back(request);
  postponed_.back().certain = false;
}

}  // namespace portcullis::actors
