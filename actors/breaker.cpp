#include "actors/breaker.hpp"

#include <algorithm>

#include "actors/handlers.hpp"
#include "actors/shards.hpp"

namespace portcullis::actors {
namespace {

constexpr auto tick_every = std::chrono::milliseconds(100);
constexpr core::millis save_sources_every_ms = 1'000;

}  // namespace

breaker_actor::behavior_type breaker_behaviour(breaker_self* self, breaker_options options) {
  set_default_handlers(self);
  self->state.start(self, std::move(options));
  auto& state = self->state;
  self->delayed_send(self, tick_every, tick_atom::value);
  return {
      [&state](request_batch& batch) { state.on(batch); },
      [&state](events_committed& done) { state.on(done); },
      [&state](log_advanced& news) { state.on(news); },
      [&state](decision_refused& refused) { state.on(refused); },
      [&state](caught_up& answer) { state.on(answer); },
      [&state](list_breakers_after& question) { return state.on(question); },
      [&state](collect_breakers& question) { return state.on(question); },
      [&state](stand_still& order) { return state.on(order); },
      [&state](take_digest& question) { return state.on(question); },
      [&state](go_on& order) { state.on(order); },
      [&state](policies_changed& change) { state.on(change); },
      [&state](store_state_changed& change) { state.on(change); },
      [&state](store_attempts& attempts) { state.on(attempts); },
      [&state](wire_breakers& peers) { state.on(peers); },
      [](crash_atom) { throw_on_request(); },
      [self](tick_atom) {
        self->state.tick();
        self->delayed_send(self, tick_every, tick_atom::value);
      },
      [&state](stop_atom) {
        state.finish();
        return true;
      },
  };
}

void breaker_shard::start(breaker_self* self, breaker_options options) {
  self_ = self;
  options_ = std::move(options);
  now_ms_ = saved_at_ms_ = tallied_at_ms_ = options_.clock->now_ms();
  std::uint64_t seed = 0;
  options_.random({reinterpret_cast<std::uint8_t*>(&seed), sizeof seed});
  const std::string own(options_.fleet ? std::string_view(options_.node_id) : core::store_breaker);
  breakers_.emplace(options_.quota, seed, own);
  if (options_.incarnation > 1) options_.quota->reordered();
  for (const auto& each : options_.stored)
    if (!options_.fleet || !is_observed_elsewhere(each))
      breakers_->load(each, options_.policies->breakers, now_ms_);
  if (options_.fleet) join_nodes();
  options_.stored.clear();
  if (shard_of_service(core::own_service, options_.shards) == options_.shard) {
    const auto made = need(core::breaker_kind::hosted, {core::own_service, own});
    if (made) store_ = *made;
  }
  outbox_.emplace(options_.shard, options_.incarnation, true);
  replier::options replies{options_.loop, options_.replies, options_.encode, 1};
  options_.random({reinterpret_cast<std::uint8_t*>(&replies.correlation_seed),
                   sizeof replies.correlation_seed});
  replies_.emplace(std::move(replies));
}

void breaker_shard::on(wire_breakers& peers) {
  peers_ = std::move(peers);
  if (still_)
    wired_still_ = true;  // letting the journal try may be what half-opens the store's breaker
  else
    tell_journal();
}

const core::breaker_policy& breaker_shard::policy_of(core::breaker_slot slot) const {
  if (slot >= policies_.size()) policies_.resize(breakers_->slots(), nullptr);
  auto& known = policies_[slot];
  if (known == nullptr)
    known = &breakers_->policy_in(options_.policies->breakers, breakers_->name_of(slot));
  return *known;
}

// --- requests

void breaker_shard::on(request_batch& batch) {
  if (still_) return kept_.push_back(std::move(batch));
  now_ms_ = std::max(now_ms_, batch.now_ms);
  for (auto& each : batch.requests) take(each);
  if (batch.loop == options_.loop) options_.pool->give(std::move(batch.requests));
  flush();
}

void breaker_shard::take(inbound& request) {
  if (is_full()) return fail(request, core::fail(core::error_code::STORE_UNAVAILABLE));
  std::visit(
      [&](auto& params) {
        using type = std::decay_t<decltype(params)>;
        if constexpr (requires { params.name; }) {
          constexpr bool asks = std::is_same_v<type, core::breaker_question> ||
                                std::is_same_v<type, core::reset_breaker>;
          constexpr auto kind = std::is_same_v<type, core::observe_breaker>
                                    ? core::breaker_kind::observed
                                    : core::breaker_kind::hosted;
          auto slot = breakers_->find(params.name);
          if (slot != core::no_breaker && breakers_->at(slot).busy) {
            holds_[slot].waiting.push_back(std::move(request));
            return;
          }
          if constexpr (asks) {
            if (slot == core::no_breaker)
              return fail(request, core::fail(core::error_code::BREAKER_NOT_FOUND, "breaker"));
          } else {
            const auto needed =
                slot == core::no_breaker ? need(kind, params.name) : breakers_->of_kind(kind, slot);
            if (!needed) return fail(request, needed.error());
            slot = *needed;
          }
          if constexpr (!asks) breakers_->at(slot).used_at_ms = now_ms_;
          if (is_of_a_store(slot)) {
            // The journal's: others may look, and overrule it, but not so that it can never be
            // taken back, as what takes it back is written, too.
            constexpr bool rules = std::is_same_v<type, core::override_breaker>;
            bool allowed = asks || rules;
            if constexpr (rules) allowed = params.mode != core::override_mode::forced_open;
            if (!allowed) return fail(request, core::fail(core::error_code::FORBIDDEN, "service"));
          }
          changes_.clear();
          if constexpr (std::is_same_v<type, core::acquire_permit>)
            acquire(request, slot);
          else if constexpr (std::is_same_v<type, core::report_call> ||
                             std::is_same_v<type, core::report_calls>)
            report(request, slot, params);
          else if constexpr (std::is_same_v<type, core::observe_breaker>)
            observe(request, slot, params);
          else if constexpr (std::is_same_v<type, core::override_breaker>)
            command_override(request, slot, params);
          else if constexpr (std::is_same_v<type, core::reset_breaker>)
            command_reset(request, slot, params);
          else
            show(request, slot);
        } else {
          fail(request, core::fail(core::error_code::INTERNAL));
        }
      },
      request.what.params);
}

void breaker_shard::acquire(inbound& request, core::breaker_slot slot) {
  auto& hosted = *breakers_->at(slot).hosted();
  const auto without = admitted_without_log(slot);
  const auto admitted =
      without ? *without : hosted.acquire(policy_of(slot), now_ms_, options_.random, changes_);
  if (admitted.allowed)
    answer(request, slot, core::permit_granted{hosted.state(), hosted.epoch(), admitted.permit});
  else
    answer(request, slot,
           core::permit_denied{hosted.shown_state(), hosted.epoch(), admitted.retry_after_ms});
  if (admitted.permit) breakers_->schedule(slot, policy_of(slot), now_ms_);
}

void breaker_shard::report(inbound& request, core::breaker_slot slot,
                           const core::report_call& call) {
  auto& hosted = *breakers_->at(slot).hosted();
  const auto done = hosted.report(call, policy_of(slot), now_ms_, options_.random, changes_);
  if (done)
    answer(request, slot, hosted.position());
  else
    answer(request, slot, core::failed{done.error(), {}});
  if (options_.fleet) breakers_->schedule(slot, policy_of(slot), now_ms_);
}

void breaker_shard::report(inbound& request, core::breaker_slot slot,
                           const core::report_calls& batch) {
  auto& hosted = *breakers_->at(slot).hosted();
  const auto done = hosted.report(batch, policy_of(slot), now_ms_, options_.random, changes_);
  if (done)
    answer(request, slot, *done);
  else
    answer(request, slot, core::failed{done.error(), {}});
  if (options_.fleet) breakers_->schedule(slot, policy_of(slot), now_ms_);
}

void breaker_shard::observe(inbound& request, core::breaker_slot slot,
                            const core::observe_breaker& report) {
  auto& observed = *breakers_->at(slot).observed();
  const bool known = observed.has_unsaved();
  const auto done = observed.observe(report, now_ms_, changes_);
  if (!known && observed.has_unsaved()) reported_.push_back(slot);
  if (done)
    answer(request, slot, *done);
  else
    answer(request, slot, core::failed{done.error(), {}});
}

core::breaker_row breaker_shard::describe(core::breaker_slot slot) const {
  const auto& what = breakers_->at(slot).what;
  if (const auto* hosted = std::get_if<core::hosted_breaker>(&what))
    return hosted->describe(policy_of(slot), now_ms_);
  return std::get<core::observed_breaker>(what).describe(now_ms_);
}

/// What time does to it; that of another node's store is that one's to decide.
void breaker_shard::advance(core::breaker_slot slot) {
  if (is_of_a_store(slot) && slot != store_) return;
  if (auto* hosted = breakers_->at(slot).hosted())
    hosted->advance(policy_of(slot), now_ms_, options_.random, changes_);
}

void breaker_shard::show(inbound& request, core::breaker_slot slot) {
  advance(slot);
  answer(request, slot, core::breaker_status{describe(slot)});
}

void breaker_shard::command_override(inbound& request, core::breaker_slot slot,
                                     const core::override_breaker& order) {
  advance(slot);
  const auto& hosted = *breakers_->at(slot).hosted();
  const auto scope = options_.fleet ? core::override_scope::fleet : core::override_scope::node;
  decide(request, slot, hosted.decide_override(order, request.who->name, scope, now_ms_));
}

void breaker_shard::command_reset(inbound& request, core::breaker_slot slot,
                                  const core::reset_breaker& order) {
  const auto* hosted = breakers_->at(slot).hosted();
  if (hosted == nullptr)
    return fail(request, core::fail(core::error_code::BREAKER_KIND_CONFLICT, "breaker"));
  advance(slot);
  decide(request, slot, hosted->decide_reset(order.reason));
}

/// Decide, commit, apply: whoever is told of it can rely on it.
void breaker_shard::decide(inbound& request, core::breaker_slot slot,
                           std::optional<core::event_body> body) {
  if (!body) return answer(request, slot, breakers_->at(slot).hosted()->position());
  log_changes(slot, replies_->correlation_of(request));
  if (store_trouble_) return fail(request, *store_trouble_);
  auto what = draft(*std::move(body));
  what.correlation_id = replies_->correlation_of(request);
  what.actor = request.who->name;
  std::vector<core::event> events{what};
  if (options_.fleet && decides_alone(slot))
    return fail(request, core::fail(core::error_code::STORE_UNAVAILABLE, {}, "catching_up"));
  breakers_->at(slot).busy = true;
  if (options_.fleet)
    share(slot, std::move(events));
  else
    outbox_->add_durable(std::move(events), {slot, ++last_wait_});
  holds_[slot].decided = command{std::move(request), std::move(what), last_wait_};
}

core::event breaker_shard::draft(core::event_body body) const {
  core::event what;
  what.at_ms = what.decided_at_ms = now_ms_;
  what.body = std::move(body);
  return what;
}

/// Hands what changed to the log, and makes whoever asks wait until it is there.
void breaker_shard::log_changes(core::breaker_slot slot, const std::string& correlation_id) {
  if (changes_.empty()) return;
  if (options_.fleet && breakers_->at(slot).hosted() != nullptr)
    return share_changes(slot, correlation_id);
  for (auto& body : std::exchange(changes_, {})) {
    auto what = draft(std::move(body));
    what.correlation_id = correlation_id;
    outbox_->add(std::move(what));
  }
  save_sources(slot);  // an observed state and what it was reported by stand or fall together
  breakers_->schedule(slot, policy_of(slot), now_ms_);
  if (!store_trouble_) {  // with a full disk deciding goes on, and the log catches up
    breakers_->at(slot).busy = true;
    outbox_->wait_for_applied({slot, ++last_wait_});
    holds_[slot].changed_awaits = last_wait_;
  }
  if (slot == store_) tell_journal();
}

void breaker_shard::answer(inbound& request, core::breaker_slot slot, core::reply reply) {
  log_changes(slot, changes_.empty() ? std::string() : replies_->correlation_of(request));
  if (breakers_->at(slot).busy) {
    holds_[slot].replies.push_back({std::move(request), std::move(reply)});
    return;
  }
  if (const auto* failed = std::get_if<core::failed>(&reply)) return fail(request, failed->why);
  replies_->answer(request, reply);
}

// --- the log's word

void breaker_shard::on(events_committed& done) {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  if (done.batch->incarnation != outbox_->incarnation()) return;
  for (const auto& whose : outbox_->done(*done.batch)) settled(whose, done.refused, done.why);
  answer_listings();
  flush();
  look_whether_still();
}

/// Something that was waited for is durable, or refused.
void breaker_shard::settled(awaited whose, bool refused, const core::error& why) {
  const core::breaker_slot slot = whose.user;
  const auto found = holds_.find(slot);
  if (found == holds_.end()) return;
  auto& held = found->second;
  if (held.decided && held.decided->awaits == whose.tenant_operation) {
    const auto order = std::move(*std::exchange(held.decided, std::nullopt));
    if (refused) {
      fail(order.request, why);
    } else {
      auto& hosted = *breakers_->at(slot).hosted();
      hosted.apply(order.what.body, order.what.actor, policy_of(slot), order.what.decided_at_ms);
      replies_->answer(order.request, hosted.position());
    }
  } else if (held.changed_awaits == whose.tenant_operation) {
    held.changed_awaits = 0;
  }
  if (!held.decided && held.changed_awaits == 0) release(slot);
}

/// Answers what was held back and takes what waited, until something has to wait again.
void breaker_shard::release(core::breaker_slot slot) {
  const auto found = holds_.find(slot);
  for (auto& each : std::exchange(found->second.replies, {})) {
    if (const auto* failed = std::get_if<core::failed>(&each.reply))
      fail(each.request, failed->why);
    else
      replies_->answer(each.request, each.reply);
  }
  auto waiting = std::move(found->second.waiting);
  holds_.erase(found);
  breakers_->at(slot).busy = false;
  overtaken_.erase(slot);
  if (slot == store_) {
    for (const auto& each : std::exchange(attempts_, {})) take_attempts(each);
    tell_journal();
  }
  breakers_->schedule(slot, policy_of(slot), now_ms_);  // time may have come for it meanwhile
  while (!waiting.empty() && !breakers_->at(slot).busy) {
    auto next = std::move(waiting.front());
    waiting.pop_front();
    take(next);
  }
  if (waiting.empty()) return;
  auto& behind = holds_[slot].waiting;
  behind.insert(behind.end(), std::make_move_iterator(waiting.begin()),
                std::make_move_iterator(waiting.end()));
}

void breaker_shard::on(const store_state_changed& change) {
  const bool was_away = store_trouble_.has_value();
  store_trouble_.reset();
  if (change.degraded) store_trouble_ = change.why;
  if (options_.fleet) look_who_is_alone();
  if (!change.degraded) {
    if (options_.fleet && was_away) want_end();
    return;
  }
  // What has changed already is no secret for as long as the disk is full. What was decided is
  // refused, each by its own batch.
  std::vector<core::breaker_slot> slots;
  for (auto& [slot, each] : holds_) {
    if (options_.fleet && each.changed_awaits > 0) diverged_.insert(slot);
    each.changed_awaits = 0;
    each.retires = false;
    if (each.decided_overtaken)
      fail(std::exchange(each.decided, std::nullopt)->request, *store_trouble_);
    if (!each.decided) slots.push_back(slot);
  }
  for (const auto slot : slots) release(slot);
  answer_listings();
  flush();
  look_whether_still();
}

void breaker_shard::on(policies_changed& change) {
  options_.policies = std::move(change.book);
  policies_.clear();
  for (core::breaker_slot slot = 0; slot < breakers_->slots(); ++slot)
    if (breakers_->used(slot)) breakers_->schedule(slot, policy_of(slot), now_ms_);
}

// --- time

void breaker_shard::due(core::breaker_slot slot) {
  auto& each = breakers_->at(slot);
  const auto& policy = policy_of(slot);
  if (each.busy) return;  // release() schedules it again
  changes_.clear();
  auto* hosted = each.hosted();
  const auto retires_at_ms = breakers_->retires_at_ms(slot, policy);
  if (retires_at_ms && now_ms_ >= *retires_at_ms) {
    const auto whose = breakers_->name_of(slot);
    const auto epoch =
        hosted != nullptr ? hosted->epoch() : std::get<core::observed_breaker>(each.what).epoch();
    if (options_.fleet && hosted != nullptr) return share_retirement(slot);
    outbox_->add(draft(
        core::breaker_retired{std::string(whose.service), std::string(whose.breaker), epoch}));
    return forget(slot);
  }
  advance(slot);
  log_changes(slot, {});
  breakers_->schedule(slot, policy, now_ms_);
}

void breaker_shard::forget(core::breaker_slot slot) {
  std::erase(reported_, slot);
  if (slot < policies_.size()) policies_[slot] = nullptr;
  if (slot < tallied_.size()) tallied_[slot] = {};
  if (options_.probers) options_.probers->erase(key_of(slot));
  guests_.erase(slot);
  diverged_.erase(slot);
  overtaken_.erase(slot);
  breakers_->erase(slot);
}

void breaker_shard::tick() {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  if (still_.forgotten(now_ms_)) on(go_on{still_.number()});
  if (still_) return look_whether_still();
  if (is_full() != was_full_) {
    was_full_ = !was_full_;
    tell_journal();
  }
  if (!was_full_)
    breakers_->advance(now_ms_, core::limits::breakers_due_per_tick_max,
                       [this](core::breaker_slot slot) { due(slot); });
  // Rows of sources are not counted among the events: with a full disk they stay where they are.
  if (now_ms_ >= saved_at_ms_ + save_sources_every_ms && !store_trouble_) {
    saved_at_ms_ = now_ms_;
    for (const auto slot : std::exchange(reported_, {})) save_sources(slot);
  }
  if (options_.fleet) look_for_probers();
  if (now_ms_ >= tallied_at_ms_ + tally_every_ms() && !store_trouble_ && !catching_up_)
    tally_calls();
  flush();
}

/// What applications reported since the last time, for trying other thresholds on it later.
void breaker_shard::tally_calls() {
  core::calls_tallied body;
  body.from_ms = std::exchange(tallied_at_ms_, now_ms_);
  tallied_.resize(breakers_->slots());
  for (core::breaker_slot slot = 0; slot < breakers_->slots(); ++slot)
    if (breakers_->used(slot)) tally(slot, body);
  if (!body.tallies.empty()) outbox_->add(draft(std::move(body)));
}

void breaker_shard::tally(core::breaker_slot slot, core::calls_tallied& to) {
  auto* hosted = breakers_->at(slot).hosted();
  if (hosted == nullptr || is_of_a_store(slot)) return;
  const auto before = std::exchange(tallied_[slot], hosted->tallies().calls);
  core::call_counts more;
  for (std::size_t i = 0; i < core::call_result_count; ++i)
    more.by_result[i] = hosted->tallies().calls.by_result[i] - before.by_result[i];
  if (more == core::call_counts{}) return;
  to.tallies.push_back({hosted->service(), hosted->breaker(), more, hosted->take_judged()});
}

void breaker_shard::save_sources(core::breaker_slot slot) {
  auto* observed = breakers_->at(slot).observed();
  if (observed == nullptr) return;
  for (auto& row : observed->take_unsaved()) outbox_->add_source(std::move(row));
}

void breaker_shard::flush() {
  if (!peers_.hub) return;  // not wired yet
  outbox_->flush(
      [this](batch_ptr batch) { self_->send(peers_.hub, log_events{std::move(batch)}); });
  replies_->flush([this](std::size_t loop, reply_batch batch) {
    self_->send(peers_.gateways[loop], std::move(batch));
  });
}

void breaker_shard::finish() {
  if (!store_trouble_) tally_calls();
  for (const auto slot : std::exchange(reported_, {})) save_sources(slot);
  flush();
}

}  // namespace portcullis::actors
