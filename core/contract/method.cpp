#include "core/contract/method.hpp"

namespace portcullis::core {
namespace {

constexpr unsigned N = 0, A = 1, O = 2, E = 4;

struct method_row {
  std::string_view name;
  unsigned roles;
};
constexpr method_row rows[] = {
#define X(id, name, roles) {name, roles},
    PORTCULLIS_METHODS(X)
#undef X
};

}  // namespace

std::string_view to_string(method value) noexcept {
  return rows[static_cast<std::size_t>(value)].name;
}

bool may_call(role caller, method value) noexcept {
  const unsigned roles = rows[static_cast<std::size_t>(value)].roles;
  if ((roles & E) != 0) return true;
  switch (caller) {
    case role::none:
      return false;
    case role::app:
      return (roles & A) != 0;
    case role::observer:
      return (roles & O) != 0;
    case role::admin:
      return true;
  }
  __builtin_unreachable();
}

std::optional<error_code> refusal(role caller, std::optional<method> called) noexcept {
  if (called ? may_call(caller, *called) : caller != role::none) return std::nullopt;
  return caller == role::none ? error_code::AUTH_REQUIRED : error_code::FORBIDDEN;
}

}  // namespace portcullis::core
