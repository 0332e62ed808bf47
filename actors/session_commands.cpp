// Commands of the session actor that are durable or that name a user: decide, commit, apply,
// answer.
#include <algorithm>

#include "actors/cursors.hpp"
#include "actors/session.hpp"
#include "actors/timeouts.hpp"

namespace portcullis::actors {
bool session_shard::refuses_durable(const inbound& request) {
  if (store_trouble_) {
    fail(request, *store_trouble_);
    return true;
  }
  if (outbox_->events_in_flight() > options_.events_in_flight_max) {
    fail(request, core::fail(core::error_code::STORE_UNAVAILABLE));
    return true;
  }
  return false;
}

void session_shard::commit(core::user_slot user, std::vector<core::event> events) {
  auto& current = holds_[user].current;
  current.waits_for = stage::committing;
  if (options_.fleet) {
    const auto made = unsaved_users_.find(user);
    std::optional<core::subject_id> forgotten;
    if (events.back().type() == core::event_type::user_forgotten) forgotten = events.back().subject;
    auto tags = tags_of(user, events);
    current.batch =
        outbox_->add_shared(std::move(events), {user, 0}, std::move(tags), current.as_of,
                            made != unsaved_users_.end() ? &made->second : nullptr, forgotten);
    return;
  }
  const auto unsaved = unsaved_users_.find(user);
  if (unsaved != unsaved_users_.end()) outbox_->add_user(unsaved->second);
  outbox_->add_durable(std::move(events), {user, 0});
}

void session_shard::on(events_committed& done) {
  if (done.batch->incarnation != outbox_->incarnation())
    return;  // of a life before this one: loaded already
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  const auto waited = outbox_->done(*done.batch);
  if (options_.fleet) return look_whether_still();  // of this node's own store alone
  if (!done.refused && !done.batch->events.empty())
    log_at_ms_ = std::max(log_at_ms_, done.batch->events.back().at_ms);
  if (!done.batch->durable) return look_whether_still();
  if (!done.refused) {
    for (const auto& what : done.batch->events) {
      state_->apply(what);
      applied(what);
    }
  }
  for (const auto& whose : waited) {
    if (whose.user == core::no_slot)
      tenant_committed(done.refused, done.why);
    else if (done.refused)
      refuse(whose.user, done.why);
    else
      finish(whose.user);
  }
  flush_soon();
  look_whether_still();
}

/// What follows from an applied event outside the sessions themselves.
void session_shard::applied(const core::event& what) {
  using monitoring::end_reason;
  switch (what.type()) {
    case core::event_type::session_created: {
      ++tallies_.sessions_created;
      options_.aliases->keep(what);
      const auto slot = state_->find(*what.handle);
      if (slot == core::no_slot) break;  // of a user that is forgotten since
      const auto& s = state_->at(slot);
      self_->send(peers_.directory, session_listed{s.user, slot, false});
      wheel_.add(slot, s.expires_at_ms(), now_ms_);
      unsaved_users_.erase(s.user);
      break;
    }
    case core::event_type::lockout_cleared:
      self_->send(peers_.lockout, clear_counters{what});
      if (options_.fleet) applied_lock(what);
      break;
    case core::event_type::validation_failed:
    case core::event_type::lockout_started:
    case core::event_type::lockout_ended:
      if (options_.fleet) applied_lock(what);
      break;
    case core::event_type::user_forgotten: {
      const auto user = state_->find_user(*what.subject);
      if (user == core::no_slot) break;
      self_->send(peers_.lockout, clear_counters{what});
      self_->send(peers_.directory, user_gone{user});
      source_locks_.erase(user);
      tallies_.sessions_ended[static_cast<std::size_t>(end_reason::revoked)] +=
          std::get<core::user_forgotten>(what.body).count;
      break;
    }
    case core::event_type::session_rotated:
      tallies_.ended(end_reason::rotated);
      break;
    case core::event_type::session_expired:
      tallies_.ended(end_reason::expired);
      break;
    case core::event_type::session_evicted:
      tallies_.ended(end_reason::evicted);
      break;
    case core::event_type::session_reuse_detected:
      ++tallies_.reuse_detected;
      tallies_.ended(end_reason::revoked);
      break;
    case core::event_type::session_revoked:
      tallies_.sessions_ended[static_cast<std::size_t>(end_reason::revoked)] +=
          std::get<core::session_revoked>(what.body).count;
      break;
    default:
      break;  // NOLINT: few events have consequences here
  }
}

void session_shard::refuse(core::user_slot user, const core::error& why) {
  fail(holds_[user].current.request, why);
  release(user);
}

void session_shard::finish(core::user_slot user) {
  auto& current = holds_[user].current;
  const auto& request = current.request;
  if (current.attempt) return conclude_attempt(user, *std::exchange(current.attempt, std::nullopt));
  switch (request.what.method) {
    case core::method::session_create:
      if (request.what.has_alias) create_ended(request, true);
      answer(request, core::made_reply(state_->at(state_->find(current.handle)), current.id));
      break;
    case core::method::session_rotate:
    case core::method::session_update:
    case core::method::session_validate:
      if (current.judged.verdict == core::verdict::reused)
        rejected(request, core::verdict::reused);
      else if (request.what.method == core::method::session_rotate)
        answer(request, core::made_reply(state_->at(current.judged.slot), current.id));
      else
        answer(request, core::session_changed{state_->at(current.judged.slot).version});
      break;
    case core::method::lockout_clear: {
      state_->user(user).locked_until_ms = 0;
      state_->user(user).sources_locked = false;
      source_locks_.erase(user);
      answer(request, core::lockout_was_cleared{true});
      break;
    }
    case core::method::admin_forget:
      answer(request, core::user_was_forgotten{true});
      break;
    default:
      answer(request, core::sessions_revoked{current.count});
      break;  // NOLINT: the revocations
  }
  release(user);
}

void session_shard::accepted(inbound& request, core::update_session& params,
                             const core::judgement& judged) {
  auto decided = core::decide_update(input(), params, judged, options_.random);
  if (!decided) {
    // Versions only grow: one that is not here yet may be elsewhere.
    const auto& s = state_->at(judged.slot);
    if (params.version && *params.version > s.version && waits_for_log(s.user, request)) return;
    return fail(request, decided.error());
  }
  note_use(judged, params.id, request);
  if ((judged.observed | judged.challenged) != 0) signal(judged, params.context, request);
  decided->correlation_id = correlation_of(request);
  const auto user = state_->at(judged.slot).user;
  begin(user, request, stage::committing).judged = judged;
  std::vector<core::event> events;
  events.push_back(std::move(*decided));
  commit(user, std::move(events));
}

void session_shard::accepted(inbound& request, core::rotate_session& params,
                             const core::judgement& judged) {
  auto outcome = core::decide_rotate(input(), params, judged, options_.random);
  if (!outcome) return fail(request, outcome.error());
  auto& decided = *outcome;
  if (judged.remember) state_->remember(judged.slot, judged.memo);
  if ((judged.observed | judged.challenged) != 0) signal(judged, params.context, request);
  if (decided.events.empty()) {
    if (judged.touch_due) move_activity(judged.slot);
    return answer(request, core::made_reply(state_->at(judged.slot), decided.id));
  }
  for (auto& each : decided.events) each.correlation_id = correlation_of(request);
  const auto user = state_->at(judged.slot).user;
  auto& current = begin(user, request, stage::committing);
  current.judged = judged;
  current.id = decided.id;
  commit(user, std::move(decided.events));
}

void session_shard::create(inbound& request, core::create_session& params) {
  const auto& policy = options_.policies->of(params.user.tenant_id);
  if (const auto ok = core::check_ttls(params, policy); !ok) return fail(request, ok.error());
  if (refuses_durable(request)) return;
  if (request.what.has_alias && is_of_another_creation(request, params))
    return fail(request, alias_taken());
  const auto user = state_->need_user(
      options_.keys->lookup(params.user.tenant_id, params.user.user_id), params.user.tenant_id);
  if (request.what.has_alias && !begins_creation(request, params, user)) return;
  if (held(user, request)) return;
  const bool capped = policy.max_sessions_per_user > 0;
  if (!capped && state_->user(user).who) {
    begin(user, request, stage::admitting);
    return admit(user, {});
  }
  look_up_user question{user, std::string(params.user.tenant_id), std::string(params.user.user_id),
                        capped};
  begin(user, request, stage::admitting);
  self_->send(peers_.directory, std::move(question));
}

void session_shard::admit(core::user_slot user, const user_looked_up& answer) {
  auto& current = holds_[user].current;
  const auto& params = std::get<core::create_session>(current.request.what.params);
  const auto& policy = options_.policies->of(params.user.tenant_id);
  const auto correlation = correlation_of(current.request);
  if (current.request.what.has_alias && !has_alias_still(params))
    return refuse(user, alias_taken());
  std::vector<core::event> events;
  if (policy.max_sessions_per_user > 0) {
    std::vector<core::session_slot> live;
    for (const auto slot : answer.sessions)
      if (core::is_live(*state_, slot, now_ms_)) live.push_back(slot);
    const std::size_t cap = policy.max_sessions_per_user;
    if (live.size() >= cap && policy.on_cap == core::cap_action::deny) {
      if (waits_for_log(user)) return;  // until what ended elsewhere is known
      return refuse(user, core::fail(core::error_code::SESSION_CAP_REACHED, "user_id",
                                     "max_sessions_per_user", static_cast<std::int64_t>(cap)));
    }
    for (std::size_t i = 0; i + cap <= live.size(); ++i) {
      auto what = core::about(*state_, live[i], now_ms_);
      what.correlation_id = correlation;
      what.body = core::session_evicted{};
      events.push_back(std::move(what));
    }
  }
  auto made = core::decide_create(input(), params, user, options_.random);
  made.what.correlation_id = correlation;
  current.id = made.id;
  current.handle = *made.what.handle;
  events.push_back(std::move(made.what));
  commit(user, std::move(events));
}

void session_shard::on(user_looked_up& answer) {
  const auto found = holds_.find(answer.user);
  if (found == holds_.end()) return;
  auto& current = found->second.current;
  if (current.renamed) {
    resume(answer.user);
    return flush_soon();
  }
  auto subject = state_->user(answer.user).subject;
  if (answer.made) {
    subject = answer.made->subject;
    unsaved_users_[answer.user] = std::move(*answer.made);
  }
  if (!answer.who) {
    refuse(answer.user, core::fail(core::error_code::STORE_INTEGRITY));
    return flush();
  }
  if (!state_->user(answer.user).who) state_->identify(answer.user, subject, answer.who);
  switch (current.waits_for) {
    case stage::opening:
      resume(answer.user);
      break;
    case stage::admitting:
      admit(answer.user, answer);
      break;
    case stage::listing:
      if (current.request.what.method == core::method::session_list)
        show_listed(answer.user, answer);
      else if (current.request.what.method == core::method::admin_forget)
        forget_listed(answer.user, answer);
      else
        revoke_listed(answer.user, answer);
      break;
    case stage::counting:
    case stage::asking:
    case stage::committing:
    case stage::overtaken:
    case stage::doubting:
      break;
  }
  flush_soon();
}

void session_shard::revoke(inbound& request, core::revoke_session& params) {
  core::found_session found;
  if (const auto* id = std::get_if<core::session_id>(&params.target))
    found = core::locate(*state_, *options_.keys, *id).found;
  else
    found.slot = state_->find(std::get<core::session_handle>(params.target));
  const auto slot =
      found.slot != core::no_slot && is_forgotten(found.slot) ? core::no_slot : found.slot;
  if (slot == core::no_slot) {
    const auto* id = std::get_if<core::session_id>(&params.target);
    if (id != nullptr && waits_for_creation(request, *id)) return;
    if (waits_for_log(request)) return;
  }
  if (slot == core::no_slot || !visible(request, slot))
    return answer(request, core::sessions_revoked{0});
  const auto user = state_->at(slot).user;
  if (held(user, request)) return;
  if (!core::is_live(*state_, slot, now_ms_)) {
    // What has run out by what is known here may have been used elsewhere.
    const auto& s = state_->at(slot);
    const bool over = s.status != core::session_status::live || state_->outlived(s);
    if (!over && waits_for_log(user, request)) return;
    return answer(request, core::sessions_revoked{0});
  }
  if (store_trouble_) postpone(request, core::no_slot, slot);
  if (refuses_durable(request)) return;
  auto what = core::about(*state_, slot, now_ms_);
  what.correlation_id = correlation_of(request);
  if (core::is_reuse(state_->at(slot), found, now_ms_)) {
    what.body = core::session_reuse_detected{};
  } else {
    what.actor = request.who->name;
    what.body =
        core::session_revoked{core::revoke_scope::session, 1, "requested", std::nullopt, 0, {}};
  }
  begin(user, request, stage::committing).count = 1;
  std::vector<core::event> events;
  events.push_back(std::move(what));
  commit(user, std::move(events));
}

void session_shard::revoke_user(inbound& request, core::revoke_user& params) {
  const auto user =
      state_->find_user(options_.keys->lookup(params.user.tenant_id, params.user.user_id));
  if (user == core::no_slot && waits_for_log(request)) return;
  if (user == core::no_slot) return answer(request, core::sessions_revoked{0});
  if (held(user, request)) return;
  if (store_trouble_) postpone(request, user, core::no_slot);
  if (refuses_durable(request)) return;
  begin(user, request, stage::listing);
  self_->send(peers_.directory, look_up_user{user, {}, {}, true});
}

void session_shard::revoke_listed(core::user_slot user, const user_looked_up& listed) {
  auto& current = holds_[user].current;
  const auto except = spared_of(user, current.request);
  core::session_revoked body;
  body.scope = core::revoke_scope::user;
  body.reason = "requested";
  body.count = 0;
  std::vector<core::event> events;
  for (const auto slot : live_of(listed.sessions, events)) {
    if (slot == except) continue;
    ++body.count;
    body.session_seqs.push_back(state_->at(slot).seq);
  }
  if (body.count == 0) {
    if (waits_for_log(user)) return;
    answer(current.request, core::sessions_revoked{0});
    return release(user);
  }
  if (except != core::no_slot) body.except_handle = state_->at(except).handle;
  body.tenant_generation = state_->tenant(state_->user(user).tenant).generation;
  current.count = body.count;
  auto what = about_user(user, current.request);
  what.user_id = state_->user(user).who->user_id;
  what.body = std::move(body);
  events.push_back(std::move(what));
  commit(user, std::move(events));
}

/// Live ones of these. What has run out, though the sweep has not come yet, has expired: what ends
/// all must not take it along uncounted. Where nodes share a log, that goes into `run_out`, which
/// is to be decided with the rest.
std::vector<core::session_slot> session_shard::live_of(std::span<const core::session_slot> listed,
                                                       std::vector<core::event>& run_out) {
  std::vector<core::session_slot> live;
  for (const auto slot : listed) {
    if (const auto found = core::sweep(*state_, slot, now_ms_);
        found.what == core::swept::action::expire) {
      if (options_.fleet) {
        run_out.push_back(core::about(*state_, slot, now_ms_));
        run_out.back().body = core::session_expired{found.kind};
      } else {
        expire(slot, found.kind);
      }
    }
    if (core::is_live(*state_, slot, now_ms_)) live.push_back(slot);
  }
  return live;
}

core::event session_shard::about_user(core::user_slot user, const inbound& request) {
  const auto& owner = state_->user(user);
  core::event what;
  what.at_ms = what.decided_at_ms = now_ms_;
  what.tenant_id = state_->tenant(owner.tenant).name;
  what.subject = owner.subject;
  what.correlation_id = correlation_of(request);
  what.actor = request.who->name;
  return what;
}

void session_shard::ask_lockout(inbound& request, const core::user_name& whom) {
  const auto user = state_->find_user(options_.keys->lookup(whom.tenant_id, whom.user_id));
  if (user == core::no_slot && waits_for_log(request)) return;
  if (user == core::no_slot || state_->user(user).subject == core::subject_id{}) {
    // Whom another node may have made by now.
    if (options_.fleet && user != core::no_slot &&
        (held(user, request) || waits_for_log(user, request)))
      return;
    if (request.what.method == core::method::lockout_clear)
      return answer(request, core::lockout_was_cleared{false});
    core::lockout_state_reply none;
    none.threshold = options_.policies->lockout.threshold;
    return answer(request, none);
  }
  if (held(user, request)) return;
  if (request.what.method == core::method::lockout_clear && refuses_durable(request)) return;
  begin(user, request, stage::asking);
  self_->send(peers_.lockout, lockout_question{user, state_->user(user).subject});
}

void session_shard::on(lockout_answer& reply) {
  const auto found = holds_.find(reply.user);
  if (found == holds_.end() || found->second.current.waits_for != stage::asking) return;
  auto& current = found->second.current;
  const bool asked = current.request.what.method == core::method::lockout_status;
  const bool nothing = !reply.state.locked && reply.state.failed_attempts == 0;
  if ((asked ? !reply.state.locked : nothing) && waits_for_log(reply.user)) return;
  if (asked) {
    answer(current.request, reply.state);
    release(reply.user);
  } else if (nothing) {
    answer(current.request, core::lockout_was_cleared{false});
    release(reply.user);
  } else {
    const auto& owner = state_->user(reply.user);
    auto what = about_user(reply.user, current.request);
    if (owner.who) what.user_id = owner.who->user_id;
    what.body = core::lockout_cleared{
        std::string(std::get<core::clear_lockout>(current.request.what.params).reason)};
    std::vector<core::event> events;
    events.push_back(std::move(what));
    commit(reply.user, std::move(events));
  }
  flush_soon();
}

void session_shard::on(lock_changed& change) {
  const auto user = state_->find_user(change.subject);
  if (options_.fleet && !change.events.empty()) {
    now_ms_ = std::max(now_ms_, options_.clock->now_ms());
    // The lockout actor may not have heard yet: not an end that stands in the log already, or is on
    // its way with the attempt that came first. It would take later counts along.
    if (!sweeps_ || user == core::no_slot || state_->user(user).busy ||
        !knows_as_over(user, change.source))
      return;
    for (auto& each : change.events)
      each.tenant_id = state_->tenant(state_->user(user).tenant).name;
    propose(user, std::move(change.events));
    return flush();
  }
  for (auto& each : change.events) {
    if (user != core::no_slot) {  // the lockout actor knows subjects only
      const auto& owner = state_->user(user);
      each.tenant_id = state_->tenant(owner.tenant).name;
      if (owner.who) each.user_id = owner.who->user_id;
    }
    outbox_->add(std::move(each));
  }
  if (user != core::no_slot) {
    if (!change.source) {
      state_->user(user).locked_until_ms = change.locked_until_ms;
    } else {
      auto& locks = source_locks_[user];
      std::erase_if(locks, [&](const source_lock& lock) { return lock.source == *change.source; });
      if (change.locked_until_ms > 0) locks.push_back({*change.source, change.locked_until_ms});
      state_->user(user).sources_locked = !locks.empty();
      if (locks.empty()) source_locks_.erase(user);
    }
  }
  flush();
}

}  // namespace portcullis::actors
