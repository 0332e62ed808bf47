// Cumulative counts of applications: what is added, what is refused (breaker.md, Ingesting).
#include "observed_world.hpp"

namespace portcullis::core::breaker_tests {
namespace {

using enum breaker_state;

TEST(observed_counts, are_the_differences_of_what_was_reported) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(10, 2)}));
  EXPECT_TRUE(w.accepted({.seq = 2, .counts = counts_of(10, 2)}));
  EXPECT_TRUE(w.accepted({.seq = 3, .counts = counts_of(25, 2, 3)}));
  EXPECT_EQ(w->tallies().calls, counts_of(25, 2, 3));
  EXPECT_EQ(w->tallies().errors[static_cast<std::size_t>(call_error::other)], 5U);
  EXPECT_TRUE(w.events.empty());
  EXPECT_EQ(w->tallies().last_report_at_ms, start_ms);
}

TEST(observed_counts, of_several_sources_add_up) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.counts = counts_of(10), .source = "a"}));
  EXPECT_TRUE(w.accepted({.counts = counts_of(7, 1), .source = "b"}));
  EXPECT_TRUE(w.accepted({.seq = 2, .counts = counts_of(11), .source = "a"}));
  EXPECT_EQ(w->tallies().calls, counts_of(18, 1));
}

TEST(observed_counts, of_durations_are_taken_as_differences_too) {
  observed_world w;
  duration_buckets first{}, second{};
  first[1] = 4;
  second[1] = 6;
  second[2] = 1;
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(4), .durations = first}));
  EXPECT_TRUE(w.accepted({.seq = 2, .counts = counts_of(5)}));  // tells none this time
  EXPECT_TRUE(w.accepted({.seq = 3, .counts = counts_of(7), .durations = second}));
  EXPECT_EQ(w->tallies().durations, second);
  EXPECT_EQ(w.refused({.seq = 4, .counts = counts_of(8), .durations = first}),
            error_code::BREAKER_COUNTS_DECREASED);
}

TEST(observed_counts, a_duplicate_adds_nothing) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 5, .counts = counts_of(10)}));
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(w.duplicate({.seq = 5, .counts = counts_of(10)}));
    EXPECT_TRUE(w.duplicate({.seq = 5, .counts = counts_of(900), .state = open}));
  }
  EXPECT_EQ(w->tallies().calls, counts_of(10));
  EXPECT_TRUE(w.events.empty());
}

TEST(observed_counts, a_report_that_was_overtaken_adds_nothing) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(10)}));
  EXPECT_TRUE(w.accepted({.seq = 3, .counts = counts_of(30)}));
  EXPECT_TRUE(w.accepted({.seq = 2, .counts = counts_of(20)}));
  EXPECT_EQ(w->tallies().calls, counts_of(30));
  EXPECT_TRUE(w.duplicate({.seq = 2, .counts = counts_of(20)}));
  EXPECT_TRUE(w.accepted({.seq = 4, .counts = counts_of(31)}));
  EXPECT_EQ(w->tallies().calls, counts_of(31));
}

TEST(observed_counts, duplicates_are_known_over_the_last_64_and_older_are_taken_for_such) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(1)}));
  EXPECT_TRUE(w.accepted({.seq = 100, .counts = counts_of(2)}));
  EXPECT_TRUE(w.duplicate({.seq = 1}));
  EXPECT_TRUE(w.duplicate({.seq = 36}));
  EXPECT_TRUE(w.accepted({.seq = 37}));
  EXPECT_TRUE(w.duplicate({.seq = 37}));
}

TEST(observed_counts, that_decrease_are_refused_whichever_they_are) {
  for (std::size_t which = 0; which < call_result_count; ++which) {
    observed_world w;
    call_counts counts;
    counts.by_result.fill(10);
    EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts}));
    auto fewer = counts;
    fewer[call_result::success] += 100;
    fewer.by_result[which] = 9;
    EXPECT_EQ(w.refused({.seq = 2, .counts = fewer, .state = open}),
              error_code::BREAKER_COUNTS_DECREASED);
    EXPECT_EQ(w.refusals(report_refusal::counts_decreased), 1U);
    EXPECT_EQ(w->tallies().calls, counts);
    EXPECT_EQ(w->state(), closed);
    EXPECT_TRUE(w.events.empty());
    EXPECT_TRUE(w.accepted({.seq = 2, .counts = counts}));  // its number is not used up
  }
}

