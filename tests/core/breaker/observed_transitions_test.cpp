// Transitions of applications' breakers: those reported, those that must have been, and late ones.
#include "observed_world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

using enum breaker_state;

TEST(observed_transitions, are_told_as_reported) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(5)}));
  EXPECT_TRUE(w.accepted({.seq = 2,
                          .counts = counts_of(5, 5),
                          .state = open,
                          .changed = change(closed, open, start_ms - 40)}));
  ASSERT_EQ(w.events.size(), 1U);
  const auto& opened = std::get<breaker_opened>(w.events.back());
  EXPECT_EQ(opened.kind, breaker_kind::observed);
  EXPECT_EQ(opened.cause, breaker_cause::reported);
  EXPECT_EQ(opened.from, closed);
  EXPECT_EQ(opened.source, "app");
  EXPECT_EQ(opened.epoch, 2U);
  EXPECT_EQ(opened.transitioned_at_ms, start_ms - 40);
  EXPECT_FALSE(opened.to);
  EXPECT_EQ(w->epoch(), 2U);
  EXPECT_EQ(w->state(), open);
}

TEST(observed_transitions, without_a_report_of_them_are_told_once_a_state_differs) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open}));
  EXPECT_TRUE(w.accepted({.seq = 3, .state = open}));
  EXPECT_TRUE(w.accepted({.seq = 4, .state = half_open}));
  EXPECT_EQ(w.path(), "closed>opened open>half_opened");
  EXPECT_FALSE(std::get<breaker_opened>(w.events[0]).transitioned_at_ms);
  EXPECT_EQ(w->epoch(), 3U);
}

TEST(observed_transitions, that_come_late_are_told_and_leave_the_state) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  EXPECT_TRUE(w.accepted({.seq = 4}));
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .changed = change(closed, open)}));
  EXPECT_TRUE(w.accepted({.seq = 3, .changed = change(open, closed)}));
  EXPECT_EQ(w.path(), "closed>opened open>closed");
  EXPECT_EQ(w->state(), closed);
  EXPECT_TRUE(w.duplicate({.seq = 2, .state = open, .changed = change(closed, open)}));
  EXPECT_EQ(w.events.size(), 2U);
}

TEST(observed_transitions, that_come_late_and_were_inferred_are_not_told_twice) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  EXPECT_TRUE(w.accepted({.seq = 3, .state = open}));  // closed to open, unreported
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .changed = change(closed, open)}));
  EXPECT_EQ(w.path(), "closed>opened");
  EXPECT_EQ(w->epoch(), 2U);
}

TEST(observed_transitions, that_were_inferred_from_the_next_are_not_told_twice_either) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  EXPECT_TRUE(w.accepted({.seq = 3, .state = half_open, .changed = change(open, half_open)}));
  EXPECT_EQ(w.path(), "closed>opened open>half_opened");
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .changed = change(closed, open)}));
  EXPECT_EQ(w.events.size(), 2U);
}

TEST(observed_transitions, only_one_report_may_stand_for_an_inferred_one) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  EXPECT_TRUE(w.accepted({.seq = 6, .state = open}));
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .changed = change(closed, open)}));
  EXPECT_TRUE(w.accepted({.seq = 3, .changed = change(open, closed)}));
  EXPECT_TRUE(w.accepted({.seq = 4, .state = open, .changed = change(closed, open)}));
  EXPECT_EQ(w.path(), "closed>opened open>closed closed>opened");
}

TEST(observed_transitions, an_inference_is_not_met_by_a_report_from_outside_its_gap) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  EXPECT_TRUE(w.accepted({.seq = 3}));
  EXPECT_TRUE(w.accepted({.seq = 5, .state = open}));  // between 3 and 5
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .changed = change(closed, open)}));
  EXPECT_EQ(w.path(), "closed>opened closed>opened");
}

TEST(observed_transitions, of_a_state_to_itself_are_none) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .changed = change(closed, closed)}));
  EXPECT_TRUE(w.events.empty());
}

