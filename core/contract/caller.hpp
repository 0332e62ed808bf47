// Who is at the other end of a connection, once it has logged in.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "core/contract/types.hpp"

namespace portcullis::core {

struct caller {
  std::string name;
  core::role role = core::role::none;
  std::vector<std::string> tenants;   // empty: all
  std::vector<std::string> services;  // empty: all

  /// Naming a tenant outside is FORBIDDEN; sessions of others are unknown; lists and events are
  /// filtered.
  [[nodiscard]] bool sees_tenant(std::string_view tenant) const {
    return tenants.empty() || std::find(tenants.begin(), tenants.end(), tenant) != tenants.end();
  }
  [[nodiscard]] bool sees_service(std::string_view service) const {
    return services.empty() ||
           std::find(services.begin(), services.end(), service) != services.end();
  }
};

}  // namespace portcullis::core
