// How the session actor's turn goes: which requests wait for which, how answers leave, what time
// brings.
#include <algorithm>
#include <limits>

#include "actors/session.hpp"

namespace portcullis::actors {

bool session_shard::held(core::user_slot user, inbound& request) {
  if (!state_->user(user).busy) return false;
  holds_[user].waiting.push_back(std::move(request));
  return true;
}

session_shard::operation& session_shard::begin(core::user_slot user, inbound& request,
                                               stage waits_for) {
  state_->user(user).busy = true;
  auto& current = holds_[user].current;
  current = {};
  current.as_of = position_;
  current.request = std::move(request);
  current.waits_for = waits_for;
  return current;
}

void session_shard::resume(core::user_slot user) {
  auto request = std::move(holds_[user].current.request);
  state_->user(user).busy = false;
  take_if_fresh(request);
  if (!state_->user(user).busy) release(user);
}

void session_shard::release(core::user_slot user) {
  for (;;) {
    state_->user(user).busy = false;
    // Looked for anew each time: what is taken may end at once, and release the user by itself.
    const auto found = holds_.find(user);
    if (found == holds_.end()) return;
    auto& waiting = found->second.waiting;
    if (waiting.empty()) {
      holds_.erase(found);
      return;
    }
    auto next = std::move(waiting.front());
    waiting.pop_front();
    take_if_fresh(next);
    if (state_->user(user).busy) return;
  }
}

void session_shard::answer(const inbound& request, const core::reply& reply) {
  if (is_postponed(request)) return carried_out(request);
  replies_->answer(request, reply);
}

void session_shard::fail(const inbound& request, core::error why) {
  if (is_postponed(request)) return not_carried_out(request, why);
  if (request.what.has_alias && request.what.method == core::method::session_create)
    create_ended(request, false);
  replies_->fail(request, why);
}

std::string session_shard::correlation_of(const inbound& request) {
  return replies_->correlation_of(request);
}

/// What is only decided may wait until the messages that came with this one are handled: it then
/// goes as one batch. What is applied goes at once: its reply is written, and a failure of this
/// actor must not take it along.
void session_shard::flush_soon() {
  if (outbox_->has_applied() || !touched_.empty() || replies_->has_waiting()) return flush();
  if (!outbox_->has_durable() || flush_sent_) return;
  flush_sent_ = true;
  self_->send(self_, flush_atom::value);
}

void session_shard::flush() {
  flush_sent_ = false;
  for (auto& [tenant, touches] : touched_) {
    core::event what;
    what.at_ms = what.decided_at_ms = now_ms_;
    what.tenant_id = state_->tenant(tenant).name;
    what.body = core::session_touched{std::move(touches)};
    outbox_->add(std::move(what));
  }
  touched_.clear();
  outbox_->flush(
      [this](batch_ptr batch) { self_->send(peers_.hub, log_events{std::move(batch)}); });
  replies_->flush([this](std::size_t loop, reply_batch batch) {
    self_->send(peers_.gateways[loop], std::move(batch));
  });
}

void session_shard::expire(core::session_slot slot, core::expiry_kind kind) {
  auto what = core::about(*state_, slot, now_ms_);
  what.body = core::session_expired{kind};
  state_->apply(what);
  applied(what);
  outbox_->add(std::move(what));
}

void session_shard::tick() {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  if (still_.forgotten(now_ms_)) on(go_on{still_.number()});
  if (still_) return look_whether_still();
  wheel_.advance(now_ms_, core::limits::expiries_per_tick_max, [this](core::session_slot slot) {
    const auto& s = state_->at(slot);
    if (s.status == core::session_status::none) return;
    if (state_->user(s.user).busy) return wheel_.add(slot, now_ms_ + 1, now_ms_);
    const auto found = core::sweep(*state_, slot, now_ms_);
    switch (found.what) {
      case core::swept::action::keep:
        return wheel_.add(slot, found.next_ms, now_ms_);
      case core::swept::action::expire:
        if (options_.fleet) {
          // One node tells it; it counts when it stands in the log.
          if (sweeps_) {
            auto what = core::about(*state_, slot, now_ms_);
            what.body = core::session_expired{found.kind};
            std::vector<core::event> events;
            events.push_back(std::move(what));
            propose(s.user, std::move(events));
          }
          return wheel_.add(slot, now_ms_ + core::limits::fleet_propose_again_ms, now_ms_);
        }
        expire(slot, found.kind);
        return wheel_.add(slot, now_ms_ + 1, now_ms_);
      case core::swept::action::purge:
        // By the log's time: what is not in the digest may go (architecture.md, Identity).
        if (const auto end_ms = s.absolute_expires_at_ms + core::limits::tombstone_keep_ms;
            end_ms > log_at_ms_) {
          wanted_log_time_ms_ = std::max(wanted_log_time_ms_, end_ms);
          return wheel_.add(slot, now_ms_ + core::limits::log_time_again_ms, now_ms_);
        }
        outbox_->purge(s.seq);
        self_->send(peers_.directory, session_listed{s.user, slot, true});
        signals_.erase(slot);
        state_->purge(slot);
        return;
    }
  });
  keep_log_time();
  options_.aliases->sweep(now_ms_);
  if (!postponed_.empty() && !store_trouble_) carry_out_postponed();
  if (now_ms_ - coalesced_at_ms_ >= core::limits::coalesce_window_ms) {
    coalesced_at_ms_ = now_ms_;
    failures_.close_window();
    log_failures(core::limits::coalesce_slice_events);
    std::erase_if(limited_sources_, [this](const auto& entry) { return entry.second <= now_ms_; });
  } else if (failures_.has_closed() && !slice_sent_) {
    log_failures(core::limits::coalesce_slice_events);  // what standing still held up
  }
  flush();
}

/// What ended is forgotten by the log's time: where nothing happens, it is made to go on.
void session_shard::keep_log_time() {
  if (log_at_ms_ > told_log_at_ms_) {
    told_log_at_ms_ = log_at_ms_;
    self_->send(peers_.lockout, log_time{log_at_ms_});
  }
  if (wanted_log_time_ms_ == 0) return;
  if (now_ms_ - asked_log_time_at_ms_ < core::limits::log_time_again_ms) return;
  asked_log_time_at_ms_ = now_ms_;
  self_->send(peers_.journal, want_log_time{std::exchange(wanted_log_time_ms_, 0)});
}

/// The next failures of closed windows; the rest goes on in a while.
void session_shard::log_failures(std::size_t most) {
  failures_.emit(most, [this](core::user_slot user, const std::optional<core::short_hash>& source,
                              core::invalid_reason reason, const coalescer::tally& seen) {
    core::event what;
    what.at_ms = what.decided_at_ms = now_ms_;
    what.correlation_id = seen.correlation_id;
    if (user != core::no_slot) {
      const auto& record = state_->user(user);
      what.tenant_id = state_->tenant(record.tenant).name;
      what.subject = record.subject;
      if (record.who) what.user_id = record.who->user_id;
    }
    core::validation_failed body;
    body.reason = reason;
    body.count = seen.count;
    body.first_at_ms = seen.first_at_ms;
    body.last_at_ms = seen.last_at_ms;
    body.source = source;
    what.body = body;
    outbox_->add(std::move(what));
  });
  if (!failures_.has_closed() || slice_sent_) return;
  slice_sent_ = true;
  self_->delayed_send(self_, std::chrono::milliseconds(core::limits::coalesce_slice_ms),
                      slice_atom::value);
}

void session_shard::go_on_with_failures() {
  slice_sent_ = false;
  if (still_) return;  // the next tick that does anything goes on
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  log_failures(core::limits::coalesce_slice_events);
  flush();
}

void session_shard::finish() {
  failures_.close_window();
  log_failures(std::numeric_limits<std::size_t>::max());
  flush();
}

void session_shard::on(const source_limit_changed& change) {
  limited_sources_[change.source] = change.until_ms;
  while (limited_sources_.size() > core::limits::limited_sources_max)
    limited_sources_.erase(limited_sources_.begin());
  core::event what;
  what.at_ms = what.decided_at_ms = now_ms_;
  what.correlation_id = change.correlation_id;
  what.body = core::source_limited{change.source, change.until_ms};
  // Every shard hears of it, the first one logs it.
  if (options_.shard == 0) outbox_->add(std::move(what));
  flush();
}

void session_shard::on(policies_changed& change) {
  options_.policies = std::move(change.book);
  // Remembered contexts were clean under the old policy.
  memo_key_ = core::make_memo_key(options_.random);
}

void session_shard::on(keys_changed& change) { options_.keys = std::move(change.keys); }

void session_shard::on(const store_state_changed& change) {
  store_trouble_.reset();
  if (change.degraded) store_trouble_ = change.why;
  if (options_.fleet && !change.degraded) carry_out_postponed();
  look_whether_still();
}

void session_shard::on(wire_session& peers) {
  const auto before = std::exchange(peers_, std::move(peers)).sessions;
  if (options_.fleet) look_for_new_shards(before);
}

}  // namespace portcullis::actors