TEST(observed_counts, that_grow_by_more_than_the_most_are_refused) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(500'000, 500'000)}));
  EXPECT_EQ(w.refused({.seq = 2, .counts = counts_of(1'000'000, 1'000'001)}),
            error_code::INVALID_PARAMS);
  EXPECT_EQ(w.refusals(report_refusal::delta_too_large), 1U);
  EXPECT_EQ(w->tallies().calls, counts_of(500'000, 500'000));
  EXPECT_TRUE(w.accepted({.seq = 2, .counts = counts_of(1'000'000, 1'000'000)}));
  duration_buckets durations{};
  durations[3] = 1'000'001;
  EXPECT_EQ(
      w.refused({.seq = 3, .counts = counts_of(1'000'000, 1'000'000), .durations = durations}),
      error_code::INVALID_PARAMS);
}

TEST(observed_counts, of_a_source_first_heard_in_its_middle_begin_where_it_is) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 900, .counts = counts_of(50'000'000, 7)}));
  EXPECT_EQ(w->tallies().calls, call_counts{});
  EXPECT_TRUE(w.accepted({.seq = 901, .counts = counts_of(50'000'100, 8)}));
  EXPECT_EQ(w->tallies().calls, counts_of(100, 1));
}

TEST(observed_counts, of_a_sources_first_report_may_not_be_that_many) {
  observed_world w;
  EXPECT_EQ(w.refused({.seq = 1, .counts = counts_of(1'000'001)}), error_code::INVALID_PARAMS);
  EXPECT_TRUE(w->sources().empty());
}

// --- epochs of a source

TEST(observed_epochs, a_newer_one_starts_counting_anew) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 50, .counts = counts_of(1'000), .source_epoch = 100}));
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(3), .source_epoch = 101}));
  EXPECT_EQ(w->tallies().calls, counts_of(1'003));
  EXPECT_TRUE(w.duplicate({.seq = 1, .counts = counts_of(3), .source_epoch = 101}));
  EXPECT_TRUE(w.accepted({.seq = 2, .counts = counts_of(4), .source_epoch = 101}));
  EXPECT_EQ(w->tallies().calls, counts_of(1'004));
}

TEST(observed_epochs, a_report_of_one_that_is_over_counts_as_a_refusal_and_changes_nothing) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(3), .source_epoch = 101}));
  const auto late =
      w.send({.seq = 51, .counts = counts_of(2'000), .state = open, .source_epoch = 100});
  ASSERT_TRUE(late);
  EXPECT_FALSE(late->accepted);
  EXPECT_FALSE(late->duplicate);
  EXPECT_EQ(w.refusals(report_refusal::old_epoch), 1U);
  EXPECT_EQ(w->tallies().calls, counts_of(3));
  EXPECT_EQ(w->state(), closed);
}

TEST(observed_epochs, a_newer_one_closes_what_the_older_left_open) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .state = open, .changed = change(closed, open)}));
  w.now_ms += 10'000;
  EXPECT_TRUE(w.accepted({.seq = 1, .source_epoch = 101}));
  EXPECT_EQ(w.path(), "closed>opened open>closed");
  EXPECT_EQ(w->state(), closed);
  EXPECT_EQ(w->open_ms(w.now_ms + 99'000), 10'000);
}

// After the server had been away for long, a restarted source's reports were refused for ever.
TEST(observed_epochs, a_newer_one_first_heard_in_its_middle_begins_where_it_is) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .counts = counts_of(5), .source_epoch = 100}));
  EXPECT_TRUE(w.accepted({.seq = 70, .counts = counts_of(9'000'000), .source_epoch = 101}));
  EXPECT_EQ(w->tallies().calls, counts_of(5));
  EXPECT_TRUE(w.accepted({.seq = 71, .counts = counts_of(9'000'001), .source_epoch = 101}));
  EXPECT_EQ(w->tallies().calls, counts_of(6));
  EXPECT_EQ(w.refused({.seq = 1, .counts = counts_of(9'000'000), .source_epoch = 102}),
            error_code::INVALID_PARAMS);
}

// --- how many sources

