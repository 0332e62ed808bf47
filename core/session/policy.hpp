// The rules that sessions are judged by (protocol.md, Policy). Configuration: session.*,
// tenant."NAME".session.*.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "core/contract/types.hpp"

namespace portcullis::core {

enum class ip_binding : std::uint8_t { enforce, challenge, observe, off };
enum class cap_action : std::uint8_t { deny, evict_oldest };
/// The texts of each enumeration, in its order.
inline constexpr std::array<std::string_view, 4> ip_binding_names = {"enforce", "challenge",
                                                                     "observe", "off"};
inline constexpr std::array<std::string_view, 2> cap_action_names = {"deny", "evict_oldest"};

struct session_policy {
  std::int64_t idle_ttl_s = 900;
  std::int64_t absolute_ttl_s = 43'200;
  std::int64_t touch_granularity_s = 60;    // at most half of idle_ttl_s
  std::uint32_t max_sessions_per_user = 0;  // 0: no cap
  cap_action on_cap = cap_action::deny;
  core::ip_binding ip_binding = core::ip_binding::enforce;
  int ip_prefix_v4 = 32;
  int ip_prefix_v6 = 64;
  field_set enforced = bit(context_field::user_agent) | bit(context_field::accept) |
                       bit(context_field::accept_language) | bit(context_field::accept_encoding);
  field_set observed = bit(context_field::ja4);
  field_set challenged = 0;
  std::int64_t rotation_grace_s = 10;
  friend bool operator==(const session_policy&, const session_policy&) = default;
};

}  // namespace portcullis::core
