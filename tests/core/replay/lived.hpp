// A shard with its lockouts, without actors: requests are judged, attempts counted, failures
// gathered as the session and lockout actors do. What a what-if is tested against.
#pragma once
#include <map>

#include "../session/world.hpp"
#include "core/lockout/state.hpp"
#include "core/replay/what_if.hpp"
#include "from_disk.hpp"

namespace portcullis::core {

class lived : public world {
 public:
  struct lock {
    std::string user;
    std::optional<short_hash> source;
    millis from_ms = 0, until_ms = 0;
    friend auto operator<=>(const lock&, const lock&) = default;
  };
  explicit lived(policy_book book = {}) { policies = std::move(book); }

  made sign_in(std::string_view name = "alice", std::string_view tenant = "acme") {
    const auto whose = user(name, tenant);
    names[state.user(whose).subject] = name;
    const auto& policy = policies.of(tenant);
    std::vector<session_slot> live;
    for (const auto slot : directory.sessions(whose))
      if (is_live(state, slot, now_ms)) live.push_back(slot);
    const std::size_t cap = policy.max_sessions_per_user;
    for (std::size_t i = 0; cap > 0 && i + cap <= live.size(); ++i) {
      auto what = about(state, live[i], now_ms);
      what.body = session_evicted{};
      apply(std::move(what));
    }
    return create(creation(name, tenant));
  }

  /// session.validate.
  verdict validate(const session_id& id, const context& presented) {
    flush_before(now_ms);
    const auto where = locate(state, keys, id);
    const auto source = keys.source(presented.ip);
    const bool source_locked = where.found.slot != no_slot && is_source_locked(where, source);
    const auto judged = world::judge(id, presented, source_locked);
    switch (judged.verdict) {
      case verdict::valid:
        signal(judged, source);  // activity is told at a turn's end
        (void)use(id, presented);
        break;
      case verdict::ip_mismatch:
      case verdict::fingerprint_mismatch:
        return attempt_on(judged, presented);
      case verdict::locked:
      case verdict::expired:
      case verdict::revoked:
        coalesce(judged.slot, source, reason_of(judged.verdict));
        break;
      case verdict::unknown:
      case verdict::reused:
      case verdict::unopened:
        break;
    }
    return judged.verdict;
  }

