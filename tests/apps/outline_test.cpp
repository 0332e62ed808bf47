// What looking back reads of a log while it is being cut: rows before the cut mean nothing.
#include "apps/log/outline.hpp"

#include <filesystem>

#include "log_folder.hpp"

namespace portcullis::apps {
namespace {

class a_log_that_is_being_cut : public log_folder {
 protected:
  void start_node(const core::policy_book& policies) {
    core::event what;
    what.decided_at_ms = w.now_ms;
    what.body = core::node_started{"0.1.0", core::to_json(policies)};
    w.apply(std::move(what));
  }
  std::string why;
};

TEST_F(a_log_that_is_being_cut, is_read_after_the_cut) {
  start_node(w.policies);
  const auto early = w.create("ada");
  sign();
  close();
  const auto before = folder.path() + "/before.db";
  std::filesystem::copy_file(path + "/portcullis.db", before);
  open();
  const auto cut_seq = log->last_seq();
  cut(w.now_ms);
  w.now_ms += 1'000;
  start_node(w.policies);
  const auto late = w.create("ada");
  commit();
  edit("ATTACH '" + before + "' AS old; INSERT INTO events SELECT * FROM old.events");
  expect_whole();

  auto file = store::log_file::open(path);
  ASSERT_TRUE(file);
  const auto outline = read_outline(**file, why);
  ASSERT_TRUE(outline) << why;
  ASSERT_EQ(outline->policies.size(), 1U);
  EXPECT_EQ(outline->policies[0].seq, cut_seq + 1);
  EXPECT_TRUE(outline->before_checkpoints.empty());
  EXPECT_FALSE(read_event(**file, 2, why));
  EXPECT_EQ(why, "the log has no seq 2: it begins at " + std::to_string(cut_seq + 1));
  why.clear();
  EXPECT_FALSE(find_creation(**file, early.handle, why));
  EXPECT_EQ(why, "");
  EXPECT_TRUE(find_creation(**file, late.handle, why));
}

}  // namespace
}  // namespace portcullis::apps
