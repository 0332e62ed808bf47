// What the files that explain events share. Private to core/replay.
#pragma once
#include <fmt/format.h>

#include "core/event/codec.hpp"
#include "core/replay/explain.hpp"
#include "core/session/decide.hpp"

namespace portcullis::core::explaining {

/// How far the times may be apart at which two actors of a node hear of the same thing: a request
/// that would wait for longer has been answered REQUEST_TIMEOUT.
inline constexpr millis apart_ms = limits::request_timeout_ms;

template <class T>
std::string text_of(const T& value) {
  if constexpr (std::is_same_v<T, bool>)
    return value ? "true" : "false";
  else if constexpr (std::is_enum_v<T>)
    return std::string(to_string(value));
  else
    return fmt::format("{}", value);
}
template <class T>
std::string text_of(const std::optional<T>& value) {
  return value ? text_of(*value) : "none";
}
inline std::string text_of(const id_hash& value) { return to_base64url(value.bytes).substr(0, 8); }
inline std::string text_of(const short_hash& value) { return to_base64url(value); }
inline std::string text_of(const session_handle& value) { return to_text(value); }

/// An explanation in the making.
class reasoning {
 public:
  template <class T>
  void value(std::string_view name, const T& value) {
    out_.values.push_back({std::string(name), text_of(value), std::is_arithmetic_v<T>});
  }
  void rule(std::string_view text) { out_.rule = text; }
  /// Both are values; a difference is a disagreement.
  template <class A, class B>
  bool expect(std::string_view name, const A& logged, const B& given) {
    value(name, logged);
    if (logged == given) return true;
    disagree(fmt::format("{} {}", name, text_of(logged)), text_of(given));
    return false;
  }
  void disagree(std::string_view logged, std::string_view given) {
    if (out_.agrees != agreement::no) out_.why.clear();
    out_.agrees = agreement::no;
    if (!out_.why.empty()) out_.why += "; ";
    out_.why += fmt::format("the log says {}, the rules give {}", logged, given);
  }
  /// `what` cannot be checked. A disagreement elsewhere stands.
  void leave_open(std::string_view what) {
    if (out_.agrees == agreement::no) return;
    out_.agrees = agreement::not_checkable;
    if (!out_.why.empty()) out_.why += "; ";
    out_.why += what;
  }
  [[nodiscard]] bool agrees() const noexcept { return out_.agrees == agreement::yes; }
  [[nodiscard]] explanation take() { return std::move(out_); }

 private:
  explanation out_;
};

/// One event, judged under one policy.
struct judged_event {
  const explain_input& in;
  const policy_book& policies;
  const event& what;
  session_state& sessions;
  const lockout_state& lockouts;
  millis decided_at_ms;
};

/// The event's session in the state before; no_slot, and a disagreement, where it is not there.
session_slot need_session(reasoning& r, const judged_event& e);
/// That the session lived when this was decided: a revocation of the whole tenant may have been
/// logged first.
void expect_live(reasoning& r, const judged_event& e, session_slot slot);
/// Whether a revocation of the tenant was logged so shortly before that who decided had perhaps not
/// heard of it.
[[nodiscard]] bool tenant_just_revoked(const judged_event& e);
void expect_generation(reasoning& r, const judged_event& e, std::uint64_t recorded);
/// Whether it is over only for want of activity, of which the log has dropped what is old: it may
/// have lived.
[[nodiscard]] bool is_doubtful(const judged_event& e, session_slot slot);
inline constexpr std::string_view activity_lost =
    "activity is not kept for long: whether the session was used meanwhile is not in the log";
inline constexpr std::string_view before_the_log =
    "what was shortly before the log begins is not known any more";
/// The user's sessions, by creation: those that lived, and how many may have.
struct users_sessions {
  std::vector<session_slot> live;
  std::size_t doubtful = 0;
};
[[nodiscard]] users_sessions live_sessions(const judged_event& e, user_slot user);
/// False, and left open, where the session's address cannot be opened any more.
bool open_address(reasoning& r, const judged_event& e, session_slot slot, const identity_ptr& who);

void on(reasoning& r, const judged_event& e, const session_created& body);
void on(reasoning& r, const judged_event& e, const session_touched& body);
void on(reasoning& r, const judged_event& e, const session_rotated& body);
void on(reasoning& r, const judged_event& e, const session_successor_used& body);
void on(reasoning& r, const judged_event& e, const session_rekeyed& body);
void on(reasoning& r, const judged_event& e, const session_updated& body);
void on(reasoning& r, const judged_event& e, const session_revoked& body);
void on(reasoning& r, const judged_event& e, const session_expired& body);
void on(reasoning& r, const judged_event& e, const session_evicted& body);
void on(reasoning& r, const judged_event& e, const session_reuse_detected& body);
void on(reasoning& r, const judged_event& e, const user_forgotten& body);

void on(reasoning& r, const judged_event& e, const validation_failed& body);
void on(reasoning& r, const judged_event& e, const validation_signalled& body);
void on(reasoning& r, const judged_event& e, const lockout_started& body);
void on(reasoning& r, const judged_event& e, const lockout_ended& body);
void on(reasoning& r, const judged_event& e, const lockout_cleared& body);
void on(reasoning& r, const judged_event& e, const source_limited& body);

void on(reasoning& r, const judged_event& e, const breaker_opened& body);
void on(reasoning& r, const judged_event& e, const breaker_half_opened& body);
void on(reasoning& r, const judged_event& e, const breaker_closed& body);
void on(reasoning& r, const judged_event& e, const breaker_would_open& body);
void on(reasoning& r, const judged_event& e, const breaker_override_set& body);
void on(reasoning& r, const judged_event& e, const breaker_override_cleared& body);
void on(reasoning& r, const judged_event& e, const breaker_retired& body);
void on(reasoning& r, const judged_event& e, const calls_tallied& body);

/// The earlier events that led to this one.
[[nodiscard]] std::vector<past_event> what_led_to(const event& what, const past_events& past);

}  // namespace portcullis::core::explaining