TEST(observed_transitions, to_the_overrides_of_a_library_name_them) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .state = forced_open}));
  EXPECT_TRUE(w.accepted({.seq = 2, .state = disabled}));
  EXPECT_TRUE(w.accepted({.seq = 3, .state = metrics_only}));
  EXPECT_TRUE(w.accepted({.seq = 4, .state = closed}));
  EXPECT_EQ(w.path(),
            "closed>forced_open forced_open>disabled disabled>metrics_only metrics_only>closed");
  EXPECT_EQ(w->describe(w.now_ms).base_state, closed);
}

TEST(observed_state, is_the_worst_of_all_sources) {
  observed_world w;
  const std::pair<breaker_state, breaker_state> steps[] = {{closed, closed},
                                                           {half_open, half_open},
                                                           {open, open},
                                                           {half_open, open},
                                                           {forced_open, forced_open}};
  std::uint64_t seq = 0;
  for (const auto& [told, expected] : steps) {
    ++seq;
    const auto source = told == half_open && seq > 2 ? "c" : "a";
    EXPECT_TRUE(w.accepted({.seq = seq, .state = told, .source = source}));
    EXPECT_TRUE(w.accepted({.seq = seq, .source = "b"}));
    EXPECT_EQ(w->state(), expected) << seq;
  }
  EXPECT_EQ(w->describe(w.now_ms).sources.size(), 3U);
  EXPECT_EQ(w->describe(w.now_ms).base_state, open);
  EXPECT_TRUE(w.accepted({.seq = 99, .source = "a"}));
  EXPECT_EQ(w->state(), half_open);
  EXPECT_TRUE(w.accepted({.seq = 99, .source = "c"}));
  EXPECT_EQ(w->state(), closed);
}

// One report may close and open it again: it was told to be as old as before, while the log, and
// with it a server that starts again, has the new time.
TEST(observed_state, begins_anew_where_a_report_ends_where_it_began) {
  const std::pair<sent, sent> cases[] = {
      {{.seq = 1, .state = open}, {.seq = 2, .state = open, .changed = change(closed, open)}},
      {{.seq = 1, .state = open}, {.seq = 2, .state = open, .changed = change(half_open, open)}},
      {{.seq = 1, .state = open}, {.seq = 2, .state = open, .changed = change(open, closed)}},
      {{.seq = 1, .state = open}, {.seq = 1, .state = open, .source_epoch = 101}},
      {{.seq = 1, .state = half_open},
       {.seq = 2, .state = half_open, .changed = change(closed, half_open)}}};
  for (const auto& [before, again] : cases) {
    observed_world w;
    EXPECT_TRUE(w.accepted(before));
    w.now_ms += 1'500;
    EXPECT_TRUE(w.accepted(again));
    EXPECT_EQ(w->state(), before.state);
    EXPECT_EQ(w->describe(w.now_ms).since_ms, start_ms + 1'500) << w.path();
  }
}

TEST(observed_state, goes_on_where_another_source_holds_it_or_a_report_is_late) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  EXPECT_TRUE(w.accepted({.seq = 3, .state = open}));
  EXPECT_TRUE(w.accepted({.seq = 1, .state = open, .source = "b"}));
  w.now_ms += 1'500;
  EXPECT_TRUE(w.accepted({.seq = 2, .changed = change(half_open, closed)}));
  EXPECT_TRUE(
      w.accepted({.seq = 2, .state = open, .changed = change(closed, open), .source = "b"}));
  EXPECT_EQ(w->describe(w.now_ms).since_ms, start_ms);
}

TEST(observed_state, of_sources_that_are_all_out_of_force_is_that_of_one) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.state = disabled, .source = "a"}));
  EXPECT_EQ(w->state(), disabled);
  EXPECT_TRUE(w.accepted({.state = closed, .source = "b"}));
  EXPECT_EQ(w->state(), closed);
}

// --- how long it was open

