// What `portcullis verify` looks at: the file, the chain, the checkpoints, the projections, users.
#pragma once
#include <string>
#include <vector>

#include "apps/log/kept_checkpoints.hpp"
#include "apps/log/source.hpp"

namespace portcullis::apps {

/// What is wrong, first things first. seq 0: of no event.
struct verify_finding {
  std::uint64_t seq = 0;
  std::string what;
};
struct verify_report {
  std::uint64_t first_seq = 0, last_seq = 0, events = 0, checkpoints = 0, users = 0;
  core::millis last_at_ms = 0;
  core::digest digest{};
  /// Of the checkpoints given: those that the log was compared with, the last of these, and those
  /// that are older than where it begins.
  std::uint64_t compared = 0, last_compared_seq = 0, too_old = 0;
  core::log_place begins_after{};        // what was cut off; seq 0: nothing was
  std::vector<verify_finding> findings;  // empty: nothing is wrong
};

/// Reads all of the log. `kept`: checkpoints that were exported earlier, by seq. Where there are
/// some and none can be compared, that is wrong too.
[[nodiscard]] verify_report verify_log(log_source& from,
                                       const std::vector<exported_checkpoint>& kept);

}  // namespace portcullis::apps
