// The cases that the suites of other libraries publish, as tables of scripts (see script.hpp). What
// is taken over are facts: which calls lead to which states.
#include "published_others.hpp"
#include "published_resilience4j.hpp"
#include "script.hpp"

namespace portcullis::core::breaker_tests {

TEST_P(published_cases, come_true) {
  const auto& row = GetParam();
  EXPECT_EQ(script_run(row.policy).run(row.script), "") << row.differs;
}

INSTANTIATE_TEST_SUITE_P(resilience4j, published_cases,
                         testing::ValuesIn(resilience4j_state_machine_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(resilience4j_windows, published_cases,
                         testing::ValuesIn(resilience4j_window_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(gobreaker, published_cases, testing::ValuesIn(gobreaker_cases()),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(opossum, published_cases, testing::ValuesIn(opossum_cases()),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(polly, published_cases, testing::ValuesIn(polly_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(failsafe_go, published_cases, testing::ValuesIn(failsafe_cases()),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(brpc, published_cases, testing::ValuesIn(brpc_cases()), name_of_case);

// A script that does not come true must be seen, or none of the above says anything.
TEST(breaker_script, says_where_it_went_wrong) {
  const breaker_policy policy;
  EXPECT_EQ(script_run(policy).run("F*19 =closed S =open"), "");
  EXPECT_EQ(script_run(policy).run("F*19 =open"), "F*19 <=open>: is closed, state closed");
  EXPECT_EQ(script_run(policy).run("F*21"), "<F*21>: was denied at the 21th, state open");
  EXPECT_EQ(script_run(policy).run("-"), "<->: was granted, state closed");
  EXPECT_EQ(script_run(policy).run("rate=0.5"), "<rate=0.5>: is none, state closed");
  EXPECT_EQ(script_run(policy).run("set:none"), "<set:none>: changed nothing, state closed");
  EXPECT_THROW(script_run(policy).run("what"), std::invalid_argument);
}

}  // namespace portcullis::core::breaker_tests
