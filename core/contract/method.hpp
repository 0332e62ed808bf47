// The methods of the contract, and which role may call each (protocol.md, Who may call).
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/contract/types.hpp"
#include "core/error/catalogue.hpp"

namespace portcullis::core {

// X(identifier, "name", roles): roles is any of A (app), O (observer), or E (everyone, before login
// too). admin may call everything.
#define PORTCULLIS_METHODS(X)                          \
  X(session_validate, "session.validate", A)           \
  X(session_create, "session.create", A)               \
  X(session_update, "session.update", A)               \
  X(session_rotate, "session.rotate", A)               \
  X(session_revoke, "session.revoke", A)               \
  X(session_revoke_user, "session.revoke_user", A)     \
  X(session_revoke_tenant, "session.revoke_tenant", N) \
  X(session_list, "session.list", A | O)               \
  X(session_find, "session.find", O)                   \
  X(session_stats, "session.stats", A | O)             \
  X(lockout_status, "lockout.status", A | O)           \
  X(lockout_list, "lockout.list", O)                   \
  X(lockout_clear, "lockout.clear", N)                 \
  X(breaker_acquire, "breaker.acquire", A)             \
  X(breaker_report, "breaker.report", A)               \
  X(breaker_report_batch, "breaker.report_batch", A)   \
  X(breaker_observe, "breaker.observe", A)             \
  X(breaker_status, "breaker.status", A | O)           \
  X(breaker_list, "breaker.list", O)                   \
  X(breaker_override, "breaker.override", N)           \
  X(breaker_reset, "breaker.reset", N)                 \
  X(events_subscribe, "events.subscribe", A | O)       \
  X(events_unsubscribe, "events.unsubscribe", A | O)   \
  X(events_query, "events.query", O)                   \
  X(server_ping, "server.ping", E)                     \
  X(server_version, "server.version", E)               \
  X(server_info, "server.info", A | O)                 \
  X(server_connections, "server.connections", N)       \
  X(auth_login, "auth.login", E)                       \
  X(admin_reload, "admin.reload", N)                   \
  X(admin_drain, "admin.drain", N)                     \
  X(admin_backup, "admin.backup", N)                   \
  X(admin_forget, "admin.forget", N)                   \
  X(admin_rotate_keys, "admin.rotate_keys", N)         \
  X(admin_crash, "admin.crash", N)

enum class method : std::uint8_t {
#define X(id, name, roles) id,
  PORTCULLIS_METHODS(X)
#undef X
};
#define X(id, name, roles) +1
inline constexpr std::size_t method_count = 0 PORTCULLIS_METHODS(X);
#undef X

[[nodiscard]] std::string_view to_string(method value) noexcept;
/// Whether it goes over the whole store: it takes as long as that takes, and no request deadline
/// ends it.
[[nodiscard]] constexpr bool goes_over_the_store(method value) noexcept {
  return value == method::admin_backup || value == method::admin_forget ||
         value == method::admin_rotate_keys;
}
/// Whether the role may call the method at all; what it may see is narrowed further by tenants and
/// services.
[[nodiscard]] bool may_call(role caller, method value) noexcept;
/// Why a caller of this role may not call, before anything else of the call is looked at:
/// AUTH_REQUIRED before login, FORBIDDEN after it; absent: it may. `called` absent: a name that no
/// method has, which only who has logged in is told.
[[nodiscard]] std::optional<error_code> refusal(role caller, std::optional<method> called) noexcept;

}  // namespace portcullis::core
