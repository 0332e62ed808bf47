// Configuration files: whatever the text, problems are told and nothing is thrown; one without
// problems is written out and read again as the same configuration.
#include <cstdint>
#include <string>
#include <string_view>

#include "apps/config_loader.hpp"
#include "core/config/render.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using portcullis::fuzz::require;
using namespace portcullis;

core::parsed_config read(std::string_view text) {
  std::vector<core::config_problem> problems;
  const auto entries = apps::toml_entries(text, "fuzz.toml", problems);
  auto parsed = core::parse_config(entries);
  for (auto& each : problems) parsed.problems.push_back(std::move(each));
  return parsed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto first = read({reinterpret_cast<const char*>(data), size});
  for (const auto& each : first.problems) require(!each.message.empty());
  if (!first.problems.empty()) return 0;
  const auto again = read(core::effective_config(first.value, first.origins));
  require(again.problems.empty());
  require(core::config_diff(first.value, again.value).empty());
  return 0;
}
