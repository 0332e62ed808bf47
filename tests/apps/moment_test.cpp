// Places in the log as people name them.
#include <gtest/gtest.h>

#include "apps/log/source.hpp"

namespace portcullis::apps {
namespace {

std::optional<core::millis> time_of(const std::string& text) {
  const auto moment = parse_moment(text);
  return moment ? moment->at_ms : std::nullopt;
}

TEST(moment, a_time_is_read_to_the_millisecond_in_each_of_its_forms) {
  const core::millis day = 1'795'910'400'000;  // 2026-11-29
  EXPECT_EQ(time_of("2026-11-29"), day);
  EXPECT_EQ(time_of("2026-11-29Z"), day);
  EXPECT_EQ(time_of("2026-11-29T16:12"), day + (16 * 60 + 12) * 60'000);
  EXPECT_EQ(time_of("2026-11-29 16:12:05"), day + (16 * 60 + 12) * 60'000 + 5'000);
  EXPECT_EQ(time_of("2026-11-29T00:00:05.1239Z"), day + 5'124);
  EXPECT_EQ(time_of("2026-11-29T00:00:05.9999999Z"), day + 6'000);
  EXPECT_EQ(time_of("2026-11-29T02:00+02:00"), day);
  EXPECT_EQ(time_of("2026-11-28T22:30:00.007-01:30"), day + 7);
  EXPECT_EQ(time_of("2028-02-29"), 1'835'395'200'000);
  EXPECT_EQ(time_of("1795910400000"), day);
  EXPECT_EQ(time_text(*time_of("2026-11-29T16:12:00.123Z")), "2026-11-29T16:12:00.123Z");
  EXPECT_EQ(parse_moment("17")->seq, 17U);
}

/// The 30th of February was the 2nd of March, and a zone of 25 hours one.
TEST(moment, what_no_calendar_or_clock_has_is_none) {
  for (const auto* each : {"",
                           "-1",
                           "+1",
                           "1x",
                           "18446744073709551615",
                           "9223372036854775807",
                           "2026-02-30",
                           "2026-02-29",
                           "2026-13-01",
                           "2026-00-01",
                           "2026-1-1",
                           "-026-01-01",
                           "2026- 1-01",
                           "2026-11-29T24:00",
                           "2026-11-29T23:60",
                           "2026-11-29T1:00",
                           "2026-11-29T23:00:61",
                           "2026-11-29T23:00:5",
                           "2026-11-29T23:00:05.",
                           "2026-11-29T23:00:05.1x",
                           "2026-11-29T23:00:nan",
                           "2026-11-29T23:00+25:00",
                           "2026-11-29T23:00+01:60",
                           "2026-11-29T23:00+1:00",
                           "2026-11-29T23:00+0100",
                           "2026-11-29T23:00ZZ"})
    EXPECT_FALSE(parse_moment(each)) << each;
}

TEST(moment, a_count_is_a_whole_number_from_the_least_on) {
  EXPECT_EQ(why_no_number("1", 1), "");
  EXPECT_EQ(why_no_number("0", 1), "0: is no whole number from 1 on");
  EXPECT_EQ(why_no_number("0", 0), "");
  for (const auto* each : {"-1", "x", "1.5", "1e3", "9223372036854775808", ""})
    EXPECT_NE(why_no_number(each, 0), "") << each;
}

}  // namespace
}  // namespace portcullis::apps
