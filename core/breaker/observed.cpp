#include "core/breaker/observed.hpp"

#include <algorithm>

#include "core/breaker/worst.hpp"
#include "core/limits.hpp"

namespace portcullis::core {
namespace {

constexpr std::size_t gaps_max = seen_sequence::width;

template <class Array>
bool decreased(const Array& before, const Array& after) noexcept {
  for (std::size_t i = 0; i < before.size(); ++i)
    if (after[i] < before[i]) return true;
  return false;
}

template <class Array>
std::uint64_t grown(const Array& before, const Array& after) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < before.size(); ++i) sum += after[i] - before[i];
  return sum;
}

template <class Body>
event_body transition(const breaker_transition& what) {
  Body body;
  static_cast<breaker_transition&>(body) = what;
  return body;
}

void mark_late(event_body& what) {
  std::visit(
      [](auto& body) {
        if constexpr (requires { body.late; }) body.late = true;
      },
      what);
}

}  // namespace

observed_breaker::observed_breaker(std::string service, std::string breaker, millis now_ms)
    : service_(std::move(service)),
      breaker_(std::move(breaker)),
      since_ms_(now_ms),
      loaded_at_ms_(now_ms) {}

observed_breaker::observed_breaker(const breaker_record& stored, millis now_ms)
    : observed_breaker(stored.service, stored.breaker, now_ms) {
  state_ = stored.state;
  cause_ = stored.cause;
  epoch_ = stored.epoch;
  since_ms_ = stored.since_ms > 0 ? stored.since_ms : now_ms;  // none: it never changed
  tallies_.last_transition_at_ms = stored.since_ms;
}

void observed_breaker::restore(std::string name, breaker_source source) {
  tallies_.last_report_at_ms = std::max(tallies_.last_report_at_ms, source.last_report_at_ms);
  // Counters begin with their owner.
  if (source.open_since_ms > 0)
    source.open_since_ms = std::max(source.open_since_ms, loaded_at_ms_);
  sources_[std::move(name)] = std::move(source);
  state_ = worst_state();  // what is stored of the whole is where its last transition led
}

/// Of a source that has long been silent while another reports nobody knows what it is: perhaps it
/// died while it was open, and its successor has another name.
void observed_breaker::hear_no_silent_ones(std::string_view but, millis now_ms, changes& out) {
  // Nobody could report while the server was away.
  if (now_ms - loaded_at_ms_ < limits::source_silent_ms) return;
  for (auto& [name, source] : sources_)
    if (name != but && source.last_report_at_ms <= now_ms - limits::source_silent_ms)
      hear_no_more(source, name, now_ms, out);
}

void observed_breaker::hear_no_more(breaker_source& source, std::string_view name, millis now_ms,
                                    changes& out) {
  if (source.state == breaker_state::closed) return;
  tallies_.open_ms += open_ms(source);  // and not until now
  source.open_since_ms = 0;
  moved(source, name, source.state, breaker_state::closed, std::nullopt, now_ms, out,
        breaker_cause::source_silent);
  unsaved_.emplace(name);
  recompute_state(breaker_cause::source_silent, now_ms);
}

breaker_source* observed_breaker::need_source(std::string_view name, millis now_ms, changes& out) {
  if (const auto found = sources_.find(name); found != sources_.end()) return &found->second;
  if (sources_.size() == limits::breaker_sources_max) {
    const auto silent = silent_source(sources_, now_ms);
    if (silent == sources_.end()) return nullptr;
    hear_no_more(silent->second, silent->first, now_ms, out);
    unsaved_.insert(silent->first);
    sources_.erase(silent);
  }
  return &sources_[std::string(name)];
}

/// What the counts of the newest report are to what is known of its source.
result<observed_breaker::counting> observed_breaker::judge_counts(const breaker_source& before,
                                                                  const observe_breaker& report,
                                                                  bool anew) {
  const auto& calls = *report.calls;
  if (decreased(before.counts.by_result, calls.counts.by_result) ||
      (calls.durations && decreased(before.durations, *calls.durations))) {
    tallies_.count(report_refusal::counts_decreased);
    return fail(error_code::BREAKER_COUNTS_DECREASED, "counts");
  }
  const bool too_many =
      grown(before.counts.by_result, calls.counts.by_result) > limits::reported_calls_max ||
      (calls.durations && grown(before.durations, *calls.durations) > limits::reported_calls_max);
  if (!too_many) return counting::goes_on;
  // This server first hears of it, or of its new life, in the middle.
  if (anew && report.seq > 1) return counting::begins;
  tallies_.count(report_refusal::delta_too_large);
  return fail(error_code::INVALID_PARAMS, "counts", "delta_max", limits::reported_calls_max);
}

