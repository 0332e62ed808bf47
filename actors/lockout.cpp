#include "actors/lockout.hpp"

#include <algorithm>

#include "actors/handlers.hpp"

namespace portcullis::actors {
namespace {

constexpr auto tick_every = std::chrono::milliseconds(250);

core::event about_subject(const core::subject_id& subject, core::millis now_ms) {
  core::event what;
  what.at_ms = what.decided_at_ms = now_ms;
  what.subject = subject;
  return what;
}

}  // namespace

lockout_actor::behavior_type lockout_behaviour(lockout_self* self, lockout_options options) {
  set_default_handlers(self);
  self->state.start(self, std::move(options));
  auto& state = self->state;
  self->delayed_send(self, tick_every, tick_atom::value);
  return {
      [&state](failed_attempt& failed) { state.on(failed); },
      [&state](lockout_question& question) { state.on(question); },
      [&state](clear_counters& order) { state.on(order); },
      [&state](lockouts_logged& news) { state.on(news); },
      [&state](list_locks& question) { return state.on(question); },
      [&state](count_locks& question) { return state.on(question); },
      [&state](stand_still& order) { return state.on(order); },
      [&state](take_digest& question) { return state.on(question); },
      [&state](go_on& order) { state.on(order); },
      [&state](log_time& time) { state.on(time); },
      [&state](policies_changed& change) { state.on(change); },
      [&state](wire_shard& peers) { state.on(peers); },
      [](crash_atom) { throw_on_request(); },
      [self](tick_atom) {
        self->state.tick();
        self->delayed_send(self, tick_every, tick_atom::value);
      },
  };
}

void lockout_shard::start(lockout_self* self, lockout_options options) {
  self_ = self;
  options_ = std::move(options);
  state_ = std::move(options_.image->lockouts);
  log_at_ms_ = options_.image->log_at_ms;
  options_.image.reset();
  now_ms_ = options_.clock->now_ms();
}

void lockout_shard::on(wire_shard& peers) {
  if (peers.session == session_)
    return;  // told already; one that is cleared by now must not come back
  session_ = std::move(peers.session);
  // Where nodes share a log the session actor knows of a lock until its end stands there.
  const auto is_lock = [this](const core::lockout_counter& of) {
    return options_.shared ? of.locked_until_ms > 0 : of.locked(now_ms_);
  };
  for (const auto& [subject, user] : state_->users()) {
    if (is_lock(user.whole))
      self_->send(session_, lock_changed{subject, std::nullopt, user.whole.locked_until_ms, {}});
    for (const auto& [source, counter] : user.sources)
      if (is_lock(counter))
        self_->send(session_, lock_changed{subject, source, counter.locked_until_ms, {}});
  }
}

void lockout_shard::on(failed_attempt& failed) {
  now_ms_ = std::max(now_ms_, failed.now_ms);
  const auto& policy = options_.policies->lockout;
  attempt_answer out;
  out.user = failed.user;
  // Before the new count takes the place of what a lock that is over left behind.
  if (options_.shared)
    out.events = ends_of(failed.what.subject);
  else
    end_locks(failed.what.subject);
  out.judged = core::decide_attempt(*state_, failed.what, policy, now_ms_);
  const auto& judged = out.judged;
  if (judged.counted) {
    if (options_.shared)
      out.noted = failed.what;
    else
      core::note_attempt(*state_, failed.what, policy, now_ms_);
    auto& body = std::get<core::validation_failed>(failed.draft.body);
    body.attempt = judged.number;
    body.window_ends_at_ms = judged.window_ends_at_ms;
    if (policy.scope == core::lockout_scope::user_source) {
      body.counted_for_source = true;
      body.user_attempt = judged.user_number;
      body.user_window_ends_at_ms = judged.user_window_ends_at_ms;
    }
    apply_now(failed.draft);
    auto started = about_subject(failed.what.subject, now_ms_);
    started.tenant_id = failed.draft.tenant_id;
    started.user_id = failed.draft.user_id;
    started.correlation_id = failed.draft.correlation_id;
    out.events.push_back(std::move(failed.draft));
    if (judged.locks_until_ms > 0) {
      core::lockout_started lock;
      lock.locked_until_ms = judged.locks_until_ms;
      lock.attempts = judged.locks_source_only || policy.scope == core::lockout_scope::user
                          ? judged.number
                          : judged.user_number;
      if (judged.locks_source_only) lock.source = failed.what.source;
      started.body = lock;
      apply_now(started);
      out.events.push_back(std::move(started));
    }
  }
  self_->send(session_, std::move(out));
}

/// Where nodes share a log it is applied when it stands there.
void lockout_shard::apply_now(const core::event& what) {
  if (!options_.shared) state_->apply(what);
}

void lockout_shard::on(const lockouts_logged& news) {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  if (news.noted) core::note_attempt(*state_, *news.noted, options_.policies->lockout, now_ms_);
  for (const auto& each : news.events) {
    if (each.subject) proposed_.erase(*each.subject);
    state_->apply(each);
  }
}

std::vector<core::event> lockout_shard::ends_of(const core::subject_id& subject) const {
  std::vector<core::event> ends;
  const auto* user = state_->find(subject);
  if (user == nullptr) return ends;
  for (const auto& source : user->locks_over(now_ms_)) {
    ends.push_back(about_subject(subject, now_ms_));
    ends.back().body = core::lockout_ended{source};
  }
  return ends;
}

/// Where nodes share a log, one of them tells the others: the session actor knows which.
void lockout_shard::propose_ends(const core::subject_id& subject) {
  auto& again_at_ms = proposed_[subject];
  if (now_ms_ < again_at_ms) return;
  again_at_ms = now_ms_ + core::limits::fleet_propose_again_ms;
  for (auto& each : ends_of(subject)) {
    const auto source = std::get<core::lockout_ended>(each.body).source;
    lock_changed change{subject, source, 0, {}};
    change.events.push_back(std::move(each));
    self_->send(session_, std::move(change));
  }
}

void lockout_shard::on(const lockout_question& question) {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  self_->send(session_,
              lockout_answer{question.user, core::status_of(*state_, &question.subject,
                                                            options_.policies->lockout, now_ms_)});
}

void lockout_shard::on(const clear_counters& order) {
  if (order.cleared.subject) proposed_.erase(*order.cleared.subject);
  state_->apply(order.cleared);
}

locks_listed lockout_shard::on(const list_locks& question) const {
  const auto now_ms = options_.clock->now_ms();
  locks_listed out;
  for (const auto& [subject, user] : state_->users()) {
    const lock_place place{user.first_window_ends_at_ms, subject};
    if (question.after && place <= *question.after) continue;
    const auto status = core::status_of(*state_, &subject, options_.policies->lockout, now_ms);
    if (!status.locked) continue;
    out.rows.push_back({place, status.failed_attempts, *status.locked_until_ms});
  }
  const auto earlier = [](const lock_row& a, const lock_row& b) { return a.place < b.place; };
  out.more = out.rows.size() > question.limit;
  const auto shown = std::min<std::size_t>(out.rows.size(), question.limit);
  std::partial_sort(out.rows.begin(), out.rows.begin() + static_cast<std::ptrdiff_t>(shown),
                    out.rows.end(), earlier);
  out.rows.resize(shown);
  return out;
}

locks_counted lockout_shard::on(const count_locks&) const {
  return {state_->locked(options_.clock->now_ms()), self_->mailbox().size()};
}

/// Tells of the user's locks that are over.
void lockout_shard::end_locks(const core::subject_id& subject) {
  const auto* user = state_->find(subject);
  if (user == nullptr) return;
  for (const auto& source : user->locks_over(now_ms_)) {
    auto what = about_subject(subject, now_ms_);
    what.body = core::lockout_ended{source};
    state_->apply(what);
    lock_changed change{subject, source, 0, {}};
    change.events.push_back(std::move(what));
    self_->send(session_, std::move(change));
  }
}

stood_still lockout_shard::on(const stand_still& order) {
  still_.begin(order.number, now_ms_);
  return {};
}

lockouts_digested lockout_shard::on(const take_digest& question) const {
  if (!still_.is_for(question.number)) return {};
  return {std::make_shared<const core::routing_digests>(
      core::digest_lockouts(*state_, question.at_ms))};
}

void lockout_shard::tick() {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  if (still_.forgotten(now_ms_)) still_.end();
  if (still_) return;
  // By the log's time: what is not in the digest may go.
  const auto gone_ms = std::min(now_ms_, log_at_ms_);
  std::vector<core::subject_id> due;
  for (const auto& [subject, user] : state_->users())
    if (user.lock_over(now_ms_) || user.over(gone_ms) || user.source_over(gone_ms))
      due.push_back(subject);
  for (const auto& subject : due) {
    if (!options_.shared) {
      end_locks(subject);
    } else if (state_->find(subject)->lock_over(now_ms_)) {
      propose_ends(subject);
      continue;  // it stays until its end stands in the log: only that takes it out of the store
    }
    (void)state_->drop_if_over(subject, gone_ms);
  }
}

}  // namespace portcullis::actors
