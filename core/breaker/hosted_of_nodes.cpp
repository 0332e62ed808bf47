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

/// 0 is never.
millis earlier(millis a, millis b) noexcept {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
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
  const auto all = is_early(now_ms) ? std::max(active, 2U) : active;
  return failing > 0 && failing >= std::min(policy.trip_quorum, all);
}

breaker_of_nodes::node& breaker_of_nodes::called(std::string_view name,
                                                 const breaker_policy& policy, millis now_ms) {
  auto found = others.find(name);
  if (found == others.end()) {
    if (others.size() >= nodes_kept)
      std::erase_if(others, [&](const auto& each) {
        return each.second.called_at_ms <= now_ms - horizon_of(policy);
      });
    found = others.emplace(name, node{}).first;
  }
  found->second.called_at_ms = now_ms;
  return found->second;
}

void hosted_breaker::join_nodes(const breaker_policy& policy, millis now_ms) {
  nodes_ = std::make_unique<breaker_of_nodes>();
  forget_nodes_calls(policy, now_ms);
}

/// Who had calls is known on: until they are told of, one node that fails is not all.
void hosted_breaker::forget_nodes_calls(const breaker_policy& policy, millis now_ms) {
  if (is_open_here()) end_open_here(now_ms);
  nodes_->calls.reset(policy, now_ms);
  nodes_->began_ms = now_ms;
  nodes_->judge_at_ms = 0;
  const auto forget = [](breaker_of_nodes::node& each) {
    each.failed_at_ms = 0;
    each.failing = false;
  };
  forget(nodes_->self);
  for (auto& [name, each] : nodes_->others) forget(each);
}

void hosted_breaker::use_here(millis now_ms) noexcept {
  nodes_->used = true;
  nodes_->self.called_at_ms = now_ms;
}

/// Where calls that are judged here are to be added, too.
breaker_of_nodes& hosted_breaker::judge_here(bool failed, const breaker_policy& policy,
                                             millis now_ms) {
  if (!nodes_->calls.fits(policy)) nodes_->calls.reset(policy, now_ms);
  if (failed) nodes_->self.failed_at_ms = now_ms;
  if (nodes_->judged.epoch != epoch_) nodes_->judged = {epoch_, {}};
  return *nodes_;
}

std::optional<epoch_calls> hosted_breaker::take_judged() noexcept {
  if (!nodes_ || nodes_->judged.calls == call_counts{}) return std::nullopt;
  return std::exchange(nodes_->judged, {});
}

void hosted_breaker::add_others(std::string_view node, const call_counts& calls,
                                const std::optional<epoch_calls>& judged,
                                const breaker_policy& policy, millis now_ms) {
  nodes_->counted += calls;
  auto& from = nodes_->called(node, policy, now_ms);
  if (!judges() || !judged || judged->epoch != epoch_ || judged->calls.calls() == 0) return;
  const auto& more = judged->calls;
  auto& all = nodes_->calls;
  if (!all.fits(policy)) all.reset(policy, now_ms);
  all.add(more, now_ms);
  const auto slow = more[call_result::slow_success] + more[call_result::slow_failure];
  if (more.failures() + slow > 0) from.failed_at_ms = now_ms;
  from.failing = more.failures() == more.calls();
}

void hosted_breaker::judge_others(const breaker_policy& policy, millis now_ms,
                                  const random_source& random, changes& out) {
  advance(policy, now_ms, random, out);
  if (judges()) judge(policy, now_ms, random, out);
}

/// One node's failures may be of all, now that the others had time to tell of their calls.
void hosted_breaker::judge_again(const breaker_policy& policy, millis now_ms,
                                 const random_source& random, changes& out) {
  if (nodes_->judge_at_ms == 0 || now_ms < nodes_->judge_at_ms) return;
  nodes_->judge_at_ms = 0;
  judge(policy, now_ms, random, out);
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

void hosted_breaker::advance_closed(const breaker_policy& policy, millis now_ms,
                                    const random_source& random, changes& out) {
  if (is_open_here() && now_ms >= nodes_->open_here_until_ms) {
    end_open_here(now_ms);
    window_.reset(policy, now_ms);
    consecutive_ = 0;
  }
  age(policy, now_ms);
  if (nodes_) judge_again(policy, now_ms, random, out);
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
  if (base_ == breaker_state::closed)
    return earlier(nodes_->open_here_until_ms, nodes_->judge_at_ms);
  if (base_ == breaker_state::open && !policy.auto_half_open) return 0;
  const bool anew = is_guest() && nodes_->tries == breaker_of_nodes::prober::nobody &&
                    nodes_->used && policy.auto_half_open;
  if (anew) return since_ms_;
  const bool mine = base_ == breaker_state::open && nodes_->used;
  return until_ms_ + (mine ? 0 : limits::fleet_breaker_late_ms);
}

void hosted_breaker::apply_others(const event& what, std::uint64_t writer,
                                  const breaker_policy& policy, millis now_ms) {
  if (const auto* breached = std::get_if<breaker_would_open>(&what.body)) {
    if (breached->epoch == epoch_) breached_ = true;  // told already
    return;
  }
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

/// As in apply_others(), where this node has begun the same phase, or has not.
bool hosted_breaker::was_begun_by_time(const breaker_record& logged,
                                       const breaker_policy& policy) const noexcept {
  const bool is_open = base_ == breaker_state::open;
  if (logged.state != breaker_state::half_open || !policy.auto_half_open) return false;
  if (!is_open && base_ != breaker_state::half_open) return false;
  const auto waited_until_ms = is_open ? until_ms_ : nodes_->waited_until_ms;
  return waited_until_ms > 0 && logged.epoch == epoch_ + (is_open ? 1 : 0) &&
         logged.since_ms >= waited_until_ms + limits::fleet_breaker_late_ms;
}

void hosted_breaker::take_over(const breaker_record& logged, std::uint64_t writer,
                               const breaker_policy& policy, millis now_ms) {
  const bool same = epoch_ == logged.epoch && base_ == logged.state && until_ms_ == logged.until_ms;
  const auto from = state();
  const bool by_time = was_begun_by_time(logged, policy);
  end_round();
  base_ = logged.state;
  epoch_ = logged.epoch;
  until_ms_ = logged.until_ms;
  failed_rounds_ = logged.failed_rounds;
  override_ = logged.override_;
  if (base_ == breaker_state::open)
    until_ms_ = std::min(until_ms_, now_ms + static_cast<millis>(longest_open_wait_of(policy)));
  if (base_ == breaker_state::half_open) begin_round_again(policy, now_ms);
  nodes_->tries = by_time ? breaker_of_nodes::prober::nobody : breaker_of_nodes::prober::elsewhere;
  nodes_->writer = writer;
  if (same && from == state()) return;
  window_.reset(policy, now_ms);
  consecutive_ = 0;
  breached_ = false;
  nodes_->judged = {};
  forget_nodes_calls(policy, now_ms);
  if (from != state()) begin_phase(from, logged.cause, now_ms);
  cause_ = logged.cause;
  since_ms_ = logged.since_ms;
}

}  // namespace portcullis::core