result<report_observed> observed_breaker::observe(const observe_breaker& report, millis now_ms,
                                                  changes& out) {
  const auto known = sources_.find(report.source);
  const bool anew = known == sources_.end() || known->second.source_epoch < report.source_epoch;
  if (known != sources_.end() && known->second.source_epoch > report.source_epoch) {
    tallies_.count(report_refusal::old_epoch);
    return report_observed{false, false};
  }
  const breaker_source fresh;
  const auto& before = anew ? fresh : known->second;
  const auto place = before.seen.look(report.seq);
  if (place == seen_sequence::place::duplicate || place == seen_sequence::place::too_old)
    return report_observed{false, true};
  auto how = counting::late;
  if (place == seen_sequence::place::newest) {
    const auto judged = judge_counts(before, report, anew);
    if (!judged) return judged.error();
    how = *judged;
  }
  hear_no_silent_ones(report.source, now_ms, out);
  auto* source = need_source(report.source, now_ms, out);
  if (source == nullptr) {
    tallies_.count(report_refusal::source_limit);
    return fail(error_code::BREAKER_SOURCE_LIMIT, "source", "sources_max",
                limits::breaker_sources_max);
  }
  if (anew) {
    // A source that starts again starts closed; what it was before is over.
    const auto was = std::exchange(*source, {});
    source->source_epoch = report.source_epoch;
    if (was.state != breaker_state::closed) {
      source->open_since_ms = was.open_since_ms;
      moved(*source, report.source, was.state, breaker_state::closed, std::nullopt, now_ms, out);
      recompute_state(breaker_cause::reported, now_ms);
    }
  }
  const auto newest_before = source->seen.highest();
  source->seen.add(report.seq);
  if (how != counting::late) take_counts(*source, *report.calls, how);
  if (report.changed) take_transition(*source, report, how, newest_before, now_ms, out);
  if (how != counting::late && source->state != report.state)
    moved_unreported(*source, report, report.state, newest_before, now_ms, out);
  std::erase_if(source->gaps, [&](const breaker_source::gap& each) {
    return each.before + seen_sequence::width <= source->seen.highest();
  });
  source->last_report_at_ms = now_ms;
  unsaved_.emplace(report.source);
  tallies_.last_report_at_ms = now_ms;
  recompute_state(breaker_cause::reported, now_ms);
  return report_observed{true, false};
}

void observed_breaker::take_transition(breaker_source& source, const observe_breaker& report,
                                       counting how, std::uint64_t newest_before, millis now_ms,
                                       changes& out) {
  const auto& change = *report.changed;
  const auto gap =
      std::find_if(source.gaps.begin(), source.gaps.end(), [&](const breaker_source::gap& each) {
        return each.after < report.seq && report.seq < each.before && each.from == change.from &&
               each.to == change.to;
      });
  if (gap != source.gaps.end()) {
    source.gaps.erase(gap);  // told already
    return;
  }
  if (change.from == change.to) return;
  // What lies between the state before and this one went by unreported.
  if (how != counting::late && source.state != change.from)
    moved_unreported(source, report, change.from, newest_before, now_ms, out);
  const auto state = source.state;
  const auto open_since_ms = source.open_since_ms;
  const auto open_ms = tallies_.open_ms;
  moved(source, report.source, change.from, change.to, change.at_ms, now_ms, out);
  if (how == counting::late) {  // what it is now began after that
    mark_late(out.back());
    source.state = state;
    source.open_since_ms = open_since_ms;
    tallies_.open_ms = open_ms;
  } else {
    recompute_state(breaker_cause::reported, now_ms);
  }
}

/// A change of state seen between two reports.
void observed_breaker::moved_unreported(breaker_source& source, const observe_breaker& report,
                                        breaker_state to, std::uint64_t newest_before,
                                        millis now_ms, changes& out) {
  const auto from = source.state;
  moved(source, report.source, from, to, std::nullopt, now_ms, out);
  recompute_state(breaker_cause::reported, now_ms);
  if (source.gaps.size() < gaps_max) source.gaps.push_back({newest_before, report.seq, from, to});
}

