// Random histories against a model that keeps everything in plain maps and knows no indexes,
// generations or counts.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "world.hpp"

namespace portcullis::core {
namespace {

// One session as the contract tells it: which ids it ever had, and what becomes of each.
struct model_session {
  std::string user, tenant;
  millis seen_ms = 0, absolute_ms = 0;
  std::int64_t idle_s = 0;
  enum class state { live, revoked, expired } now = state::live;
  session_id current;
  std::optional<session_id> before;
  millis grace_ends_ms = 0;
  bool successor_used = false;
  std::map<session_id, millis> quiet;  // old ids: until when they are only `revoked`
  std::string data;
};

class model {
 public:
  std::map<session_handle, model_session> sessions;

  [[nodiscard]] static bool over(const model_session& s, millis now_ms) {
    return s.now != model_session::state::live || now_ms >= s.absolute_ms ||
           now_ms >= s.seen_ms + s.idle_s * 1000;
  }
  [[nodiscard]] verdict verdict_of(const model_session& s, const session_id& id,
                                   millis now_ms) const {
    if (now_ms >= s.absolute_ms + limits::tombstone_keep_ms) return verdict::unknown;
    if (s.now == model_session::state::revoked) return verdict::revoked;
    if (over(s, now_ms)) return verdict::expired;
    if (id == s.current) return verdict::valid;
    if (s.before && id == *s.before)
      return now_ms < s.grace_ends_ms ? verdict::valid : verdict::reused;
    return now_ms < s.quiet.at(id) ? verdict::revoked : verdict::reused;
  }
  void rotated(model_session& s, const session_id& next, bool grace, millis now_ms) {
    if (!s.successor_used && s.before) s.grace_ends_ms = std::min(s.grace_ends_ms, now_ms + 10'000);
    if (s.before) s.quiet[*std::exchange(s.before, std::nullopt)] = s.grace_ends_ms;
    if (grace) {
      s.before = s.current;
      s.grace_ends_ms = now_ms + 300'000;
      s.successor_used = false;
    } else {
      s.quiet[s.current] = 0;
      for (auto& each : s.quiet) each.second = 0;
    }
    s.current = next;
    s.seen_ms = std::max(s.seen_ms, now_ms);
  }
};

class history {
 public:
  void step() {
    switch (*rc::gen::inRange(0, 13)) {
      case 0:
      case 1:
      case 2:
        create();
        break;
      case 3:
      case 4:
        use();
        break;
      case 5:
        rotate(true);
        break;
      case 6:
        rotate(*rc::gen::arbitrary<bool>());
        break;
      case 7:
        update();
        break;
      case 8:
        revoke();
        break;
      case 9:
        revoke_user();
        break;
      case 10:
        revoke_tenant();
        break;
      case 11:
        w.now_ms +=
            *rc::gen::element<millis>(1, 5'000, 10'000, 60'000, 299'000, 890'000, 44'100'000);
        break;
      case 12:
        sweep_all();
        break;
    }
    check();
  }

 private:
  struct picked {
    session_id id;
    session_handle handle;
  };
  void create() {
    auto command = w.creation(names[*rc::gen::inRange(0, 3)], tenants[*rc::gen::inRange(0, 2)]);
    if (*rc::gen::arbitrary<bool>()) command.data = "{\"n\":1}";
    if (*rc::gen::arbitrary<bool>()) command.idle_ttl_s = 30;
    const auto s = w.create(command);
    auto& known = m.sessions[s.handle];
    known.user = command.user.user_id;
    known.tenant = command.user.tenant_id;
    known.seen_ms = w.now_ms;
    known.absolute_ms = w.now_ms + 43'200'000;
    known.idle_s = command.idle_ttl_s.value_or(900);
    known.current = s.id;
    known.data = command.data;
    ids.push_back({s.id, s.handle});
  }
  std::optional<picked> pick() {
    if (ids.empty()) return std::nullopt;
    // The newest ones half of the time, else everything would be over.
    const auto size = static_cast<int>(ids.size());
    const auto from = *rc::gen::arbitrary<bool>() ? std::max(0, size - 4) : 0;
    return ids[static_cast<std::size_t>(*rc::gen::inRange(from, size))];
  }
  void use() {
    const auto one = pick();
    if (!one) return;
    auto& known = m.sessions[one->handle];
    const auto judged = w.use(one->id);
    if (judged.verdict != verdict::valid) return;
    if (one->id == known.current && known.before && !known.successor_used) {
      known.successor_used = true;
      known.grace_ends_ms = std::min(known.grace_ends_ms, w.now_ms + 10'000);
    }
    if (w.now_ms - known.seen_ms >= std::min<millis>(60'000, known.idle_s * 500))
      known.seen_ms = w.now_ms;
  }
  void rotate(bool grace) {
    const auto one = pick();
    if (!one || w.verdict_of(one->id) != verdict::valid) return;
    auto& known = m.sessions[one->handle];
    const auto next = w.rotate(one->id, grace);
    if (grace && one->id != known.current) {
      RC_ASSERT(next == known.current);
      return;
    }
    m.rotated(known, next, grace, w.now_ms);
    if (one->id != known.current) ids.push_back({next, one->handle});
  }
  void update() {
    const auto one = pick();
    if (!one || w.verdict_of(one->id) != verdict::valid) return;
    auto& known = m.sessions[one->handle];
    known.data = "{\"n\":" + std::to_string(++data_number) + "}";
    w.update(one->id, known.data);
    known.seen_ms = std::max(known.seen_ms, w.now_ms);
  }
  void revoke() {
    const auto one = pick();
    if (!one) return;
    auto& known = m.sessions[one->handle];
    if (w.state.find(one->handle) == no_slot || model::over(known, w.now_ms)) return;
    w.revoke(one->handle);
    known.now = model_session::state::revoked;
  }
  void revoke_user() {
    const std::string user(names[*rc::gen::inRange(0, 3)]),
        tenant(tenants[*rc::gen::inRange(0, 2)]);
    std::optional<session_handle> except;
    if (*rc::gen::arbitrary<bool>())
      for (const auto& [handle, known] : m.sessions)
        if (known.user == user && known.tenant == tenant && !model::over(known, w.now_ms))
          except = handle;
    std::uint64_t expected = 0;
    for (auto& [handle, known] : m.sessions) {
      if (known.user != user || known.tenant != tenant || model::over(known, w.now_ms) ||
          handle == except)
        continue;
      known.now = model_session::state::revoked;
      ++expected;
    }
    const auto slot = w.user(user, tenant);
    // As the actor: nothing to end is no event (a session that is over, but not swept yet, must
    // stay expired).
    std::uint64_t live = 0;
    for (const auto each : w.directory.sessions(slot))
      live += is_live(w.state, each, w.now_ms) && !(except && w.state.at(each).handle == *except);
    RC_ASSERT(live == expected);
    if (live == 0) return;
    sweep_all();
    RC_ASSERT(w.revoke_user(slot, except) == expected);
  }
  void revoke_tenant() {
    sweep_all();
    const std::string tenant(tenants[*rc::gen::inRange(0, 2)]);
    for (auto& [handle, known] : m.sessions)
      if (known.tenant == tenant && !model::over(known, w.now_ms))
        known.now = model_session::state::revoked;
    w.apply(w.tenant_revocation(tenant));
  }
  void sweep_all() {
    for (auto& [handle, known] : m.sessions) {
      const auto slot = w.state.find(handle);
      if (slot == no_slot) continue;
      auto found = sweep(w.state, slot, w.now_ms);
      if (found.what == swept::action::expire) {
        RC_ASSERT(known.now == model_session::state::live && model::over(known, w.now_ms));
        w.about_session(handle, session_expired{found.kind});
        known.now = model_session::state::expired;
        found = sweep(w.state, slot, w.now_ms);
      }
      if (found.what != swept::action::purge) continue;
      RC_ASSERT(w.now_ms >= known.absolute_ms + limits::tombstone_keep_ms);
      w.directory.remove(w.state.at(slot).user, slot);
      w.state.purge(slot);
    }
  }
  void check() {
    for (const auto& one : ids) {
      const auto& known = m.sessions.at(one.handle);
      const auto expected = m.verdict_of(known, one.id, w.now_ms);
      const auto got = w.verdict_of(one.id);
      RC_ASSERT(static_cast<int>(got) == static_cast<int>(expected));
      if (got == verdict::valid && !known.data.empty()) RC_ASSERT(w.data(one.id) == known.data);
    }
    std::uint64_t live = 0;
    std::map<std::string, std::uint64_t> by_tenant;
    for (const auto& [handle, known] : m.sessions) {
      if (known.now != model_session::state::live || w.state.find(handle) == no_slot) continue;
      ++live;
      ++by_tenant[known.tenant];
    }
    RC_ASSERT(w.state.counts().live == live);
    for (const auto tenant : tenants)
      if (const auto slot = w.state.find_tenant(tenant); slot != no_slot)
        RC_ASSERT(w.state.tenant(slot).live == by_tenant[std::string(tenant)]);
    const auto& counts = w.state.counts();
    RC_ASSERT(counts.created == counts.live + counts.revoked + counts.expired + counts.evicted);
  }

  static constexpr std::string_view names[] = {"alice", "bob", "carol"};
  static constexpr std::string_view tenants[] = {"acme", "other"};
  world w;
  model m;
  std::vector<picked> ids;
  int data_number = 0;
};

RC_GTEST_PROP(session_state, agrees_with_a_naive_model_over_random_histories, ()) {
  history h;
  const auto steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) h.step();
}

}  // namespace
}  // namespace portcullis::core
