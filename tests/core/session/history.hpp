// A random history of one shard's sessions: commands through core, their events kept. For
// properties that hold whatever happened.
#pragma once
#include <rapidcheck/gtest.h>

#include "world.hpp"

namespace portcullis::core {

class history {
 public:
  struct picked {
    session_id id;
    session_handle handle;
  };

  void step() {
    switch (*rc::gen::inRange(0, 14)) {
      case 0:
      case 1:
      case 2: {
        auto command = w.creation(names[*rc::gen::inRange(0, 2)], tenants[*rc::gen::inRange(0, 2)]);
        if (*rc::gen::arbitrary<bool>()) command.data = "{\"n\":1}";
        const auto alias = "alias of session " + std::to_string(w.seq);
        if (*rc::gen::arbitrary<bool>()) command.alias = alias;
        const auto s = w.create(command);
        ids.push_back({s.id, s.handle});
        break;
      }
      case 3:
      case 4:
        with_valid([&](const picked& one) { (void)w.use(one.id); });
        break;
      case 5:
      case 6:
        with_valid([&](const picked& one) {
          ids.push_back({w.rotate(one.id, *rc::gen::inRange(0, 3) != 0), one.handle});
        });
        break;
      case 7:
        with_valid([&](const picked& one) { w.update(one.id, "{\"u\":2}"); });
        break;
      case 8:
        with_valid([&](const picked& one) {
          if (decided_only) return w.revoke(one.handle);
          const event_body ways[] = {session_revoked{}, session_evicted{}, session_expired{},
                                     session_reuse_detected{}};
          w.about_session(one.handle, ways[*rc::gen::inRange(0, 4)]);
        });
        break;
      case 9: {
        const auto whose = w.user(names[*rc::gen::inRange(0, 2)], tenants[*rc::gen::inRange(0, 2)]);
        std::optional<session_handle> except;
        if (*rc::gen::arbitrary<bool>())
          for (const auto slot : w.directory.sessions(whose))
            if (is_live(w.state, slot, w.now_ms)) except = w.state.at(slot).handle;
        expire_what_is_due();
        w.revoke_user(whose, except);
        break;
      }
      case 10:
        w.apply(w.tenant_revocation(tenants[*rc::gen::inRange(0, 2)]));
        break;
      case 11:
        w.now_ms += *rc::gen::element<millis>(1, 9'000, 61'000, 301'000);
        if (*rc::gen::inRange(0, 4) == 0 && w.keys.newest().id < 3) w.rotate_keys();
        break;
      case 12:
        expire_what_is_due();
        if (*rc::gen::inRange(0, 3) == 0) w.now_ms += 50'000'000;  // past what tombstones are kept
        break;
      case 13:
        if (*rc::gen::inRange(0, 3) == 0) forget(names[*rc::gen::inRange(0, 2)]);
        break;
    }
  }

  static constexpr std::string_view names[] = {"alice", "bob"};
  static constexpr std::string_view tenants[] = {"acme", "other"};
  world w;
  std::vector<picked> ids;
  bool decided_only = false;  // sessions end only as a server's decisions would have it

 private:
  void forget(std::string_view name) {
    const auto whose = w.state.find_user(w.keys.lookup("acme", name));
    if (whose == no_slot || w.directory.sessions(whose).empty()) return;
    expire_what_is_due();
    w.forget_user(whose);
  }
  // What the session actor does before it ends all of a user's sessions.
  void expire_what_is_due() {
    for (session_slot slot = 0; slot < w.state.slots_used(); ++slot)
      if (const auto found = sweep(w.state, slot, w.now_ms); found.what == swept::action::expire)
        w.about_session(w.state.at(slot).handle, session_expired{found.kind});
  }
  template <class Do>
  void with_valid(Do&& act) {
    std::vector<picked> valid;
    for (const auto& one : ids)
      if (w.verdict_of(one.id) == verdict::valid) valid.push_back(one);
    if (!valid.empty())
      act(valid[static_cast<std::size_t>(
          *rc::gen::inRange<int>(0, static_cast<int>(valid.size())))]);
  }
};

}  // namespace portcullis::core