std::vector<breaker_source_record> observed_breaker::take_unsaved() {
  std::vector<breaker_source_record> out;
  for (const auto& name : std::exchange(unsaved_, {})) {
    auto& row = out.emplace_back(breaker_source_record{service_, breaker_, name, {}, false});
    const auto found = sources_.find(name);
    row.gone = found == sources_.end();
    if (!row.gone) row.what = found->second;
  }
  return out;
}

void observed_breaker::take_counts(breaker_source& source, const reported_calls& calls,
                                   counting how) {
  const auto before = std::exchange(source.counts, calls.counts);
  const auto timed_before = source.durations;
  if (calls.durations) source.durations = *calls.durations;
  if (how == counting::begins) return;
  call_counts more;
  for (std::size_t i = 0; i < call_result_count; ++i)
    more.by_result[i] = calls.counts.by_result[i] - before.by_result[i];
  tallies_.calls += more;
  tallies_.errors[static_cast<std::size_t>(call_error::other)] += more.failures();
  if (!calls.durations) return;
  duration_buckets timed{};
  for (std::size_t i = 0; i < duration_bucket_count; ++i)
    timed[i] = (*calls.durations)[i] - timed_before[i];
  tallies_.timed(timed);
}

/// One source's breaker changed. `at_ms`, its own time, is believed between the last report of this
/// life of it, until when open time is counted already, and now.
void observed_breaker::moved(breaker_source& source, std::string_view name, breaker_state from,
                             breaker_state to, std::optional<millis> at_ms, millis now_ms,
                             changes& out, breaker_cause cause) {
  const auto least =
      source.last_report_at_ms > 0 ? std::min(source.last_report_at_ms, now_ms) : now_ms;
  const auto when = std::clamp(at_ms.value_or(now_ms), least, now_ms);
  if (is_shut(to) && !is_shut(from)) {
    source.open_since_ms = when;
  } else if (!is_shut(to) && is_shut(from) && source.open_since_ms > 0) {
    tallies_.open_ms += std::max<millis>(0, when - source.open_since_ms);
    source.open_since_ms = 0;
  }
  tallies_.moved(from, to, cause, now_ms);
  breaker_transition what;
  what.service = service_;
  what.breaker = breaker_;
  what.epoch = ++epoch_;
  what.cause = cause;
  what.counts = tallies_.calls;
  what.from = from;
  what.kind = breaker_kind::observed;
  what.source = name;
  what.transitioned_at_ms = at_ms;
  source.state = to;
  switch (to) {
    case breaker_state::forced_open:
      what.to = to;
      [[fallthrough]];
    case breaker_state::open:
      out.push_back(transition<breaker_opened>(what));
      break;
    case breaker_state::half_open:
      out.push_back(transition<breaker_half_opened>(what));
      break;
    case breaker_state::disabled:
    case breaker_state::metrics_only:
      what.to = to;
      [[fallthrough]];
    case breaker_state::closed:
      out.push_back(transition<breaker_closed>(what));
      break;
  }
}

breaker_state observed_breaker::worst_state() const noexcept {
  std::optional<breaker_state> worst;
  for (const auto& [name, source] : sources_)
    if (!worst || badness(source.state) > badness(*worst)) worst = source.state;
  return worst.value_or(breaker_state::closed);
}

/// After each change and not once a report: what opens again begins anew, as the log has it.
void observed_breaker::recompute_state(breaker_cause cause, millis now_ms) {
  const auto worst = worst_state();
  if (worst == state_) return;
  state_ = worst;
  cause_ = cause;
  since_ms_ = now_ms;
}

millis observed_breaker::open_ms(const breaker_source& source) noexcept {
  if (!is_shut(source.state) || source.open_since_ms == 0) return 0;
  return std::max<millis>(0, source.last_report_at_ms - source.open_since_ms);
}

millis observed_breaker::open_ms(millis) const noexcept {
  auto sum = tallies_.open_ms;
  for (const auto& [name, source] : sources_) sum += open_ms(source);
  return sum;
}

breaker_row observed_breaker::describe(millis) const {
  breaker_row row;
  row.service = service_;
  row.breaker = breaker_;
  row.kind = breaker_kind::observed;
  row.state = state_;
  row.base_state = base_of(state_);
  row.epoch = epoch_;
  row.since_ms = since_ms_;
  row.cause = cause_;
  row.counts = tallies_.calls;
  for (const auto& [name, source] : sources_)
    row.sources.push_back({name, source.state, source.last_report_at_ms});
  return row;
}

}  // namespace portcullis::core
