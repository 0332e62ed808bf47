// Every policy in force: the default, what tenants override, and the lockout's. Replaced as a whole
// on reload.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "core/breaker/policy.hpp"
#include "core/lockout/policy.hpp"
#include "core/session/policy.hpp"

namespace portcullis::core {

struct policy_book {
  session_policy session;
  std::map<std::string, session_policy, std::less<>> tenants;
  lockout_policy lockout;
  breaker_book breakers;

  [[nodiscard]] const session_policy& of(std::string_view tenant) const {
    if (tenants.empty()) return session;
    const auto found = tenants.find(tenant);
    return found == tenants.end() ? session : found->second;
  }
};

/// The policies as the log keeps them with node_started and config_reloaded: a JSON object.
[[nodiscard]] std::string to_json(const policy_book& book);

}  // namespace portcullis::core
