// What the metrics are fed with: each owner's plain counters, copied by the owner when a scrape
// asks (see core/tallies.hpp for what loops keep). Counters only grow while their owner lives. An
// owner that starts again says so by another incarnation, and starts its counters at zero.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/breaker/tallies.hpp"
#include "core/contract/types.hpp"
#include "core/tallies.hpp"

namespace portcullis::monitoring {

inline constexpr std::array<std::string_view, 7> validation_results = {
    "valid",     "not_found", "expired", "revoked", "ip_mismatch", "fingerprint_mismatch",
    "locked_out"};

enum class end_reason : std::uint8_t { revoked, expired, rotated, evicted };
inline constexpr std::array<std::string_view, 4> end_reasons = {"revoked", "expired", "rotated",
                                                                "evicted"};

/// Of one shard: its session, lockout and directory actors together.
struct shard_tallies {
  std::uint64_t incarnation = 0;
  std::array<std::uint64_t, validation_results.size()> validations{};
  std::uint64_t failed_attempts = 0;
  std::uint64_t sessions_created = 0;
  std::array<std::uint64_t, end_reasons.size()> sessions_ended{};  // rotated: an id replaced
  std::uint64_t lockouts_started = 0;
  std::uint64_t reuse_detected = 0;  // replaced ids that were used after their grace
  // Levels.
  std::uint64_t sessions_live = 0;
  std::uint64_t lockouts_active = 0;
  std::uint64_t users_in_doubt = 0;

  void validated() noexcept { ++validations[0]; }
  void validated(core::invalid_reason reason) noexcept {
    ++validations[1 + static_cast<std::size_t>(reason)];
  }
  void ended(end_reason reason) noexcept { ++sessions_ended[static_cast<std::size_t>(reason)]; }
};

enum class store_operation : std::uint8_t {
  append,
  commit,
  checkpoint,
  load,
  query,
  find,
  sessions,
  backup,
  retention
};
inline constexpr std::array<std::string_view, 9> store_operations = {
    "append", "commit", "checkpoint", "load", "query", "find", "sessions", "backup", "retention"};

enum class store_failure : std::uint8_t { unavailable, full, integrity };
inline constexpr std::array<std::string_view, 3> store_failures = {"STORE_UNAVAILABLE",
                                                                   "STORE_FULL", "STORE_INTEGRITY"};

/// Of the journal and the store under it.
struct journal_tallies {
  std::uint64_t incarnation = 0;
  std::uint64_t appends = 0;  // events made durable
  // Commits are group commits, their fsync included; a query, find or backup is timed by its steps.
  std::array<core::duration_tally, store_operations.size()> operations{};
  std::array<std::array<std::uint64_t, store_failures.size()>, store_operations.size()> errors{};
  // Levels.
  std::uint64_t queue_events = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t replay_ns = 0;  // the last start's replay
  bool degraded = false;

  void took(store_operation operation, std::uint64_t ns) noexcept {
    operations[static_cast<std::size_t>(operation)].add(ns);
  }
  void failed(store_operation operation, store_failure why) noexcept {
    ++errors[static_cast<std::size_t>(operation)][static_cast<std::size_t>(why)];
  }
};

inline constexpr std::array<std::string_view, 2> fleet_origins = {"own", "other"};

/// Of the log that several nodes share.
struct fleet_tallies {
  std::uint64_t incarnation = 0;
  std::uint64_t own_entries = 0, others_entries = 0;  // read
  std::uint64_t overtaken = 0;                        // decisions that another node was faster than
  std::uint64_t refused = 0;                          // that did not come to the store
  std::uint64_t commands = 0, timeouts = 0, connects = 0, losses = 0;  // of Redis
  // Levels.
  std::uint64_t in_flight = 0, position = 0, members = 0;
  std::int64_t stale_ns = 0;  // since all that was in the log was known
  bool reachable = false, sweeps = false;
};

/// Of one loop's subscriptions.
struct subscription_tallies {
  std::uint64_t incarnation = 0;
  std::uint64_t drops = 0;  // subscriptions ended because their reader was too slow
  std::uint64_t live = 0;   // level
};

/// One breaker as its shard sees it at a scrape.
struct breaker_reading {
  std::string service, breaker;
  /// By creation, unique in the process: a name that was retired and came again has another.
  std::uint64_t number = 0;
  core::breaker_kind kind = core::breaker_kind::hosted;
  core::breaker_state state = core::breaker_state::closed;
  std::optional<core::override_scope> overridden;   // absent: no override is in force
  std::optional<double> failure_ratio, slow_ratio;  // absent: below min_calls
  std::uint64_t open_ms = 0;  // open or forced open, the phase under way included
  core::breaker_tallies tallies;
};

/// Of one shard's breakers: those that are there.
struct breaker_shard_tallies {
  std::uint64_t incarnation = 0;
  std::vector<breaker_reading> breakers;  // by number
};

/// Whose mail is counted: all that a request or an event passes through.
enum class actor_kind : std::uint8_t {
  gateway,
  session,
  lockout,
  directory,
  hub,
  journal,
  subscriptions,
  log,
  breaker
};
inline constexpr std::array<std::string_view, 9> actor_kinds = {
    "gateway", "session",       "lockout", "directory", "hub",
    "journal", "subscriptions", "log",     "breaker"};

inline constexpr std::array<std::string_view, 5> log_levels = {"trace", "debug", "info", "warn",
                                                               "error"};

/// Of the process's log; it starts once.
struct log_tallies {
  std::array<std::uint64_t, log_levels.size()> messages{};
  std::uint64_t dropped = 0;  // all that were lost
  std::uint64_t write_errors =
      0;  // of them those that the sink refused: a full disk, a closed pipe
};

inline constexpr std::array<std::string_view, 2> reload_results = {"success", "failure"};

/// Of reading the configuration again; counted by the process.
struct reload_tallies {
  std::array<std::uint64_t, reload_results.size()> reloads{};
  bool last_succeeded = true;

  void ended(bool well) noexcept {
    ++reloads[well ? 0 : 1];
    last_succeeded = well;
  }
};

/// All that one scrape reads. An owner keeps its place in its vector for the life of the process;
/// one that cannot answer (it restarts) is given as it was last seen.
struct snapshot {
  std::vector<shard_tallies> shards;
  std::vector<core::loop_tallies> loops;
  std::vector<subscription_tallies> subscriptions;
  std::vector<breaker_shard_tallies> breakers;  // by shard
  std::optional<journal_tallies> journal;
  std::optional<fleet_tallies> fleet;
  std::array<std::uint64_t, actor_kinds.size()> mailbox_depth{};  // all actors of a kind together
  log_tallies log;
  reload_tallies reloads;
  std::uint64_t aliases = 0;           // places that are taken in the table of aliases
  core::millis journal_silent_ms = 0;  // since it was asked first of what it did not answer
  std::int64_t scrape_gap_ns = 0;      // since the scrape before this one; 0: there was none
};

}  // namespace portcullis::monitoring
