// When a session was last used decides whether it is over: verify compares that as far as the log
// still knows it.
#include "log_folder.hpp"

namespace portcullis::apps {
namespace {

constexpr core::millis hour_ms = 3'600'000;

class activity_of_a_log : public log_folder {
 protected:
  activity_of_a_log() {
    w.policies.session.idle_ttl_s = 86'400;
    w.policies.session.absolute_ttl_s = 864'000;
  }
  void use_later(const core::world::made& s) {
    w.now_ms += hour_ms;
    ASSERT_EQ(w.use(s.id).verdict, core::verdict::valid);
  }
  void set_last_seen(const core::world::made& s, core::millis at_ms) {
    edit("UPDATE sessions SET last_seen_at_ms=" + std::to_string(at_ms) +
         " WHERE handle=" + blob(s.handle.bytes));
  }
};

TEST_F(activity_of_a_log, later_than_the_last_record_is_found_though_older_ones_were_dropped) {
  const auto used = w.create("ada"), idle = w.create("bob");
  use_later(used);
  const auto dropped_ms = w.now_ms;
  use_later(used);
  commit();
  drop(dropped_ms);
  expect_whole();
  set_last_seen(idle, dropped_ms);
  expect_whole();  // it may have been so
  set_last_seen(idle, dropped_ms + 1);
  expect_wrong(2, "last_seen_at_ms");
}

TEST_F(activity_of_a_log, earlier_than_a_record_that_is_there_is_found) {
  const auto used = w.create("ada");
  use_later(used);
  const auto dropped_ms = w.now_ms;
  use_later(used);
  commit();
  drop(dropped_ms);
  set_last_seen(used, dropped_ms);
  expect_wrong(1, "last_seen_at_ms");
}

// The dropper goes before the cutter, so that snapshots know of no activity: verify took what
// the table knew for wrong.
TEST_F(activity_of_a_log, used_before_the_cut_and_not_since_is_whole) {
  const auto used = w.create("ada");
  use_later(used);
  sign();
  const auto cut_ms = w.now_ms;
  drop(cut_ms);
  cut(cut_ms);
  w.now_ms += hour_ms;
  (void)w.create("bob");
  commit();
  expect_whole();
  set_last_seen(used, cut_ms + 1);
  expect_wrong(1, "last_seen_at_ms");
}

}  // namespace
}  // namespace portcullis::apps
