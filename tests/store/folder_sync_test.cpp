// A file is on the disk only when the folder that names it was flushed after the file was made.
// This executable's own fsync and fdatasync note what each flushed folder held at that moment.
#include <sys/syscall.h>
#include <unistd.h>

#include <set>

#include "journal_fixture.hpp"
#include "store/data_folder.hpp"
#include "store/readers.hpp"

namespace {

/// What was in each folder when it was flushed last.
std::map<std::string, std::set<std::string>>& flushed() {
  static std::map<std::string, std::set<std::string>> folders;
  return folders;
}

std::set<std::string> entries_of(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& each : std::filesystem::directory_iterator(folder))
    names.insert(each.path().filename());
  return names;
}

void note(int fd) {
  std::error_code gone;
  const auto path =
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), gone).string();
  if (!gone && std::filesystem::is_directory(path, gone)) flushed()[path] = entries_of(path);
}

}  // namespace

// They stand before libc's, for SQLite too.
extern "C" int fsync(int fd) {
  note(fd);
  return static_cast<int>(syscall(SYS_fsync, fd));
}
extern "C" int fdatasync(int fd) {
  note(fd);
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

namespace portcullis::store {
namespace {

struct folder_sync : testing::Test {
  void SetUp() override { flushed().clear(); }
  /// Whether a power cut now leaves `name` in `within`.
  bool lasts(const std::string& within, const std::string& name) {
    const auto found = flushed().find(std::filesystem::canonical(within));
    return found != flushed().end() && found->second.count(name) == 1;
  }
  temporary_folder folder;
};

TEST_F(folder_sync, each_folder_that_is_made_is_flushed_into_its_parent) {
  ASSERT_TRUE(data_folder::enter(folder.path() + "/a/b/data"));
  EXPECT_TRUE(lasts(folder.path(), "a"));
  EXPECT_TRUE(lasts(folder.path() + "/a", "b"));
  EXPECT_TRUE(lasts(folder.path() + "/a/b", "data"));
}

TEST_F(folder_sync, the_database_is_flushed_into_its_folder_before_anything_is_written_to_it) {
  const auto data = folder.path() + "/data";
  ASSERT_TRUE(data_folder::enter(data));
  EXPECT_TRUE(lasts(data, "portcullis.db"));
  std::filesystem::remove(data + "/portcullis.db");
  flushed().clear();
  ASSERT_TRUE(data_folder::enter(data)) << "the folder was there, the file was not";
  EXPECT_TRUE(lasts(data, "portcullis.db"));
}

TEST_F(folder_sync, at_the_first_acknowledgement_the_log_that_holds_it_has_its_name_on_the_disk) {
  const auto data = folder.path() + "/data";
  auto opened = journal::open(options_for(data));
  ASSERT_TRUE(opened);
  event_maker make;
  ASSERT_TRUE((*opened)->append(std::vector{make.created()}));
  ASSERT_TRUE((*opened)->commit());
  EXPECT_TRUE(lasts(data, "portcullis.db"));
  EXPECT_TRUE(lasts(data, "portcullis.db-wal"));
}

TEST_F(folder_sync, a_backup_that_is_done_has_its_name_on_the_disk) {
  auto opened = journal::open(options_for(folder.path() + "/data"));
  ASSERT_TRUE(opened);
  flushed().clear();
  auto begun = backup::begin(**opened, folder.path() + "/copy.db");
  ASSERT_TRUE(begun);
  for (;;) {
    const auto step = (*begun)->step();
    ASSERT_TRUE(step);
    if (*step == progress::done) break;
  }
  EXPECT_TRUE(lasts(folder.path(), "copy.db"));
}

}  // namespace
}  // namespace portcullis::store
