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

}  // namespace
}  // namespace portcullis::actors
