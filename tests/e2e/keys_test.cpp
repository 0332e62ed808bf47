// The ring of keys turns, on a running node and on a stopped one, and nobody is lost on the way.
#include "harness.hpp"

namespace portcullis::e2e {
namespace {

struct keys : testing::Test {
  server node;

  void rotate_stopped() {
    ASSERT_EQ(node.terminate(), 0) << node.log();
    const auto turned =
        run(tested_binary() + " keys rotate --file " + node.data_dir() + "/portcullis.keys");
    ASSERT_EQ(turned.status, 0) << turned.out;
    ASSERT_TRUE(node.start()) << node.log();
  }
};

TEST_F(keys, sessions_outlive_a_rotation_of_the_running_node) {
  auto client = node.connect();
  const auto id = create(client, "ada", {{"data", {{"cart", 3}}}})["session_id"];
  EXPECT_EQ(client.result("admin.rotate_keys")["keys"], 2);
  EXPECT_EQ(state_of(client, id), "valid");
  node.restart();
  auto again = node.connect();
  EXPECT_EQ(validate(again, id)["data"], json({{"cart", 3}}));
}

// The stopped node cannot wrap users anew, so that they stayed wrapped by the oldest key; the
// running node then dropped it, and no session of theirs could be made any more: STORE_INTEGRITY.
TEST_F(keys, users_outlive_the_key_that_they_were_wrapped_by) {
  {
    auto client = node.connect();
    const auto id = create(client, "ada")["session_id"];
    client.result("session.revoke", {{"session_id", id}});
  }
  ASSERT_NO_FATAL_FAILURE(rotate_stopped());
  ASSERT_NO_FATAL_FAILURE(rotate_stopped());
  {
    auto client = node.connect();
    EXPECT_EQ(client.result("admin.rotate_keys")["keys"], 3);
  }
  ASSERT_EQ(node.terminate(), 0);
  ASSERT_TRUE(node.start()) << node.log();
  auto client = node.connect();
  EXPECT_EQ(state_of(client, create(client, "ada")["session_id"]), "valid");
}

}  // namespace
}  // namespace portcullis::e2e
