#include "store/data_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

// Like mkdir -p: missing parents get the same mode. False: errno says why.
bool make_folder(const std::string& path) noexcept {
  if (mkdir(path.c_str(), 0700) == 0) {
    const auto slash = path.find_last_of('/');
    return sync_folder(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
  }
  if (errno == EEXIST) return true;
  if (errno != ENOENT) return false;
  const auto slash = path.find_last_of('/');
  if (slash == std::string::npos || slash == 0) return false;
  return make_folder(path.substr(0, slash)) && make_folder(path);
}

}  // namespace

core::result<data_folder> data_folder::enter(const std::string& path) {
  auto trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  if (trimmed.empty() || !make_folder(trimmed)) return unusable();

  data_folder made;
  made.lock_ = ::open((trimmed + "/portcullis.lock").c_str(),
                      O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (made.lock_ < 0) return unusable();
  if (flock(made.lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return core::fail(core::error_code::DATA_DIR_IN_USE);
    return unusable();
  }
  made.database_path_ = trimmed + "/portcullis.db";
  // Made here, so that it never exists with wider access; SQLite gives its log the same mode.
  const int file =
      ::open(made.database_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return unusable();
  const bool narrowed = fchmod(file, 0600) == 0 && sync_folder(trimmed);
  ::close(file);
  if (!narrowed) return unusable();
  return made;
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
    : lock_(std::exchange(other.lock_, -1)), database_path_(std::move(other.database_path_)) {}

data_folder::~data_folder() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace portcullis::store
