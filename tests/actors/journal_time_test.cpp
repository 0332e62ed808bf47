// The journal actor's checkpoints: when the log is signed, and who hears of its time.
#include "journal_world.hpp"

namespace portcullis::actors {
namespace {

constexpr auto signs = [](journal_actor_options& options) {
  options.signer.emplace(core::digest{7});
};

int checkpoints_of(const journal_world& w) {
  int count = 0;
  for (const auto& each : w.durable) count += each.type() == core::event_type::checkpoint;
  return count;
}

// Regression: a checkpoint was nobody's batch, so that no shard heard of the log's time; each that
// asked got one more, every half minute, for ever.
TEST(the_logs_time, is_told_to_all_shards_and_one_checkpoint_serves_all_who_ask) {
  journal_world w("", nullptr, signs);
  w.send(true);
  w.settle();
  w.clock.at_ms += 100'000;
  const auto wanted = w.clock.at_ms;
  for (int i = 0; i < 5; ++i) caf::anon_send(w.journal, want_log_time{wanted - i});
  w.settle();
  EXPECT_EQ(checkpoints_of(w), 1);
  ASSERT_FALSE(w.log_times.empty());
  EXPECT_GE(w.log_times.back(), wanted);
  w.log_times.clear();
  caf::anon_send(w.journal, want_log_time{wanted});
  w.settle();
  EXPECT_EQ(checkpoints_of(w), 1) << "the log is there already: of another shard's event";
  EXPECT_EQ(w.log_times.size(), 1U);
}

// Regression: only a later event looked whether one was due.
TEST(checkpoints, sign_the_last_event_of_the_evening_five_minutes_later_and_no_more) {
  journal_world w("", nullptr, signs);
  w.pass(60'000);
  w.send(true);
  w.pass(200'000);
  EXPECT_EQ(checkpoints_of(w), 0);
  w.pass(100'000);
  EXPECT_EQ(checkpoints_of(w), 1);
  w.pass(1'000'000);
  EXPECT_EQ(checkpoints_of(w), 1) << "there is nothing more to sign";
  w.send(true);
  w.settle();
  EXPECT_EQ(checkpoints_of(w), 2) << "the last one is long ago";
  w.send(true);
  w.pass(301'000);
  EXPECT_EQ(checkpoints_of(w), 3);
}

TEST(the_logs_time, with_a_full_disk_is_told_when_there_is_space_again) {
  journal_world w(store::fault_vfs_name, nullptr, signs);
  w.send(true);
  w.settle();
  w.clock.at_ms += 100'000;
  w.full_disk();
  for (int i = 0; i < 3; ++i) {
    caf::anon_send(w.journal, want_log_time{w.clock.at_ms});
    w.pass(1'000);
  }
  EXPECT_TRUE(w.log_times.empty());
  store::disarm();
  w.pass(5'000);
  EXPECT_EQ(checkpoints_of(w), 1);
  EXPECT_FALSE(w.log_times.empty());
}

}  // namespace
}  // namespace portcullis::actors
