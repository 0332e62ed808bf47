// The session actor where several nodes share a log (docs/cluster.md): decide by what was read,
// append, and apply what comes back, one's own decisions like those of others. A decision that was
// overtaken is made again.
#include <algorithm>
#include <cassert>

#include "actors/session.hpp"
#include "actors/shards.hpp"
#include "monitoring/log.hpp"

namespace portcullis::actors {

/// Who has not heard from the log for too long does not know what was revoked.
bool session_shard::is_stale() const {
  return options_.clock->mono_ns() - fresh_ns_ > options_.staleness_ns_max;
}

/// Closed, not open; also to what came while the node was fresh, and has waited since. Revocations
/// go on: the log decides them, or they are postponed.
void session_shard::take_if_fresh(inbound& request) {
  if (request.what.has_alias && is_led_elsewhere(request)) return;
  if (options_.fleet && is_stale()) {
    const auto method = request.what.method;
    if (method != core::method::session_revoke && method != core::method::session_revoke_user &&
        method != core::method::session_revoke_tenant)
      return fail(request, core::fail(core::error_code::STORE_UNAVAILABLE, {}, "stale"));
  }
  if (!stands_in_line(request)) take(request);
}

/// Of a decision about the user that consists of these events: also the alias that it gives away,
/// which another node may be giving to another user.
core::entry_tags session_shard::tags_of(core::user_slot user,
                                        std::span<const core::event> events) const {
  const auto& owner = state_->user(user);
  core::entry_tags tags{{options_.fleet->of_user(owner.lookup)},
                        {options_.fleet->of_tenant(state_->tenant(owner.tenant).name)}};
  for (const auto& each : events)
    if (const auto* created = std::get_if<core::session_created>(&each.body);
        created != nullptr && created->alias)
      tags.writes.push_back(options_.fleet->of_alias(*created->alias));
  return tags;
}

/// What time brings: nobody waits for it, and another node may be faster.
void session_shard::propose(core::user_slot user, std::vector<core::event> events) {
  (void)outbox_->add_shared(std::move(events), {core::no_slot, 0}, tags_of(user), position_);
}

/// The same of what a valid use brings. A hot session is used thousands of times until it is read.
void session_shard::propose_use(const core::judgement& judged, const core::session_id& presented,
                                const inbound& request) {
  const auto& s = state_->at(judged.slot);
  if (store_trouble_ || !proposed_uses_.insert(s.handle).second) return;
  std::vector<core::event> events;
  core::consequences_of_use(input(), judged, presented, events);
  for (auto& each : events) each.correlation_id = correlation_of(request);
  propose(s.user, std::move(events));
}

/// Read, or not in the log: the next use may bring it again.
void session_shard::proposal_done(const event_batch& batch) {
  for (const auto& each : batch.events)
    if (each.handle) proposed_uses_.erase(*each.handle);
}

void session_shard::on(log_advanced& news) {
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  for (const auto& batch : news.batches) {
    if (batch->events.back().seq <= position_) continue;  // loaded already
    const bool own = batch->shard == options_.shard && !batch->of_breakers &&
                     batch->incarnation == outbox_->incarnation();
    position_ = batch->events.back().seq;
    if (own)
      take_own(*batch);
    else
      take_others(*batch);
  }
  position_ = std::max(position_, news.position);
  fresh_ns_ = std::max(fresh_ns_, news.fresh_ns);
  log_at_ms_ = std::max(log_at_ms_, news.at_ms);
  sweeps_ = news.sweeps;
  try_overtaken();
  flush_soon();
  look_whether_still();
}

void session_shard::take_own(const event_batch& batch) {
  (void)outbox_->done(batch);
  if (!batch.durable) return;  // applied when it was decided
  const auto found = holds_.find(batch.whose.user);
  const bool awaited = found != holds_.end() && found->second.current.batch == batch.number;
  if (awaited && found->second.current.attempt)
    self_->send(peers_.lockout,
                lockouts_logged{{}, std::exchange(found->second.current.attempt->noted, {})});
  for (const auto& what : batch.events) {
    state_->apply(what);
    applied(what);
  }
  if (batch.whose.tenant_operation != 0) return tenant_committed(false, {});
  if (batch.whose.user == core::no_slot) return proposal_done(batch);
  if (!awaited) return;
  found->second.overtaken = 0;
  finish(batch.whose.user);
}

void session_shard::take_others(const event_batch& batch) {
  const auto is_mine = [this](std::uint8_t byte) {
    return shard_of(byte, options_.shards) == options_.shard;
  };
  for (const auto& row : batch.users)
    if (is_mine(row.subject.bytes[0])) learn_user(row);
  for (const auto& what : batch.events) {
    const auto* revoked = std::get_if<core::session_revoked>(&what.body);
    if (revoked != nullptr && revoked->scope == core::revoke_scope::tenant) {
      (void)on(
          tenant_revoked{what.tenant_id, static_cast<std::uint32_t>(revoked->tenant_generation)});
      continue;
    }
    if (const auto* limited = std::get_if<core::source_limited>(&what.body)) {
      if (batch.shard == event_batch::node) limited_sources_[limited->source] = limited->until_ms;
      continue;
    }
    if (what.subject && !is_mine(what.subject->bytes[0])) continue;
    if (!what.subject && what.handle && !is_mine(what.handle->bytes[0])) continue;
    if (what.type() == core::event_type::session_created && what.subject &&
        state_->find_user(*what.subject) == core::no_slot)
      // Its row is gone: who asks about the session is told STORE_INTEGRITY, unless the user is
      // forgotten next.
      (void)state_->load_user(*what.subject, what.subject->bytes, what.tenant_id);
    state_->apply(what);
    applied(what);
  }
}

/// A user whom another node has made, maybe while this one was about to.
void session_shard::learn_user(const core::user_row& row) {
  auto user = state_->find_user(row.lookup);
  if (user == core::no_slot) {
    user = state_->load_user(row.subject, row.lookup, row.tenant_id);
  } else if (state_->user(user).subject != row.subject) {
    unsaved_users_.erase(user);
    state_->rename_user(user, row.subject);
    // The directory may be answering with what it made itself.
    if (const auto found = holds_.find(user); found != holds_.end())
      found->second.current.renamed = true;
  } else {
    return;
  }
  self_->send(peers_.directory, user_learned{user, row.ring_key, row.wrapped});
}

/// What an event says of counters and locks.
void session_shard::applied_lock(const core::event& what) {
  if (!what.subject) return;
  const auto user = state_->find_user(*what.subject);
  if (what.type() != core::event_type::lockout_cleared)
    self_->send(peers_.lockout, lockouts_logged{{what}, std::nullopt});
  if (user == core::no_slot) return;
  auto& record = state_->user(user);
  const auto forget_source = [&](const core::short_hash& source) {
    auto& locks = source_locks_[user];
    std::erase_if(locks, [&](const source_lock& lock) { return lock.source == source; });
    record.sources_locked = !locks.empty();
    if (locks.empty()) source_locks_.erase(user);
  };
  if (const auto* started = std::get_if<core::lockout_started>(&what.body)) {
    if (started->source) {
      forget_source(*started->source);
      source_locks_[user].push_back({*started->source, started->locked_until_ms});
      record.sources_locked = true;
    } else {
      record.locked_until_ms = started->locked_until_ms;
    }
  } else if (const auto* ended = std::get_if<core::lockout_ended>(&what.body)) {
    if (ended->source)
      forget_source(*ended->source);
    else
      record.locked_until_ms = 0;
  } else if (what.type() == core::event_type::lockout_cleared) {
    record.locked_until_ms = 0;
    record.sources_locked = false;
    source_locks_.erase(user);
  }
}

/// Whether a lock has run out whose end has not been read yet.
bool session_shard::knows_as_over(core::user_slot user,
                                  const std::optional<core::short_hash>& source) const {
  const auto is_over = [this](core::millis until_ms) {
    return until_ms > 0 && until_ms <= now_ms_;
  };
  if (!source) return is_over(state_->user(user).locked_until_ms);
  const auto found = source_locks_.find(user);
  return found != source_locks_.end() &&
         std::any_of(found->second.begin(), found->second.end(), [&](const source_lock& each) {
           return each.source == *source && is_over(each.until_ms);
         });
}

void session_shard::on(decision_refused& refused) {
  const auto& batch = *refused.batch;
  if (batch.incarnation != outbox_->incarnation()) return;
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  (void)outbox_->done(batch);
  if (batch.whose.tenant_operation != 0) {
    assert(!tenant_operations_.empty());
    if (refused.overtaken) {
      tenant_operations_.front().behind = refused.end;
      try_overtaken();
    } else {
      tenant_committed(true, refused.why);
    }
  } else if (const auto found = holds_.find(batch.whose.user);
             found != holds_.end() && found->second.current.batch == batch.number) {
    const auto user = batch.whose.user;
    if (!refused.overtaken) {
      postpone_refused(user);
      refuse(user, refused.why);
    } else if (++found->second.overtaken > core::limits::fleet_overtaken_max) {
      refuse(user, core::fail(core::error_code::OVERLOADED));
    } else {
      found->second.current.waits_for = stage::overtaken;
      found->second.current.behind = refused.end;
      overtaken_.push_back(user);
      try_overtaken();
    }
  } else {
    if (batch.whose.user != core::no_slot)
      monitoring::log::write(core::log_level::debug, monitoring::component::actors,
                             "A decision was refused that nobody waits for.",
                             {{"event.action", "decision_refused"},
                              {"batch", static_cast<std::int64_t>(batch.number)}});
    proposal_done(batch);
  }
  flush();
  look_whether_still();
}

/// Decisions that have been read past what was faster than them.
void session_shard::try_overtaken() {
  for (const auto user : std::exchange(overtaken_, {})) {
    const auto found = holds_.find(user);
    if (found == holds_.end() || found->second.current.waits_for != stage::overtaken) continue;
    if (found->second.current.behind > position_)
      overtaken_.push_back(user);
    else
      resume(user);
  }
  if (!tenant_operations_.empty() && tenant_operations_.front().behind != 0 &&
      tenant_operations_.front().behind <= position_) {
    auto& current = tenant_operations_.front();
    current.behind = current.live = 0;
    next_tenant_operation();
  }
}

}  // namespace portcullis::actors
