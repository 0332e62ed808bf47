// Events of a log explained: the log folded up to each, the rules run again.
#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/log/outline.hpp"

namespace portcullis::apps {

using ordered_json = nlohmann::ordered_json;

/// An event that was looked for, as the programs' form says it: seq, at_ms, type, event, rule,
/// values, because, agrees (true, false, or null where it cannot be checked) and why.
struct explained_event {
  ordered_json told;
  core::agreement agrees = core::agreement::yes;
};
/// Absent: `why`.
[[nodiscard]] std::optional<explained_event> explain_event(log_source& from, std::uint64_t seq,
                                                           std::string& why);

struct explained_log {
  std::uint64_t events = 0, agree = 0, disagree = 0, not_checkable = 0;
  struct line {
    std::uint64_t seq = 0;
    core::millis at_ms = 0;
    core::event_type type = core::event_type::session_created;
    std::string why;
  };
  std::vector<line> disagreements;            // the first disagreements_max
  std::map<std::string, std::uint64_t> open;  // by what cannot be checked
  static constexpr std::size_t disagreements_max = 1'000;
};
/// Every event up to the moment. Absent: `why`.
[[nodiscard]] std::optional<explained_log> explain_all(log_source& from, const log_moment& until,
                                                       std::string& why);

struct explained_validation {
  ordered_json told;
  bool known = true;
};
/// What a validation of this session would have been answered at the moment. Absent: `why`.
[[nodiscard]] std::optional<explained_validation> explain_handle(log_source& from,
                                                                 const core::session_handle& handle,
                                                                 const log_moment& at,
                                                                 std::string& why);

/// The same for people.
[[nodiscard]] std::string explanation_text(const ordered_json& told);

}  // namespace portcullis::apps
