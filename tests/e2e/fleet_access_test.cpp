// Which nodes the store that they share lets in, and which it does not.
#include <filesystem>
#include <fstream>

#include "fleet.hpp"

namespace portcullis::e2e {
namespace {

using testing::HasSubstr;

TEST(a_store_of_nodes, may_change_its_password) {
  fleet nodes(0, {}, {"--requirepass", "first"});
  temp_folder folder;
  const auto file = folder.write("password", "first\n");
  auto options = nodes.options(0);
  options.set.push_back("store.redis.password_file=" + file);
  server node(std::move(options));
  auto client = node.connect();
  const auto made = create(client, "ada");
  EXPECT_THAT(nodes.redis.cli("-a first config set requirepass second"), HasSubstr("OK"));
  folder.write("password", "second\n");
  (void)client.result("admin.reload");
  EXPECT_THAT(nodes.redis.cli("-a second client kill type normal"), testing::Not(HasSubstr("ERR")));
  EXPECT_TRUE(eventually([&] {
    return client
        .call("session.create", {{"tenant_id", "acme"}, {"user_id", "bob"}, {"context", context()}})
        .contains("result");
  }));
  EXPECT_EQ(state_of(client, made["session_id"]), "valid");
}

TEST(a_store_of_nodes, of_another_key_file_is_refused) {
  fleet nodes(1);
  temp_folder folder;
  EXPECT_EQ(run(tested_binary() + " keys new --out " + folder.file("keys")).status, 0);
  server stranger({.set = {"store.mode=redis", "store.redis.url=" + nodes.redis.url(),
                           "crypto.keys_file=" + folder.file("keys"), "server.node_id=x"},
                   .start = false});
  EXPECT_FALSE(stranger.start());
  EXPECT_THAT(stranger.log(), HasSubstr("another key file"));
}

TEST(a_store_of_nodes, of_another_version_is_refused) {
  fleet nodes(1);
  EXPECT_EQ(nodes.redis.cli("hset 'portcullis:{portcullis}:meta' format 2"), "0\n");
  auto options = nodes.options(1);
  options.start = false;
  server late(std::move(options));
  EXPECT_FALSE(late.start());
  EXPECT_THAT(late.log(), HasSubstr("NODE_INCOMPATIBLE"));
}

TEST(a_store_of_nodes, takes_a_newer_ring_once_no_node_runs_with_the_old_one) {
  fleet nodes(2);
  auto a = nodes[0].connect();
  const auto made = create(a, "ada");
  nodes.settle();
  const auto newer = nodes.folder().file("newer"), older = nodes.keys();
  std::filesystem::copy_file(older, newer);
  EXPECT_EQ(run(tested_binary() + " keys rotate --file " + newer).status, 0);
  const auto refused = [&](const std::string& keys) {
    auto options = nodes.options(7);
    options.set.push_back("crypto.keys_file=" + keys);
    options.start = false;
    server one(std::move(options));
    EXPECT_FALSE(one.start());
    EXPECT_THAT(one.log(), HasSubstr("KEYRING_MISMATCH"));
    return one.log();
  };
  EXPECT_THAT(refused(newer), HasSubstr("stop them all"));
  EXPECT_EQ(state_of(a, made["session_id"]), "valid") << "who runs goes on";
  nodes[0].terminate();
  nodes[1].kill_at_once();
  // Not before it would have been heard for dead.
  std::filesystem::copy_file(newer, older, std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(eventually([&] { return nodes[0].start(); })) << nodes[0].log();
  ASSERT_TRUE(nodes[1].start()) << nodes[1].log();
  a = nodes[0].connect();
  auto b = nodes[1].connect();
  EXPECT_EQ(state_of(b, made["session_id"]), "valid") << "nobody is logged out";
  EXPECT_EQ(
      b.result("session.list", {{"tenant_id", "acme"}, {"user_id", "ada"}})["sessions"].size(), 1u);
  const auto next = create(a, "bob");
  EXPECT_EQ(state_of(b, next["session_id"]), "valid");
  // Rows of users in the store are under the new key: a node of an empty folder opens them.
  auto c = nodes.add().connect();
  EXPECT_EQ(state_of(c, made["session_id"]), "valid");
}

TEST(a_store_of_nodes, leaves_no_trace_in_the_folder_of_whom_it_refuses) {
  fleet nodes(1);
  auto a = nodes[0].connect();
  for (int i = 0; i < 10; ++i) (void)create(a, "user-" + std::to_string(i));
  temp_folder folder;
  const auto place = folder.file("keys");
  EXPECT_EQ(run(tested_binary() + " keys new --out " + place).status, 0);
  auto options = nodes.options(1);
  options.set.push_back("crypto.keys_file=" + place);
  options.start = false;
  server late(std::move(options));
  EXPECT_FALSE(late.start()) << "a stranger's keys";
  std::filesystem::copy_file(nodes.keys(), place,
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(late.start()) << late.log();
  auto b = late.connect();
  EXPECT_EQ(b.result("session.find",
                     {{"tenant_id", "acme"}, {"ip", "192.0.2.1"}, {"limit", 100}})["sessions"]
                .size(),
            10u);
}

TEST(a_store_of_nodes, that_takes_no_writes_lets_no_node_begin) {
  fleet nodes(1);
  EXPECT_THAT(nodes.redis.cli("config set min-replicas-to-write 1"), HasSubstr("OK"));
  auto options = nodes.options(1);
  options.start = false;
  server late(std::move(options));
  EXPECT_FALSE(late.start());
  EXPECT_NE(late.wait(10'000ms).value_or(0), 0) << "it has ended";
  EXPECT_THAT(late.log(), testing::AnyOf(HasSubstr("takes no writes"), HasSubstr("noreplicas")));
}

TEST(a_store_of_nodes, takes_a_node_with_the_rights_that_are_shipped) {
  const auto hash_of = [](const std::string& password) {
    return "#" + run("printf %s " + password + " | sha256sum").out.substr(0, 64);
  };
  std::ifstream shipped(PORTCULLIS_SOURCE_DIR "/configs/cluster/users.acl");
  std::string rights{std::istreambuf_iterator<char>(shipped), {}};
  for (const auto& [number, password] :
       {std::pair<char, std::string>{'1', "secret"}, {'4', "operator"}}) {
    const auto at = rights.find("#" + std::string(63, '0') + number);
    ASSERT_NE(at, std::string::npos);
    rights.replace(at, 65, hash_of(password));
  }
  temp_folder folder;
  fleet nodes(0, {}, {"--appendonly", "yes", "--aclfile", folder.write("users.acl", rights)});
  auto options = nodes.options(0);
  options.set.push_back("store.redis.url=redis://portcullis@127.0.0.1:" +
                        std::to_string(nodes.redis.port));
  options.set.push_back("store.redis.password_file=" + folder.write("password", "secret"));
  auto second = options;
  second.set.push_back("server.node_id=second");
  server node(std::move(options));
  auto client = node.connect();
  const auto made = create(client, "ada")["session_id"];
  const auto next =
      client.result("session.rotate", {{"session_id", made}, {"context", context()}})["session_id"];
  (void)client.result("session.revoke_user", {{"tenant_id", "acme"}, {"user_id", "ada"}});
  (void)client.result("admin.forget",
                      {{"tenant_id", "acme"}, {"user_id", "ada"}, {"reason", "test"}});
  server late(std::move(second));
  auto other = late.connect();
  EXPECT_EQ(state_of(other, next), "revoked");
  EXPECT_TRUE(eventually([&] { return client.result("server.info")["nodes"].size() == 2; }));
  node.kill_at_once();
  ASSERT_TRUE(node.start()) << node.log();
  // What Redis reads of its own files it reads as the user `default`.
  const auto length = [&] {
    return nodes.redis.cli("--user operator --pass operator xlen 'portcullis:{portcullis}:log'");
  };
  EXPECT_EQ(node.terminate(), 0);
  EXPECT_EQ(late.terminate(), 0);
  const auto before = length();
  nodes.redis.restart();
  EXPECT_EQ(length(), before);
  ASSERT_TRUE(node.start()) << node.log();
  const auto refused = nodes.redis.cli("--user operator --pass operator acl log");
  EXPECT_THAT(refused, testing::Not(HasSubstr("reason"))) << refused;
}

}  // namespace
}  // namespace portcullis::e2e
