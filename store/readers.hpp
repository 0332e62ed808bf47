// Reads of the journal that give way to commits: each step takes at most about
// limits::read_slice_us, and any number of appends, commits and rollbacks may come between two
// steps. Made and used on the journal's thread; the journal outlives them. They see committed
// events only.
#pragma once
#include <bitset>
#include <string>
#include <vector>

#include "core/event/event.hpp"
#include "core/limits.hpp"
#include "core/result.hpp"
#include "store/journal.hpp"

namespace portcullis::store {

enum class progress : std::uint8_t { more, done };

struct event_filter {
  std::uint64_t after = 0;  // only events with a greater seq
  std::size_t limit = core::limits::page_rows_default;
  std::bitset<core::event_type_count> types{};  // none set: all
  std::vector<std::string> tenants{};           // empty: all, also events of no tenant
  /// Of breakers' events, which have no tenant: whether they pass `tenants`, and of which services
  /// (none: all).
  bool breakers = true;
  std::vector<std::string> services{};
  std::string service{};  // set: only its breakers' events
  std::optional<core::subject_id> subject{};
  std::optional<core::session_handle> handle{};    // also where the event names several
  std::optional<core::millis> from_ms{}, to_ms{};  // at_ms, both inclusive
};

/// Events by seq that pass a filter.
class event_query {
 public:
  /// `until`: the last seq looked at; 0: what is committed when step() runs.
  event_query(journal& log, event_filter filter, std::uint64_t until = 0);

  /// Adds to rows(). done: the limit is reached, or the end. Errors: LOG_CORRUPT (a row cannot be
  /// decoded), STORE_UNAVAILABLE. decided_at_ms is always filled in; user_id and session_seq are
  /// not (session_created's session_seq is its seq).
  [[nodiscard]] core::result<progress> step();
  [[nodiscard]] std::vector<core::event>& rows() noexcept { return rows_; }
  /// The last seq looked at, passed or not: where the next query goes on after.
  [[nodiscard]] std::uint64_t scanned_seq() const noexcept { return scanned_; }

 private:
  journal* log_;
  event_filter filter_;
  std::uint64_t until_, scanned_;
  bool placed_ = false;
  std::vector<core::event> rows_;
};

struct session_filter {
  std::string tenant_id;
  std::optional<std::uint64_t> find_ip{}, find_user_agent{};  // exactly one
  std::uint64_t after = 0;                                    // creation seq
  std::size_t limit = core::limits::page_rows_default;
};

/// Sessions of a tenant by creation whose address or user agent is this one. Ended ones are left
/// out, but for those that a revocation of the tenant ended.
class session_find {
 public:
  session_find(journal& log, session_filter filter);
  /// done: the limit is reached (at_end() false), or the end. Errors: STORE_INTEGRITY,
  /// STORE_UNAVAILABLE.
  [[nodiscard]] core::result<progress> step();
  [[nodiscard]] std::vector<session_display>& rows() noexcept { return rows_; }
  [[nodiscard]] bool at_end() const noexcept { return at_end_; }

 private:
  journal* log_;
  session_filter filter_;
  std::uint64_t scanned_;
  bool at_end_ = false;
  std::vector<session_display> rows_;
};

/// A copy of the whole journal as of one commit, while the journal goes on. The copy (0600) opens
/// with the sqlite3 shell. It has its name when it is whole; before, it is "<path>.partial", and
/// what is there of a backup that was killed is replaced. Destroyed before done: the copy is
/// removed.
class backup {
 public:
  /// Errors: INVALID_PARAMS (field "path": rule "exists", or "unusable" when it cannot be made),
  /// STORE_UNAVAILABLE.
  [[nodiscard]] static core::result<std::unique_ptr<backup>> begin(journal& log, std::string path);
  ~backup();
  backup(const backup&) = delete;
  backup& operator=(const backup&) = delete;

  /// done: file and folder are fsynced; seq() and bytes() are valid. `more` within a transaction
  /// copies nothing. Errors: INVALID_PARAMS (as begin(): something has the name now), STORE_FULL
  /// (no space for the copy), STORE_UNAVAILABLE (rule "backup": writing the copy failed; rule
  /// "io_error": the journal's own file, fatal).
  [[nodiscard]] core::result<progress> step();
  [[nodiscard]] std::uint64_t seq() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept;

 private:
  struct state;
  explicit backup(std::unique_ptr<state> made);
  std::unique_ptr<state> state_;
};

}  // namespace portcullis::store
