#include "store/sync_folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/planted.hpp"

namespace portcullis::store {

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
