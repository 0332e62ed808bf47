#include "core/replay/what_if_lockouts.hpp"

#include <algorithm>

#include "core/crypto/hmac.hpp"

namespace portcullis::core {
namespace {

constexpr millis sweep_every_ms = 16'000;
/// Coalesced failures are in the log up to a second after they happened, and one more for a busy
/// server: so long what they are held against is kept.
constexpr millis keep_ms = 5'000;

/// What stands for a failing context: what the log has of it. Of an address that is not known the
/// source has to do, which several IPv6 addresses share.
short_hash context_of(const field_hashes& fields, const std::optional<ip_address>& from,
                      const std::optional<short_hash>& source) {
  running_sha256 hash;
  hash.add(byte_view(&fields.present, 1));
  for (std::size_t i = 0; i < context_field_count; ++i)
    if ((fields.present >> i & 1) != 0) hash.add(byte_view(fields.hashes[i]));
  if (from)
    hash.add(byte_view(from->bytes));
  else if (source)
    hash.add(byte_view(*source));
  return cut<16>(hash.finish());
}

bool counts_something(const lockout_state& state, const subject_id& subject, millis now_ms) {
  const auto* user = state.find(subject);
  return user != nullptr && !user->over(now_ms);
}

}  // namespace

void what_if_lockouts::change_policies(const lockout_policy& recorded,
                                       const lockout_policy& other) {
  recorded_policy_ = recorded;
  policy_ = other;
  auto same = other;
  same.source_threshold = recorded.source_threshold;  // concerns nobody's counters
  same_rules_ = same == recorded;
}

void what_if_lockouts::begin(millis at_ms) {
  other_ = recorded_;
  for (const auto& [key, user] : other_.users()) {
    const auto& subject = key;  // clang 14 lets no lambda capture what is bound here
    if (!same_rules_) diverged_.insert(subject);
    const auto lock = [&](const std::optional<short_hash>& source, const lockout_counter& counter) {
      if (!counter.locked(at_ms)) return;
      span known;
      known.source = source;
      known.from_ms = at_ms;
      known.until_ms = counter.locked_until_ms;
      known.met = true;  // begun before what is counted
      spans_[subject].push_back(known);
      known.of_other = true;
      spans_[subject].push_back(known);
      due_.emplace(known.until_ms + keep_ms, subject);
    };
    lock(std::nullopt, user.whole);
    for (const auto& [source, counter] : user.sources) lock(source, counter);
  }
}

void what_if_lockouts::note_offender(const event& what, const validation_failed& failed,
                                     const attempt& tried, bool fails) {
  auto& known = windows_[*what.subject];
  const auto number = failed.counted_for_source ? failed.user_attempt : *failed.attempt;
  if (number == 1) known.offenders.clear();
  known.ends_ms = std::max(failed.window_ends_at_ms, failed.user_window_ends_at_ms);
  std::erase_if(known.offenders,
                [&](const offender& each) { return each.source == failed.source; });
  known.offenders.push_back({failed.source, tried.handle, tried.context, fails});
}

/// The lockout actor's clock may be some ms ahead of the request's: a window's first attempt tells.
millis what_if_lockouts::time_of(const event& what, const validation_failed& failed) const {
  const auto begun_ms = failed.window_ends_at_ms - recorded_policy_.window_s * 1000;
  const auto ahead_ms = begun_ms - what.decided_at_ms;
  return *failed.attempt == 1 && ahead_ms > 0 && ahead_ms < 1000 ? begun_ms : what.decided_at_ms;
}

void what_if_lockouts::diverge(const subject_id& subject, millis now_ms) {
  (void)other_.drop_if_over(subject, now_ms);
  diverged_.insert(subject);
}

std::optional<session_handle> what_if_lockouts::attempted(const event& what,
                                                          const validation_failed& failed,
                                                          const std::optional<ip_address>& from,
                                                          bool fails, bool estimated) {
  if (!what.subject) return std::nullopt;
  const auto& subject = *what.subject;
  const auto at_ms = time_of(what, failed);
  attempt tried{
      subject, what.handle.value_or(nothings_handle), failed.source.value_or(short_hash{}), {}};
  if (needs_address()) {
    tried.context = context_of(failed.fields, from, failed.source);
    estimated = estimated || !from;
  }
  if (diverged_.contains(subject) && !counts_something(recorded_, subject, at_ms) &&
      !counts_something(other_, subject, at_ms)) {
    diverged_.erase(subject);
    estimated_.erase(subject);
  }
  note_offender(what, failed, tried, fails);
  if (same(subject) && fails) {
    // Exact to the last millisecond, whatever clocks do.
    (void)other_.drop_if_over(subject, at_ms);
    note_attempt(other_, tried, policy_, at_ms);
    other_.apply(what);
    return std::nullopt;
  }
  diverge(subject, at_ms);
  if (estimated) {
    estimated_.insert(subject);
    doubt(subject);
  }
  if (!fails) return std::nullopt;
  return decide(what, tried, at_ms, estimated).revoke;
}

std::optional<session_handle> what_if_lockouts::coalesced(
    const event& what, const validation_failed& failed,
    const std::function<bool(const session_handle&)>& lives) {
  if (!what.subject || same(*what.subject)) return std::nullopt;
  const auto& subject = *what.subject;
  const auto first_ms = failed.first_at_ms.value_or(what.decided_at_ms);
  const auto last_ms = std::max(first_ms, failed.last_at_ms.value_or(first_ms));
  if (locked(subject, failed.source, first_ms) && locked(subject, failed.source, last_ms))
    return std::nullopt;  // refused in both worlds
  estimated_.insert(subject);
  doubt(subject);
  if (tally_.counts(first_ms)) tally_.row(what.tenant_id, first_ms).approximate = true;
  const auto known = windows_.find(subject);
  if (known == windows_.end()) return std::nullopt;
  const auto& offenders = known->second.offenders;
  const auto whose = std::find_if(offenders.rbegin(), offenders.rend(), [&](const offender& each) {
    return !failed.source || each.source == failed.source;
  });
  if (whose == offenders.rend() || !whose->fails || !lives(whose->handle)) return std::nullopt;
  const attempt tried{subject, whose->handle, whose->source.value_or(short_hash{}), whose->context};
  const auto count = static_cast<millis>(std::min<std::uint64_t>(*failed.count, 1U << 30U));
  for (millis i = 0; i < count; ++i) {
    const auto at_ms = count == 1 ? first_ms : first_ms + (last_ms - first_ms) * i / (count - 1);
    const auto done = decide(what, tried, at_ms, true);
    if (done.locks) return done.revoke;
    if (done.counted) continue;
    if (!done.locked_already || last_ms == first_ms) break;  // a repeat: those after it are, too
    const auto* user = other_.find(subject);
    auto ends_ms = user->whole.locked_until_ms;
    if (const auto source = user->sources.find(tried.source); source != user->sources.end())
      ends_ms = std::max(ends_ms, source->second.locked_until_ms);
    if (ends_ms > last_ms) break;
    i = std::max(i, (ends_ms - first_ms) * (count - 1) / (last_ms - first_ms) - 1);
  }
  return std::nullopt;
}

std::optional<session_handle> what_if_lockouts::signalled(const event& what,
                                                          const validation_signalled& signal) {
  if (!what.subject) return std::nullopt;
  const auto& subject = *what.subject;
  diverge(subject, what.decided_at_ms);
  estimated_.insert(subject);
  doubt(subject);
  if (tally_.counts(what.decided_at_ms))
    tally_.row(what.tenant_id, what.decided_at_ms).approximate = true;
  field_hashes fields;
  fields.present = signal.fields;
  const attempt tried{subject, what.handle.value_or(nothings_handle),
                      signal.source.value_or(short_hash{}),
                      context_of(fields, std::nullopt, signal.source)};
  return decide(what, tried, what.decided_at_ms, true).revoke;
}

/// What the lockout actor does with a failed attempt.
what_if_lockouts::decided what_if_lockouts::decide(const event& what, const attempt& tried,
                                                   millis at_ms, bool estimated) {
  end_locks(tried.subject, at_ms);
  const auto judged = decide_attempt(other_, tried, policy_, at_ms);
  decided out{judged.counted, judged.locked_already, judged.locks_until_ms > 0, judged.revoke};
  if (!judged.counted) return out;
  note_attempt(other_, tried, policy_, at_ms);
  const bool by_source = policy_.scope == lockout_scope::user_source;
  if (!estimated && (by_source ? judged.user_number : judged.number) == 1)
    estimated_.erase(tried.subject);
  event counted;
  counted.subject = tried.subject;
  validation_failed body;
  body.attempt = judged.number;
  body.source = tried.source;
  body.window_ends_at_ms = judged.window_ends_at_ms;
  body.counted_for_source = by_source;
  body.user_attempt = judged.user_number;
  body.user_window_ends_at_ms = judged.user_window_ends_at_ms;
  counted.body = body;
  other_.apply(counted);
  if (!out.locks) return out;
  lockout_started lock;
  lock.locked_until_ms = judged.locks_until_ms;
  lock.attempts = by_source && !judged.locks_source_only ? judged.user_number : judged.number;
  if (judged.locks_source_only) lock.source = tried.source;
  counted.body = lock;
  other_.apply(counted);
  span begun;
  begun.of_other = true;
  begun.source = lock.source;
  if (tried.handle != nothings_handle) begun.handle = tried.handle;
  begun.tenant_id = what.tenant_id;
  begun.from_ms = at_ms;
  begun.until_ms = lock.locked_until_ms;
  began(tried.subject, std::move(begun));
  return out;
}

void what_if_lockouts::end_locks(const subject_id& subject, millis now_ms) {
  const auto* user = other_.find(subject);
  if (user == nullptr) return;
  event what;
  what.subject = subject;
  for (const auto& source : user->locks_over(now_ms)) {
    what.body = lockout_ended{source};
    other_.apply(what);
  }
  (void)other_.drop_if_over(subject, now_ms);
}

void what_if_lockouts::started(const event& what, const lockout_started& lock) {
  if (!what.subject) return;
  const auto& subject = *what.subject;
  span begun;
  begun.source = lock.source;
  begun.tenant_id = what.tenant_id;
  begun.from_ms = what.decided_at_ms;
  begun.until_ms = lock.locked_until_ms;
  if (const auto known = windows_.find(subject); known != windows_.end()) {
    known->second.ends_ms = lock.locked_until_ms;
    if (!known->second.offenders.empty()) begun.handle = known->second.offenders.back().handle;
  }
  if (same(subject)) {
    other_.apply(what);
    auto as_well = begun;
    as_well.of_other = true;
    began(subject, std::move(as_well));
  }
  began(subject, std::move(begun));
}

void what_if_lockouts::ended(const event& what) {
  if (what.subject && same(*what.subject)) other_.apply(what);
}

void what_if_lockouts::cleared(const event& what) {
  if (!what.subject) return;
  other_.apply(what);
  diverged_.erase(*what.subject);
  estimated_.erase(*what.subject);
  windows_.erase(*what.subject);
  if (const auto found = spans_.find(*what.subject); found != spans_.end())
    for (auto& each : found->second) each.until_ms = std::min(each.until_ms, what.decided_at_ms);
}

bool what_if_lockouts::locked(const subject_id& subject, millis at_ms) const {
  const auto* user = other_.find(subject);
  return user != nullptr && user->whole.locked(at_ms);
}

bool what_if_lockouts::locked(const subject_id& subject, const std::optional<short_hash>& source,
                              millis at_ms) const {
  const auto* user = other_.find(subject);
  if (user == nullptr) return false;
  if (user->whole.locked(at_ms)) return true;
  const auto found = source ? user->sources.find(*source) : user->sources.end();
  return found != user->sources.end() && found->second.locked(at_ms);
}

// --- both worlds' lockouts side by side

void what_if_lockouts::began(const subject_id& subject, span what) {
  what.seq = tally_.seq();
  what.counts = tally_.counts(what.from_ms);
  what.approximate = estimated_.contains(subject);
  if (what.of_other && each_) each_({subject, what.source, what.from_ms, what.until_ms});
  if (what.counts) {
    auto& row = tally_.row(what.tenant_id, what.from_ms);
    auto& of = what.source ? row.sources : row.users;
    ++(what.of_other ? of.other : of.recorded);
    ++open_counted_;
  }
  const auto meet = [this](span& one) {
    if (!std::exchange(one.met, true) && one.counts) --open_counted_;
  };
  auto& known = spans_[subject];
  for (auto& each : known) {
    if (each.of_other == what.of_other || each.source != what.source ||
        each.from_ms >= what.until_ms || what.from_ms >= each.until_ms)
      continue;
    meet(each);
    meet(what);
  }
  due_.emplace(what.until_ms + keep_ms, subject);
  known.push_back(std::move(what));
}

/// Whether the other world meets a lockout that the log has is an estimate from here on.
void what_if_lockouts::doubt(const subject_id& subject) {
  if (const auto found = spans_.find(subject); found != spans_.end())
    for (auto& each : found->second) each.approximate = each.approximate || !each.of_other;
}

void what_if_lockouts::settle(const subject_id& subject, const span& what) {
  if (!what.counts) return;
  auto& row = tally_.row(what.tenant_id, what.from_ms);
  if (what.approximate && (what.of_other || !what.met)) row.approximate = true;
  if (what.met) return;
  --open_counted_;
  auto& of = what.source ? row.sources : row.users;
  ++(what.of_other ? of.more : of.fewer);
  using kind = what_if_example::kind;
  tally_.add({what.of_other ? kind::lockout_more : kind::lockout_fewer,
              what.tenant_id,
              subject,
              what.handle,
              what.from_ms,
              what.seq,
              {},
              what.source.has_value(),
              what.approximate});
}

void what_if_lockouts::settle_over(millis now_ms) {
  while (!due_.empty() && due_.begin()->first <= now_ms) {
    const auto subject = due_.begin()->second;
    due_.erase(due_.begin());
    const auto found = spans_.find(subject);
    if (found == spans_.end()) continue;
    std::erase_if(found->second, [&](const span& each) {
      const bool over = each.until_ms + keep_ms <= now_ms;
      if (over) settle(subject, each);
      return over;
    });
    if (found->second.empty()) spans_.erase(found);
  }
}

void what_if_lockouts::advance(millis now_ms) {
  settle_over(now_ms);
  if (now_ms - swept_at_ms_ < sweep_every_ms) return;
  swept_at_ms_ = now_ms;
  other_.drop_over(now_ms - keep_ms);
  std::erase_if(diverged_, [&](const subject_id& each) {
    return !counts_something(recorded_, each, now_ms) && !counts_something(other_, each, now_ms);
  });
  std::erase_if(estimated_,
                [&](const subject_id& each) { return !counts_something(other_, each, now_ms); });
  std::erase_if(windows_,
                [&](const auto& each) { return each.second.ends_ms + keep_ms <= now_ms; });
}

void what_if_lockouts::finish() { settle_over(std::numeric_limits<millis>::max()); }

}  // namespace portcullis::core