TEST(observed_sources, are_64_at_most_and_a_silent_one_makes_room) {
  observed_world w;
  for (std::size_t i = 0; i < limits::breaker_sources_max; ++i) {
    EXPECT_TRUE(w.accepted({.counts = counts_of(1), .source = "app-" + std::to_string(i)}));
    w.now_ms += 1;
  }
  (void)w->take_unsaved();
  EXPECT_EQ(w.refused({.source = "late"}), error_code::BREAKER_SOURCE_LIMIT);
  EXPECT_EQ(w.refusals(report_refusal::source_limit), 1U);
  EXPECT_FALSE(w->has_unsaved());
  EXPECT_TRUE(w.accepted({.seq = 2, .counts = counts_of(1), .source = "app-0"}));
  w.now_ms = start_ms + 1 + limits::source_silent_ms - 1;
  EXPECT_EQ(w.refused({.source = "late"}), error_code::BREAKER_SOURCE_LIMIT);
  w.now_ms += 1;
  EXPECT_TRUE(w.accepted({.source = "late"}));  // in the place of app-1
  EXPECT_EQ(w->sources().size(), limits::breaker_sources_max);
  EXPECT_FALSE(w->sources().contains("app-1"));
  const auto unsaved = w->take_unsaved();
  ASSERT_EQ(unsaved.size(), 3U);
  EXPECT_EQ(unsaved[0].source, "app-0");
  EXPECT_EQ(unsaved[1].source, "app-1");
  EXPECT_TRUE(unsaved[1].gone);
  EXPECT_EQ(unsaved[2].source, "late");
  EXPECT_FALSE(unsaved[2].gone);
}

// The time that a source had been open went with it: a counter that shrank.
TEST(observed_sources, one_that_made_room_while_open_leaves_its_open_time) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 1, .state = open, .source = "quiet"}));
  w.now_ms += 5'000;
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .source = "quiet"}));
  for (std::size_t i = 1; i < limits::breaker_sources_max; ++i) {
    w.now_ms += 1;
    EXPECT_TRUE(w.accepted({.source = "app-" + std::to_string(i)}));
  }
  w.now_ms = start_ms + 5'000 + limits::source_silent_ms;
  const auto before = w->open_ms(w.now_ms);
  EXPECT_EQ(before, 5'000);
  EXPECT_TRUE(w.accepted({.source = "late"}));
  EXPECT_EQ(w->open_ms(w.now_ms), before);
  EXPECT_EQ(w->open_ms(w.now_ms + 60'000), before);
  EXPECT_EQ(w->state(), closed);
  EXPECT_EQ(w.path(), "closed>opened open>closed") << "what it said went with it, and is told";
}

// While the server is away nobody can report: the first who does afterwards closes no other's.
TEST(observed_sources, are_not_silent_for_the_time_that_the_server_was_away) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.state = open, .source = "slow"}));
  EXPECT_TRUE(w.accepted({.source = "quick"}));
  const auto sources = w->take_unsaved();
  breaker_record stored;
  stored.service = "payments";
  stored.breaker = "default";
  stored.kind = breaker_kind::observed;
  stored.state = open;
  stored.epoch = w->epoch();
  w.now_ms += 10 * limits::source_silent_ms;
  w.breaker = observed_breaker(stored, w.now_ms);
  for (const auto& each : sources) w->restore(each.source, each.what);
  w.events.clear();
  EXPECT_TRUE(w.accepted({.seq = 2, .source = "quick"}));
  EXPECT_EQ(w->state(), open);
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .source = "slow"}));
  EXPECT_EQ(w.path(), "") << "nothing has changed";
  w.now_ms += limits::source_silent_ms;
  EXPECT_TRUE(w.accepted({.seq = 3, .source = "quick"}));
  EXPECT_EQ(w.path(), "open>closed") << "by now it is";
}

TEST(observed_sources, one_that_makes_room_after_a_restart_takes_its_open_state_along_as_an_event) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.state = open, .source = "dead"}));
  for (std::size_t i = 1; i < limits::breaker_sources_max; ++i) {
    w.now_ms += 1;
    EXPECT_TRUE(w.accepted({.source = "app-" + std::to_string(i)}));
  }
  const auto sources = w->take_unsaved();
  breaker_record stored;
  stored.service = "payments";
  stored.breaker = "default";
  stored.kind = breaker_kind::observed;
  stored.state = open;
  w.now_ms += 2 * limits::source_silent_ms;
  w.breaker = observed_breaker(stored, w.now_ms);
  for (const auto& each : sources) w->restore(each.source, each.what);
  w.events.clear();
  EXPECT_TRUE(w.accepted({.source = "new"}));
  EXPECT_FALSE(w->sources().contains("dead"));
  EXPECT_EQ(w->state(), closed);
  EXPECT_EQ(w.path(), "open>closed");
}

