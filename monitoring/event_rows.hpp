// How each event is logged: one table of level, component, message and name in OWASP's logging
// vocabulary, and the fields that go with it.
#pragma once
#include <array>
#include <span>
#include <string>

#include "core/crypto/hmac.hpp"
#include "core/event/event.hpp"
#include "monitoring/render.hpp"

namespace portcullis::monitoring {

struct event_row {
  core::event_type type;
  bool logged;
  core::log_level level;
  monitoring::component component;
  fixed_text message;
  std::string_view owasp;    // empty: the vocabulary has no name for it
  std::string_view outcome;  // ECS event.outcome
};

/// Every row, in the order of core::event_type. validation_failed has a row of its own for each
/// reason (row_for).
[[nodiscard]] std::span<const event_row> event_rows() noexcept;
/// The row that an event is logged by. A failed validation's level and name depend on its reason.
[[nodiscard]] event_row row_for(const core::event& of) noexcept;

/// How a user is named: in clear, or by a keyed hash of tenant and user.
struct user_naming {
  bool hashed = true;
  core::hmac_key key;
};

/// The fields of one event's line. They view the event and this object. Nothing sealed, no id's
/// hash, no policy and no session's data is among them.
class event_fields {
 public:
  event_fields(const core::event& of, const event_row& row, const user_naming& naming);
  event_fields(const event_fields&) = delete;
  event_fields& operator=(const event_fields&) = delete;
  [[nodiscard]] std::span<const field> view() const noexcept { return fields_; }

 private:
  struct body_fields;
  std::string_view keep(std::string text);
  void add_source(const core::short_hash& source);

  std::vector<field> fields_;
  std::array<std::string, 6> texts_;
  std::size_t used_ = 0;
};

}  // namespace portcullis::monitoring
