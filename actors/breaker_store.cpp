// The breaker before the server's own store: fed by the journal, and what opens and shuts its gate.
#include <algorithm>

#include "actors/breaker.hpp"

namespace portcullis::actors {

void breaker_shard::on(const store_attempts& attempts) {
  if (store_ == core::no_breaker) return;
  now_ms_ = std::max(now_ms_, options_.clock->now_ms());
  const auto held = holds_.find(store_);
  if (still_ || (held != holds_.end() && (held->second.decided || options_.fleet)))
    attempts_.push_back(attempts);  // what was decided is of the state and epoch of now
  else
    take_attempts(attempts);
  flush();
}

void breaker_shard::take_attempts(const store_attempts& attempts) {
  if (is_full() && !attempts.all.back().good)
    return;  // it is known, and there is no room to say so
  auto& hosted = *breakers_->at(store_).hosted();
  breakers_->at(store_).used_at_ms = now_ms_;
  changes_.clear();
  core::report_call call;
  for (const auto& each : attempts.all) {
    call.outcome = each.good ? core::call_outcome::success : core::call_outcome::failure;
    call.duration_ms = each.duration_ms;
    call.permit = &each == &attempts.all.back() ? attempts.permit : std::nullopt;
    (void)hosted.report(call, policy_of(store_), now_ms_, options_.random, changes_);
  }
  log_changes(store_, {});
}

/// Whether it may write; while half-open, with a permit for one attempt: the same until it is used
/// or its phase is over.
void breaker_shard::tell_journal() {
  if (store_ == core::no_breaker || !peers_.journal) return;
  const auto held = holds_.find(store_);
  // Told when that is over; where nodes share a log, also what changed may come to nothing.
  if (held != holds_.end() && (held->second.decided || options_.fleet)) return;
  if (is_full()) return self_->send(peers_.journal, store_gate{});  // it tries now and then
  auto& hosted = *breakers_->at(store_).hosted();
  if (store_permit_ && hosted.is_out(*store_permit_))
    return self_->send(peers_.journal, store_gate{true, store_permit_});
  changes_.clear();
  const auto admitted = hosted.acquire(policy_of(store_), now_ms_, options_.random, changes_);
  store_permit_ = admitted.permit;
  self_->send(peers_.journal, store_gate{admitted.allowed, admitted.permit});
  if (admitted.permit) breakers_->schedule(store_, policy_of(store_), now_ms_);
  if (!changes_.empty()) log_changes(store_, {});  // what was due at this very moment
}

}  // namespace portcullis::actors