  void clear(std::string_view name) {
    const auto whose = user(name);
    const auto subject = state.user(whose).subject;
    const auto was = status_of(locks, &subject, policies.lockout, now_ms);
    if (!was.locked && was.failed_attempts == 0) return;
    auto what = of_user(subject);
    what.body = lockout_cleared{"test"};
    locks.apply(what);
    apply(std::move(what));
    state.user(whose).locked_until_ms = 0;
  }
  void forget(std::string_view name) {
    const auto whose = user(name);
    const auto subject = state.user(whose).subject;
    forget_user(whose);
    locks.apply(log.back());
    gone.insert(subject);
  }
  /// What ticks do: locks and sessions that are over, failures of the second before.
  void pass(millis time_ms) {
    const auto until_ms = now_ms + time_ms;
    now_ms = std::min(until_ms, now_ms + 1'000);
    tick();
    now_ms = until_ms;
    tick();
  }

  /// What its log says under another policy.
  struct tried {
    what_if_report report;
    std::vector<lock> locks;  // of the other world
  };
  /// `cut`: so many events are only there as the state that they gave. `emptied`: what records of
  /// activity among the first so many said. `to_the_end`: though the range is settled before.
  [[nodiscard]] tried try_policy(const policy_book& other, what_if_range range = {},
                                 std::size_t cut = 0, std::size_t emptied = 0,
                                 bool to_the_end = false) const {
    tried out;
    what_if_options options;
    options.range = range;
    options.who = [this](const subject_id& subject) { return who(subject); };
    options.each_lockout = [&](const other_lockout& each) {
      out.locks.push_back({names.at(each.subject), each.source, each.from_ms, each.until_ms});
    };
    what_if run(std::move(options));
    run.change_policies(policies, other);
    replayed_state base;
    for (std::size_t i = 0; i < cut; ++i) base.apply(kept(log[i], i < emptied));
    if (cut > 0) run.begin(std::move(base));
    for (std::size_t i = cut; i < log.size(); ++i) {
      const bool past = log[i].seq > range.to_seq || log[i].at_ms > range.to_ms;
      if (past && !to_the_end && run.settled()) break;
      run.apply(kept(log[i], i < emptied));
    }
    out.report = run.finish();
    return out;
  }

  /// Null: nobody's, or forgotten by now.
  [[nodiscard]] identity_ptr who(const subject_id& subject) const {
    for (const auto& row : rows)
      if (row.subject == subject && !gone.contains(subject)) return open_user(row, keys);
    return nullptr;
  }
  /// An event as it comes back from the disk. `emptied`: of activity nothing is left.
  [[nodiscard]] static event kept(const event& what, bool emptied) {
    auto out = from_disk(what);
    if (auto* touched = std::get_if<session_touched>(&out.body); touched && emptied) {
      touched->touches.clear();
      touched->dropped.emplace();
    }
    return out;
  }

  lockout_state locks;
  std::vector<lock> started;
  std::map<subject_id, std::string> names;
  std::set<subject_id> gone;

 private:
  void tick() {
    flush_before(now_ms);
    for (session_slot slot = 0; slot < state.slots_used(); ++slot)
      if (const auto found = sweep(state, slot, now_ms); found.what == swept::action::expire)
        about_session(state.at(slot).handle, session_expired{found.kind});
    std::vector<subject_id> due;
    for (const auto& [subject, each] : locks.users())
      if (each.lock_over(now_ms) || each.over(now_ms)) due.push_back(subject);
    for (const auto& each : due) {
      end_locks(each);
      (void)locks.drop_if_over(each, now_ms);
    }
  }
  event of_user(const subject_id& subject) const {
    event what;
    what.decided_at_ms = now_ms;
    what.subject = subject;
    what.tenant_id = state.tenant(state.user(state.find_user(subject)).tenant).name;
    return what;
  }
  bool is_source_locked(const located& where, const short_hash& source) const {
    const auto* known = locks.find(state.user(state.at(where.found.slot).user).subject);
    if (known == nullptr) return false;
    const auto found = known->sources.find(source);
    return found != known->sources.end() && found->second.locked(now_ms);
  }
  void end_locks(const subject_id& subject) {
    const auto* known = locks.find(subject);
    if (known == nullptr) return;
    for (const auto& source : known->locks_over(now_ms)) {
      auto what = of_user(subject);
      what.tenant_id.clear();
      what.body = lockout_ended{source};
      locks.apply(what);
      apply(std::move(what));
    }
  }

  verdict attempt_on(const judgement& judged, const context& presented) {
    const auto& s = state.at(judged.slot);
    const auto subject = state.user(s.user).subject;
    const auto& who = *state.user(s.user).who;
    const attempt what{subject, s.handle, keys.source(presented.ip), judged.memo};
    end_locks(subject);
    const auto counted = decide_attempt(locks, what, policies.lockout, now_ms);
    if (!counted.counted) {
      coalesce(judged.slot, what.source,
               counted.locked_already ? invalid_reason::locked_out : reason_of(judged.verdict));
      return counted.locked_already ? verdict::locked : judged.verdict;
    }
    note_attempt(locks, what, policies.lockout, now_ms);
    auto draft = about(state, judged.slot, now_ms);
    draft.sealed = seal_shown(who, presented.ip, presented.fields[0], random);
    validation_failed body;
    body.reason = reason_of(judged.verdict);
    body.source = what.source;
    body.fields = hash_fields(who, presented);
    body.attempt = counted.number;
    body.window_ends_at_ms = counted.window_ends_at_ms;
    if (policies.lockout.scope == lockout_scope::user_source) {
      body.counted_for_source = true;
      body.user_attempt = counted.user_number;
      body.user_window_ends_at_ms = counted.user_window_ends_at_ms;
    }
    draft.body = body;
    locks.apply(draft);
    apply(std::move(draft));
    if (counted.locks_until_ms > 0) begin_lock(judged, what, counted);
    return judged.verdict;
  }
  void begin_lock(const judgement& judged, const attempt& what, const attempt_judged& counted) {
    auto begun = of_user(what.subject);
    const bool whole_user =
        !counted.locks_source_only && policies.lockout.scope == lockout_scope::user_source;
    lockout_started body{
        counted.locks_until_ms, whole_user ? counted.user_number : counted.number, {}};
    if (counted.locks_source_only) body.source = what.source;
    begun.body = body;
    locks.apply(begun);
    apply(std::move(begun));
    started.push_back({names.at(what.subject), body.source, now_ms, counted.locks_until_ms});
    if (!counted.locks_source_only)
      state.user(state.at(judged.slot).user).locked_until_ms = counted.locks_until_ms;
    if (counted.revoke && is_live(state, state.find(*counted.revoke), now_ms))
      about_session(*counted.revoke,
                    session_revoked{revoke_scope::session, 1, "lockout", std::nullopt, 0, {}});
  }

  void signal(const judgement& judged, const short_hash& source) {
    const auto fields = static_cast<field_set>(judged.observed | judged.challenged);
    if (fields == 0) return;
    auto& [seen, again_ms] = signals_[judged.slot];
    if (now_ms < again_ms && (fields & ~seen) == 0) return;
    seen = fields;
    again_ms = now_ms + policies.session.touch_granularity_s * 1000;
    for (const auto action : {signal_action::challenge, signal_action::observe}) {
      const auto set = action == signal_action::challenge ? judged.challenged : judged.observed;
      if (set == 0) continue;
      about_session(state.at(judged.slot).handle, validation_signalled{set, action, source, 1});
    }
  }

  struct gathered {
    std::uint64_t count = 0;
    millis first_ms = 0, last_ms = 0;
  };
  void coalesce(session_slot slot, const short_hash& source, invalid_reason reason) {
    auto& seen = failures_[{state.user(state.at(slot).user).subject, source, reason}];
    if (seen.count++ == 0) seen.first_ms = now_ms;
    seen.last_ms = now_ms;
  }
  void flush_before(millis time_ms) {
    if (failures_.empty() || time_ms - flushed_at_ms_ < 1'000) return;
    flushed_at_ms_ = time_ms;
    for (const auto& [of, seen] : std::exchange(failures_, {})) {
      auto what = of_user(std::get<0>(of));
      validation_failed body;
      body.source = std::get<1>(of);
      body.reason = std::get<2>(of);
      body.count = seen.count;
      body.first_at_ms = seen.first_ms;
      body.last_at_ms = seen.last_ms;
      what.body = body;
      apply(std::move(what));
    }
  }
  std::map<std::tuple<subject_id, short_hash, invalid_reason>, gathered> failures_;
  std::map<session_slot, std::pair<field_set, millis>> signals_;
  millis flushed_at_ms_ = 0;
};

}  // namespace portcullis::core
