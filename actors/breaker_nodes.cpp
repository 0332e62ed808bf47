// The breaker actor where several nodes share a log (docs/breakers.md, Several nodes). What it
// decides is in force here at once and is told when it stands in the log; where another node was
// faster, or the log cannot be reached, what the log says is taken over as soon as it was read.
#include <algorithm>

#include "actors/breaker.hpp"
#include "actors/shards.hpp"

namespace portcullis::actors {
namespace {

constexpr core::millis retire_again_ms = 60'000;
constexpr core::millis ask_again_ms = 1'000;

/// Whose state an event changes; observed breakers are of the node that is told of them.
bool is_of_observed(const core::event& what) {
  return std::visit(
      [](const auto& body) {
        if constexpr (requires { body.kind == core::breaker_kind::observed; })
          return body.kind == core::breaker_kind::observed;
        return false;
      },
      what.body);
}

core::breaker_name name_in(const core::event& what) {
  return std::visit(
      [](const auto& body) -> core::breaker_name {
        if constexpr (requires { body.breaker; }) return {body.service, body.breaker};
        return {};
      },
      what.body);
}

}  // namespace

bool breaker_shard::is_mine(std::string_view service) const {
  return shard_of_service(service, options_.shards) == options_.shard;
}

core::entry_tags breaker_shard::tags_of(core::breaker_slot slot) const {
  const auto whose = breakers_->name_of(slot);
  return {{options_.fleet->of_breaker(whose.service, whose.breaker)}, {}};
}

std::optional<core::hosted_breaker::admission> breaker_shard::admitted_without_log(
    core::breaker_slot slot) {
  if (!options_.fleet || !store_trouble_ ||
      breakers_->at(slot).hosted()->override_in_force().mode != core::override_mode::none)
    return std::nullopt;
  switch (policy_of(slot).store_down) {
    case core::store_down_rule::fail_open:
      return {{true, std::nullopt, 0}};
    case core::store_down_rule::fail_closed:
      return {{false, std::nullopt, ask_again_ms}};
    case core::store_down_rule::local:
      break;
  }
  return std::nullopt;
}

core::millis breaker_shard::tally_every_ms() const {
  return members_ && members_->all.size() > 1 ? core::limits::fleet_tally_calls_every_ms
                                              : core::limits::tally_calls_every_ms;
}

// --- breakers that the log knows, and this node does not

void breaker_shard::join_nodes() {
  position_ = options_.position;
  if (!options_.probers) options_.probers = std::make_shared<known_probers>();
  for (const auto& each : options_.stored) {
    if (each.record.epoch == 1) continue;  // nothing of it is in the log
    core::breaker_standing standing;
    standing.record = each.record;
    for (const auto& source : each.sources)
      if (source.what.state != core::breaker_state::closed)
        standing.sources[source.source] = source.what.state;
    logged_.put(std::move(standing));
  }
  for (core::breaker_slot slot = 0; slot < breakers_->slots(); ++slot) {
    auto* hosted = breakers_->at(slot).hosted();
    if (hosted == nullptr) continue;
    hosted->join_nodes(policy_of(slot), now_ms_);
    hosted->be_alone(is_alone(slot));
    let_try(slot);
    breakers_->schedule(slot, policy_of(slot), now_ms_);
  }
}

core::result<core::breaker_slot> breaker_shard::need(core::breaker_kind kind,
                                                     core::breaker_name whose) {
  const auto& book = options_.policies->breakers;
  if (!options_.fleet) return breakers_->need(kind, whose, book, now_ms_);
  if (whose.service == core::own_service && !breakers_->is_own(whose))
    return core::fail(core::error_code::FORBIDDEN, "service");
  const auto* standing = logged_.find(std::string(whose.service), std::string(whose.breaker));
  if (standing != nullptr && standing->record.kind != kind)
    return core::fail(core::error_code::BREAKER_KIND_CONFLICT, "breaker");
  const bool is_new = breakers_->find(whose) == core::no_breaker;
  const auto made = breakers_->need(kind, whose, book, now_ms_);
  if (made && is_new) adopt(*made);
  return made;
}

void breaker_shard::adopt(core::breaker_slot slot) {
  auto* hosted = breakers_->at(slot).hosted();
  if (hosted == nullptr) return;
  hosted->join_nodes(policy_of(slot), now_ms_);
  hosted->be_alone(is_alone(slot));
  if (logged_.find(hosted->service(), hosted->breaker()) != nullptr) take_over_logged(slot);
}

/// Observed breakers are of the node that is told of them: the log has the states of all, and after
/// a start from it sources stand in that never reported here.
bool breaker_shard::is_observed_elsewhere(const core::stored_breaker& stored) {
  return stored.record.kind == core::breaker_kind::observed &&
         std::none_of(stored.sources.begin(), stored.sources.end(),
                      [](const auto& each) { return each.what.seen.bits() != 0; });
}

core::breaker_standings::name breaker_shard::key_of(core::breaker_slot slot) const {
  const auto whose = breakers_->name_of(slot);
  return {std::string(whose.service), std::string(whose.breaker)};
}

// --- to the log

std::uint64_t breaker_shard::share(core::breaker_slot slot, std::vector<core::event> events) {
  // What was counted until now stands before it: it is of the phase that may end.
  if (slot >= tallied_.size()) tallied_.resize(breakers_->slots());
  core::calls_tallied body;
  body.from_ms = tallied_at_ms_;
  tally(slot, body);
  if (!body.tallies.empty()) outbox_->add(draft(std::move(body)));
  (void)outbox_->add_shared(std::move(events), {slot, ++last_wait_}, tags_of(slot), position_);
  return last_wait_;
}

void breaker_shard::share_changes(core::breaker_slot slot, const std::string& correlation_id) {
  std::vector<core::event> events;
  for (auto& body : std::exchange(changes_, {})) {
    events.push_back(draft(std::move(body)));
    events.back().correlation_id = correlation_id;
  }
  breakers_->schedule(slot, policy_of(slot), now_ms_);
  if (decides_alone(slot)) {
    diverged_.insert(slot);
  } else {
    breakers_->at(slot).busy = true;
    const auto awaits = share(slot, std::move(events));
    holds_[slot].changed_awaits = awaits;
  }
  if (slot == store_) tell_journal();
}

void breaker_shard::share_retirement(core::breaker_slot slot) {
  if (decides_alone(slot)) {  // others may use it
    breakers_->at(slot).used_at_ms = now_ms_ - policy_of(slot).retire_after_ms + retire_again_ms;
    return breakers_->schedule(slot, policy_of(slot), now_ms_);
  }
  const auto whose = breakers_->name_of(slot);
  std::vector<core::event> events;
  events.push_back(
      draft(core::breaker_retired{std::string(whose.service), std::string(whose.breaker),
                                  breakers_->at(slot).hosted()->epoch()}));
  breakers_->at(slot).busy = true;
  const auto awaits = share(slot, std::move(events));
  auto& held = holds_[slot];
  held.changed_awaits = awaits;
  held.retires = true;
}

// --- from the log

void breaker_shard::on(log_advanced& news) {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  if (news.members) {
    members_ = news.members;
    look_who_is_alone();
  }
  std::set<core::breaker_slot> counted;
  for (const auto& batch : news.batches) {
    if (batch->events.back().seq <= position_) {  // loaded already
      learn_probers(*batch);
      continue;
    }
    position_ = batch->events.back().seq;
    if (!batch->of_breakers)
      take_others(*batch, counted);
    else if (batch->shard == options_.shard)
      take_own(*batch);
  }
  position_ = std::max(position_, news.position);
  // When all is known: another node may have judged the same already.
  for (const auto slot : counted) {
    if (still_ || !breakers_->used(slot) || breakers_->at(slot).busy) continue;
    changes_.clear();
    auto& hosted = *breakers_->at(slot).hosted();
    hosted.judge_others(policy_of(slot), now_ms_, options_.random, changes_);
    log_changes(slot, {});
    breakers_->schedule(slot, policy_of(slot), now_ms_);
  }
  try_overtaken();
  answer_listings();
  flush();
  look_whether_still();
}

/// Whether what it is about is in force here, and told when it is in the log.
bool breaker_shard::is_awaited(const awaited& whose) const {
  const auto found = holds_.find(whose.user);
  if (found == holds_.end()) return false;
  const auto& held = found->second;
  return held.changed_awaits == whose.tenant_operation ||
         (held.decided && held.decided->awaits == whose.tenant_operation);
}

void breaker_shard::take_own(const event_batch& batch) {
  const bool mine = batch.incarnation == outbox_->incarnation();
  // What was given up, and what another life decided, is taken as another node's.
  const bool known = mine && (!batch.durable || is_awaited(batch.whose));
  for (const auto& what : batch.events) {
    if (core::service_of(what).empty()) continue;
    if (!known) {
      take_others(what, this_node);
      continue;
    }
    logged_.apply(what);
    learn_prober(what, this_node);
  }
  if (!mine) return;
  for (const auto& whose : outbox_->done(batch)) settled(whose, false, {});
  if (!batch.durable || !known) return;
  const core::breaker_slot slot = batch.whose.user;
  const auto found = holds_.find(slot);
  if (!found->second.retires || found->second.changed_awaits != batch.whose.tenant_operation)
    return settled(batch.whose, false, {});
  auto waiting = std::move(found->second.waiting);
  holds_.erase(found);
  forget(slot);
  for (auto& each : waiting) take(each);
}

/// Given up, and yet it came there: as if it was another life's.
std::uint64_t breaker_shard::writer_of(const event_batch& batch) const {
  return members_ && batch.writer == members_->self ? this_node : batch.writer;
}

void breaker_shard::take_others(const event_batch& batch, std::set<core::breaker_slot>& counted) {
  const auto writer = writer_of(batch);
  for (const auto& what : batch.events) {
    const auto* tallied = std::get_if<core::calls_tallied>(&what.body);
    if (tallied == nullptr) {
      if (is_mine(core::service_of(what))) take_others(what, writer);
      continue;
    }
    for (const auto& each : tallied->tallies) {
      const core::breaker_name whose{each.service, each.breaker};
      if (writer == this_node || !is_mine(each.service)) continue;
      auto slot = breakers_->find(whose);
      if (slot == core::no_breaker)
        if (const auto made = need(core::breaker_kind::hosted, whose)) slot = *made;
      if (slot == core::no_breaker || breakers_->at(slot).hosted() == nullptr) continue;
      breakers_->at(slot).hosted()->add_others(what.node, each.counts, each.judged, policy_of(slot),
                                               now_ms_);
      breakers_->at(slot).used_at_ms = now_ms_;
      counted.insert(slot);
    }
  }
}

/// A change of a breaker that stands in the log.
void breaker_shard::take_others(const core::event& what, std::uint64_t writer) {
  const auto whose = name_in(what);
  if (whose.service.empty()) return;
  logged_.apply(what);
  if (is_of_observed(what)) return;
  auto slot = breakers_->find(whose);
  const bool retired = what.type() == core::event_type::breaker_retired;
  if (slot == core::no_breaker) {
    if (retired) return;
    const auto made =
        breakers_->need(core::breaker_kind::hosted, whose, options_.policies->breakers, now_ms_);
    if (!made) return;  // there is no room; whoever calls it here finds none either
    slot = *made;
    learn_prober(what, writer);
    return adopt(slot);
  }
  if (breakers_->at(slot).hosted() == nullptr) return;
  learn_prober(what, writer);
  // What is on its way from here was decided without this, and will be refused.
  if (breakers_->at(slot).busy || diverged_.contains(slot)) return;
  if (retired) {
    if (slot != store_) forget(slot);
    return;
  }
  auto& hosted = *breakers_->at(slot).hosted();
  hosted.apply_others(what, 0, policy_of(slot), now_ms_);
  let_try(slot);
  breakers_->schedule(slot, policy_of(slot), now_ms_);
  if (slot == store_) tell_journal();
}

/// What the log says is in force, whatever was decided here.
void breaker_shard::take_over_logged(core::breaker_slot slot) {
  diverged_.erase(slot);
  auto* hosted = breakers_->at(slot).hosted();
  if (hosted == nullptr) return;
  const auto* standing = logged_.find(hosted->service(), hosted->breaker());
  core::breaker_record never;
  never.since_ms = now_ms_;
  hosted->take_over(standing != nullptr ? standing->record : never, 0, policy_of(slot), now_ms_);
  let_try(slot);
  breakers_->schedule(slot, policy_of(slot), now_ms_);
}

// --- what is not in the log

void breaker_shard::on(decision_refused& refused) {
  const auto& batch = *refused.batch;
  if (batch.incarnation != outbox_->incarnation()) return;
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  (void)outbox_->done(batch);
  const core::breaker_slot slot = batch.whose.user;
  const auto found = holds_.find(slot);
  const auto is_of = [&](std::uint64_t awaits) { return awaits == batch.whose.tenant_operation; };
  const bool changed = found != holds_.end() && is_of(found->second.changed_awaits);
  const bool decided =
      found != holds_.end() && found->second.decided && is_of(found->second.decided->awaits);
  if (refused.overtaken && (changed || decided)) {
    auto& held = found->second;
    (changed ? held.changed_overtaken : held.decided_overtaken) = true;
    held.behind = std::max(held.behind, refused.end);
    try_overtaken();
  } else if (changed || decided) {
    // It may be in the log nevertheless, which will be seen.
    diverged_.insert(slot);
    settled(batch.whose, true, refused.why);
    if (!store_trouble_) want_end();
  }
  answer_listings();
  flush();
  look_whether_still();
}

/// Decisions that have been read past what was faster than them.
void breaker_shard::try_overtaken() {
  std::vector<core::breaker_slot> ready;
  for (const auto& [slot, held] : holds_) {
    if (held.behind == 0 || held.behind > position_) continue;
    const bool changed = held.changed_awaits == 0 || held.changed_overtaken;
    if (changed && (!held.decided || held.decided_overtaken)) ready.push_back(slot);
  }
  for (const auto slot : ready) resume(slot);
}

/// By what the log says: who asked for a permit asks again, a report is counted and is told where
/// the breaker is now, what was decided is decided anew.
void breaker_shard::resume(core::breaker_slot slot) {
  auto held = std::move(holds_.at(slot));
  holds_.erase(slot);
  breakers_->at(slot).busy = false;
  const auto [service, breaker] = key_of(slot);
  if (held.retires && logged_.find(service, breaker) == nullptr) {  // another gave it up
    forget(slot);
    for (auto& each : held.waiting) take(each);
    return;
  }
  take_over_logged(slot);
  const bool too_often = ++overtaken_[slot] > core::limits::fleet_overtaken_max;
  const auto overloaded = core::fail(core::error_code::OVERLOADED);
  auto& hosted = *breakers_->at(slot).hosted();
  std::vector<inbound> again;
  for (auto& [request, reply] : held.replies) {
    const bool asked = std::holds_alternative<core::permit_granted>(reply) ||
                       std::holds_alternative<core::permit_denied>(reply) ||
                       std::holds_alternative<core::breaker_status>(reply);
    if (const auto* failed = std::get_if<core::failed>(&reply)) {
      fail(request, failed->why);
    } else if (asked && too_often) {
      fail(request, overloaded);
    } else if (asked) {
      again.push_back(std::move(request));
    } else {
      if (auto* counted = std::get_if<core::calls_counted>(&reply))
        counted->now = hosted.position();
      else if (std::holds_alternative<core::breaker_position>(reply))
        reply = hosted.position();
      replies_->answer(request, reply);
    }
  }
  if (held.decided && too_often)
    fail(held.decided->request, overloaded);
  else if (held.decided)
    again.push_back(std::move(held.decided->request));
  if (too_often) overtaken_.erase(slot);
  if (slot == store_) {
    for (const auto& each : std::exchange(attempts_, {})) take_attempts(each);
    tell_journal();
  }
  for (auto& each : again) take(each);
  for (auto& each : held.waiting) take(each);
}

/// Until then what is in force here may be this node's alone.
void breaker_shard::want_end() {
  catching_up_ = true;
  if (!peers_.fleet || std::exchange(end_asked_, true)) return;
  self_->send(peers_.fleet, catch_up{options_.shard, true, outbox_->incarnation()});
}

void breaker_shard::on(const caught_up& answer) {
  if (answer.life != outbox_->incarnation()) return;  // asked by a life before this one
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  end_asked_ = false;
  if (answer.why || store_trouble_) return;  // asked again at the next tick, when it can be
  catching_up_ = false;
  // Calls that were counted meanwhile say nothing of now.
  tallied_.resize(breakers_->slots());
  tallied_at_ms_ = now_ms_;
  for (core::breaker_slot slot = 0; slot < breakers_->slots(); ++slot)
    if (auto* hosted = breakers_->at(slot).hosted()) {
      tallied_[slot] = hosted->tallies().calls;
      (void)hosted->take_judged();
    }
  for (const auto slot : std::exchange(diverged_, {}))
    if (breakers_->used(slot)) take_over_logged(slot);
  if (store_ != core::no_breaker) tell_journal();
  flush();
}

}  // namespace portcullis::actors
