// What `portcullis verify` looks at: the file, the chain, the checkpoints, the projections, users.
#pragma once
#include <string>
#include <vector>

#include "apps/log/source.hpp"
#include "core/event/checkpoint.hpp"

namespace portcullis::apps {

/// A checkpoint that was exported: what it says of the log.
struct exported_checkpoint {
  core::log_place of;
  core::checkpoint what;
};
/// The checkpoints in a text of NDJSON lines, as events.query, `events export` and `checkpoint`
/// give them; lines of other events are left out. Absent: a line is no JSON object, or a checkpoint
/// without its fields; `why` says which.
[[nodiscard]] std::optional<std::vector<exported_checkpoint>> read_checkpoints(
    const std::string& text, std::string& why);

/// What is wrong, first things first. seq 0: of no event.
struct verify_finding {
  std::uint64_t seq = 0;
  std::string what;
};
struct verify_report {
  std::uint64_t first_seq = 0, last_seq = 0, events = 0, checkpoints = 0, users = 0;
  core::millis last_at_ms = 0;
  core::digest digest{};
  std::vector<verify_finding> findings;  // empty: nothing is wrong
};

/// Reads all of the log. `kept`: checkpoints that were exported earlier.
[[nodiscard]] verify_report verify_log(log_source& from,
                                       const std::vector<exported_checkpoint>& kept);

}  // namespace portcullis::apps
