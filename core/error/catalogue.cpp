#include "core/error/catalogue.hpp"

#include <algorithm>
#include <iterator>

namespace portcullis::core {
namespace {

constexpr error_row rows[] = {
#define X(NAME, code, status, level, retryable, message, remedy) \
  {error_code::NAME, code, #NAME, status, severity::level, retryable, message, remedy},
    PORTCULLIS_ERRORS(X)
#undef X
};

constexpr error_code reserved[] = {error_code::BREAKER_OPEN};

}  // namespace

std::span<const error_row> error_catalogue() noexcept { return rows; }

const error_row& describe(error_code code) noexcept { return rows[static_cast<std::size_t>(code)]; }

std::optional<error_code> error_from_wire(std::int32_t code) noexcept {
  for (const auto& row : rows)
    if (row.code == code) return row.id;
  return std::nullopt;
}

bool is_reserved(error_code code) noexcept {
  return std::find(std::begin(reserved), std::end(reserved), code) != std::end(reserved);
}

std::string_view to_string(severity value) noexcept {
  switch (value) {
    case severity::low:
      return "low";
    case severity::medium:
      return "medium";
    case severity::high:
      return "high";
    case severity::critical:
      return "critical";
  }
  __builtin_unreachable();
}

}  // namespace portcullis::core
