// Names of event types and of the enumerations that events carry.
#include <algorithm>
#include <array>

#include "core/event/codec.hpp"
#include "core/event/event.hpp"

namespace portcullis::core {
namespace {

constexpr std::array<std::string_view, event_type_count> type_names = {
    "session_created",      "session_touched",
    "session_rotated",      "session_successor_used",
    "session_rekeyed",      "session_updated",
    "session_revoked",      "session_expired",
    "session_evicted",      "session_reuse_detected",
    "validation_failed",    "validation_signalled",
    "lockout_started",      "lockout_ended",
    "lockout_cleared",      "source_limited",
    "node_started",         "node_stopped",
    "config_reloaded",      "store_degraded",
    "store_recovered",      "auth_failed",
    "breaker_opened",       "breaker_half_opened",
    "breaker_closed",       "breaker_would_open",
    "breaker_override_set", "breaker_override_cleared",
    "breaker_retired",      "user_forgotten",
    "checkpoint",           "calls_tallied"};

static_assert(!type_names.back().empty());
static_assert(static_cast<std::size_t>(event_type::calls_tallied) + 1 == event_type_count);

}  // namespace

std::string_view to_string(event_type type) noexcept {
  return type_names[static_cast<std::size_t>(type)];
}

std::optional<event_type> parse_event_type(std::string_view name) noexcept {
  const auto* found = std::find(type_names.begin(), type_names.end(), name);
  if (found == type_names.end()) return std::nullopt;
  return static_cast<event_type>(found - type_names.begin());
}

std::string_view to_string(revoke_scope scope) noexcept {
  switch (scope) {
    case revoke_scope::session:
      return "session";
    case revoke_scope::user:
      return "user";
    case revoke_scope::tenant:
      return "tenant";
  }
  return {};
}

std::string_view to_string(expiry_kind kind) noexcept {
  switch (kind) {
    case expiry_kind::idle:
      return "idle";
    case expiry_kind::absolute:
      return "absolute";
  }
  return {};
}

}  // namespace portcullis::core
