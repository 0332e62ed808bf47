#include "net/redis/faults.hpp"

#include <array>
#include <utility>

#include "net/redis/limits.hpp"

namespace portcullis::net::redis {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 12> rules = {{
    {"LOADING", "loading"},
    {"READONLY", "readonly"},
    {"MASTERDOWN", "masterdown"},
    {"NOAUTH", "noauth"},
    {"WRONGPASS", "wrongpass"},
    {"NOPERM", "noperm"},
    {"CLUSTERDOWN", "clusterdown"},
    {"TRYAGAIN", "tryagain"},
    {"BUSY", "busy"},
    {"MISCONF", "misconf"},
    {"NOREPLICAS", "noreplicas"},
    {"OOM", "oom"},
}};

}  // namespace

std::optional<core::error> fault_of(const reply& what) noexcept {
  const auto code = what.error_code();
  if (code.empty()) return std::nullopt;
  for (const auto& [word, rule] : rules)
    if (code == word)
      return rule == "oom" ? core::fail(core::error_code::STORE_FULL, {}, rule) : unavailable(rule);
  return std::nullopt;
}

bool is_refusal(const core::error& why) noexcept {
  return why.rule == "noreplicas" || why.rule == "noperm" || why.rule == "misconf" ||
         why.rule == "oom" || why.rule == "readonly";
}

bool is_wrong_role(const core::error& why) noexcept {
  return why.rule == "readonly" || why.rule == "masterdown";
}

std::string shown(std::string_view text) {
  std::string made(text.substr(0, limits::detail_bytes_max));
  for (char& c : made)
    if (c < 0x20 || c > 0x7e) c = '?';
  return made;
}

}  // namespace portcullis::net::redis
