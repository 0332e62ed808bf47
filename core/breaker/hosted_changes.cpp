#include "core/breaker/hosted.hpp"

#include <cmath>

#include "core/breaker/thresholds.hpp"
#include "core/mix.hpp"

// How a hosted breaker's state changes; what calls and time do to it is in hosted.cpp.

namespace portcullis::core {
namespace {

/// The name of a half-open phase: no two of a breaker have the same, also over a restart.
std::uint32_t nonce_of(std::uint64_t epoch, millis until_ms, millis salt) noexcept {
  return static_cast<std::uint32_t>(mix64(mix64(epoch + mix64_step) ^
                                          static_cast<std::uint64_t>(until_ms) ^
                                          mix64(static_cast<std::uint64_t>(salt))));
}

}  // namespace

hosted_breaker::hosted_breaker(const breaker_record& stored, const breaker_policy& policy,
                               millis now_ms)
    : hosted_breaker(stored.service, stored.breaker, policy, now_ms) {
  base_ = stored.state;
  cause_ = stored.cause;
  epoch_ = stored.epoch;
  since_ms_ = tallies_.last_transition_at_ms = stored.since_ms;
  // A wait is never longer than the policy has it, whatever the clock was when it began.
  until_ms_ = std::min(stored.until_ms, now_ms + static_cast<millis>(longest_open_wait_of(policy)));
  failed_rounds_ = stored.failed_rounds;
  override_ = stored.override_;
  if (base_ == breaker_state::half_open) {
    until_ms_ = now_ms + policy.max_half_open_ms;  // nobody could try while the server was away
    begin_round_again(policy, now_ms);
  }
  if (is_shut(state())) tallies_.open_since_ms = now_ms;
}

/// Its permits are forgotten; they may be out.
void hosted_breaker::begin_round_again(const breaker_policy& policy, millis now_ms) {
  begin_round(policy, nonce_of(epoch_, until_ms_, now_ms));
  round_.restored = true;
}

call_counts hosted_breaker::phase_counts() const noexcept {
  auto counts = phase_;
  if (judges()) counts += nodes_ ? nodes_->calls.counts() : window_.counts();
  return counts;
}

template <class Body>
Body hosted_breaker::transition_to(breaker_cause cause) const {
  Body body;
  body.service = service_;
  body.breaker = breaker_;
  body.epoch = epoch_ + 1;
  body.cause = cause;
  body.counts = phase_counts();
  body.from = state();
  return body;
}

millis hosted_breaker::open_wait(const breaker_policy& policy, std::uint32_t failed_rounds,
                                 const random_source& random) const {
  const auto wait_ms = open_wait_of(policy, failed_rounds);
  std::uint64_t bits = 0;
  random({reinterpret_cast<std::uint8_t*>(&bits), sizeof bits});
  const auto sway = std::ldexp(static_cast<double>(bits >> 11), -52) - 1.0;  // [-1, 1)
  return std::llround(wait_ms * (1.0 + policy.open_wait_jitter * sway));
}

void hosted_breaker::open(breaker_cause cause, const breaker_policy& policy, millis now_ms,
                          const random_source& random, changes& out) {
  auto body = transition_to<breaker_opened>(cause);
  body.failed_rounds = base_ == breaker_state::half_open ? failed_rounds_ + 1 : 0;
  body.until_ms = now_ms + open_wait(policy, body.failed_rounds, random);
  commit(std::move(body), policy, now_ms, out);
}

void hosted_breaker::half_open(const breaker_policy& policy, millis now_ms, changes& out) {
  auto body = transition_to<breaker_half_opened>(breaker_cause::wait_elapsed);
  body.failed_rounds = failed_rounds_;
  body.until_ms = now_ms + policy.max_half_open_ms;
  commit(std::move(body), policy, now_ms, out);
}

void hosted_breaker::close(breaker_cause cause, const breaker_policy& policy, millis now_ms,
                           changes& out) {
  commit(transition_to<breaker_closed>(cause), policy, now_ms, out);
}

void hosted_breaker::commit(event_body what, const breaker_policy& policy, millis now_ms,
                            changes& out) {
  apply(what, {}, policy, now_ms);
  if (nodes_ && base_ == breaker_state::half_open) nodes_->tries = breaker_of_nodes::prober::here;
  out.push_back(std::move(what));
}

std::optional<event_body> hosted_breaker::decide_override(const override_breaker& order,
                                                          std::string_view actor,
                                                          override_scope scope,
                                                          millis now_ms) const {
  if (order.mode == override_mode::none) {
    if (override_.mode == override_mode::none) return std::nullopt;
    return override_cleared(order.reason, breaker_cause::override_cleared);
  }
  std::optional<millis> expires_at_ms;
  if (order.ttl_s) expires_at_ms = now_ms + *order.ttl_s * 1000;
  const bool same_mode = override_.mode == order.mode;
  if (same_mode && override_.scope == scope && override_.expires_at_ms == expires_at_ms &&
      override_.reason == order.reason && override_.actor == actor)
    return std::nullopt;
  // Prolonged or explained anew: the state stays, and with it the epoch.
  breaker_override_set body{service_,
                            breaker_,
                            same_mode ? epoch_ : epoch_ + 1,
                            order.mode,
                            scope,
                            std::string(order.reason),
                            expires_at_ms,
                            {},
                            {},
                            {}};
  if (!same_mode) {
    body.cause = breaker_cause::override_set;
    body.counts = phase_counts();
    body.from = state();
  }
  return body;
}

breaker_override_cleared hosted_breaker::override_cleared(std::string_view reason,
                                                          breaker_cause cause) const {
  return {service_,       breaker_,        epoch_ + 1,
          override_.mode, override_.scope, std::string(reason),
          cause,          phase_counts(),  state()};
}

std::optional<event_body> hosted_breaker::decide_reset(std::string_view reason) const {
  if (override_.mode == override_mode::none && base_ == breaker_state::closed &&
      window_.calls() == 0 && consecutive_ == 0 && (!nodes_ || nodes_->calls.calls() == 0))
    return std::nullopt;
  auto body = transition_to<breaker_closed>(breaker_cause::reset);
  body.reason = reason;
  return body;
}

void hosted_breaker::begin_round(const breaker_policy& policy, std::uint32_t nonce) {
  round_ = {};
  round_.epoch = static_cast<std::uint32_t>(epoch_);
  round_.nonce = nonce;
  round_.out.reserve(std::min(policy.half_open_concurrency, policy.half_open_permits));
  round_.expired.reserve(policy.half_open_permits);
}

void hosted_breaker::end_round() {
  if (round_.next_number == 0 && !round_.restored) return;
  past_round past{round_.epoch, round_.nonce, round_.next_number, std::move(round_.expired),
                  round_.restored};
  for (const auto& each : round_.out) past.open.push_back(each.number);
  if (past_.size() == past_rounds_max) past_.erase(past_.begin());
  past_.push_back(std::move(past));
  round_ = {};
}

void hosted_breaker::begin_phase(breaker_state from, breaker_cause cause, millis now_ms) {
  const bool was_shut = is_shut(from), shut = is_shut(state());
  if (was_shut && tallies_.open_since_ms > 0 && !shut) {
    tallies_.open_ms += std::max<millis>(0, now_ms - tallies_.open_since_ms);
    tallies_.open_since_ms = 0;
  } else if (shut && !was_shut && tallies_.open_since_ms == 0) {
    tallies_.open_since_ms = now_ms;
  }
  tallies_.moved(from, state(), cause, now_ms);
  cause_ = cause;
  since_ms_ = now_ms;
  phase_ = {};
}

void hosted_breaker::apply(const event_body& what, std::string_view actor,
                           const breaker_policy& policy, millis now_ms) {
  const auto from = state();
  if (const auto* opened = std::get_if<breaker_opened>(&what)) {
    end_round();
    base_ = breaker_state::open;
    epoch_ = opened->epoch;
    until_ms_ = opened->until_ms;
    failed_rounds_ = opened->failed_rounds;
    if (nodes_) nodes_->open_here_until_ms = 0, nodes_->used = false;
    return begin_phase(from, opened->cause, now_ms);
  }
  if (const auto* tried = std::get_if<breaker_half_opened>(&what)) {
    end_round();  // several nodes: one that began it may be gone
    if (nodes_) nodes_->waited_until_ms = base_ == breaker_state::open ? until_ms_ : 0;
    base_ = breaker_state::half_open;
    epoch_ = tried->epoch;
    until_ms_ = tried->until_ms;
    failed_rounds_ = tried->failed_rounds;
    begin_round(policy, nonce_of(epoch_, until_ms_, 0));
    if (nodes_) nodes_->tries = breaker_of_nodes::prober::elsewhere;
    return begin_phase(from, tried->cause, now_ms);
  }
  const auto start_anew = [&](std::uint64_t epoch) {
    end_round();
    base_ = breaker_state::closed;
    epoch_ = epoch;
    until_ms_ = 0;
    failed_rounds_ = consecutive_ = 0;
    breached_ = false;
    override_ = {};
    window_.reset(policy, now_ms);
    if (nodes_) forget_nodes_calls(policy, now_ms);
  };
  if (const auto* closed = std::get_if<breaker_closed>(&what)) {
    start_anew(closed->epoch);
    return begin_phase(from, closed->cause, now_ms);
  }
  if (const auto* cleared = std::get_if<breaker_override_cleared>(&what)) {
    start_anew(cleared->epoch);
    return begin_phase(from, cleared->cause, now_ms);
  }
  if (const auto* set = std::get_if<breaker_override_set>(&what)) {
    const bool same_mode = set->mode == override_.mode;
    override_ = {set->mode, set->scope, std::string(actor), set->reason, set->expires_at_ms};
    epoch_ = set->epoch;
    if (same_mode) return;
    end_round();
    breached_ = false;
    consecutive_ = 0;
    window_.reset(policy, now_ms);
    if (nodes_) forget_nodes_calls(policy, now_ms);
    begin_phase(from, breaker_cause::override_set, now_ms);
  }
}

breaker_row hosted_breaker::describe(const breaker_policy& policy, millis now_ms) const {
  breaker_row row;
  row.service = service_;
  row.breaker = breaker_;
  row.kind = breaker_kind::hosted;
  row.state = shown_state();
  row.base_state = base_;
  row.epoch = epoch_;
  row.since_ms = since_ms_;
  row.cause = cause_;
  if (override_.mode != override_mode::none) row.override_ = override_;
  row.counts = tallies_.calls;
  if (nodes_) row.counts += nodes_->counted;
  const auto rate = rates(policy);
  row.failure_ratio = rate.failure;
  row.slow_ratio = rate.slow;
  if (is_open_here())
    row.retry_after_ms = std::max<millis>(0, nodes_->open_here_until_ms - now_ms);
  else if (row.state == breaker_state::open)
    row.retry_after_ms = std::max<millis>(0, until_ms_ - now_ms);
  else if (row.state == breaker_state::forced_open && override_.expires_at_ms)
    row.retry_after_ms = std::max<millis>(0, *override_.expires_at_ms - now_ms);
  for (const auto& [name, source] : sources_)
    row.sources.push_back({name, row.state, source.last_report_at_ms});
  return row;
}

}  // namespace portcullis::core
