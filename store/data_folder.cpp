#include "store/data_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "store/sync_folder.hpp"

namespace portcullis::store {
namespace {

core::error unusable(unsigned line = __builtin_LINE()) noexcept {
  const auto code = errno == ENOSPC || errno == EDQUOT ? core::error_code::STORE_FULL
                                                       : core::error_code::STORE_UNAVAILABLE;
  return core::fail(code, {}, "data_dir", -1, __FILE__, line, __func__);
}

// What SQLite makes of a database: the file, and what may stand beside it.
constexpr std::array endings = {"", "-wal", "-shm", "-journal"};

constexpr const char* import_ending = ".import";

// Made here, so that it never exists with wider access; SQLite gives its log the same mode. False:
// errno says why.
bool make_file(const std::string& path) noexcept {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return false;
  const bool narrowed = fchmod(file, 0600) == 0 && sync_folder(folder_of(path));
  const int why = errno;
  ::close(file);
  errno = why;
  return narrowed;
}

// False: errno says why. `made`: it was not there.
bool make_one_folder(const std::string& path, bool& made) noexcept {
  made = mkdir(path.c_str(), 0700) == 0;
  return made ? sync_folder(folder_of(path)) : errno == EEXIST;
}

// Like mkdir -p: missing parents get the same mode. False: errno says why. Once the parent is there
// no second try follows: /proc says of any name that something is missing.
bool make_folder(const std::string& path, bool& made) noexcept {
  if (make_one_folder(path, made)) return true;
  if (errno != ENOENT) return false;
  const auto slash = path.find_last_of('/');
  if (slash == std::string::npos || slash == 0) return false;
  return make_folder(path.substr(0, slash), made) && make_one_folder(path, made);
}

// Whether the lock's file is the one that a next process would lock: a folder that was made for an
// import that failed is removed with it.
bool is_at(int file, const std::string& path) noexcept {
  struct stat here {
  }, there{};
  return fstat(file, &here) == 0 && stat(path.c_str(), &there) == 0 &&
         here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

void remove_database(const std::string& path) noexcept {
  for (const auto* ending : endings) unlink((path + ending).c_str());
}

}  // namespace

/// Makes the folder and locks it.
core::result<data_folder> data_folder::lock(const std::string& path) {
  auto trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  data_folder made;
  if (trimmed.empty() || !make_folder(trimmed, made.made_)) return unusable();
  const auto lock_path = trimmed + "/portcullis.lock";
  made.lock_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (made.lock_ < 0) return unusable();
  if (flock(made.lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return core::fail(core::error_code::DATA_DIR_IN_USE);
    return unusable();
  }
  if (!is_at(made.lock_, lock_path)) return core::fail(core::error_code::DATA_DIR_IN_USE);
  made.database_path_ = trimmed + "/portcullis.db";
  return made;
}

core::result<data_folder> data_folder::enter(const std::string& path) {
  auto made = lock(path);
  if (!made) return made;
  // Of an import that was interrupted: a copy of users and events that nobody would ever remove.
  remove_database(made->database_path_ + import_ending);
  if (!make_file(made->database_path_)) return unusable();
  return made;
}

core::result<data_folder> data_folder::enter_to_import(const std::string& path) {
  auto made = lock(path);
  if (!made) return made;
  made->place_ = made->database_path_;
  for (const auto* ending : endings) {
    struct stat info {};
    if (stat((made->place_ + ending).c_str(), &info) == 0 && info.st_size > 0)
      return core::fail(core::error_code::INVALID_PARAMS, "data_dir", "not_empty");
  }
  made->database_path_ += import_ending;
  remove_database(made->database_path_);  // of an import that was interrupted
  if (!make_file(made->database_path_)) return unusable();
  return made;
}

core::status data_folder::put_in_place() {
  const int file = ::open(database_path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return unusable();
  const bool synced = fsync(file) == 0;
  ::close(file);
  if (!synced) return unusable();
  // Empty, but SQLite would take them for the new file's.
  for (const auto* ending : endings) unlink((place_ + ending).c_str());
  if (rename(database_path_.c_str(), place_.c_str()) != 0) return unusable();
  database_path_ = std::exchange(place_, {});
  if (!sync_folder(folder_of(database_path_))) return unusable();
  return core::nothing{};
}

void data_folder::discard() noexcept {
  if (place_.empty()) return;
  remove_database(database_path_);
  if (!made_) return;
  const auto folder = folder_of(database_path_);
  unlink((folder + "/portcullis.lock").c_str());
  rmdir(folder.c_str());
}

core::result<data_folder> data_folder::enter_to_read(const std::string& path) {
  auto trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  data_folder made;
  made.database_path_ = trimmed + "/portcullis.db";
  if (access(made.database_path_.c_str(), R_OK) != 0) return unusable();
  made.lock_ = ::open((trimmed + "/portcullis.lock").c_str(),
                      O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (made.lock_ < 0) {
    if (errno == EROFS || errno == EACCES) return made;
    return unusable();
  }
  if (flock(made.lock_, LOCK_EX | LOCK_NB) == 0) return made;
  if (errno == EWOULDBLOCK) return core::fail(core::error_code::DATA_DIR_IN_USE);
  return unusable();
}

bool data_folder::in_use(const std::string& path) {
  const int lock = ::open((path + "/portcullis.lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (lock < 0) return false;
  const bool held = flock(lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(lock);  // which lets go of it
  return held;
}

data_folder::data_folder(data_folder&& other) noexcept
    : lock_(std::exchange(other.lock_, -1)),
      database_path_(std::move(other.database_path_)),
      place_(std::move(other.place_)),
      made_(other.made_) {}

data_folder::~data_folder() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace portcullis::store
