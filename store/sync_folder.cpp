#include "store/sync_folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/planted.hpp"

namespace portcullis::store {

std::string folder_of(const std::string& path) {
  const auto slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string sqlite_name(const std::string& path) {
  return path.starts_with('/') ? path : "./" + path;
}

bool sync_folder(const std::string& path) noexcept {
  if (core::is_planted("flush")) return true;
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return false;
  const bool synced = fsync(folder) == 0;
  const int why = errno;
  ::close(folder);
  errno = why;
  return synced;
}

}  // namespace portcullis::store