TEST(observed_open_time, goes_by_the_sources_clock_within_what_can_be) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  w.now_ms += 10'000;
  EXPECT_TRUE(
      w.accepted({.seq = 2, .state = open, .changed = change(closed, open, start_ms + 4'000)}));
  EXPECT_EQ(w->open_ms(w.now_ms), 6'000);
  w.now_ms += 5'000;
  EXPECT_TRUE(w.accepted({.seq = 3, .state = open}));
  w.now_ms += 5'000;
  EXPECT_TRUE(w.accepted({.seq = 4, .changed = change(open, closed, start_ms + 19'000)}));
  EXPECT_EQ(w->open_ms(w.now_ms), 15'000);
  EXPECT_EQ(w->open_ms(w.now_ms + 60'000), 15'000);
}

TEST(observed_open_time, does_not_believe_a_clock_before_the_last_report_or_after_now) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  w.now_ms += 10'000;
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .changed = change(closed, open, 5)}));
  EXPECT_EQ(w->open_ms(w.now_ms), 10'000);
  w.now_ms += 10'000;
  EXPECT_TRUE(w.accepted({.seq = 3, .changed = change(open, closed, start_ms + 86'400'000)}));
  EXPECT_EQ(w->open_ms(w.now_ms), 20'000);
}

TEST(observed_open_time, adds_up_over_sources) {
  observed_world w;
  for (const std::uint64_t seq : {1, 2}) {
    EXPECT_TRUE(w.accepted({.seq = seq, .state = open, .source = "a"}));
    EXPECT_TRUE(w.accepted({.seq = seq, .state = forced_open, .source = "b"}));
    w.now_ms += 5'000;
  }
  EXPECT_EQ(w->open_ms(w.now_ms), 10'000);
}

// What was counted until a scrape was taken back when the source said that it had closed before.
TEST(observed_open_time, never_shrinks) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .state = open}));
  w.now_ms += 10'000;
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open}));
  w.now_ms += 10'000;
  const auto scraped = w->open_ms(w.now_ms);
  EXPECT_TRUE(w.accepted({.seq = 3, .changed = change(open, closed, start_ms + 12'000)}));
  EXPECT_GE(w->open_ms(w.now_ms), scraped);
  EXPECT_EQ(w->open_ms(w.now_ms), 12'000);
}

// A first report whose transition was dated to 1970 was open since then.
TEST(observed_open_time, does_not_begin_before_the_source_was_heard) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .state = open, .changed = change(closed, open, 5)}));
  EXPECT_EQ(w->open_ms(w.now_ms), 0);
  w.now_ms += 1'000;
  EXPECT_TRUE(w.accepted(
      {.seq = 1, .state = open, .changed = change(closed, open, 5), .source_epoch = 101}));
  EXPECT_EQ(w->open_ms(w.now_ms), 1'000);  // the earlier life's
}

TEST(observed_open_time, of_less_than_an_interval_is_seen) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1}));
  w.now_ms += 10'000;
  EXPECT_TRUE(
      w.accepted({.seq = 2, .state = open, .changed = change(closed, open, start_ms + 9'000)}));
  EXPECT_TRUE(w.accepted({.seq = 3, .changed = change(open, closed, start_ms + 9'500)}));
  EXPECT_EQ(w.path(), "closed>opened open>closed");
}

// A late report moved the beginning of the phase that is open now, or ended it: the counter shrank
// or stood still.
TEST(observed_open_time, is_not_touched_by_what_comes_late) {
  for (const auto& late : {change(closed, open), change(open, closed)}) {
    observed_world w;
    EXPECT_TRUE(w.accepted({.seq = 1}));
    EXPECT_TRUE(w.accepted({.seq = 3}));
    w.now_ms += 10'000;
    EXPECT_TRUE(w.accepted({.seq = 4, .state = open, .changed = change(closed, open, w.now_ms)}));
    w.now_ms += 10'000;
    EXPECT_TRUE(w.accepted({.seq = 5, .state = open}));
    EXPECT_EQ(w->open_ms(w.now_ms), 10'000);
    EXPECT_TRUE(w.accepted({.seq = 2, .state = late.to, .changed = late}));
    EXPECT_EQ(w->open_ms(w.now_ms), 10'000);
    w.now_ms += 7'000;
    EXPECT_TRUE(w.accepted({.seq = 6, .state = open}));
    EXPECT_EQ(w->open_ms(w.now_ms), 17'000);
    EXPECT_EQ(w->state(), open);
  }
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
