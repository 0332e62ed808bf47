#include "core/replay/what_if_breakers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace portcullis::core {
namespace {

/// The middle: a wait without jitter, the same in every run.
const random_source no_jitter = [](std::span<std::uint8_t> out) {
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  if (!out.empty()) out.back() = 0x80;
};

constexpr millis slice_ms = 1'000;  // of a record of ten seconds: a window may be shorter
constexpr millis slices_max = 60;
/// Calls of one kind in a slice that are looked at one by one; of more, each kind its share.
constexpr std::uint64_t calls_max = 16 * limits::reported_calls_max;

/// Whether calls opened it: what follows a half-open phase, or an order, is no new opening.
bool by_calls(const breaker_opened& what) noexcept {
  const bool judged = what.cause == breaker_cause::failure_rate ||
                      what.cause == breaker_cause::slow_rate ||
                      what.cause == breaker_cause::consecutive_failures;
  return what.kind == breaker_kind::hosted && judged;
}

report_call call_of(call_result result, const breaker_policy& policy) noexcept {
  report_call call;
  switch (result) {
    case call_result::slow_success:
      call.duration_ms = policy.slow_call_ms + 1;
      break;
    case call_result::slow_failure:
      call.duration_ms = policy.slow_call_ms + 1;
      call.outcome = call_outcome::failure;
      break;
    case call_result::failure:
      call.outcome = call_outcome::failure;
      break;
    case call_result::timeout:
      call.outcome = call_outcome::timeout;
      break;
    case call_result::success:
    case call_result::ignored:
    case call_result::rejected:
      break;
  }
  return call;
}

}  // namespace

void what_if_breakers::change_policies(const breaker_book& recorded, const breaker_book& other,
                                       millis now_ms) {
  recorded_ = recorded;
  other_ = other;
  differ_ = recorded.fallback != other.fallback || recorded.patterns != other.patterns;
  if (!differ_) return all_.clear();
  start_from_recorded(now_ms);
}

void what_if_breakers::begin(millis now_ms) {
  all_.clear();
  if (differ_) start_from_recorded(now_ms);
}

/// Overrides and waits that began before are in both worlds.
void what_if_breakers::start_from_recorded(millis now_ms) {
  for (const auto& [whose, standing] : standings_.all()) {
    const auto& policy = other_.of({whose.first, whose.second});
    if (standing.record.kind != breaker_kind::hosted ||
        policy == recorded_.of({whose.first, whose.second}))
      continue;
    auto& one = all_[whose];
    if (!one.other) one.other = std::make_unique<hosted_breaker>(standing.record, policy, now_ms);
  }
}

what_if_breakers::tried& what_if_breakers::need(const std::string& service,
                                                const std::string& breaker, millis now_ms) {
  auto& one = all_[{service, breaker}];
  const auto& policy = other_.of({service, breaker});
  if (policy == recorded_.of({service, breaker}))
    one.other.reset();
  else if (!one.other)
    one.other = std::make_unique<hosted_breaker>(service, breaker, policy, now_ms);
  return one;
}

void what_if_breakers::apply(const event& what) {
  const auto at_ms = what.decided_at_ms;
  if (const auto* of_calls = std::get_if<calls_tallied>(&what.body)) {
    blind_ = of_calls->dropped.has_value();
    if (blind_ && differ_)
      tally_.note(
          "old records of calls are gone (store.touch_retention_h): breakers are not tried "
          "there");
    else if (differ_)
      called(*of_calls, at_ms);
  } else if (const auto* of_opening = std::get_if<breaker_opened>(&what.body)) {
    opened(*of_opening, at_ms);
  } else if (!differ_) {
    return;
  } else if (const auto* set = std::get_if<breaker_override_set>(&what.body)) {
    overrule(set->service, set->breaker, what);
  } else if (const auto* ended = std::get_if<breaker_override_cleared>(&what.body)) {
    overrule(ended->service, ended->breaker, what);
  } else if (const auto* closed = std::get_if<breaker_closed>(&what.body)) {
    if (closed->cause == breaker_cause::reset) overrule(closed->service, closed->breaker, what);
  } else if (const auto* gone = std::get_if<breaker_retired>(&what.body)) {
    all_.erase({gone->service, gone->breaker});
  }
}

void what_if_breakers::opened(const breaker_opened& what, millis at_ms) {
  // The calls of the server to its own store are not in the log.
  if (!by_calls(what) || is_the_stores({what.service, what.breaker}) || !tally_.counts(at_ms))
    return;
  auto& row = tally_.openings(what.service, at_ms);
  ++row.recorded;
  const breaker_name whose{what.service, what.breaker};
  if (!differ_ || blind_ || recorded_.of(whose) == other_.of(whose)) ++row.other;
}

