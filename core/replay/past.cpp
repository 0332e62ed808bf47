#include "core/replay/past.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/event/codec.hpp"

namespace portcullis::core {
namespace {

std::string text_of(const session_touched&) { return "used"; }
std::string text_of(const session_rotated& body) {
  return body.grace ? "rotated, with grace for the id before" : "rotated, every earlier id ended";
}
std::string text_of(const session_updated& body) { return fmt::format("version {}", body.version); }
std::string text_of(const session_revoked& body) {
  return fmt::format("{} sessions of scope {} revoked: {}", body.count, to_string(body.scope),
                     body.reason);
}
std::string text_of(const session_expired& body) { return std::string(to_string(body.kind)); }
std::string text_of(const validation_failed& body) {
  if (body.attempt)
    return fmt::format("{}, attempt {} of its window", to_string(body.reason), *body.attempt);
  return fmt::format("{}, {} times", to_string(body.reason), body.count.value_or(1));
}
std::string text_of(const validation_signalled& body) {
  return std::string(to_string(body.action));
}
std::string text_of(const lockout_started& body) {
  return fmt::format("{} after {} attempts", body.source ? "a source locked out" : "locked out",
                     body.attempts);
}
std::string text_of(const lockout_cleared& body) { return "cleared: " + body.reason; }
std::string text_of(const node_started& body) { return "version " + body.version; }
std::string text_of_transition(const breaker_transition& body) {
  auto text = fmt::format("was {}, {}", to_string(body.from), to_string(body.cause));
  if (body.kind == breaker_kind::observed) text += ", reported by " + body.source;
  if (body.counts.calls() > 0)
    text += fmt::format(", {} of {} calls failed", body.counts.failures(), body.counts.calls());
  return text;
}
std::string text_of(const breaker_would_open& body) {
  return fmt::format("{}, {} of {} calls failed", to_string(body.cause), body.counts.failures(),
                     body.counts.calls());
}
std::string text_of(const breaker_override_set& body) {
  return fmt::format("{}: {}", to_string(body.mode), body.reason);
}
std::string text_of(const breaker_override_cleared& body) {
  return fmt::format("was {}, {}", to_string(body.mode), to_string(body.cause));
}
std::string text_of(const user_forgotten& body) {
  return fmt::format("{} sessions ended: {}", body.count, body.reason);
}
template <class Body>
std::string text_of(const Body& body) {
  if constexpr (std::is_base_of_v<breaker_transition, Body>)
    return text_of_transition(body);
  else
    return {};
}

past_event in_short(const event& what) {
  const auto* failed = std::get_if<validation_failed>(&what.body);
  const auto* revoked = std::get_if<session_revoked>(&what.body);
  return {what.seq,
          what.at_ms,
          what.type(),
          what.handle,
          failed != nullptr && failed->attempt.has_value(),
          short_text(what),
          revoked == nullptr ? std::nullopt : revoked->except_handle};
}

}  // namespace

std::string short_text(const event& what) {
  auto text = std::visit([](const auto& body) { return text_of(body); }, what.body);
  if (!what.actor.empty()) text += (text.empty() ? "by " : ", by ") + what.actor;
  return text;
}

topic topic_of(const event& what) {
  topic out{what.tenant_id, what.subject, what.handle, {}, {}};
  std::visit(
      [&](const auto& body) {
        if constexpr (requires { body.service; }) {
          out.service = body.service;
          out.breaker = body.breaker;
        }
      },
      what.body);
  return out;
}

bool past_events::concerns(const event& what) const {
  if (!of_.service.empty() && service_of(what) == of_.service) {
    const auto whose = topic_of(what);
    return whose.breaker == of_.breaker;
  }
  if (of_.subject && what.subject == of_.subject) return true;
  if (of_.handle && what.handle == of_.handle) return true;
  if (const auto* touched = std::get_if<session_touched>(&what.body))
    return of_.handle && std::any_of(touched->touches.begin(), touched->touches.end(),
                                     [&](const auto& each) { return each.handle == *of_.handle; });
  const auto* revoked = std::get_if<session_revoked>(&what.body);
  return revoked != nullptr && revoked->scope == revoke_scope::tenant &&
         what.tenant_id == of_.tenant_id;
}

void past_events::note(const event& what) {
  if (what.type() == event_type::node_started || what.type() == event_type::config_reloaded)
    policy_ = in_short(what);
  if (!concerns(what)) return;
  all_.push_back(in_short(what));
  if (what.type() == event_type::session_touched) all_.back().handle = of_.handle;
  if (what.type() == event_type::session_created && what.handle == of_.handle)
    creation_ = all_.back();
  if (all_.size() > kept_max) all_.pop_front();
}

}  // namespace portcullis::core