// Regression: a process that died while its breaker was open kept the whole open for ever.
TEST(observed_sources, one_that_is_long_silent_is_not_heard_where_another_reports) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.state = open, .source = "dead"}));
  EXPECT_TRUE(w.accepted({.source = "live"}));
  EXPECT_EQ(w->state(), open);
  w.now_ms += limits::source_silent_ms - 1;
  EXPECT_TRUE(w.accepted({.seq = 2, .source = "live"}));
  EXPECT_EQ(w->state(), open);
  w.now_ms += 1;
  EXPECT_EQ(w->state(), open) << "nobody says otherwise";
  const auto open_ms = w->open_ms(w.now_ms);
  EXPECT_TRUE(w.accepted({.seq = 3, .source = "live"}));
  EXPECT_EQ(w->state(), closed);
  EXPECT_EQ(w->open_ms(w.now_ms), open_ms) << "nobody knows for how long it was";
  const auto& told = std::get<breaker_closed>(w.events.back());
  EXPECT_EQ(told.cause, breaker_cause::source_silent);
  EXPECT_EQ(told.source, "dead");
  EXPECT_TRUE(w.accepted({.seq = 2, .state = open, .source = "dead"}));
  EXPECT_EQ(w->state(), open) << "it was not dead";
  EXPECT_EQ(w.path(), "closed>opened open>closed closed>opened");
}

// --- what is stored

TEST(observed_stored, comes_back_as_it_was) {
  observed_world w;
  EXPECT_TRUE(w.accepted({.seq = 7, .counts = counts_of(100, 3), .state = open, .source = "a"}));
  EXPECT_TRUE(w.accepted({.seq = 9, .counts = counts_of(5), .source = "b"}));
  EXPECT_TRUE(w->has_unsaved());
  const auto rows = w->take_unsaved();
  EXPECT_FALSE(w->has_unsaved());
  EXPECT_TRUE(w->take_unsaved().empty());

  breaker_record record;
  record.service = "payments";
  record.breaker = "default";
  record.kind = breaker_kind::observed;
  record.state = w->state();
  record.epoch = w->epoch();
  observed_world again;
  again.now_ms = start_ms + 60'000;
  again.breaker = observed_breaker(record, again.now_ms);
  for (const auto& row : rows) again->restore(row.source, row.what);
  EXPECT_EQ(again->state(), open);
  EXPECT_EQ(again->epoch(), w->epoch());
  EXPECT_FALSE(again->has_unsaved());
  EXPECT_TRUE(again.duplicate({.seq = 7, .source = "a"}));
  EXPECT_TRUE(
      again.accepted({.seq = 8, .counts = counts_of(110, 3), .state = open, .source = "a"}));
  EXPECT_EQ(again->tallies().calls, counts_of(10));  // counted since it started
  EXPECT_EQ(again.refused({.seq = 10, .counts = counts_of(4), .source = "b"}),
            error_code::BREAKER_COUNTS_DECREASED);
  EXPECT_TRUE(again.events.empty());
}

// The stored state is the last transition's, whichever source that was.
TEST(observed_stored, shows_the_worst_of_its_sources_at_once) {
  breaker_record record;
  record.state = closed;
  observed_breaker breaker(record, start_ms);
  breaker_source bad, good;
  bad.state = open;
  bad.last_report_at_ms = good.last_report_at_ms = start_ms - 1'000;
  breaker.restore("a", bad);
  breaker.restore("b", good);
  EXPECT_EQ(breaker.state(), open);
  EXPECT_EQ(breaker.tallies().last_report_at_ms, start_ms - 1'000);
}

// Time of before the restart was in the counter of before, too: a scrape took it for new.
TEST(observed_stored, open_time_counts_from_the_restart) {
  breaker_record record;
  record.state = open;
  observed_breaker breaker(record, start_ms);
  breaker_source source;
  source.state = open;
  source.source_epoch = 100;
  source.open_since_ms = start_ms - 3'600'000;
  source.last_report_at_ms = start_ms - 1'000;
  observed_world w;
  w.breaker = std::move(breaker);
  w->restore("app", source);
  EXPECT_EQ(w->open_ms(w.now_ms), 0);
  w.now_ms += 5'000;
  EXPECT_TRUE(w.accepted({.seq = 1, .state = open}));
  EXPECT_EQ(w->open_ms(w.now_ms), 5'000);
}

}  // namespace
}  // namespace portcullis::core::breaker_tests
