// Which events a caller asked for and may see (protocol.md, Events and Who may call).
#pragma once
#include <bitset>

#include "core/contract/caller.hpp"
#include "core/event/event.hpp"
#include "core/result.hpp"

namespace portcullis::actors {

struct event_selection {
  std::bitset<core::event_type_count> types;  // none set: nothing passes
  std::string tenant_id;                      // empty: all
  const core::caller* who = nullptr;

  [[nodiscard]] bool passes(const core::event& what) const {
    if (!types[static_cast<std::size_t>(what.type())]) return false;
    if (!tenant_id.empty() && what.tenant_id != tenant_id) return false;
    if (const auto service = core::service_of(what); !service.empty())
      return who->sees_service(service);
    return who->tenants.empty() || (!what.tenant_id.empty() && who->sees_tenant(what.tenant_id));
  }
};

/// INVALID_PARAMS (field "types") for a name that the contract does not know, FORBIDDEN for what
/// the role may not see: app sees breaker_* only. Absent types: everything that the role may see
/// but session_touched and calls_tallied.
[[nodiscard]] inline core::result<event_selection> select_events(
    const core::caller& who, const std::vector<std::string_view>& types,
    std::string_view tenant_id) {
  event_selection out;
  out.who = &who;
  out.tenant_id = tenant_id;
  const bool breakers_only = who.role == core::role::app;
  for (const auto type : types) {
    const auto known = core::parse_event_type(type);
    if (!known) return core::fail(core::error_code::INVALID_PARAMS, "types", "event_type");
    if (breakers_only && !type.starts_with("breaker_"))
      return core::fail(core::error_code::FORBIDDEN, "types");
    out.types.set(static_cast<std::size_t>(*known));
  }
  if (!types.empty()) return out;
  for (std::size_t i = 0; i < core::event_type_count; ++i) {
    const auto type = static_cast<core::event_type>(i);
    out.types[i] = breakers_only ? core::to_string(type).starts_with("breaker_")
                                 : type != core::event_type::session_touched &&
                                       type != core::event_type::calls_tallied;
  }
  return out;
}

}  // namespace portcullis::actors
