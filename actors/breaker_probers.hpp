// Which node began the half-open phases that a shared log has, as far as one shard has read.
// Outlives a breaker actor that fails: what is stored does not tell.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace portcullis::actors {

struct begun_phase {
  std::uint64_t epoch = 0, writer = 0;
};
inline constexpr std::uint64_t this_node = ~std::uint64_t{0};  // as a writer, in any life
using known_probers = std::map<std::pair<std::string, std::string>, begun_phase>;  // by name

}  // namespace portcullis::actors
