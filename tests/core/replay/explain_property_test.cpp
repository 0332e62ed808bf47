// Whatever happened, each event is explained as what the rules give.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "explained.hpp"

namespace portcullis::core {
namespace {

/// One more thing that happens.
void live_on(logged_world& all) {
  auto& w = all.w;
  const auto pick = [&]() -> const history::picked& {
    return all.lived.ids[static_cast<std::size_t>(
        *rc::gen::inRange<int>(0, static_cast<int>(all.lived.ids.size())))];
  };
  switch (*rc::gen::inRange(0, 16)) {
    case 0:
    case 1: {
      if (all.lived.ids.empty()) return;
      auto from = w.home;
      if (*rc::gen::arbitrary<bool>())
        from = context_of(*rc::gen::element<std::string_view>("198.51.100.7", "203.0.113.9"));
      else
        from.fields[0] = "another browser";
      if (*rc::gen::inRange(0, 4) == 0) from.fields[1] = {};
      const auto& one = pick();
      for (int i = *rc::gen::inRange(1, 5); i > 0; --i) (void)all.attempt_from(one.id, from);
      return;
    }
    case 2:
      if (!all.lived.ids.empty()) (void)all.reuse(pick().id);
      return;
    case 3:
      return all.create_capped(history::names[*rc::gen::inRange(0, 2)]);
    case 4:
      all.clear(w.user(history::names[*rc::gen::inRange(0, 2)]));
      return;
    case 5: {
      w.policies.session.max_sessions_per_user = *rc::gen::element(0U, 1U, 3U);
      w.policies.session.on_cap = *rc::gen::element(cap_action::deny, cap_action::evict_oldest);
      w.policies.session.ip_binding = *rc::gen::element(ip_binding::enforce, ip_binding::off);
      w.policies.session.idle_ttl_s = *rc::gen::element<std::int64_t>(60, 900);
      w.policies.session.touch_granularity_s = 20;
      w.policies.lockout.threshold = *rc::gen::element(2U, 4U);
      w.policies.lockout.duration_s = *rc::gen::element<std::int64_t>(5, 600);
      w.policies.lockout.scope = *rc::gen::element(lockout_scope::user, lockout_scope::user_source);
      w.policies.lockout.user_threshold = 5;
      all.reload();
      w.now_ms += 11'000;  // past the time in which either policy may have decided
      return;
    }
    default:
      // A history of sessions knows of no cap.
      if (w.policies.session.max_sessions_per_user == 0) all.step();
      return;
  }
}

RC_GTEST_PROP(any_history, has_each_event_explained_as_what_the_rules_give, ()) {
  logged_world all;
  const auto steps = *rc::gen::inRange(1, 400);
  for (int i = 0; i < steps; ++i) live_on(all);
  explainer again(all.opener(), all.policies, &all.w.keys);
  for (const auto& each : all.w.log) {
    const auto what = from_disk(each);
    const auto how = again.explain(what);
    RC_LOG() << what.seq << ' ' << to_string(what.type()) << ": " << how.why << '\n';
    RC_ASSERT(how.agrees != agreement::no);
    RC_ASSERT(!how.rule.empty());
    const bool has_key = !what.subject || all.opener()(*what.subject) != nullptr;
    RC_ASSERT(how.agrees == agreement::yes || !has_key);
    again.pass(what);
  }
}

}  // namespace
}  // namespace portcullis::core
