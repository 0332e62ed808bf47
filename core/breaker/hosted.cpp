#include "core/breaker/hosted.hpp"

#include <numeric>

#include "core/breaker/thresholds.hpp"

namespace portcullis::core {
namespace {

constexpr millis retry_probe_ms = 1'000;  // at most, while others try a half-open breaker

bool is_slow(const report_call& call, const breaker_policy& policy) noexcept {
  return call.outcome != call_outcome::ignored && call.duration_ms > policy.slow_call_ms;
}

call_result result_of(call_outcome outcome, bool slow) noexcept {
  switch (outcome) {
    case call_outcome::success:
      return slow ? call_result::slow_success : call_result::success;
    case call_outcome::failure:
      return slow ? call_result::slow_failure : call_result::failure;
    case call_outcome::timeout:
      return call_result::timeout;
    case call_outcome::ignored:
      return call_result::ignored;
  }
  __builtin_unreachable();
}

}  // namespace

seen_sequence::place seen_sequence::look(std::uint64_t seq) const noexcept {
  if (bits_ == 0 || seq > highest_) return place::newest;
  const auto behind = highest_ - seq;
  if (behind >= width) return place::too_old;
  return (bits_ >> behind & 1U) != 0 ? place::duplicate : place::late;
}

void seen_sequence::add(std::uint64_t seq) noexcept {
  if (bits_ == 0 || seq > highest_) {
    const auto ahead = bits_ == 0 ? width : seq - highest_;
    bits_ = ahead >= width ? 1 : bits_ << ahead | 1;
    highest_ = seq;
    return;
  }
  if (highest_ - seq < width) bits_ |= std::uint64_t{1} << (highest_ - seq);
}

hosted_breaker::hosted_breaker(std::string service, std::string breaker,
                               const breaker_policy& policy, millis now_ms)
    : service_(std::move(service)),
      breaker_(std::move(breaker)),
      tag_(tag_of({service_, breaker_})),
      since_ms_(now_ms) {
  window_.reset(policy, now_ms);
}

// --- calls

hosted_breaker::admission hosted_breaker::acquire(const breaker_policy& policy, millis now_ms,
                                                  const random_source& random, changes& out) {
  advance(policy, now_ms, random, out);
  if (override_.mode == override_mode::none && base_ == breaker_state::open && now_ms >= until_ms_)
    half_open(policy, now_ms, out);  // auto_half_open is off: the caller is what drives it
  if (nodes_) {
    use_here(now_ms);
    if (probing() && nodes_->tries == breaker_of_nodes::prober::nobody)
      half_open(policy, now_ms, out);
  }
  admission answer;
  if (override_.mode == override_mode::disabled) {
    answer.allowed = true;
    return answer;
  }
  if (judges() && !is_open_here()) {
    answer.allowed = true;
  } else if (is_open_here()) {
    answer.retry_after_ms = std::max<millis>(0, nodes_->open_here_until_ms - now_ms);
  } else if (probing() && is_guest()) {
    answer.retry_after_ms = retry_probe_ms;
  } else if (probing()) {
    const auto under_way = static_cast<std::uint32_t>(round_.out.size());
    answer.allowed = under_way < policy.half_open_concurrency &&
                     round_.settled + under_way < policy.half_open_permits;
    if (answer.allowed) {
      const auto number = round_.next_number++;
      round_.out.push_back({number, now_ms + policy.permit_ttl_ms});
      answer.permit = breaker_permit{tag_, round_.epoch, round_.nonce, number};
    } else {
      auto free_ms = until_ms_;
      for (const auto& each : round_.out) free_ms = std::min(free_ms, each.deadline_ms);
      answer.retry_after_ms = std::clamp<millis>(free_ms - now_ms, 0, retry_probe_ms);
    }
  } else if (override_.mode == override_mode::forced_open) {
    answer.retry_after_ms = override_.expires_at_ms
                                ? std::max<millis>(0, *override_.expires_at_ms - now_ms)
                                : policy.open_wait_ms;
  } else {
    answer.retry_after_ms = std::max<millis>(0, until_ms_ - now_ms);
  }
  tallies_.count(answer.allowed ? permit_outcome::granted : permit_outcome::denied);
  if (!answer.allowed) {
    ++tallies_.calls[call_result::rejected];
    ++phase_[call_result::rejected];
  }
  return answer;
}

void hosted_breaker::total(call_result result, const report_call& call) {
  ++tallies_.calls[result];
  if (call.outcome == call_outcome::ignored) return;
  tallies_.timed(call.duration_ms);
  if (call.outcome != call_outcome::success)
    ++tallies_.errors[static_cast<std::size_t>(call.error.value_or(call_error::other))];
}

bool hosted_breaker::is_out(const breaker_permit& permit) const noexcept {
  return probing() && permit.epoch == round_.epoch && permit.round == round_.nonce &&
         std::any_of(round_.out.begin(), round_.out.end(),
                     [&](const probe_round::probe& each) { return each.number == permit.number; });
}

hosted_breaker::settling hosted_breaker::settle(const breaker_permit& permit) {
  const auto drop = [&](std::vector<std::uint32_t>& from) {
    return std::erase(from, permit.number) > 0;
  };
  if (permit.epoch == round_.epoch && permit.round == round_.nonce) {
    if (permit.number >= round_.next_number)
      return was_of_others() ? settling::late : settling::never;
    const auto found =
        std::find_if(round_.out.begin(), round_.out.end(),
                     [&](const probe_round::probe& each) { return each.number == permit.number; });
    if (found != round_.out.end()) {
      round_.out.erase(found);
      return settling::counts;
    }
    return drop(round_.expired) ? settling::late : settling::duplicate;
  }
  for (auto& past : past_) {
    if (permit.epoch != past.epoch) continue;
    if (permit.round != past.nonce)
      return past.restored || nodes_ ? settling::late : settling::never;
    if (permit.number >= past.next_number) return settling::never;
    return drop(past.open) ? settling::late : settling::duplicate;
  }
  if (nodes_) return settling::late;  // of another node's, which this one may not have read yet
  // Epochs only grow; 32 bits of them are compared as RFC 1982 has it. Of this one, no other phase
  // gave any, but the same before a restart.
  const auto ahead = static_cast<std::int32_t>(permit.epoch - static_cast<std::uint32_t>(epoch_));
  if (ahead > 0 || (ahead == 0 && !(probing() && round_.restored))) return settling::never;
  return settling::late;  // of a phase that nobody remembers
}

result<nothing> hosted_breaker::report(const report_call& call, const breaker_policy& policy,
                                       millis now_ms, const random_source& random, changes& out) {
  if (nodes_) use_here(now_ms);
  advance(policy, now_ms, random, out);
  if (call.permit && call.permit->breaker != tag_)
    return fail(error_code::BREAKER_PERMIT_INVALID, "permit", "of_this_breaker");
  const bool slow = is_slow(call, policy);
  const auto result = result_of(call.outcome, slow);
  auto how = settling::late;
  if (call.permit) {
    how = settle(*call.permit);
    if (how == settling::never)
      return fail(error_code::BREAKER_PERMIT_INVALID, "permit", "given_out");
    // An old epoch changes no state, whatever comes with it; its slot is free again.
    if (how == settling::counts && call.epoch && *call.epoch != epoch_) how = settling::late;
  }
  if (override_.mode == override_mode::disabled) return nothing{};
  if (how == settling::duplicate) {
    tallies_.count(permit_outcome::duplicate);
    return nothing{};
  }
  total(result, call);
  if (how == settling::counts && probing()) {
    ++phase_[result];
    if (call.outcome == call_outcome::ignored) return nothing{};  // its slot is free again
    ++round_.settled;
    if (call.outcome != call_outcome::success) ++round_.failures;
    if (slow) ++round_.slow;
    judge_round(policy, now_ms, random, out);
    return nothing{};
  }
  if (call.permit || !judges() || (call.epoch && *call.epoch != epoch_)) {
    tallies_.count(permit_outcome::stale);
    return nothing{};
  }
  if (call.outcome == call_outcome::ignored) {
    ++phase_[result];
    return nothing{};
  }
  if (!window_.fits(policy)) window_.reset(policy, now_ms);
  window_.add(result, slow, 1, now_ms);
  consecutive_ = call.outcome == call_outcome::success ? 0 : consecutive_ + 1;
  if (nodes_) {
    auto& all = judge_here(slow || call.outcome != call_outcome::success, policy, now_ms);
    all.calls.add(result, slow, 1, now_ms);
    ++all.judged.calls[result];
  }
  judge(policy, now_ms, random, out);
  return nothing{};
}

/// Null: there are as many as may be, and none has been silent for long.
hosted_breaker::batch_source* hosted_breaker::need_source(std::string_view name, millis now_ms) {
  if (const auto found = sources_.find(name); found != sources_.end()) return &found->second;
  if (sources_.size() == limits::breaker_sources_max) {
    const auto silent = silent_source(sources_, now_ms);
    if (silent == sources_.end()) return nullptr;
    sources_.erase(silent);
  }
  return &sources_[std::string(name)];
}

result<calls_counted> hosted_breaker::report(const report_calls& batch,
                                             const breaker_policy& policy, millis now_ms,
                                             const random_source& random, changes& out) {
  if (nodes_) use_here(now_ms);
  advance(policy, now_ms, random, out);
  const auto too_many = [&](std::string_view field) {
    tallies_.count(report_refusal::delta_too_large);
    return fail(error_code::INVALID_PARAMS, field, "delta_max", limits::reported_calls_max);
  };
  const auto& durations = batch.calls->durations;
  if (batch.calls->counts.sum() > limits::reported_calls_max) return too_many("counts");
  if (durations && std::accumulate(durations->begin(), durations->end(), std::uint64_t{0}) >
                       limits::reported_calls_max)
    return too_many("duration_buckets");
  auto* known = need_source(batch.source, now_ms);
  if (known == nullptr) {
    tallies_.count(report_refusal::source_limit);
    return fail(error_code::BREAKER_SOURCE_LIMIT, "source", "sources_max",
                limits::breaker_sources_max);
  }
  auto& source = *known;
  source.last_report_at_ms = now_ms;
  const auto place = source.seen.look(batch.seq);
  if (place == seen_sequence::place::duplicate || place == seen_sequence::place::too_old) {
    tallies_.count(permit_outcome::duplicate);
    return calls_counted{position(), false, true};
  }
  source.seen.add(batch.seq);
  add(*batch.calls, batch.epoch, policy, now_ms, random, out);
  return calls_counted{position(), true, false};
}

void hosted_breaker::add(const reported_calls& calls, std::uint64_t epoch,
                         const breaker_policy& policy, millis now_ms, const random_source& random,
                         changes& out) {
  if (override_.mode == override_mode::disabled) return;
  tallies_.calls += calls.counts;
  tallies_.errors[static_cast<std::size_t>(call_error::other)] += calls.counts.failures();
  if (calls.durations) tallies_.timed(*calls.durations);
  using enum call_result;
  if (epoch == epoch_) {  // what an open breaker's callers turn away belongs to its phase
    phase_[ignored] += calls.counts[ignored];
    phase_[rejected] += calls.counts[rejected];
  }
  if (epoch != epoch_ || !judges()) {
    if (epoch != epoch_ || calls.counts.calls() > 0) tallies_.count(permit_outcome::stale);
    return;
  }
  if (calls.counts.calls() == 0) return;
  if (!window_.fits(policy)) window_.reset(policy, now_ms);
  window_.add(calls.counts, now_ms);
  // In which order they came is not told: a success among them ends a row of failures.
  if (calls.counts.calls() > calls.counts.failures())
    consecutive_ = 0;
  else
    consecutive_ += static_cast<std::uint32_t>(calls.counts.failures());
  if (nodes_) {
    const auto slow = calls.counts[slow_success] + calls.counts[slow_failure];
    auto& all = judge_here(calls.counts.failures() + slow > 0, policy, now_ms);
    all.calls.add(calls.counts, now_ms);
    all.judged.calls += calls.counts.taken_place();
  }
  judge(policy, now_ms, random, out);
}

// --- judging

hosted_breaker::ratios hosted_breaker::rates(const breaker_policy& policy) const noexcept {
  const bool round = override_.mode == override_mode::none && base_ == breaker_state::half_open;
  const auto& judged = nodes_ ? nodes_->calls : window_;
  const auto found =
      round ? rates_of({round_.settled, round_.failures, round_.slow}, policy.half_open_permits)
            : rates_of({judged.calls(), judged.failures(), judged.slow()}, policy.calls_needed());
  return {found.failure, found.slow};
}

std::optional<breaker_cause> hosted_breaker::breach(const breaker_policy& policy,
                                                    millis now_ms) const noexcept {
  return nodes_ ? breach_of_all(policy, now_ms) : breach_here(policy);
}

void hosted_breaker::judge(const breaker_policy& policy, millis now_ms, const random_source& random,
                           changes& out) {
  const auto why = breach(policy, now_ms);
  if (nodes_ && !why && nodes_->is_early(now_ms)) nodes_->judge_at_ms = nodes_->settled_ms();
  if (override_.mode == override_mode::none) {
    if (why)
      open(*why, policy, now_ms, random, out);
    else if (nodes_ && !is_open_here() && breach_here(policy))
      open_here(policy, now_ms, random);
    return;
  }
  const bool first = why && !breached_;
  breached_ = why.has_value();
  if (!first) return;
  out.emplace_back(breaker_would_open{service_, breaker_, epoch_, *why, phase_counts()});
}

/// Decides as soon as nothing can change the outcome.
void hosted_breaker::judge_round(const breaker_policy& policy, millis now_ms,
                                 const random_source& random, changes& out) {
  const auto outcome = outcome_of_round({round_.settled, round_.failures, round_.slow}, policy);
  if (!outcome) return;
  if (*outcome == breaker_cause::probe_succeeded) return close(*outcome, policy, now_ms, out);
  open(*outcome, policy, now_ms, random, out);
}

// --- time

void hosted_breaker::expire_permits(const breaker_policy& policy, millis now_ms,
                                    const random_source& random, changes& out) {
  for (std::size_t i = 0; i < round_.out.size();) {
    if (round_.out[i].deadline_ms > now_ms) {
      ++i;
      continue;
    }
    round_.expired.push_back(round_.out[i].number);
    round_.out.erase(round_.out.begin() + static_cast<std::ptrdiff_t>(i));
    tallies_.count(permit_outcome::expired);
    ++round_.settled;
    ++round_.failures;
    ++phase_[call_result::failure];  // of the phase; no call that is known to have taken place
    judge_round(policy, now_ms, random, out);
    if (!probing()) return;
  }
}

void hosted_breaker::age(const breaker_policy& policy, millis now_ms) {
  if (!judges()) return;
  if (!window_.fits(policy)) window_.reset(policy, now_ms);
  window_.advance(now_ms);
  if (!nodes_) return;
  if (!nodes_->calls.fits(policy)) nodes_->calls.reset(policy, now_ms);
  nodes_->calls.advance(now_ms);
}

void hosted_breaker::advance(const breaker_policy& policy, millis now_ms,
                             const random_source& random, changes& out) {
  if (override_.mode != override_mode::none) {
    if (override_.expires_at_ms && now_ms >= *override_.expires_at_ms)
      return commit(override_cleared(override_.reason, breaker_cause::override_expired), policy,
                    now_ms, out);
    if (override_.mode != override_mode::metrics_only) return;
    age(policy, now_ms);
    breached_ = breached_ && breach(policy, now_ms);  // a breach may also end by time
    if (nodes_) judge_again(policy, now_ms, random, out);
    return;
  }
  if (base_ == breaker_state::closed) return advance_closed(policy, now_ms, random, out);
  if (base_ == breaker_state::open) {
    const auto due = nodes_ ? due_among_nodes_ms(policy) : until_ms_;
    if (policy.auto_half_open && now_ms >= due) half_open(policy, now_ms, out);
    return;
  }
  if (is_guest()) return advance_guest(policy, now_ms, random, out);
  expire_permits(policy, now_ms, random, out);
  // The policy may ask for fewer permits than it did.
  if (probing() && round_.settled >= policy.half_open_permits)
    judge_round(policy, now_ms, random, out);
  if (probing() && now_ms >= until_ms_)
    open(breaker_cause::probe_timeout, policy, now_ms, random, out);
}

millis hosted_breaker::due_ms(const breaker_policy& policy) const noexcept {
  if (override_.mode != override_mode::none) {
    const auto ends_ms = override_.expires_at_ms.value_or(0);
    const auto judged_ms = nodes_ && judges() ? nodes_->judge_at_ms : 0;
    return ends_ms == 0 || judged_ms == 0 ? ends_ms + judged_ms : std::min(ends_ms, judged_ms);
  }
  if (nodes_ && (base_ != breaker_state::half_open || is_guest()))
    return due_among_nodes_ms(policy);
  if (base_ == breaker_state::closed) return 0;
  if (base_ == breaker_state::open) return policy.auto_half_open ? until_ms_ : 0;
  auto due_ms = until_ms_;
  for (const auto& each : round_.out) due_ms = std::min(due_ms, each.deadline_ms);
  return due_ms;
}

}  // namespace portcullis::core
