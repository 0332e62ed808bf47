// A log whose beginning was cut off, after old records of activity had been emptied, is explained
// from where it begins: what is not known any more is left open, and nothing disagrees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/replay/explain.hpp"
#include "random_life.hpp"

namespace portcullis::core {
namespace {

using testing::HasSubstr;

/// The log of a node from the event at `cut` on, explained one by one. Records of activity before
/// `gone` are empty.
struct cut_log {
  cut_log(const lived& of, std::size_t cut, std::size_t gone_before)
      : node(of), policies{{0, 0, true, of.policies}}, next(cut), gone(gone_before) {
    for (std::size_t i = 0; i < cut; ++i) state.apply(lived::kept(node.log[i], i < gone));
    if (cut > 0) recent.begin(state);
  }
  explanation explain(const event& what) {
    const identity_opener open = [this](const subject_id& subject) { return node.who(subject); };
    return core::explain({what, state, recent, policies, open, &node.keys, {}, nullptr});
  }
  /// Of the next event.
  explanation step() {
    const auto what = lived::kept(node.log[next], next < gone);
    ++next;
    auto how = explain(what);
    recent.note(what, state);
    state.apply(what);
    return how;
  }
  /// Of the next event of this type.
  explanation step_to(event_type type) {
    while (next < node.log.size() && node.log[next].type() != type) (void)step();
    if (next < node.log.size()) return step();
    ADD_FAILURE() << "no " << to_string(type);
    return {};
  }

  const lived& node;
  std::vector<logged_policy> policies;
  std::size_t next, gone;
  replayed_state state;
  log_recent recent;
};

TEST(explain_cut, a_session_in_use_whose_activity_is_gone_is_not_called_over) {
  lived node(idle(900));
  const auto s = node.sign_in();
  for (int i = 0; i < 3; ++i) {
    node.pass(600'000);
    EXPECT_EQ(node.validate(s.id, home), verdict::valid);
  }
  const auto cut = node.log.size();
  node.update(s.id, "{}");
  node.revoke(s.handle);
  cut_log log(node, cut, cut);
  const auto updated = log.step_to(event_type::session_updated);
  EXPECT_EQ(updated.agrees, agreement::not_checkable) << updated.why;
  EXPECT_THAT(updated.why, HasSubstr("activity is not kept for long"));
  const auto revoked = log.step_to(event_type::session_revoked);
  EXPECT_EQ(revoked.agrees, agreement::yes) << "the update is kept: " << revoked.why;
}

policy_book by_source(std::uint32_t threshold) {
  auto book = with_threshold(threshold);
  book.lockout.scope = lockout_scope::user_source;
  book.lockout.duration_s = 60;
  return book;
}

/// The last failure, 100 ms before, gets into the log after the end of the lock.
void fail_until_the_lock_ends(lived& node, const session_id& id) {
  node.pass(57'500);
  EXPECT_EQ(node.validate(id, abroad), verdict::locked);
  node.pass(400);
  EXPECT_EQ(node.validate(id, abroad), verdict::locked);
  node.pass(300);
  node.pass(2'000);
}

TEST(explain_cut, a_lock_from_before_the_cut_is_known_when_it_is_over) {
  lived node(by_source(2));
  const auto s = node.sign_in();
  fail(node, s.id, 2);
  const auto cut = node.log.size();
  fail_until_the_lock_ends(node, s.id);
  cut_log log(node, cut, cut);
  EXPECT_EQ(log.step_to(event_type::lockout_ended).agrees, agreement::yes);
  const auto failed = log.step_to(event_type::validation_failed);
  EXPECT_EQ(failed.agrees, agreement::yes) << failed.why;
}

TEST(explain_cut, a_source_locked_from_before_the_cut_is_so_whatever_other_sources_do) {
  lived node(by_source(2));
  const auto s = node.sign_in();
  fail(node, s.id, 2);
  const auto cut = node.log.size();
  fail(node, s.id, 2, elsewhere);
  EXPECT_EQ(node.validate(s.id, abroad), verdict::locked);
  node.pass(2'000);
  cut_log log(node, cut, cut);
  EXPECT_EQ(log.step_to(event_type::lockout_started).agrees, agreement::yes);
  const auto failed = log.step_to(event_type::validation_failed);
  EXPECT_EQ(failed.agrees, agreement::yes) << failed.why;
}

TEST(explain_cut, a_lock_that_was_over_before_the_cut_is_left_open) {
  lived node(by_source(2));
  const auto s = node.sign_in();
  fail(node, s.id, 2);
  fail_until_the_lock_ends(node, s.id);
  std::size_t cut = 0;
  while (node.log[cut].type() != event_type::lockout_ended) ++cut;
  cut_log log(node, cut + 1, 0);
  const auto failed = log.step_to(event_type::validation_failed);
  EXPECT_EQ(failed.agrees, agreement::not_checkable);
  EXPECT_THAT(failed.why, HasSubstr("before the log begins"));
}

RC_GTEST_PROP(explain_cut, no_event_of_any_history_disagrees, ()) {
  random_life life(any_policy());
  const auto steps = *rc::gen::inRange(1, 120);
  for (int i = 0; i < steps; ++i) life.step();
  if (life.node.log.empty()) return;
  cut_log log(life.node, *rc::gen::inRange<std::size_t>(0, life.node.log.size()),
              *rc::gen::inRange<std::size_t>(0, life.node.log.size()));
  while (log.next < life.node.log.size()) {
    const auto& what = life.node.log[log.next];
    const auto how = log.step();
    RC_LOG() << what.seq << ' ' << to_string(what.type()) << ": " << how.why << '\n';
    RC_ASSERT(how.agrees != agreement::no);
  }
}

}  // namespace
}  // namespace portcullis::core
