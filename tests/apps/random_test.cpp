// What ids, tokens and keys are made of: whether the generator's bytes look like chance, and
// whether threads or processes share any.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cmath>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "apps/node/keys.hpp"

namespace portcullis::apps {
namespace {

using id = std::array<std::uint8_t, 31>;  // 248 bits: what is random in a session id

std::vector<id> draw(std::size_t many) {
  std::vector<id> drawn(many);
  for (auto& one : drawn) buffered_random(one);
  return drawn;
}

/// In a thread of its own, whose block is a new one.
std::vector<id> draw_elsewhere(std::size_t many) {
  std::vector<id> drawn;
  std::thread([&] { drawn = draw(many); }).join();
  return drawn;
}

// NIST SP 800-22, 2.1, over all bits and over each bit's place. Six standard deviations: once in
// 500 million for a place.
TEST(the_generator, has_as_many_ones_as_zeros_also_at_each_place_of_an_id) {
  constexpr std::size_t many = 50'000;
  std::array<std::size_t, 248> ones{};
  for (const auto& one : draw(many))
    for (std::size_t bit = 0; bit < ones.size(); ++bit) ones[bit] += one[bit / 8] >> (bit % 8) & 1U;
  const auto expect_even = [](std::size_t counted, std::size_t of) {
    const auto n = static_cast<double>(of);
    EXPECT_LT(std::abs(static_cast<double>(counted) - n / 2), 6 * std::sqrt(n) / 2);
  };
  std::size_t all = 0;
  for (const auto counted : ones) {
    expect_even(counted, many);
    all += counted;
  }
  expect_even(all, many * ones.size());
}

// 255 degrees of freedom: mean 255, standard deviation 22.6; 400 is past six of them.
TEST(the_generator, gives_every_byte_as_often_as_any_other) {
  constexpr std::size_t many = 50'000;
  std::array<double, 256> seen{};
  for (const auto& one : draw(many))
    for (const auto byte : one) seen[byte] += 1;
  const double expected = static_cast<double>(many * std::tuple_size_v<id>) / 256;
  double chi_square = 0;
  for (const auto count : seen) chi_square += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_square, 400);
  EXPECT_GT(chi_square, 120) << "more even than chance";
}

TEST(the_generator, gives_no_thread_what_another_has_or_had) {
  std::set<id> all;
  std::size_t many = 0;
  for (int round = 0; round < 8; ++round)
    for (const auto& one : draw_elsewhere(2'000)) {
      all.insert(one);
      ++many;
    }
  EXPECT_EQ(all.size(), many);
}

// OpenSSL notices that the process is another one (RAND, "fork"). A block that the thread had begun
// before would be the same in both: the product forks nowhere, so here another thread draws.
TEST(the_generator, gives_a_forked_process_bytes_of_its_own) {
  draw_elsewhere(1);  // whatever is seeded once is
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto drawn = draw_elsewhere(100);
    const auto bytes = drawn.size() * sizeof(id);
    ::_exit(::write(ends[1], drawn.data(), bytes) == static_cast<ssize_t>(bytes) ? 0 : 1);
  }
  const auto ours = draw_elsewhere(100);
  std::vector<id> theirs(ours.size());
  EXPECT_EQ(::read(ends[0], theirs.data(), theirs.size() * sizeof(id)),
            static_cast<ssize_t>(theirs.size() * sizeof(id)));
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  std::set<id> all(ours.begin(), ours.end());
  all.insert(theirs.begin(), theirs.end());
  EXPECT_EQ(all.size(), ours.size() + theirs.size());
}

}  // namespace
}  // namespace portcullis::apps
