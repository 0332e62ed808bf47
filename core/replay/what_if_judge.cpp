#include "core/replay/what_if_judge.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/session/recorded.hpp"

namespace portcullis::core {
namespace {

bool same_addresses(const session_policy& a, const session_policy& b) noexcept {
  return a.ip_binding == b.ip_binding && a.ip_prefix_v4 == b.ip_prefix_v4 &&
         a.ip_prefix_v6 == b.ip_prefix_v6;
}

/// Absent: one of the addresses cannot be opened.
std::optional<bool> addresses_differ(const event& what, session_record& session,
                                     const session_policy& policy, const identity_lookup& who) {
  const auto identity = what.subject ? who(*what.subject) : nullptr;
  if (!identity) return std::nullopt;
  if (!session.ip_known) {
    const auto own = open_ip(*identity, session.sealed_ip());
    if (!own) return std::nullopt;
    session.ip = *own;
    session.ip_known = true;
    session.memo = {};
  }
  const auto shown = open_shown(*identity, what.sealed);
  if (!shown) return std::nullopt;
  return !same_network(session.ip, shown->ip, policy.ip_prefix_v4, policy.ip_prefix_v6);
}

}  // namespace

judged_anew judge_anew(const event& what, const validation_failed& failed, session_record* session,
                       const session_policy& recorded, const session_policy& other,
                       const identity_lookup& who) {
  const bool same_addressing = same_addresses(recorded, other);
  if (same_addressing && recorded.enforced == other.enforced) return {true, false};
  const bool of_address = failed.reason == invalid_reason::ip_mismatch;
  const bool enforces_address = other.ip_binding == ip_binding::enforce;
  if (session == nullptr || session->status != session_status::live)
    return {of_address ? enforces_address : other.enforced != 0, true};
  if ((differing_fields(*session, failed.fields) & other.enforced) != 0) return {true, false};
  if (!enforces_address) return {false, false};
  if (same_addressing) return {of_address, false};
  const auto differ = addresses_differ(what, *session, other, who);
  return differ ? judged_anew{*differ, false} : judged_anew{of_address, true};
}

std::optional<ip_address> presented_address(const event& what, const identity_lookup& who) {
  const auto identity = what.subject ? who(*what.subject) : nullptr;
  const auto shown = identity ? open_shown(*identity, what.sealed) : std::nullopt;
  if (!shown) return std::nullopt;
  return shown->ip;
}

bool fails_under(const validation_signalled& signal, const session_policy& other) {
  const bool address = (signal.fields & ip_bit) != 0 && other.ip_binding == ip_binding::enforce;
  return address || (signal.fields & other.enforced) != 0;
}

namespace {

void of_sessions(const std::string& whose, const session_policy& recorded,
                 const session_policy& other, std::vector<std::string>& out) {
  const auto add = [&](std::string_view text) { out.push_back(fmt::format("{}{}", whose, text)); };
  if (other.ip_binding == ip_binding::enforce) {
    if (recorded.ip_binding == ip_binding::off)
      add("addresses were not compared: what would have failed by them is not in the log");
    else if (other.ip_prefix_v4 > recorded.ip_prefix_v4 ||
             other.ip_prefix_v6 > recorded.ip_prefix_v6)
      add("changes of address within the recorded prefix are not in the log");
    else if (recorded.ip_binding != ip_binding::enforce && !same_addresses(recorded, other) &&
             (other.ip_prefix_v4 < recorded.ip_prefix_v4 ||
              other.ip_prefix_v6 < recorded.ip_prefix_v6))
      add("a signalled change of address is taken as one beyond the wider prefix, too");
  }
  const auto looked_at =
      static_cast<field_set>(recorded.enforced | recorded.observed | recorded.challenged);
  for (std::size_t i = 0; i < context_field_count; ++i)
    if (((other.enforced & ~looked_at) >> i & 1) != 0)
      add(fmt::format("{} was not compared: what would have failed by it is not in the log",
                      context_field_names[i]));
  if (recorded.max_sessions_per_user > 0 && recorded.on_cap == cap_action::deny &&
      (other.max_sessions_per_user == 0 ||
       other.max_sessions_per_user > recorded.max_sessions_per_user ||
       other.on_cap == cap_action::evict_oldest))
    add("sessions that the cap refused are not in the log");
  if (recorded.rotation_grace_s != other.rotation_grace_s)
    add("session.rotation_grace_s is not tried: which id was used is not in the log");
}

}  // namespace

std::vector<std::string> blind_spots(const policy_book& recorded, const policy_book& other) {
  std::vector<std::string> out;
  of_sessions("", recorded.session, other.session, out);
  for (const auto& [tenant, policy] : other.tenants)
    of_sessions(fmt::format("tenant {}: ", tenant), recorded.of(tenant), policy, out);
  for (const auto& [tenant, policy] : recorded.tenants)
    if (!other.tenants.contains(tenant))
      of_sessions(fmt::format("tenant {}: ", tenant), policy, other.of(tenant), out);
  if (recorded.lockout.source_threshold != other.lockout.source_threshold)
    out.emplace_back("lockout.source_threshold is not tried: unknown ids are not in the log");
  auto slow = recorded.breakers.fallback.slow_call_ms != other.breakers.fallback.slow_call_ms;
  for (const auto& [pattern, policy] : other.breakers.patterns)
    if (const auto known = recorded.breakers.patterns.find(pattern);
        known != recorded.breakers.patterns.end())
      slow = slow || known->second.slow_call_ms != policy.slow_call_ms;
  if (slow)
    out.emplace_back("breaker.slow_call_ms is not tried: calls are slow that were slow in the log");
  if (recorded.breakers.breakers_max != other.breakers.breakers_max)
    out.emplace_back("breaker.max is not tried");
  return out;
}

}  // namespace portcullis::core
