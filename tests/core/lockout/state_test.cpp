// Failed attempts and locks (protocol.md, Lockouts; invariant 4).
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/lockout/state.hpp"
#include "core/replay/digest.hpp"

namespace portcullis::core {
namespace {

constexpr millis start_ms = 1'700'000'000'000;

template <std::size_t N>
byte_array<N> numbered(std::uint8_t number) {
  byte_array<N> out{};
  out[N - 1] = number;
  return out;
}

class counters {
 public:
  lockout_state state;
  lockout_policy policy;
  millis now_ms = start_ms;

  static attempt of(std::uint8_t user = 1, std::uint8_t source = 1, std::uint8_t session = 1,
                    std::uint8_t context = 1) {
    return {
        {numbered<16>(user)}, {numbered<16>(session)}, numbered<16>(source), numbered<16>(context)};
  }
  /// What the lockout actor does with an attempt.
  attempt_judged fail(const attempt& what) {
    const auto judged = decide_attempt(state, what, policy, now_ms);
    if (!judged.counted) return judged;
    note_attempt(state, what, policy, now_ms);
    event failed;
    failed.subject = what.subject;
    validation_failed body;
    body.attempt = judged.number;
    body.source = what.source;
    body.window_ends_at_ms = judged.window_ends_at_ms;
    if (policy.scope == lockout_scope::user_source) {
      body.counted_for_source = true;
      body.user_attempt = judged.user_number;
      body.user_window_ends_at_ms = judged.user_window_ends_at_ms;
    }
    failed.body = body;
    state.apply(failed);
    if (judged.locks_until_ms > 0) {
      event started;
      started.subject = what.subject;
      lockout_started lock{judged.locks_until_ms, judged.number, std::nullopt};
      if (judged.locks_source_only) lock.source = what.source;
      started.body = lock;
      state.apply(started);
    }
    return judged;
  }
  attempt_judged fail() { return fail(of()); }
  void fail(int times, const attempt& what) {
    for (int i = 0; i < times; ++i) fail(what);
  }
  void end(const attempt& what, bool source = false) {
    event ended;
    ended.subject = what.subject;
    lockout_ended body;
    if (source) body.source = what.source;
    ended.body = body;
    state.apply(ended);
  }
  [[nodiscard]] lockout_state_reply status(const attempt& what = of()) const {
    return status_of(state, &what.subject, policy, now_ms);
  }
};

TEST(lockout, the_threshold_th_failure_locks_and_none_before_it) {
  counters c;
  for (std::uint32_t i = 1; i < 10; ++i) {
    const auto judged = c.fail();
    EXPECT_EQ(judged.number, i);
    EXPECT_EQ(judged.locks_until_ms, 0);
    EXPECT_FALSE(c.status().locked);
    EXPECT_EQ(c.status().failed_attempts, i);
  }
  const auto last = c.fail();
  EXPECT_EQ(last.number, 10U);
  EXPECT_TRUE(last.counted);
  EXPECT_FALSE(last.locked_already);
  EXPECT_EQ(last.locks_until_ms, c.now_ms + 900'000);
  EXPECT_TRUE(c.status().locked);
  EXPECT_EQ(c.status().locked_until_ms, c.now_ms + 900'000);
}

TEST(lockout, a_threshold_of_one_locks_at_once) {
  counters c;
  c.policy.threshold = 1;
  EXPECT_GT(c.fail().locks_until_ms, 0);
}

TEST(lockout, the_window_is_fixed_from_the_first_failure) {
  counters c;
  const auto first = c.fail();
  EXPECT_EQ(first.window_ends_at_ms, start_ms + 900'000);
  c.now_ms += 899'999;
  EXPECT_EQ(c.fail().window_ends_at_ms, start_ms + 900'000);
  EXPECT_EQ(c.status().failed_attempts, 2U);
  EXPECT_EQ(c.status().window_ends_at_ms, start_ms + 900'000);
  c.now_ms += 1;
  EXPECT_EQ(c.status().failed_attempts, 0U);
  const auto anew = c.fail();
  EXPECT_EQ(anew.number, 1U);
  EXPECT_EQ(anew.window_ends_at_ms, start_ms + 1'800'000);
}

TEST(lockout, attempts_while_locked_neither_count_nor_extend) {
  counters c;
  c.fail(10, counters::of());
  const auto until = c.status().locked_until_ms;
  for (int i = 0; i < 50; ++i) {
    c.now_ms += 10'000;
    const auto judged = c.fail();
    EXPECT_FALSE(judged.counted);
    EXPECT_TRUE(judged.locked_already);
    EXPECT_EQ(judged.locks_until_ms, 0);
  }
  EXPECT_EQ(c.status().locked_until_ms, until);
  EXPECT_EQ(c.status().failed_attempts, 10U);
}

TEST(lockout, duration_counts_from_the_lock_and_its_end_resets_the_counter) {
  counters c;
  c.fail(9, counters::of());
  c.now_ms += 800'000;
  c.fail();
  EXPECT_EQ(c.status().locked_until_ms, start_ms + 1'700'000);
  c.now_ms = start_ms + 1'700'000;
  EXPECT_FALSE(c.status().locked);
  EXPECT_EQ(c.status().failed_attempts, 0U);
  EXPECT_EQ(c.fail().number, 1U);  // although no sweep has come
  c.end(counters::of());
  EXPECT_EQ(c.state.find(counters::of().subject), nullptr);
}

TEST(lockout, users_do_not_count_for_each_other) {
  counters c;
  c.fail(9, counters::of(1));
  c.fail(9, counters::of(2));
  EXPECT_FALSE(c.status(counters::of(1)).locked);
  EXPECT_FALSE(c.status(counters::of(2)).locked);
  EXPECT_EQ(c.state.locked(c.now_ms), 0U);
  c.fail(counters::of(2));
  EXPECT_FALSE(c.status(counters::of(1)).locked);
  EXPECT_TRUE(c.status(counters::of(2)).locked);
  EXPECT_EQ(c.state.locked(c.now_ms), 1U);
}

TEST(lockout, clearing_forgets_counter_and_lock) {
  counters c;
  c.fail(10, counters::of());
  event cleared;
  cleared.subject = counters::of().subject;
  cleared.body = lockout_cleared{"help desk"};
  c.state.apply(cleared);
  EXPECT_FALSE(c.status().locked);
  EXPECT_EQ(c.status().failed_attempts, 0U);
  EXPECT_EQ(c.fail().number, 1U);
}

TEST(lockout, with_scope_user_source_the_source_that_failed_is_locked_alone) {
  counters c;
  c.policy.scope = lockout_scope::user_source;
  const auto bad = counters::of(1, 1), good = counters::of(1, 2);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(c.fail(bad).locks_until_ms, 0);
  const auto last = c.fail(bad);
  EXPECT_TRUE(last.locks_source_only);
  EXPECT_EQ(last.locks_until_ms, c.now_ms + 900'000);
  EXPECT_TRUE(c.fail(bad).locked_already);
  const auto other = c.fail(good);
  EXPECT_TRUE(other.counted);
  EXPECT_EQ(other.number, 1U);
  EXPECT_EQ(other.user_number, 11U);
  EXPECT_TRUE(c.status().locked);  // some source is
  EXPECT_EQ(c.state.locked(c.now_ms), 1U);
  c.now_ms += 900'000;
  c.end(bad, true);
  EXPECT_EQ(c.fail(bad).number, 1U);
}

TEST(lockout, user_threshold_holds_over_all_sources_and_locks_the_user) {
  counters c;
  c.policy.scope = lockout_scope::user_source;
  c.policy.user_threshold = 25;
  for (std::uint8_t i = 1; i < 25; ++i)
    EXPECT_EQ(c.fail(counters::of(1, i)).locks_until_ms, 0) << int(i);
  const auto last = c.fail(counters::of(1, 99));
  EXPECT_EQ(last.user_number, 25U);
  EXPECT_GT(last.locks_until_ms, 0);
  EXPECT_FALSE(last.locks_source_only);
  EXPECT_TRUE(c.fail(counters::of(1, 200)).locked_already);
}

TEST(lockout, repeats_of_one_context_of_one_session_collapse_for_their_time) {
  counters c;
  c.policy.repeat_collapse_s = 60;
  EXPECT_TRUE(c.fail().counted);
  for (int i = 0; i < 30; ++i) {
    const auto again = c.fail();
    EXPECT_FALSE(again.counted);
    EXPECT_FALSE(again.locked_already);
  }
  EXPECT_EQ(c.status().failed_attempts, 1U);
  EXPECT_TRUE(c.fail(counters::of(1, 1, 1, 2)).counted);  // another context
  EXPECT_TRUE(c.fail(counters::of(1, 1, 2, 1)).counted);  // another session
  c.now_ms += 59'999;
  EXPECT_FALSE(c.fail().counted);
  c.now_ms += 1;
  EXPECT_TRUE(c.fail().counted);
  EXPECT_EQ(c.status().failed_attempts, 4U);
}

TEST(lockout, without_collapse_each_repeat_counts) {
  counters c;
  for (std::uint32_t i = 1; i <= 5; ++i) EXPECT_EQ(c.fail().number, i);
}

TEST(lockout, the_lock_names_the_session_that_took_most_failures) {
  counters c;
  c.policy.revoke_offending = true;
  c.fail(3, counters::of(1, 1, 7));
  c.fail(6, counters::of(1, 1, 8));
  EXPECT_FALSE(c.status().locked);
  const auto last = c.fail(counters::of(1, 1, 7));
  ASSERT_TRUE(last.revoke);
  EXPECT_EQ(last.revoke->bytes, numbered<16>(8));
}

TEST(lockout, the_last_attempt_counts_when_the_offender_is_sought) {
  counters c;
  c.policy.revoke_offending = true;
  c.policy.threshold = 3;
  c.fail(counters::of(1, 1, 7));
  c.fail(counters::of(1, 1, 8));
  const auto last = c.fail(counters::of(1, 1, 8));
  ASSERT_TRUE(last.revoke);
  EXPECT_EQ(last.revoke->bytes, numbered<16>(8));
  counters off;
  off.policy.threshold = 1;
  EXPECT_FALSE(off.fail().revoke);
}

TEST(lockout, a_single_attempt_that_locks_names_its_own_session) {
  counters c;
  c.policy.revoke_offending = true;
  c.policy.threshold = 1;
  EXPECT_EQ(c.fail(counters::of(1, 1, 9)).revoke, session_handle{numbered<16>(9)});
}

TEST(lockout, every_counter_ends_by_itself) {
  for (const auto scope : {lockout_scope::user, lockout_scope::user_source}) {
    counters c;
    c.policy.scope = scope;
    c.fail(10, counters::of(1, 1));
    c.fail(3, counters::of(1, 2));
    c.fail(2, counters::of(2, 1));
    EXPECT_FALSE(c.state.drop_if_over(counters::of(1).subject, c.now_ms + 899'999));
    EXPECT_FALSE(c.state.drop_if_over(counters::of(2).subject, c.now_ms + 899'999));
    EXPECT_TRUE(c.state.drop_if_over(counters::of(1).subject, c.now_ms + 900'000));
    EXPECT_TRUE(c.state.drop_if_over(counters::of(2).subject, c.now_ms + 900'000));
    EXPECT_TRUE(c.state.users().empty());
  }
}

// Regression: a user whom one source after the other fails was never over as a whole, and kept them
// all.
TEST(lockout, counters_of_sources_that_are_over_go_one_by_one) {
  for (const bool replayed : {false, true}) {
    counters c;
    c.policy.scope = lockout_scope::user_source;
    for (std::uint8_t source = 1; source <= 200; ++source) {
      c.now_ms += 60'000;
      ASSERT_TRUE(c.fail(counters::of(1, source)).counted);
      const auto before = digest_lockouts(c.state, c.now_ms);
      if (replayed)
        c.state.drop_over(c.now_ms);
      else
        EXPECT_FALSE(c.state.drop_if_over(counters::of().subject, c.now_ms));
      EXPECT_EQ(digest_lockouts(c.state, c.now_ms), before);
      EXPECT_LE(c.state.find(counters::of().subject)->sources.size(), 15U);
    }
  }
}

TEST(lockout, the_lock_of_a_source_stays_until_its_end_is_told) {
  counters c;
  c.policy.scope = lockout_scope::user_source;
  c.fail(10, counters::of(1, 1));
  c.now_ms += 890'000;
  c.fail(counters::of(1, 2));
  c.now_ms += 20'000;  // the first one's lock and the user's window are over
  EXPECT_FALSE(c.state.drop_if_over(counters::of().subject, c.now_ms));
  c.state.drop_over(c.now_ms);
  ASSERT_NE(c.state.find(counters::of().subject), nullptr);
  EXPECT_TRUE(c.state.find(counters::of().subject)->lock_over(c.now_ms));
  c.end(counters::of(1, 1), true);
  EXPECT_EQ(c.state.find(counters::of().subject)->sources.size(), 1U);
}

TEST(lockout, what_was_loaded_counts_on) {
  counters c;
  c.state.load(counters::of().subject, std::nullopt, {9, start_ms + 1000, 0});
  EXPECT_EQ(c.status().failed_attempts, 9U);
  EXPECT_GT(c.fail().locks_until_ms, 0);
  counters locked;
  locked.state.load(counters::of().subject, std::nullopt, {10, start_ms + 1000, start_ms + 5000});
  EXPECT_TRUE(locked.fail().locked_already);
  locked.now_ms += 5000;
  EXPECT_EQ(locked.fail().number, 1U);
}

TEST(lockout, nobody_has_no_counters) {
  counters c;
  const auto none = status_of(c.state, nullptr, c.policy, c.now_ms);
  EXPECT_FALSE(none.locked);
  EXPECT_EQ(none.threshold, 10U);
  EXPECT_FALSE(none.window_ends_at_ms);
  EXPECT_EQ(c.status().failed_attempts, 0U);
}

// The contract in its simplest form: a list of the failures that counted, and one lock.
struct naive_user {
  std::vector<millis> failures;
  millis locked_until_ms = 0;

  [[nodiscard]] bool locked(millis now_ms) const { return now_ms < locked_until_ms; }
  void forget_the_past(const lockout_policy& policy, millis now_ms) {
    if (locked_until_ms > 0 && now_ms >= locked_until_ms) {
      failures.clear();
      locked_until_ms = 0;
    }
    if (!locked(now_ms) && !failures.empty() && now_ms >= failures.front() + policy.window_s * 1000)
      failures.clear();
  }
};

RC_GTEST_PROP(lockout, agrees_with_a_naive_model_of_random_attempts, ()) {
  counters c;
  c.policy.threshold = static_cast<std::uint32_t>(*rc::gen::inRange(1, 6));
  c.policy.window_s = *rc::gen::element<std::int64_t>(1, 10, 60);
  c.policy.duration_s = *rc::gen::element<std::int64_t>(1, 10, 60);
  std::map<std::uint8_t, naive_user> model;
  const auto steps = *rc::gen::inRange(1, 120);
  for (int i = 0; i < steps; ++i) {
    c.now_ms += *rc::gen::element<millis>(0, 0, 1, 500, 999, 1000, 10'000, 60'000);
    const auto who = *rc::gen::element<std::uint8_t>(1, 2);
    auto& naive = model[who];
    naive.forget_the_past(c.policy, c.now_ms);
    const auto action = *rc::gen::inRange(0, 12);
    if (action == 0) {  // the sweep, at any time
      if (const auto* user = c.state.find(counters::of(who).subject);
          user != nullptr && user->whole.locked_until_ms > 0 && !user->whole.locked(c.now_ms))
        c.end(counters::of(who));
      (void)c.state.drop_if_over(counters::of(who).subject, c.now_ms);
    } else if (action == 1) {
      event cleared;
      cleared.subject = counters::of(who).subject;
      cleared.body = lockout_cleared{};
      c.state.apply(cleared);
      naive = {};
    } else {
      const auto judged = c.fail(counters::of(who));
      RC_ASSERT(judged.locked_already == naive.locked(c.now_ms));
      RC_ASSERT(judged.counted == !naive.locked(c.now_ms));
      if (judged.counted) {
        naive.failures.push_back(c.now_ms);
        RC_ASSERT(judged.number == naive.failures.size());
        RC_ASSERT(naive.failures.size() <= c.policy.threshold);
        const bool locks = naive.failures.size() == c.policy.threshold;
        RC_ASSERT((judged.locks_until_ms > 0) == locks);
        if (locks) naive.locked_until_ms = c.now_ms + c.policy.duration_s * 1000;
      }
    }
    const auto status = c.status(counters::of(who));
    RC_ASSERT(status.locked == naive.locked(c.now_ms));
    RC_ASSERT(status.failed_attempts == naive.failures.size());
  }
}

RC_GTEST_PROP(lockout, no_source_is_evaluated_more_often_than_its_threshold_in_a_window, ()) {
  counters c;
  c.policy.scope = lockout_scope::user_source;
  c.policy.threshold = static_cast<std::uint32_t>(*rc::gen::inRange(1, 5));
  c.policy.user_threshold = static_cast<std::uint32_t>(*rc::gen::inRange(5, 12));
  std::map<std::uint8_t, std::uint32_t> counted;
  std::uint32_t all = 0;
  const auto steps = *rc::gen::inRange(1, 80);
  for (int i = 0; i < steps; ++i) {  // all within one window and one lock
    c.now_ms += 1;
    const auto source = static_cast<std::uint8_t>(*rc::gen::inRange(1, 7));
    const auto judged = c.fail(counters::of(1, source));
    if (!judged.counted) {
      RC_ASSERT(judged.locked_already);
      RC_ASSERT(counted[source] == c.policy.threshold || all == c.policy.user_threshold);
      continue;
    }
    RC_ASSERT(++counted[source] <= c.policy.threshold);
    RC_ASSERT(++all <= c.policy.user_threshold);
  }
}

}  // namespace
}  // namespace portcullis::core
