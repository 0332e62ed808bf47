// Whatever can happen to a few users under any policy, drawn by RapidCheck.
#pragma once
#include <rapidcheck.h>

#include "what_if_cases.hpp"

namespace portcullis::core {

/// A policy with a bit of everything.
inline policy_book any_policy() {
  policy_book book;
  book.lockout.threshold = *rc::gen::inRange(1U, 6U);
  book.lockout.window_s = *rc::gen::element<std::int64_t>(20, 60, 900);
  book.lockout.duration_s = *rc::gen::element<std::int64_t>(10, 60, 900);
  book.lockout.scope = *rc::gen::element(lockout_scope::user, lockout_scope::user_source);
  book.lockout.user_threshold = *rc::gen::inRange(4U, 12U);
  book.lockout.repeat_collapse_s = *rc::gen::element<std::int64_t>(0, 0, 5, 60);
  book.lockout.revoke_offending = *rc::gen::arbitrary<bool>();
  book.session.max_sessions_per_user = *rc::gen::element(0U, 1U, 2U);
  book.session.on_cap = cap_action::evict_oldest;
  book.session.idle_ttl_s = *rc::gen::element<std::int64_t>(120, 900);
  book.session.absolute_ttl_s = *rc::gen::element<std::int64_t>(300, 43'200);
  book.session.ip_binding =
      *rc::gen::element(ip_binding::enforce, ip_binding::enforce, ip_binding::observe,
                        ip_binding::challenge, ip_binding::off);
  return book;
}

/// Anything that can happen to a few users.
class random_life {
 public:
  explicit random_life(policy_book book) : node(std::move(book)) {}
  void step() {
    static constexpr std::string_view users[] = {"alice", "bob"};
    const auto who = users[*rc::gen::inRange(0, 2)];
    switch (*rc::gen::inRange(0, 12)) {
      case 0:
      case 1:
        ids.push_back(node.sign_in(who).id);
        break;
      case 2:
        with_any([&](const session_id& id) { (void)node.validate(id, home); });
        break;
      case 3:
      case 4:
      case 5:
        with_any([&](const session_id& id) {
          const context* from[] = {&abroad, &abroad, &elsewhere, &next_door, &other_agent};
          const auto& presented = *from[*rc::gen::inRange(0, 5)];
          for (auto n = *rc::gen::inRange(1, 4); n > 0; --n) (void)node.validate(id, presented);
        });
        break;
      case 6:
        with_any([&](const session_id& id) {
          if (node.verdict_of(id) == verdict::valid) ids.push_back(node.rotate(id));
        });
        break;
      case 7:
        with_any([&](const session_id& id) {
          if (node.verdict_of(id) == verdict::valid) node.update(id, "{\"u\":2}");
        });
        break;
      case 8:
        node.clear(who);
        break;
      case 9:
        if (*rc::gen::inRange(0, 4) == 0) node.revoke_user(node.user(who));
        if (*rc::gen::inRange(0, 8) == 0) node.forget(who);
        break;
      case 10:
      case 11:
        break;
    }
    if (*rc::gen::inRange(0, 4) == 0) {  // nothing is swept before the next step
      node.now_ms += *rc::gen::element<millis>(0, 1, 300, 900);
      return;
    }
    node.pass(*rc::gen::element<millis>(1, 300, 1'000, 7'000, 31'000, 61'000, 400'000));
  }
  lived node;
  std::vector<session_id> ids;

 private:
  template <class Do>
  void with_any(Do&& act) {
    if (!ids.empty())
      act(ids[static_cast<std::size_t>(*rc::gen::inRange<int>(0, static_cast<int>(ids.size())))]);
  }
};

}  // namespace portcullis::core
