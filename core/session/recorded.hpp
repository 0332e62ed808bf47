// The rules of check.hpp and decide.hpp in the form that looking back needs: on what the log keeps
// of a request, which is keyed hashes, not the context itself.
#pragma once
#include "core/session/check.hpp"
#include "core/session/state.hpp"

namespace portcullis::core {

/// As check_context(), for a context of which the address and the fields' hashes are known. The
/// session's address must be known.
[[nodiscard]] context_findings check_recorded(const session_record& session,
                                              const ip_address& presented_ip,
                                              const field_hashes& presented,
                                              const session_policy& policy) noexcept;
/// Fields that the session was made with and that are other ones, or absent, in `presented`.
[[nodiscard]] field_set differing_fields(const session_record& session,
                                         const field_hashes& presented) noexcept;

/// Recorded activity of a session with this idle time moves only when it is so much newer, in
/// milliseconds.
[[nodiscard]] inline millis touch_granularity_ms(std::uint32_t idle_ttl_s,
                                                 const session_policy& policy) noexcept {
  return std::min(policy.touch_granularity_s * 1000, millis{idle_ttl_s} * 500);
}
[[nodiscard]] inline millis touch_granularity_ms(const session_record& session,
                                                 const session_policy& policy) noexcept {
  return touch_granularity_ms(session.idle_ttl_s, policy);
}

}  // namespace portcullis::core
