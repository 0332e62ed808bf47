#include "apps/malloc_settings.hpp"

#include <unistd.h>

#include <array>
#include <cstdlib>

namespace portcullis::apps {

void restart_with_malloc_settings(char** arguments) {
  constexpr const char* variable = "GLIBC_TUNABLES";
  if (std::getenv(variable) != nullptr) return;  // also after the restart
  // By its own name: through /proc/self/exe it would be called "exe" by ps and pkill.
  std::array<char, 4'096> path{};
  const auto size = readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (size <= 0) return;
  if (setenv(variable,
             "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:"
             "glibc.malloc.top_pad=4194304:glibc.malloc.arena_max=1",
             0) != 0)
    return;
  execv(path.data(), arguments);
}

}  // namespace portcullis::apps
