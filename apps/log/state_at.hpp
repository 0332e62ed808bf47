// What the server believed at a moment of its log, in the programs' form: a user, a session, a
// breaker.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "apps/log/outline.hpp"

namespace portcullis::apps {

using ordered_json = nlohmann::ordered_json;

struct state_found {
  ordered_json told;
  bool known = true;  // false: nothing of it had happened by then; `told` has seq and at_ms only
};

/// `name`: TENANT/USER, cut at the first slash that gives a known user. Absent: `why`.
[[nodiscard]] std::optional<state_found> user_at(log_source& from, const std::string& name,
                                                 const log_moment& at, std::string& why);
[[nodiscard]] std::optional<state_found> session_at(log_source& from,
                                                    const core::session_handle& handle,
                                                    const log_moment& at, std::string& why);
/// No keys are needed.
[[nodiscard]] std::optional<state_found> breaker_at(log_source& from, const std::string& service,
                                                    const std::string& breaker,
                                                    const log_moment& at, std::string& why);

/// The same for people.
[[nodiscard]] std::string state_text(const ordered_json& told);

}  // namespace portcullis::apps
