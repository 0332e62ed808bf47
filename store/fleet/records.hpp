// What is appended to the log that nodes share, and what is read from it.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/event/event.hpp"
#include "core/fleet/entry.hpp"

namespace portcullis::store::fleet {

/// One decision, all or nothing.
struct unit {
  std::span<const core::event> events;  // at least one; until append() returns
  core::entry_tags tags;
  std::uint64_t as_of = 0;  // the log's place that it was decided by
  /// Refused when it is overtaken; otherwise what it tells has happened and is appended as it is.
  bool checked = true;
  bool exact = false;  // refused unless the log ends at as_of
  std::vector<core::user_row> users;
  std::optional<core::subject_id> forgotten;  // whose row goes
};

/// One entry, in the order of the log.
struct entry {
  std::uint64_t last_seq = 0;
  core::entry_name name;
  bool own = false;                 // who appended it here has the events
  std::uint64_t count = 0;          // of its events
  std::vector<core::event> events;  // of all others; at_ms is not given
  std::vector<core::user_row> users;

  [[nodiscard]] std::uint64_t first_seq() const noexcept { return last_seq - count + 1; }
};

/// Another node, as it tells of itself.
struct member {
  std::string node_id, version;
  core::byte_array<8> writer{};
  core::millis started_at_ms = 0, told_at_ms = 0;  // told: by the store's clock
  std::uint64_t position = 0;                      // that it has read up to
  std::uint64_t sessions = 0, connections = 0;
};

/// As one text, and back; told_at_ms and writer are not in it. Absent: it is none.
[[nodiscard]] std::string to_text(const member& who);
[[nodiscard]] std::optional<member> parse_member(std::string_view text);

}  // namespace portcullis::store::fleet
