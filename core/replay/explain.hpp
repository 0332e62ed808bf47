// Why an event is what it is: the rule that decided, with which values, which earlier events led
// there, and whether the rule, run again on the state of the moment before, gives the same. The
// rules are the ones that the server decides by. Pure: whoever calls reads the log and has the
// keys.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/event/checkpoint.hpp"
#include "core/replay/past.hpp"
#include "core/replay/recent.hpp"
#include "core/replay/state.hpp"
#include "core/session/policy_book.hpp"

namespace portcullis::core {

enum class agreement : std::uint8_t {
  yes,            // the rules give what was recorded
  no,             // they give something else
  not_checkable,  // what they would need is not in the log, or its key is destroyed
};

/// What a rule looked at. A number is in the units that its name ends in.
struct named_value {
  std::string name, value;
  bool is_number = false;  // so, or true or false
};

struct explanation {
  std::string rule;  // one sentence
  std::vector<named_value> values;
  std::vector<past_event> because;  // by seq
  agreement agrees = agreement::yes;
  std::string why;  // no: what the log says and what the rules give; not_checkable: which part
};

/// A policy that the log tells, and the event that told it.
struct logged_policy {
  std::uint64_t seq = 0;
  millis at_ms = 0;
  bool is_start = false;  // node_started
  policy_book book;
};

/// Who a subject is; null where the user is forgotten.
using identity_opener = std::function<identity_ptr(const subject_id&)>;

struct explain_input {
  const event& what;
  replayed_state& before;    // of the moment before it; addresses are opened in it, no more
  const log_recent& recent;  // noted up to the event before it
  std::span<const logged_policy> policies;  // all of the log, by seq
  const identity_opener& open;
  const key_material* keys = nullptr;     // null: keyed hashes of sources, and who signs
                                          // checkpoints, are not checked
  std::optional<log_place> place_before;  // the event before a checkpoint, as the log has it
  const past_events* past = nullptr;      // null: `because` stays empty
};
[[nodiscard]] explanation explain(const explain_input& in);

/// What a validation of a session would have been answered at a moment, and why.
struct validation_question {
  session_handle handle;
  millis at_ms = 0;
  replayed_state& then;
  const policy_book& policies;
  const identity_opener& open;
  const past_events& past;         // of this handle and its user
  millis lost_activity_at_ms = 0;  // log_recent's
};
struct answered_validation {
  bool known = true;                     // false: no such session by then, or forgotten by then
  std::optional<invalid_reason> reason;  // absent: valid, from where and what it binds to
  std::optional<millis> retry_after_ms;  // locked_out
  explanation how;
};
[[nodiscard]] answered_validation explain_validation(const validation_question& asked);

/// What a session's context is compared with, under a policy: "ip /32, user_agent, accept".
[[nodiscard]] std::string bound_to(const session_record& session, const session_policy& policy);
/// The names in a set of fields, separated by commas; bit 7 is the address.
[[nodiscard]] std::string names_of(field_set fields);

}  // namespace portcullis::core
