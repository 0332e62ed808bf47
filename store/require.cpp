#include "store/require.hpp"

#include <cstdio>
#include <cstdlib>

namespace portcullis::store {

void require(bool holds, const char* what, const char* file, int line) noexcept {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
  std::abort();
}

}  // namespace portcullis::store
