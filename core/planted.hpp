// Bugs that are planted on purpose, to see that the tests find them (scripts/planted): only in a
// build with PORTCULLIS_PLANTED, and there only the one that the environment's PORTCULLIS_PLANT
// names.
#pragma once
#include <string_view>

#ifdef PORTCULLIS_PLANTED
#include <cstdlib>
#endif

namespace portcullis::core {

#ifdef PORTCULLIS_PLANTED
[[nodiscard]] inline bool is_planted(std::string_view bug) {
  const char* chosen = std::getenv("PORTCULLIS_PLANT");  // NOLINT: never set while threads run
  return chosen != nullptr && bug == chosen;
}
#else
[[nodiscard]] constexpr bool is_planted(std::string_view) noexcept { return false; }
#endif

}  // namespace portcullis::core
