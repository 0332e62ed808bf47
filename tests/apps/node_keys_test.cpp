// Where a node takes its keys from: what it makes by itself, what it leaves alone, what it refuses.
#include "apps/node/keys.hpp"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace portcullis::apps {
namespace {

namespace fs = std::filesystem;

struct node_keys : testing::Test {
  node_keys() {
    std::string name = (fs::temp_directory_path() / "node_keys.XXXXXX").string();
    folder = ::mkdtemp(name.data());
  }
  ~node_keys() override { fs::remove_all(folder); }

  [[nodiscard]] core::config with(const fs::path& keys, core::environment environment) const {
    core::config made;
    made.server.environment = environment;
    made.server.data_dir = (folder / "data").string();
    made.crypto.keys_file = keys.string();
    return made;
  }
  [[nodiscard]] static mode_t mode_of(const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 0777;
  }

  fs::path folder;
  std::string why;
};

TEST_F(node_keys, are_made_in_development_and_only_a_folder_made_for_them_is_closed) {
  const auto there = folder / "there";
  fs::create_directory(there);
  ASSERT_EQ(::chmod(there.c_str(), 0755), 0);
  ASSERT_TRUE(load_keys(with(there / "k", core::environment::development), why)) << why;
  EXPECT_EQ(mode_of(there), 0755U);
  EXPECT_EQ(mode_of(there / "k"), 0600U);
  ASSERT_TRUE(load_keys(with(folder / "new" / "k", core::environment::development), why)) << why;
  EXPECT_EQ(mode_of(folder / "new"), 0700U);
}

TEST_F(node_keys, in_the_data_folder_are_refused_in_production_through_whatever_links) {
  const auto data = folder / "data";
  fs::create_directory(data);
  ASSERT_TRUE(load_keys(with(data / "k", core::environment::development), why)) << why;
  ASSERT_TRUE(load_keys(with(folder / "outside", core::environment::development), why)) << why;
  fs::create_symlink(data / "k", folder / "link");
  fs::create_directory_symlink(data, folder / "linked");
  fs::create_symlink(folder / "outside", data / "out");
  for (const auto& inside : {data / "k", folder / "link", folder / "linked" / "k"}) {
    const auto refused = load_keys(with(inside, core::environment::production), why);
    ASSERT_FALSE(refused) << inside;
    EXPECT_EQ(refused.error().code, core::error_code::CONFIG_INVALID);
    EXPECT_THAT(why, testing::HasSubstr("server.data_dir"));
    EXPECT_TRUE(load_keys(with(inside, core::environment::development), why)) << inside;
  }
  for (const auto& outside : {folder / "outside", data / "out"})
    EXPECT_TRUE(load_keys(with(outside, core::environment::production), why)) << outside << why;
  auto by_link = with(data / "k", core::environment::production);
  by_link.server.data_dir = (folder / "linked").string() + "/";
  EXPECT_FALSE(load_keys(by_link, why));
}

TEST_F(node_keys, that_systemd_hands_over_may_show_rights_of_a_group_and_are_never_replaced) {
  const auto credentials = folder / "credentials", file = credentials / "k";
  fs::create_directory(credentials);
  const auto config = with(file, core::environment::production);
  ASSERT_TRUE(load_keys(with(file, core::environment::development), why)) << why;
  ASSERT_EQ(::chmod(file.c_str(), 0440), 0);
  const auto refused = load_keys(config, why);
  ASSERT_FALSE(refused) << "not a credential: whoever is in the group reads it";
  EXPECT_EQ(refused.error().rule, "mode_0600");

  ASSERT_EQ(::setenv("CREDENTIALS_DIRECTORY", credentials.c_str(), 1), 0);
  const auto keys = load_keys(config, why);
  EXPECT_TRUE(keys) << why;
  const auto saved = save_keys(config, keys ? *keys : core::keyring{});
  // Another service's folder is no reason to believe a file in it.
  ASSERT_EQ(::setenv("CREDENTIALS_DIRECTORY", (folder / "elsewhere").c_str(), 1), 0);
  EXPECT_FALSE(load_keys(config, why));
  ASSERT_EQ(::unsetenv("CREDENTIALS_DIRECTORY"), 0);
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, core::error_code::CONFIG_INVALID);
  EXPECT_EQ(saved.error().field, "crypto.keys_file");
  EXPECT_EQ(saved.error().rule, "not_a_credential");
  EXPECT_EQ(mode_of(file), 0440U) << "untouched";
}

}  // namespace
}  // namespace portcullis::apps
