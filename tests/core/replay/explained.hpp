// A node without actors whose decisions are logged as the actors do, and the log explained again:
// what the tests of explanations are written with.
#pragma once
#include "../session/history.hpp"
#include "core/lockout/state.hpp"
#include "core/replay/explain.hpp"
#include "from_disk.hpp"

namespace portcullis::core {

class logged_world {
 public:
  history lived;
  world& w = lived.w;
  lockout_state locks;
  std::vector<logged_policy> policies;

  logged_world() {
    lived.decided_only = true;
    tell_policy(node_started{"1", to_json(w.policies)});
  }

  void apply(event what) {
    w.apply(std::move(what));
    locks.apply(w.log.back());
  }
  void step() {
    const auto before = w.log.size();
    lived.step();
    for (auto i = before; i < w.log.size(); ++i) locks.apply(w.log[i]);
  }
  void tell_policy(event_body body) {
    event what;
    what.decided_at_ms = w.now_ms;
    what.body = std::move(body);
    apply(std::move(what));
    policies.push_back(
        {w.seq, w.now_ms, w.log.back().type() == event_type::node_started, w.policies});
  }
  void reload() {
    w.change_policy();
    tell_policy(config_reloaded{to_json(w.policies)});
  }

  event about_user(user_slot whose, event_body body) {
    event what;
    what.decided_at_ms = w.now_ms;
    what.tenant_id = w.state.tenant(w.state.user(whose).tenant).name;
    what.subject = w.state.user(whose).subject;
    what.body = std::move(body);
    return what;
  }
  void end_locks(user_slot whose) {
    const auto subject = w.state.user(whose).subject;
    const auto* user = locks.find(subject);
    if (user == nullptr) return;
    for (const auto& source : user->locks_over(w.now_ms))
      apply(about_user(whose, lockout_ended{source}));
  }
  /// What session and lockout actor do with a validation from elsewhere. False: it did not count.
  bool attempt_from(const session_id& id, const context& from) {
    const auto where = locate(w.state, w.keys, id);
    if (where.found.slot == no_slot) return false;
    const auto whose = w.state.at(where.found.slot).user;
    end_locks(whose);
    const auto judged = w.judge(id, from);
    if (judged.verdict != verdict::ip_mismatch && judged.verdict != verdict::fingerprint_mismatch)
      return false;
    const auto& policy = w.policies.lockout;
    const auto& owner = w.state.user(whose);
    const attempt tried{owner.subject, w.state.at(judged.slot).handle, w.keys.source(from.ip),
                        judged.memo};
    const auto decided = decide_attempt(locks, tried, policy, w.now_ms);
    if (!decided.counted) return false;
    auto what = about(w.state, judged.slot, w.now_ms);
    what.sealed = seal_shown(*owner.who, from.ip, from.fields[0], w.random);
    validation_failed body;
    body.reason = reason_of(judged.verdict);
    body.source = tried.source;
    body.fields = hash_fields(*owner.who, from);
    body.attempt = decided.number;
    body.window_ends_at_ms = decided.window_ends_at_ms;
    const bool by_source = policy.scope == lockout_scope::user_source;
    if (by_source) {
      body.counted_for_source = true;
      body.user_attempt = decided.user_number;
      body.user_window_ends_at_ms = decided.user_window_ends_at_ms;
    }
    what.body = body;
    apply(std::move(what));
    if (decided.locks_until_ms == 0) return true;
    lockout_started lock;
    lock.locked_until_ms = decided.locks_until_ms;
    lock.attempts = decided.locks_source_only || !by_source ? decided.number : decided.user_number;
    if (decided.locks_source_only) lock.source = tried.source;
    apply(about_user(whose, lock));
    if (!decided.locks_source_only) w.state.user(whose).locked_until_ms = decided.locks_until_ms;
    return true;
  }
  void clear(user_slot whose) {
    const auto subject = w.state.user(whose).subject;
    const auto was = status_of(locks, &subject, w.policies.lockout, w.now_ms);
    if (!was.locked && was.failed_attempts == 0) return;
    auto what = about_user(whose, lockout_cleared{"asked"});
    what.actor = "root";
    apply(std::move(what));
    w.state.user(whose).locked_until_ms = 0;
  }
  /// What the session actor does with a create under a cap.
  void create_capped(std::string_view name) {
    const auto& policy = w.policies.of("acme");
    std::vector<session_slot> live;
    for (const auto slot : w.directory.sessions(w.user(name)))
      if (is_live(w.state, slot, w.now_ms)) live.push_back(slot);
    const std::size_t cap = policy.max_sessions_per_user;
    if (cap > 0 && live.size() >= cap && policy.on_cap == cap_action::deny) return;
    for (std::size_t i = 0; cap > 0 && i + cap <= live.size(); ++i)
      w.about_session(w.state.at(live[i]).handle, session_evicted{});
    const auto made = w.create(name);
    lived.ids.push_back({made.id, made.handle});
  }
  /// Uses an id that may have been replaced long ago.
  bool reuse(const session_id& id) {
    const auto judged = w.judge(id);
    if (judged.verdict != verdict::reused) return false;
    w.about_session(w.state.at(judged.slot).handle, session_reuse_detected{});
    return true;
  }

  [[nodiscard]] identity_opener opener() {
    return [this](const subject_id& subject) -> identity_ptr {
      const auto slot = w.state.find_user(subject);
      return slot == no_slot ? nullptr : w.state.user(slot).who;
    };
  }
};

/// Replays a log event by event; each is explained on the state of the moment before it.
class explainer {
 public:
  explainer(identity_opener open, std::vector<logged_policy> policies,
            const key_material* keys = nullptr)
      : open_(std::move(open)), policies_(std::move(policies)), keys_(keys) {}

  [[nodiscard]] explanation explain(const event& what, const past_events* past = nullptr) {
    return core::explain({what, state, recent, policies_, open_, keys_, place, past});
  }
  void pass(const event& what) {
    recent.note(what, state);
    state.apply(what);
  }

  replayed_state state;
  log_recent recent;
  std::optional<log_place> place;

 private:
  identity_opener open_;
  std::vector<logged_policy> policies_;
  const key_material* keys_;
};

/// The index of the `nth` event of this type.
inline std::size_t find_event(const std::vector<event>& log, event_type type, std::size_t nth = 0) {
  for (std::size_t i = 0; i < log.size(); ++i)
    if (log[i].type() == type && nth-- == 0) return i;
  ADD_FAILURE() << "no " << to_string(type);
  return 0;
}

}  // namespace portcullis::core
