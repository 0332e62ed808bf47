// A shard's sessions without actors: commands are decided, their events applied, time is a number.
// What the tests of the rules are written with.
#pragma once
#include <gtest/gtest.h>

#include <random>

#include "core/limits.hpp"
#include "core/session/decide.hpp"
#include "core/session/directory.hpp"

namespace portcullis::core {

/// Bytes that are the same in every run, and never the same twice.
inline random_source counted_random(std::uint64_t seed = 1) {
  auto engine = std::make_shared<std::mt19937_64>(seed);
  return [engine](std::span<std::uint8_t> out) {
    for (auto& byte : out) byte = static_cast<std::uint8_t>((*engine)());
  };
}

inline context context_of(std::string_view ip, std::string_view user_agent = "browser/1",
                          std::string_view accept = "text/html") {
  context out;
  out.ip = *parse_ip(ip);
  out.fields[0] = user_agent;
  out.fields[1] = accept;
  out.fields[2] = "en";
  out.fields[3] = "gzip";
  return out;
}

inline context with_field(context out, context_field field, std::string_view value) {
  out.fields[static_cast<std::size_t>(field)] = value;
  return out;
}

class world {
 public:
  static constexpr millis start_ms = 1'700'000'000'000;

  world() : random(counted_random()), ring(generate_keyring(random, start_ms)), keys(ring) {
    change_policy();
    home = context_of("192.0.2.7");
  }

  [[nodiscard]] decision_input input() const { return {state, keys, policies, key, now_ms}; }

  user_slot user(std::string_view name = "alice", std::string_view tenant = "acme") {
    const auto slot = state.need_user(keys.lookup(tenant, name), tenant);
    if (!directory.knows(slot)) rows.push_back(directory.make(slot, tenant, name, keys, random));
    if (!state.user(slot).who)
      state.identify(slot, rows.back().subject, directory.identity(slot, keys));
    return slot;
  }

  /// Numbers the event as the log does, applies it, keeps it.
  void apply(event what) {
    what.seq = ++seq;
    if (what.type() == event_type::session_created) what.session_seq = seq;
    what.at_ms = std::max(what.decided_at_ms, log.empty() ? 0 : log.back().at_ms);
    state.apply(what);
    if (what.type() == event_type::session_created)
      directory.add(state.find_user(*what.subject), state.find(*what.handle));
    log.push_back(std::move(what));
  }

  struct made {
    session_id id;
    session_handle handle;
  };
  [[nodiscard]] create_session creation(std::string_view name = "alice",
                                        std::string_view tenant = "acme") const {
    create_session command;
    command.user = {tenant, name};
    command.context = home;
    return command;
  }
  made create(const create_session& command) {
    auto decided =
        decide_create(input(), command, user(command.user.user_id, command.user.tenant_id), random);
    const made out{decided.id, *decided.what.handle};
    apply(std::move(decided.what));
    return out;
  }
  made create(std::string_view name = "alice", std::string_view tenant = "acme") {
    return create(creation(name, tenant));
  }

  [[nodiscard]] judgement judge(const session_id& id, const context& presented,
                                bool source_locked = false) const {
    return core::judge(input(), locate(state, keys, id), presented, source_locked);
  }
  [[nodiscard]] judgement judge(const session_id& id) const { return judge(id, home); }
  [[nodiscard]] verdict verdict_of(const session_id& id) const { return judge(id, home).verdict; }

  /// A validation with all its consequences.
  judgement use(const session_id& id, const context& presented) {
    const auto judged = judge(id, presented);
    if (judged.verdict != verdict::valid) return judged;
    if (judged.remember) state.remember(judged.slot, judged.memo);
    std::vector<event> events;
    consequences_of_use(input(), judged, id, events);
    for (auto& each : events) apply(std::move(each));
    if (judged.touch_due) {
      event what;
      what.decided_at_ms = now_ms;
      what.tenant_id = state.tenant(state.user(state.at(judged.slot).user).tenant).name;
      what.body =
          session_touched{{{state.at(judged.slot).handle, now_ms, state.at(judged.slot).seq}}};
      apply(std::move(what));
    }
    return judged;
  }
  judgement use(const session_id& id) { return use(id, home); }

