// Retention as the journal actor carries it out.
#include "journal_world.hpp"

namespace portcullis::actors {
namespace {

constexpr core::millis hour_ms = 3'600'000;

void keeps_an_hour(journal_actor_options& options) {
  options.signer.emplace(core::digest{7});
  options.events_kept_ms = hour_ms;
}

// Regression: only commits of events moved the write-ahead log; a cut on a quiet node grew it by
// every page that it freed.
TEST(retention_by_the_journal, moves_the_write_ahead_log_as_it_goes) {
  journal_world w("", nullptr, keeps_an_hour);
  for (int i = 0; i < 15; ++i) {
    const auto batch = w.send(false, 100);
    for (auto& each : batch->events) each.sealed.assign(16'384, 's');
    w.settle();
  }
  w.pass(301'000);
  w.clock.at_ms += 3 * hour_ms;
  w.send(true);
  w.settle();
  EXPECT_GT(w.log->cut_seq(), 1'500U);
  EXPECT_LT(std::filesystem::file_size(w.folder.path() + "/data/portcullis.db-wal"), 16U << 20U)
      << "24 MB were freed";
}

// Regression: what had been put in on a stopped node was folded, signed and cut off.
TEST(retention_by_the_journal, cuts_nothing_that_is_not_its_own_and_goes_on_serving) {
  journal_world w("",
                  "INSERT INTO events(seq,at_ms,type,body,mac) VALUES(1,1,'node_stopped',"
                  "'{\"node\":\"node-1\"}',zeroblob(32))",  // by somebody without the key
                  keeps_an_hour);
  for (int i = 0; i < 3; ++i) w.send(true);
  w.pass(301'000);
  w.clock.at_ms += 3 * hour_ms;
  for (int i = 0; i < 5; ++i) {
    w.send(true);
    w.pass(61'000);
  }
  EXPECT_EQ(w.log->cut_seq(), 0U);
  EXPECT_EQ(w.failures(monitoring::store_operation::retention), 1U) << "it is not tried again";
  EXPECT_TRUE(w.fatal.empty());
  EXPECT_EQ(w.numbers(false).size(), 8U);
}

}  // namespace
}  // namespace portcullis::actors
