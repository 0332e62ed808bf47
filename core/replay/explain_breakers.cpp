// Why circuit breakers changed.
#include <algorithm>

#include "core/breaker/thresholds.hpp"
#include "core/replay/explain_parts.hpp"

namespace portcullis::core::explaining {
namespace {

using enum breaker_cause;

/// A breaker in the state before; one that never changed is closed, in its first epoch.
struct standing_before {
  breaker_record record;
  const breaker_standing* known = nullptr;
  [[nodiscard]] breaker_state shown() const {
    return known == nullptr ? breaker_state::closed : shown_state(*known);
  }
};
standing_before before(const judged_event& e, const std::string& service,
                       const std::string& breaker) {
  standing_before out;
  out.known = e.in.before.breakers().find(service, breaker);
  if (out.known != nullptr) out.record = out.known->record;
  return out;
}
const breaker_policy& policy_of(const judged_event& e, const std::string& service,
                                const std::string& breaker) {
  return e.policies.breakers.of({service, breaker});
}

/// The last start of the node before this event, or shortly after: a node reads its breakers before
/// it tells that it started.
std::optional<millis> last_start_ms(const judged_event& e) {
  std::optional<millis> at_ms;
  for (const auto& each : e.in.policies)
    if (each.is_start && (each.seq < e.what.seq || each.at_ms < e.what.at_ms + apart_ms))
      at_ms = each.at_ms;
  return at_ms;
}

/// Of timeouts the log does not tell which were slow: without them, and with all.
struct judged_range {
  judged_calls least, most;
};
judged_range judged(const call_counts& counts) {
  const auto slow = counts[call_result::slow_success] + counts[call_result::slow_failure];
  return {{counts.calls(), counts.failures(), slow},
          {counts.calls(), counts.failures(), slow + counts[call_result::timeout]}};
}
void tell_counts(reasoning& r, const call_counts& counts) {
  r.value("calls", counts.calls());
  r.value("failures", counts.failures());
  r.value("slow", judged(counts).least.slow);
}
void expect_cause(reasoning& r, breaker_cause recorded, std::optional<breaker_cause> least,
                  std::optional<breaker_cause> most) {
  if (least == recorded) return;
  if (most == recorded) return r.leave_open("which of the timeouts were slow is not in the log");
  r.disagree(fmt::format("{}", to_string(recorded)), least ? text_of(least) : "no breach");
}

void expect_breach(reasoning& r, const breaker_policy& policy, breaker_cause cause,
                   const call_counts& counts) {
  tell_counts(r, counts);
  r.value("min_calls", policy.calls_needed());
  r.value("failure_rate_threshold", policy.failure_rate_threshold);
  r.value("slow_rate_threshold", policy.slow_rate_threshold);
  r.value("consecutive_failures", policy.consecutive_failures);
  if (cause == consecutive_failures) {
    if (policy.consecutive_failures == 0)
      return r.disagree("consecutive_failures", "no such rule: it is off");
    if (counts.failures() < policy.consecutive_failures)
      r.leave_open("failures of the row that are older than the window are not in the log");
    return;
  }
  const auto given = [&](const judged_calls& of) {
    return breach_of(rates_of(of, policy.calls_needed()), policy);
  };
  const auto range = judged(counts);
  expect_cause(r, cause, given(range.least), given(range.most));
}

void expect_round(reasoning& r, const breaker_policy& policy, breaker_cause cause,
                  const call_counts& counts) {
  tell_counts(r, counts);
  r.value("half_open_permits", policy.half_open_permits);
  r.value("failure_rate_threshold", policy.failure_rate_threshold);
  r.value("slow_rate_threshold", policy.slow_rate_threshold);
  const auto range = judged(counts);
  expect_cause(r, cause, outcome_of_round(range.least, policy),
               outcome_of_round(range.most, policy));
}

/// Whether the time has come that the record waits for; a restart waits anew, at most `longest_ms`.
void expect_waited(reasoning& r, const judged_event& e, const breaker_record& record,
                   double longest_ms) {
  r.value("until_ms", record.until_ms);
  r.value("decided_at_ms", e.decided_at_ms);
  if (e.decided_at_ms >= record.until_ms) return;
  const auto start_ms = last_start_ms(e);
  if (start_ms && *start_ms >= record.since_ms - apart_ms &&
      e.decided_at_ms + apart_ms >= *start_ms + static_cast<millis>(longest_ms))
    return r.leave_open("the node was started again meanwhile, and waited for less");
  r.disagree("a wait that is over", fmt::format("one until {}", record.until_ms));
}

/// Source, epoch and the state before, of an observed breaker.
void observed(reasoning& r, const judged_event& e, const breaker_transition& body) {
  r.rule(body.cause == source_silent
             ? "A source that has said nothing for 900 s, while another reports, counts as closed."
             : "An application runs this breaker and reports how it changes; the server keeps it.");
  const auto was = before(e, body.service, body.breaker);
  r.value("source", body.source);
  r.value("cause", body.cause);
  if (body.cause != source_silent && body.cause != reported)
    r.disagree(fmt::format("cause {}", to_string(body.cause)), "reported");
  r.expect("epoch", body.epoch, was.record.epoch + 1);
  if (was.known != nullptr && was.record.kind != breaker_kind::observed)
    r.disagree("an observed breaker", "a hosted one");
  if (body.late) return r.value("from", body.from);
  auto from = breaker_state::closed;
  if (was.known != nullptr)
    if (const auto found = was.known->sources.find(body.source); found != was.known->sources.end())
      from = found->second;
  r.expect("from", body.from, from);
}

/// What every change of a hosted breaker has; false: it is none.
bool hosted(reasoning& r, const judged_event& e, const breaker_transition& body,
            standing_before& was) {
  if (body.kind == breaker_kind::observed) {
    observed(r, e, body);
    return false;
  }
  was = before(e, body.service, body.breaker);
  r.value("cause", body.cause);
  if (was.known != nullptr && was.record.kind != breaker_kind::hosted)
    r.disagree("a hosted breaker", "an observed one");
  r.expect("epoch", body.epoch, was.record.epoch + 1);
  r.expect("from", body.from, was.shown());
  return true;
}

/// Whether a probe phase, and not calls of a closed breaker, was judged.
bool is_of_round(breaker_cause cause) {
  return cause == probe_failed || cause == probe_slow || cause == probe_succeeded ||
         cause == probe_timeout;
}

void expect_state(reasoning& r, breaker_state from, breaker_state needed) {
  if (from != needed)
    r.disagree(fmt::format("this cause while {}", to_string(from)), to_string(needed));
}

}  // namespace

void on(reasoning& r, const judged_event& e, const breaker_opened& body) {
  standing_before was;
  if (!hosted(r, e, body, was)) return;
  const auto& policy = policy_of(e, body.service, body.breaker);
  expect_state(r, body.from,
               is_of_round(body.cause) ? breaker_state::half_open : breaker_state::closed);
  switch (body.cause) {
    case failure_rate:
    case slow_rate:
    case consecutive_failures:
      r.rule(
          "A closed breaker opens when a rate of the calls in its window is at its threshold, "
          "of min_calls at least, or when consecutive_failures failed in a row.");
      expect_breach(r, policy, body.cause, body.counts);
      break;
    case probe_failed:
    case probe_slow:
      r.rule("A half-open breaker opens again as soon as its probes can no longer succeed.");
      expect_round(r, policy, body.cause, body.counts);
      break;
    case probe_timeout:
      r.rule("A half-open breaker opens again when nothing decided for max_half_open_s.");
      expect_waited(r, e, was.record, static_cast<double>(policy.max_half_open_ms));
      break;
    default:  // NOLINT: the others open nothing
      r.disagree(fmt::format("opened by {}", to_string(body.cause)), "another cause");
      break;
  }
  r.expect("failed_rounds", body.failed_rounds,
           is_of_round(body.cause) ? was.record.failed_rounds + 1 : 0U);
  const auto wait_ms = open_wait_of(policy, body.failed_rounds);
  const auto waits_ms = static_cast<double>(body.until_ms - e.decided_at_ms);
  r.value("open_wait_ms", wait_ms);
  r.value("until_ms", body.until_ms);
  const auto sway_ms = wait_ms * policy.open_wait_jitter + 1;  // it is rounded
  if (waits_ms < wait_ms - sway_ms || waits_ms > wait_ms + sway_ms)
    r.disagree(fmt::format("a wait of {} ms", waits_ms),
               fmt::format("{} ms +- {}", wait_ms, policy.open_wait_jitter));
}

void on(reasoning& r, const judged_event& e, const breaker_half_opened& body) {
  standing_before was;
  if (!hosted(r, e, body, was)) return;
  r.rule("An open breaker lets probes through when its wait is over.");
  const auto& policy = policy_of(e, body.service, body.breaker);
  if (body.cause != wait_elapsed)
    r.disagree(fmt::format("cause {}", to_string(body.cause)), "wait_elapsed");
  expect_state(r, body.from, breaker_state::open);
  expect_waited(r, e, was.record, longest_open_wait_of(policy));
  r.expect("failed_rounds", body.failed_rounds, was.record.failed_rounds);
  r.expect("half_open_until_ms", body.until_ms, e.decided_at_ms + policy.max_half_open_ms);
}

void on(reasoning& r, const judged_event& e, const breaker_closed& body) {
  standing_before was;
  if (!hosted(r, e, body, was)) return;
  if (body.cause == reset) {
    r.rule("An administrator may close a breaker and empty its window.");
    r.value("actor", e.what.actor);
    return r.value("reason", body.reason);
  }
  r.rule("A half-open breaker closes when all its probes came back and few enough failed.");
  expect_state(r, body.from, breaker_state::half_open);
  if (body.cause != probe_succeeded)
    return r.disagree(fmt::format("closed by {}", to_string(body.cause)), "probe_succeeded");
  expect_round(r, policy_of(e, body.service, body.breaker), body.cause, body.counts);
}

void on(reasoning& r, const judged_event& e, const breaker_would_open& body) {
  r.rule(
      "Under metrics_only a breaker lets everything through, and tells once a breach that it would "
      "have opened.");
  const auto was = before(e, body.service, body.breaker);
  r.value("cause", body.cause);
  r.expect("epoch", body.epoch, was.record.epoch);
  if (was.record.override_.mode != override_mode::metrics_only)
    r.disagree("metrics_only", text_of(was.record.override_.mode));
  expect_breach(r, policy_of(e, body.service, body.breaker), body.cause, body.counts);
}

void on(reasoning& r, const judged_event& e, const breaker_override_set& body) {
  r.rule(
      "An administrator may overrule a breaker. Another mode begins an epoch; the same one, "
      "prolonged or explained anew, does not.");
  const auto was = before(e, body.service, body.breaker);
  const bool same = was.record.override_.mode == body.mode;
  r.value("mode", body.mode);
  r.value("reason", body.reason);
  r.value("actor", e.what.actor);
  if (body.expires_at_ms) r.value("expires_at_ms", *body.expires_at_ms);
  if (body.mode == override_mode::none) r.disagree("no mode", "one that overrules");
  r.expect("epoch", body.epoch, was.record.epoch + (same ? 0U : 1U));
  r.expect("from", body.from, same ? std::nullopt : std::optional(was.shown()));
  if (body.expires_at_ms && *body.expires_at_ms <= e.decided_at_ms)
    r.disagree("an override that is over", "one that lasts");
}

void on(reasoning& r, const judged_event& e, const breaker_override_cleared& body) {
  r.rule("An override ends when an administrator takes it away, or when its time is over.");
  const auto was = before(e, body.service, body.breaker);
  const auto& over = was.record.override_;
  r.value("cause", body.cause);
  if (!e.what.actor.empty()) r.value("actor", e.what.actor);
  r.expect("epoch", body.epoch, was.record.epoch + 1);
  if (over.mode == override_mode::none) return r.disagree("the end of an override", "none");
  r.expect("mode", body.mode, over.mode);
  r.expect("from", body.from, was.shown());
  if (body.cause == override_cleared) return;
  if (body.cause != override_expired)
    return r.disagree(fmt::format("cause {}", to_string(body.cause)), "override_expired");
  r.value("expires_at_ms", text_of(over.expires_at_ms));
  if (!over.expires_at_ms || e.decided_at_ms < *over.expires_at_ms)
    r.disagree("an override that is over", "one that lasts");
}

void on(reasoning& r, const judged_event& e, const breaker_retired& body) {
  r.rule(
      "A breaker that nobody has used for retire_after_s is given up, but for one that is "
      "overruled, or open with a wait that is not over. Uses are not in the log.");
  const auto was = before(e, body.service, body.breaker);
  const auto& policy = policy_of(e, body.service, body.breaker);
  r.value("retire_after_ms", policy.retire_after_ms);
  r.expect("epoch", body.epoch, was.record.epoch);
  if (was.record.kind != breaker_kind::hosted) return;
  if (was.record.override_.mode != override_mode::none)
    r.disagree("a breaker without override", text_of(was.record.override_.mode));
  if (was.record.state == breaker_state::open)
    expect_waited(r, e, was.record, longest_open_wait_of(policy));
}

void on(reasoning& r, const judged_event& e, const calls_tallied& body) {
  r.rule("What hosted breakers counted is kept every 10 s, for trying other thresholds on it.");
  r.value("breakers", body.tallies.size());
  r.value("from_ms", body.from_ms);
  if (body.from_ms > e.what.at_ms)
    r.disagree(fmt::format("from_ms {}", body.from_ms), fmt::format("at most {}", e.what.at_ms));
}

}  // namespace portcullis::core::explaining