void what_if_breakers::overrule(const std::string& service, const std::string& breaker,
                                const event& what) {
  auto& one = need(service, breaker, what.decided_at_ms);
  if (one.other)
    one.other->apply(what.body, what.actor, other_.of({service, breaker}), what.decided_at_ms);
}

void what_if_breakers::called(const calls_tallied& what, millis at_ms) {
  const auto from_ms = std::clamp(what.from_ms, at_ms - slices_max * slice_ms, at_ms);
  const auto slices = std::max<millis>(1, (at_ms - from_ms) / slice_ms);
  for (const auto& each : what.tallies) {
    auto& one = need(each.service, each.breaker, from_ms);
    if (!one.other) continue;
    const auto& policy = other_.of({each.service, each.breaker});
    const auto share = [&](std::uint64_t of, millis part) {
      return of / static_cast<std::uint64_t>(slices) * static_cast<std::uint64_t>(part) +
             of % static_cast<std::uint64_t>(slices) * static_cast<std::uint64_t>(part) /
                 static_cast<std::uint64_t>(slices);
    };
    for (millis i = 0; i < slices; ++i) {
      call_counts calls;
      for (const auto result : {call_result::success, call_result::failure, call_result::timeout,
                                call_result::slow_success, call_result::slow_failure})
        calls[result] = share(each.counts[result], i + 1) - share(each.counts[result], i);
      feed(one, policy, within_bound(calls), from_ms + (at_ms - from_ms) * (i + 1) / slices);
    }
  }
}

call_counts what_if_breakers::within_bound(call_counts calls) {
  const auto most = *std::max_element(calls.by_result.begin(), calls.by_result.end());
  if (most <= calls_max) return calls;
  tally_.note(
      fmt::format("more than {} calls in a second are told: breakers are tried with fewer, "
                  "in the same shares",
                  calls_max));
  const auto parts = most / calls_max + 1;
  for (auto& each : calls.by_result) each /= parts;
  return calls;
}

void what_if_breakers::feed(tried& to, const breaker_policy& policy, call_counts calls,
                            millis at_ms) {
  hosted_breaker::changes changes;
  auto& other = *to.other;
  other.advance(policy, at_ms, no_jitter, changes);
  take(changes, at_ms);
  probe(to, policy, calls, at_ms);
  while (calls.sum() > 0) {
    auto some = std::make_shared<reported_calls>();
    for (std::size_t i = 0; i < call_result_count; ++i) {
      some->counts.by_result[i] = std::min<std::uint64_t>(
          calls.by_result[i], limits::reported_calls_max / call_result_count);
      calls.by_result[i] -= some->counts.by_result[i];
    }
    report_calls batch;
    batch.source = "log";
    batch.seq = ++to.reports;
    batch.epoch = other.epoch();
    batch.calls = std::move(some);
    changes.clear();
    (void)other.report(batch, policy, at_ms, no_jitter, changes);
    take(changes, at_ms);
  }
}

/// While it is half-open the calls try it, one after the other, each result in its share.
void what_if_breakers::probe(tried& to, const breaker_policy& policy, call_counts& calls,
                             millis at_ms) {
  auto& other = *to.other;
  const auto all = calls;
  const auto whole = all.sum();
  call_counts done;
  hosted_breaker::changes changes;
  for (std::uint64_t n = 1; n <= whole && other.state() != breaker_state::closed; ++n) {
    changes.clear();
    const auto admitted = other.acquire(policy, at_ms, no_jitter, changes);
    take(changes, at_ms);
    if (!admitted.permit) return;
    std::size_t next = 0;
    double lacking = -1;
    for (std::size_t i = 0; i < call_result_count; ++i) {
      const auto lacks = static_cast<double>(all.by_result[i]) * static_cast<double>(n) /
                             static_cast<double>(whole) -
                         static_cast<double>(done.by_result[i]);
      if (calls.by_result[i] == 0 || lacks <= lacking) continue;
      next = i;
      lacking = lacks;
    }
    ++done.by_result[next];
    --calls.by_result[next];
    auto call = call_of(static_cast<call_result>(next), policy);
    call.permit = admitted.permit;
    changes.clear();
    (void)other.report(call, policy, at_ms, no_jitter, changes);
    take(changes, at_ms);
  }
}

void what_if_breakers::take(const hosted_breaker::changes& changes, millis at_ms) {
  for (const auto& each : changes)
    if (const auto* opened = std::get_if<breaker_opened>(&each);
        opened != nullptr && by_calls(*opened) && tally_.counts(at_ms))
      ++tally_.openings(opened->service, at_ms).other;
}

}  // namespace portcullis::core
