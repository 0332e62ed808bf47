#include "actors/session.hpp"

#include "actors/handlers.hpp"

namespace portcullis::actors {
namespace {

constexpr auto tick_every = std::chrono::milliseconds(100);

}  // namespace

session_actor::behavior_type session_behaviour(session_self* self, session_options options) {
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
      [&state](tenant_condemned& news) { state.on(news); },
      [&state](attempt_answer& answer) { state.on(answer); },
      [&state](user_looked_up& answer) { state.on(answer); },
      [&state](lockout_answer& answer) { state.on(answer); },
      [&state](lock_changed& change) { state.on(change); },
      [&state](flush_atom) { state.flush(); },
      [&state](slice_atom) { state.go_on_with_failures(); },
      [&state](tenant_question& question) { return state.on(question); },
      [&state](tenant_revoked& order) { return state.on(order); },
      [&state](describe_sessions& question) { return state.on(question); },
      [&state](find_subject& question) { return state.on(question); },
      [&state](name_subjects& question) { return state.on(question); },
      [&state](count_sessions& question) { return state.on(question); },
      [&state](ring_key_question& question) { return state.on(question); },
      [&state](collect_shard& question) { return state.on(question); },
      [&state](stand_still& order) { return state.on(order); },
      [&state](take_digest& question) { return state.on(question); },
      [&state](go_on& order) { state.on(order); },
      [&state](log_time& time) { state.on(time); },
      [&state](source_limit_changed& change) { state.on(change); },
      [&state](policies_changed& change) { state.on(change); },
      [&state](keys_changed& change) { state.on(change); },
      [&state](store_state_changed& change) { state.on(change); },
      [&state](wire_session& peers) { state.on(peers); },
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

void session_shard::start(session_self* self, session_options options) {
  self_ = self;
  options_ = std::move(options);
  state_ = std::move(options_.image->sessions);
  log_at_ms_ = options_.image->log_at_ms;
  position_ = options_.image->position;
  options_.image.reset();
  outbox_.emplace(options_.shard, options_.incarnation);
  tallies_.incarnation = options_.incarnation;
  now_ms_ = options_.clock->now_ms();
  coalesced_at_ms_ = now_ms_;
  memo_key_ = core::make_memo_key(options_.random);
  replier::options replies{options_.loop, options_.replies, options_.encode, 1};
  options_.random({reinterpret_cast<std::uint8_t*>(&replies.correlation_seed),
                   sizeof replies.correlation_seed});
  replies_.emplace(std::move(replies));
  for (core::session_slot slot = 0; slot < state_->slots_used(); ++slot) {
    const auto found = core::sweep(*state_, slot, now_ms_);
    wheel_.add(slot, found.what == core::swept::action::keep ? found.next_ms : now_ms_, now_ms_);
  }
}

core::decision_input session_shard::input() const {
  return {*state_, *options_.keys, *options_.policies, memo_key_, now_ms_};
}

void session_shard::on(request_batch& batch) {
  if (still_) return kept_.push_back(std::move(batch));
  now_ms_ = std::max(now_ms_, batch.now_ms);
  for (auto& each : batch.requests) each.arrival = ++arrivals_;
  if (options_.fleet && is_stale()) {
    for (auto& each : batch.requests) take_if_fresh(each);
    return flush();
  }
  const std::span<inbound> all = batch.requests;
  for (std::size_t at = 0; at < all.size(); at += window_requests) {
    const auto window = all.subspan(at, std::min(window_requests, all.size() - at));
    look_ahead(window);
    for (std::size_t i = 0; i < window.size(); ++i) {
      known_ = ahead_[i].id != nullptr ? &ahead_[i] : nullptr;
      if (!stands_in_line(window[i])) take(window[i]);
    }
  }
  known_ = nullptr;
  if (batch.loop == options_.loop) options_.pool->give(std::move(batch.requests));
  flush();
}

/// A pass for each step of the way from id to user, so that the memory that one request waits for
/// comes while the others are looked at.
void session_shard::look_ahead(std::span<inbound> window) {
  for (std::size_t i = 0; i < window.size(); ++i) {
    const auto* validate = std::get_if<core::validate_session>(&window[i].what.params);
    ahead_[i].id = validate != nullptr ? &validate->id : nullptr;
    if (validate == nullptr) continue;
    ahead_[i].hash = core::hash_id(*options_.keys, validate->id);
    state_->prefetch_index(ahead_[i].hash);
  }
  for (std::size_t i = 0; i < window.size(); ++i)
    ahead_[i].slot =
        ahead_[i].id != nullptr ? state_->prefetch_record(ahead_[i].hash) : core::no_slot;
  for (std::size_t i = 0; i < window.size(); ++i)
    ahead_[i].user =
        ahead_[i].slot != core::no_slot ? state_->prefetch_user(ahead_[i].slot) : core::no_slot;
  for (std::size_t i = 0; i < window.size(); ++i)
    if (ahead_[i].user != core::no_slot) state_->prefetch_identity(ahead_[i].user);
}

void session_shard::take(inbound& request) {
  std::visit(
      [&](auto& params) {
        using params_type = std::decay_t<decltype(params)>;
        if constexpr (std::is_same_v<params_type, core::validate_session> ||
                      std::is_same_v<params_type, core::update_session> ||
                      std::is_same_v<params_type, core::rotate_session>)
          judge_and(request, params);
        else if constexpr (std::is_same_v<params_type, core::create_session>)
          create(request, params);
        else if constexpr (std::is_same_v<params_type, core::revoke_session>)
          revoke(request, params);
        else if constexpr (std::is_same_v<params_type, core::revoke_user>)
          revoke_user(request, params);
        else if constexpr (std::is_same_v<params_type, core::forget_user>)
          forget_user(request, params);
        else if constexpr (std::is_same_v<params_type, core::revoke_tenant>)
          revoke_tenant(request);
        else if constexpr (std::is_same_v<params_type, core::list_sessions>)
          list(request, params);
        else if constexpr (std::is_same_v<params_type, core::lockout_status> ||
                           std::is_same_v<params_type, core::clear_lockout>)
          ask_lockout(request, params.user);
        else
          fail(request, core::fail(core::error_code::INTERNAL));
      },
      request.what.params);
}

bool session_shard::visible(const inbound& request, core::session_slot slot) const {
  return request.who->tenants.empty() ||
         request.who->sees_tenant(state_->tenant(state_->user(state_->at(slot).user).tenant).name);
}

template <class Params>
void session_shard::judge_and(inbound& request, Params& params) {
  constexpr bool writes = !std::is_same_v<Params, core::validate_session>;
  if (outbox_->events_in_flight() > options_.events_in_flight_max) {
    // Failures could no longer be recorded: closed, not open.
    return fail(request, core::fail(core::error_code::STORE_UNAVAILABLE));
  }
  const auto* known = std::exchange(known_, nullptr);
  const auto where = known != nullptr && known->id == &params.id
                         ? core::locate(*state_, *options_.keys, params.id, known->hash)
                         : core::locate(*state_, *options_.keys, params.id);
  const auto slot = where.found.slot;
  if (slot == core::no_slot || !visible(request, slot))
    return unknown(request, params.context, params.id);
  const auto user = state_->at(slot).user;
  if (held(user, request)) return;
  if (options_.fleet && is_condemned(slot)) return rejected(request, core::verdict::revoked);
  bool source_locked = false;
  if (state_->user(user).sources_locked)
    source_locked = lock_left_ms(user, options_.keys->source(params.context.ip)) > 0;
  auto judged = core::judge(input(), where, params.context, source_locked);
  if (judged.verdict == core::verdict::unopened && state_->user(user).who) {
    if (!open_address(slot)) return fail(request, core::fail(core::error_code::STORE_INTEGRITY));
    judged = core::judge(input(), where, params.context, source_locked);
  }
  switch (judged.verdict) {
    case core::verdict::valid:
      if (writes && refuses_durable(request)) return;
      return accepted(request, params, judged);
    case core::verdict::unopened:
      return start_opening(request, user);
    case core::verdict::ip_mismatch:
    case core::verdict::fingerprint_mismatch:
      return start_attempt(request, params.context, judged);
    case core::verdict::reused:
      if (refuses_durable(request)) return;
      return start_reuse(request, judged);
    case core::verdict::unknown:
      return unknown(request, params.context, params.id);
    case core::verdict::expired:
    case core::verdict::revoked:
    case core::verdict::locked:
      break;
  }
  const auto source = options_.keys->source(params.context.ip);
  failures_.add(user, source, core::reason_of(judged.verdict), now_ms_,
                [&] { return correlation_of(request); });
  rejected(request, judged.verdict,
           judged.verdict == core::verdict::locked
               ? std::max(state_->user(user).locked_until_ms - now_ms_, lock_left_ms(user, source))
               : -1);
}

void session_shard::accepted(inbound& request, core::validate_session& params,
                             const core::judgement& judged) {
  std::optional<std::string> data;
  if (!state_->at(judged.slot).data().empty()) {
    data = core::open_data(state_->at(judged.slot), params.id, judged.kind, *options_.keys);
    if (!data) return fail(request, core::fail(core::error_code::STORE_INTEGRITY));
  }
  note_use(judged, params.id, request);
  if ((judged.observed | judged.challenged) != 0) signal(judged, params.context, request);
  if (params.touch && judged.touch_due) move_activity(judged.slot);
  tallies_.validated();
  const auto& s = state_->at(judged.slot);
  const auto& user = state_->user(s.user);
  core::session_valid reply;
  reply.tenant_id = state_->tenant(user.tenant).name;
  reply.user_id = user.who->user_id;
  reply.handle = s.handle;
  if (data) reply.data = *data;
  reply.version = s.version;
  reply.created_at_ms = s.created_at_ms;
  reply.expires_at_ms = s.expires_at_ms();
  reply.rotated = judged.kind == core::id_kind::predecessor;
  reply.observed = judged.observed;
  reply.challenged = judged.challenged;
  answer(request, reply);
}

void session_shard::rejected(const inbound& request, core::verdict verdict,
                             core::millis retry_after_ms) {
  if (request.what.method == core::method::session_validate) {
    const auto reason = core::reason_of(verdict);
    tallies_.validated(reason);
    core::session_invalid reply{reason, std::nullopt};
    if (retry_after_ms >= 0) reply.retry_after_ms = retry_after_ms;
    return answer(request, reply);
  }
  auto why = core::fail(core::error_of(verdict));
  why.retry_after_ms = retry_after_ms;
  fail(request, why);
}

void session_shard::unknown(inbound& request, const core::context& presented,
                            const core::session_id& id) {
  if (waits_for_creation(request, id) || waits_for_log(request)) return;
  const auto source = options_.keys->source(presented.ip);
  if (options_.policies->lockout.source_threshold > 0) {
    const auto limited = limited_sources_.find(source);
    if (limited != limited_sources_.end() && limited->second > now_ms_) {
      auto why = core::fail(core::error_code::RATE_LIMITED);
      why.retry_after_ms = limited->second - now_ms_;
      return fail(request, why);
    }
    const auto tag = core::cut<16>(options_.keys->newest().ids(core::byte_view(id.bytes)));
    self_->send(peers_.sources, unknown_id_seen{source, tag, correlation_of(request)});
  }
  failures_.add(core::no_slot, source, core::invalid_reason::not_found, now_ms_,
                [&] { return correlation_of(request); });
  rejected(request, core::verdict::unknown);
}

void session_shard::start_opening(inbound& request, core::user_slot user) {
  begin(user, request, stage::opening);
  self_->send(peers_.directory, look_up_user{user, {}, {}, false});
}

bool session_shard::open_address(core::session_slot slot) {
  const auto& s = state_->at(slot);
  if (s.ip_known) return true;
  const auto ip = core::open_ip(*state_->user(s.user).who, s.sealed_ip());
  if (!ip) return false;
  state_->know_ip(slot, *ip);
  return true;
}

void session_shard::start_attempt(inbound& request, const core::context& presented,
                                  const core::judgement& judged) {
  const auto& s = state_->at(judged.slot);
  const auto& owner = state_->user(s.user);
  const auto& who = *owner.who;
  failed_attempt attempt;
  attempt.user = s.user;
  attempt.now_ms = now_ms_;
  attempt.what = {owner.subject, s.handle, options_.keys->source(presented.ip), judged.memo};
  attempt.draft = core::about(*state_, judged.slot, now_ms_);
  attempt.draft.correlation_id = correlation_of(request);
  attempt.draft.sealed = core::seal_shown(
      who, presented.ip,
      presented.fields[static_cast<std::size_t>(core::context_field::user_agent)], options_.random);
  core::validation_failed body;
  body.reason = core::reason_of(judged.verdict);
  body.source = attempt.what.source;
  body.fields = core::hash_fields(who, presented);
  attempt.draft.body = body;
  begin(s.user, request, stage::counting).judged = judged;
  self_->send(peers_.lockout, std::move(attempt));
}

void session_shard::on(attempt_answer& answer) {
  const auto found = holds_.find(answer.user);
  if (found == holds_.end() || found->second.current.waits_for != stage::counting) return;
  auto& current = found->second.current;
  if (answer.judged.revoke) {
    const auto slot = state_->find(*answer.judged.revoke);
    if (slot != core::no_slot && core::is_live(*state_, slot, now_ms_)) {
      auto what = core::about(*state_, slot, now_ms_);
      what.body =
          core::session_revoked{core::revoke_scope::session, 1, "lockout", std::nullopt, 0, {}};
      answer.events.push_back(std::move(what));
    }
  }
  if (options_.fleet && !answer.events.empty()) {
    auto events = std::exchange(answer.events, {});
    const auto user = answer.user;
    current.attempt = std::move(answer);
    commit(user, std::move(events));
    return flush();
  }
  for (auto& each : answer.events) {
    if (each.type() == core::event_type::session_revoked) {
      state_->apply(each);
      applied(each);
    }
    outbox_->add(std::move(each));
  }
  conclude_attempt(answer.user, answer);
  flush();
}

/// The attempt is counted: its request is answered.
void session_shard::conclude_attempt(core::user_slot whose, const attempt_answer& answer) {
  auto& current = holds_[whose].current;
  auto& user = state_->user(whose);
  const auto& judged = answer.judged;
  if (judged.counted) ++tallies_.failed_attempts;
  const auto& presented = std::visit(
      [](auto& params) -> const core::context& {
        if constexpr (requires { params.context; }) return params.context;
        __builtin_unreachable();
      },
      current.request.what.params);
  const auto source = options_.keys->source(presented.ip);
  if (judged.locks_until_ms > 0) {
    ++tallies_.lockouts_started;
    if (options_.fleet) {
      // applied_lock() has it from the log.
    } else if (judged.locks_source_only) {
      user.sources_locked = true;
      source_locks_[whose].push_back({source, judged.locks_until_ms});
    } else {
      user.locked_until_ms = judged.locks_until_ms;
    }
  }
  auto verdict = current.judged.verdict;
  core::millis retry_after_ms = -1;
  if (judged.locked_already) {
    verdict = core::verdict::locked;
    retry_after_ms = std::max(user.locked_until_ms - now_ms_, lock_left_ms(whose, source));
  }
  if (!judged.counted)
    failures_.add(whose, source, core::reason_of(verdict), now_ms_,
                  [&] { return correlation_of(current.request); });
  rejected(current.request, verdict, retry_after_ms);
  release(whose);
}

void session_shard::start_reuse(inbound& request, const core::judgement& judged) {
  auto what = core::about(*state_, judged.slot, now_ms_);
  what.correlation_id = correlation_of(request);
  what.body = core::session_reuse_detected{};
  const auto user = state_->at(judged.slot).user;
  begin(user, request, stage::committing).judged = judged;
  std::vector<core::event> events;
  events.push_back(std::move(what));
  commit(user, std::move(events));
}

void session_shard::note_use(const core::judgement& judged, const core::session_id& presented,
                             const inbound& request) {
  if (judged.remember) state_->remember(judged.slot, judged.memo);
  if (!judged.first_successor_use && !judged.rekey_due) return;
  if (options_.fleet) return propose_use(judged, presented, request);
  std::vector<core::event> events;
  core::consequences_of_use(input(), judged, presented, events);
  for (auto& each : events) {
    each.correlation_id = correlation_of(request);
    state_->apply(each);
    outbox_->add(std::move(each));
  }
}

void session_shard::move_activity(core::session_slot slot) {
  const auto& s = state_->at(slot);
  touched_[state_->user(s.user).tenant].push_back({s.handle, now_ms_, s.seq});
  state_->touch(slot, now_ms_);
}

void session_shard::signal(const core::judgement& judged, const core::context& presented,
                           const inbound& request) {
  const auto fields = static_cast<core::field_set>(judged.observed | judged.challenged);
  auto& seen = signals_[judged.slot];
  if (now_ms_ < seen.again_at_ms && (fields & ~seen.fields) == 0) return;
  const auto& policy =
      options_.policies->of(state_->tenant(state_->user(state_->at(judged.slot).user).tenant).name);
  seen = {fields, now_ms_ + policy.touch_granularity_s * 1000};
  const auto source = options_.keys->source(presented.ip);
  for (const auto action : {core::signal_action::challenge, core::signal_action::observe}) {
    const auto set = action == core::signal_action::challenge ? judged.challenged : judged.observed;
    if (set == 0) continue;
    auto what = core::about(*state_, judged.slot, now_ms_);
    what.correlation_id = correlation_of(request);
    what.body = core::validation_signalled{set, action, source, 1};
    outbox_->add(std::move(what));
  }
  // Bounded: all quiet is given up, which may repeat events, never lose one.
  if (signals_.size() > core::limits::coalesce_entries_max) signals_.clear();
}

core::millis session_shard::lock_left_ms(core::user_slot user,
                                         const core::short_hash& source) const {
  const auto found = source_locks_.find(user);
  if (found == source_locks_.end()) return 0;
  core::millis left = 0;
  for (const auto& lock : found->second)
    if (lock.source == source) left = std::max(left, lock.until_ms - now_ms_);
  return left;
}

}  // namespace portcullis::actors