  session_id rotate(const session_id& id, bool grace = true) {
    const auto judged = judge(id);
    EXPECT_EQ(judged.verdict, verdict::valid);
    auto decided = *decide_rotate(input(), {id, home, grace}, judged, random);
    for (auto& each : decided.events) apply(std::move(each));
    return decided.id;
  }
  std::uint32_t update(const session_id& id, std::string_view data) {
    const auto judged = judge(id);
    EXPECT_EQ(judged.verdict, verdict::valid);
    auto decided = decide_update(input(), {id, home, data, std::nullopt}, judged, random);
    EXPECT_TRUE(decided);
    apply(std::move(*decided));
    return state.at(judged.slot).version;
  }
  [[nodiscard]] std::optional<std::string> data(const session_id& id) const {
    const auto judged = judge(id);
    return open_data(state.at(judged.slot), id, judged.kind, keys);
  }

  void about_session(const session_handle& handle, event_body body) {
    auto what = about(state, state.find(handle), now_ms);
    what.body = std::move(body);
    apply(std::move(what));
  }
  void revoke(const session_handle& handle) { about_session(handle, session_revoked{}); }
  /// What the session actor does for revoke_user.
  std::uint64_t revoke_user(user_slot whose, std::optional<session_handle> except = std::nullopt) {
    session_revoked body;
    body.scope = revoke_scope::user;
    body.count = 0;
    for (const auto slot : directory.sessions(whose)) {
      if (!is_live(state, slot, now_ms) || (except && state.at(slot).handle == *except)) continue;
      ++body.count;
      body.session_seqs.push_back(state.at(slot).seq);
    }
    body.except_handle = except;
    body.tenant_generation = state.tenant(state.user(whose).tenant).generation;
    event what;
    what.decided_at_ms = now_ms;
    what.tenant_id = state.tenant(state.user(whose).tenant).name;
    what.subject = state.user(whose).subject;
    const auto count = body.count;
    what.body = std::move(body);
    apply(std::move(what));
    return count;
  }
  /// What the session actor does for admin.forget.
  void forget_user(user_slot whose) {
    user_forgotten body;
    for (const auto slot : directory.sessions(whose))
      if (is_live(state, slot, now_ms)) body.session_seqs.push_back(state.at(slot).seq);
    body.count = body.session_seqs.size();
    body.tenant_generation = state.tenant(state.user(whose).tenant).generation;
    event what;
    what.decided_at_ms = now_ms;
    what.tenant_id = state.tenant(state.user(whose).tenant).name;
    what.subject = state.user(whose).subject;
    what.body = std::move(body);
    apply(std::move(what));
    directory.forget(whose);
  }
  [[nodiscard]] event tenant_revocation(std::string_view tenant) {
    const auto slot = state.need_tenant(tenant);
    event what;
    what.decided_at_ms = now_ms;
    what.tenant_id = tenant;
    session_revoked body;
    body.scope = revoke_scope::tenant;
    body.count = state.tenant(slot).live;
    body.tenant_generation = state.tenant(slot).generation + 1;
    what.body = body;
    return what;
  }

  void rotate_keys() {
    ring = *rotate_keyring(ring, false, random, now_ms);
    keys = key_material(ring);
  }
  void change_policy() { key = make_memo_key(random); }  // as the session actor does

  random_source random;
  keyring ring;
  key_material keys;
  policy_book policies;
  memo_key key;
  session_state state;
  directory_state directory;
  std::vector<user_row> rows;
  std::vector<event> log;
  std::uint64_t seq = 0;
  millis now_ms = start_ms;
  context home;
};

}  // namespace portcullis::core
