// A hosted breaker where several nodes share a log: their calls, the quorum that opens it for all,
// opening on one node alone, and half-open phases that another node tries.
#include <algorithm>

#include "core/breaker/hosted.hpp"
#include "core/breaker/thresholds.hpp"

namespace portcullis::core {
namespace {

constexpr std::size_t nodes_kept = 64;  // past it those without calls in the window are forgotten

/// How long ago a call may be that counts.
millis horizon_of(const breaker_policy& policy) noexcept {
  return 1'000 * (policy.window == window_kind::time ? policy.window_s : policy.window_age_s);
}

}  // namespace

bool breaker_of_nodes::has_quorum(const breaker_policy& policy, bool in_a_row,
                                  millis now_ms) const noexcept {
  const auto since_ms = now_ms - horizon_of(policy);
  std::uint32_t active = 0, failing = 0;
  const auto count = [&](const node& each) {
    active += each.called_at_ms > since_ms;
    failing += each.failed_at_ms > since_ms && (!in_a_row || each.failing);
  };
  count(self);
  for (const auto& [name, each] : others) count(each);
  return failing > 0 && failing >= std::min(policy.trip_quorum, active);
}

void breaker_of_nodes::add(std::string_view name, const call_counts& more, millis now_ms) {
  auto found = others.find(name);
  if (found == others.end()) found = others.emplace(name, node{}).first;
  auto& from = found->second;
  const auto slow = more[call_result::slow_success] + more[call_result::slow_failure];
  from.called_at_ms = now_ms;
  if (more.failures() + slow > 0) from.failed_at_ms = now_ms;
  from.failing = more.failures() == more.calls();
}

void hosted_breaker::join_nodes(const breaker_policy& policy, millis now_ms) {
  nodes_ = std::make_unique<breaker_of_nodes>();
  nodes_->calls.reset(policy, now_ms);
}

void hosted_breaker::forget_nodes_calls(const breaker_policy& policy, millis now_ms) {
  if (is_open_here()) end_open_here(now_ms);
  nodes_->calls.reset(policy, now_ms);
  nodes_->others.clear();
  nodes_->self = {};
}

/// Where calls of this node are to be added, too.
call_window& hosted_breaker::called_here(bool failed, const breaker_policy& policy, millis now_ms) {
  if (!nodes_->calls.fits(policy)) nodes_->calls.reset(policy, now_ms);
  nodes_->self.called_at_ms = now_ms;
  if (failed) nodes_->self.failed_at_ms = now_ms;
  return nodes_->calls;
}

void hosted_breaker::add_others(std::string_view node, const call_counts& calls,
                                const breaker_policy& policy, millis now_ms) {
  nodes_->counted += calls;
  if (!judges() || calls.calls() == 0) return;
  auto& all = nodes_->calls;
  if (!all.fits(policy)) all.reset(policy, now_ms);
  all.add(calls, now_ms);
  if (nodes_->others.size() >= nodes_kept)
    std::erase_if(nodes_->others, [&](const auto& each) {
      return each.second.called_at_ms <= now_ms - horizon_of(policy);
    });
  nodes_->add(node, calls, now_ms);
}

void hosted_breaker::judge_others(const breaker_policy& policy, millis now_ms,
                                  const random_source& random, changes& out) {
  advance(policy, now_ms, random, out);
  if (judges()) judge(policy, now_ms, random, out);
}

/// As one node alone would judge: by its own calls.
std::optional<breaker_cause> hosted_breaker::breach_here(
    const breaker_policy& policy) const noexcept {
  if (policy.consecutive_failures > 0 && consecutive_ >= policy.consecutive_failures)
    return breaker_cause::consecutive_failures;
  const auto rate =
      rates_of({window_.calls(), window_.failures(), window_.slow()}, policy.calls_needed());
  return breach_of(rate, policy);
}

/// By the calls of all, where enough nodes have failures of their own. A row of failures is one
/// node's, and so has to be one on each of as many.
std::optional<breaker_cause> hosted_breaker::breach_of_all(const breaker_policy& policy,
                                                           millis now_ms) const noexcept {
  nodes_->self.failing = consecutive_ > 0;
  if (policy.consecutive_failures > 0 && consecutive_ >= policy.consecutive_failures &&
      nodes_->has_quorum(policy, true, now_ms))
    return breaker_cause::consecutive_failures;
  const auto& all = nodes_->calls;
  const auto why =
      breach_of(rates_of({all.calls(), all.failures(), all.slow()}, policy.calls_needed()), policy);
  return why && nodes_->has_quorum(policy, false, now_ms) ? why : std::nullopt;
}

/// Not an event, nor a new epoch: the others go on.
void hosted_breaker::open_here(const breaker_policy& policy, millis now_ms,
                               const random_source& random) {
  nodes_->open_here_until_ms = now_ms + open_wait(policy, 0, random);
  if (tallies_.open_since_ms == 0) tallies_.open_since_ms = now_ms;
}

void hosted_breaker::end_open_here(millis now_ms) {
  nodes_->open_here_until_ms = 0;
  if (is_shut(state())) return;
  tallies_.open_ms += std::max<millis>(0, now_ms - tallies_.open_since_ms);
  tallies_.open_since_ms = 0;
}

void hosted_breaker::advance_closed(const breaker_policy& policy, millis now_ms) {
  if (is_open_here() && now_ms >= nodes_->open_here_until_ms) {
    end_open_here(now_ms);
    window_.reset(policy, now_ms);
    consecutive_ = 0;
  }
  age(policy, now_ms);
}

/// Its calls are another node's to judge, as long as that is there and in time.
void hosted_breaker::advance_guest(const breaker_policy& policy, millis now_ms,
                                   const random_source& random, changes& out) {
  if (nodes_->tries == breaker_of_nodes::prober::nobody && nodes_->used && policy.auto_half_open)
    return half_open(policy, now_ms, out);
  if (now_ms >= until_ms_ + limits::fleet_breaker_late_ms)
    open(breaker_cause::probe_timeout, policy, now_ms, random, out);
}

millis hosted_breaker::due_among_nodes_ms(const breaker_policy& policy) const noexcept {
  if (base_ == breaker_state::closed) return nodes_->open_here_until_ms;
  if (base_ == breaker_state::open && !policy.auto_half_open) return 0;
  const bool anew = is_guest() && nodes_->tries == breaker_of_nodes::prober::nobody &&
                    nodes_->used && policy.auto_half_open;
  if (anew) return since_ms_;
  const bool mine = base_ == breaker_state::open && nodes_->used;
  return until_ms_ + (mine ? 0 : limits::fleet_breaker_late_ms);
}

void hosted_breaker::apply_others(const event& what, std::uint64_t writer,
                                  const breaker_policy& policy, millis now_ms) {
  const bool was_open = base_ == breaker_state::open;
  const auto due_ms = until_ms_ + limits::fleet_breaker_late_ms;
  apply(what.body, what.actor, policy, now_ms);
  if (std::holds_alternative<breaker_opened>(what.body))
    until_ms_ = std::min(until_ms_, now_ms + static_cast<millis>(longest_open_wait_of(policy)));
  if (!std::holds_alternative<breaker_half_opened>(what.body)) return;
  nodes_->writer = writer;
  // So late nobody has asked: it was time alone, on a node that nobody may call.
  if (was_open && policy.auto_half_open && what.decided_at_ms >= due_ms)
    nodes_->tries = breaker_of_nodes::prober::nobody;
}

void hosted_breaker::take_over(const breaker_record& logged, std::uint64_t writer,
                               const breaker_policy& policy, millis now_ms) {
  const bool same = epoch_ == logged.epoch && base_ == logged.state && until_ms_ == logged.until_ms;
  const auto from = state();
  end_round();
  base_ = logged.state;
  epoch_ = logged.epoch;
  until_ms_ = logged.until_ms;
  failed_rounds_ = logged.failed_rounds;
  override_ = logged.override_;
  if (base_ == breaker_state::open)
    until_ms_ = std::min(until_ms_, now_ms + static_cast<millis>(longest_open_wait_of(policy)));
  if (base_ == breaker_state::half_open) begin_round_again(policy, now_ms);
  nodes_->tries = breaker_of_nodes::prober::elsewhere;
  nodes_->writer = writer;
  if (same && from == state()) return;
  window_.reset(policy, now_ms);
  consecutive_ = 0;
  breached_ = false;
  forget_nodes_calls(policy, now_ms);
  if (from != state()) begin_phase(from, logged.cause, now_ms);
  cause_ = logged.cause;
  since_ms_ = logged.since_ms;
}

}  // namespace portcullis::core
