// Connections against the limit of open descriptors.
#include "apps/descriptors.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "core/limits.hpp"

namespace portcullis::apps {
namespace {

constexpr auto own = core::limits::fd_reserve + 2 * core::limits::fd_per_loop;

TEST(descriptors, what_fits_is_left_as_it_is) {
  const descriptor_needs needs{1'000, 100, 2};
  EXPECT_EQ(needs.all(), 1'100 + own);
  EXPECT_EQ(rpc_connections_within(1'100 + own, needs), 1'000U);
  EXPECT_EQ(rpc_connections_within(1'000'000, needs), 1'000U);
}

TEST(descriptors, what_does_not_fit_is_taken_from_the_rpc_connections) {
  const descriptor_needs needs{1'000, 100, 2};
  EXPECT_EQ(rpc_connections_within(1'100 + own - 1, needs), 999U);
  EXPECT_EQ(rpc_connections_within(100 + own + 2, needs), 2U);
}

TEST(descriptors, less_than_one_connection_a_loop_is_none) {
  const descriptor_needs needs{1'000, 100, 2};
  EXPECT_EQ(rpc_connections_within(100 + own + 1, needs), 0U);
  EXPECT_EQ(rpc_connections_within(0, needs), 0U);
}

TEST(descriptors, the_soft_limit_goes_up_to_the_hard_one) {
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  auto low = old;
  low.rlim_cur = std::min<rlim_t>(old.rlim_max, 256);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(raise_descriptor_limit(), old.rlim_max);
  setrlimit(RLIMIT_NOFILE, &old);
}

}  // namespace
}  // namespace portcullis::apps
