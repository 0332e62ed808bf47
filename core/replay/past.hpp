// What the log said earlier of one thing (a user, a session, a breaker), in short: the events that
// led to another one. Bounded.
#pragma once
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "core/event/event.hpp"

namespace portcullis::core {

/// What an event is about, as far as it says so.
struct topic {
  std::string tenant_id;
  std::optional<subject_id> subject;
  std::optional<session_handle> handle;
  std::string service, breaker;
};
[[nodiscard]] topic topic_of(const event& what);

struct past_event {
  std::uint64_t seq = 0;
  millis at_ms = 0;
  event_type type = event_type::session_created;
  std::optional<session_handle> handle;
  bool is_attempt = false;                              // a failed attempt that counted
  std::string text;                                     // its own fields in short
  std::optional<session_handle> except = std::nullopt;  // of a revocation: what it left alone
};
/// The fields of an event that tell a reader most, without addresses, names of users and times.
[[nodiscard]] std::string short_text(const event& what);

class past_events {
 public:
  static constexpr std::size_t kept_max = 512;  // the newest; and the topic's session's creation

  explicit past_events(topic of) : of_(std::move(of)) {}
  /// Keeps the event if it concerns the topic. Each event of the log, in order.
  void note(const event& what);

  [[nodiscard]] const std::deque<past_event>& all() const noexcept { return all_; }
  /// session_created of the topic's session.
  [[nodiscard]] const std::optional<past_event>& creation() const noexcept { return creation_; }
  /// The last event that told the policy.
  [[nodiscard]] const std::optional<past_event>& policy() const noexcept { return policy_; }

 private:
  [[nodiscard]] bool concerns(const event& what) const;

  topic of_;
  std::deque<past_event> all_;
  std::optional<past_event> creation_, policy_;
};

}  // namespace portcullis::core
