// kill -9 in the middle of appending, again and again on the same folder.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "journal_fixture.hpp"

namespace portcullis::store {
namespace {

[[noreturn]] void append_for_ever(const std::string& data_dir, int acknowledge) {
  auto opened = journal::open(options_for(data_dir));
  if (!opened) _exit(2);
  auto& log = **opened;
  event_maker make;
  make.go_on_after(log.last_seq());
  for (std::uint64_t round = 0;; ++round) {
    std::vector<core::event> events;
    for (int i = 0; i < 5; ++i) events.push_back(make.created());
    if (!log.append(events) || !log.commit()) _exit(3);
    const auto seq = log.committed_seq();
    if (write(acknowledge, &seq, sizeof seq) != sizeof seq) _exit(4);
    if (round % 16 == 15 && !log.checkpoint()) _exit(5);
  }
}

TEST(journal_crash, thirty_kills_lose_nothing_acknowledged) {
  const temporary_folder folder;
  const auto data_dir = folder.path() + "/data";
  std::mt19937 random(30);
  std::uint64_t acknowledged = 0;
  for (int cycle = 0; cycle < 30; ++cycle) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const auto child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(ends[0]);
      append_for_ever(data_dir, ends[1]);
    }
    close(ends[1]);
    // Killed after so many acknowledgements, at whatever it is doing then.
    std::uint64_t seq = 0;
    const auto kill_after = 1 + random() % 60;
    for (std::uint64_t i = 0; read(ends[0], &seq, sizeof seq) == sizeof seq; ++i) {
      acknowledged = seq;
      if (i == kill_after) kill(child, SIGKILL);
    }
    close(ends[0]);
    int outcome = 0;
    waitpid(child, &outcome, 0);
    ASSERT_TRUE(WIFSIGNALED(outcome)) << "exit " << WEXITSTATUS(outcome);

    auto opened = journal::open(options_for(data_dir));
    ASSERT_TRUE(opened);
    auto& log = **opened;
    ASSERT_TRUE(log.integrity_check());
    ASSERT_GE(log.last_seq(), acknowledged);
    loaded state;
    ASSERT_TRUE(log.load(everything(), state));
    ASSERT_EQ(state.sessions.size(), log.last_seq());
  }
  EXPECT_GT(acknowledged, 30U);
  EXPECT_EQ(first_broken_link(data_dir + "/portcullis.db"), 0U);
}

}  // namespace
}  // namespace portcullis::store
