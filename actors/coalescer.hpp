// Gathers failures that are not single events: one event a second, user (or none), source and
// reason, with exact counts. Past a bound everything further goes to one bucket without a source.
#pragma once
#include <map>
#include <optional>
#include <tuple>

#include "core/limits.hpp"
#include "core/session/state.hpp"

namespace portcullis::actors {

class coalescer {
 public:
  /// `correlation_id` is called for the first of an entry only: most requests' is never shown.
  template <class CorrelationId>
  void add(core::user_slot user, const core::short_hash& source, core::invalid_reason reason,
           core::millis now_ms, const CorrelationId& correlation_id) {
    const key exact{user, source, reason};
    const auto found = failures_.find(exact);
    if (found == failures_.end() && failures_.size() >= core::limits::coalesce_entries_max) {
      count(overflow_[reason], now_ms, correlation_id);
      return;
    }
    count(found == failures_.end() ? failures_[exact] : found->second, now_ms, correlation_id);
  }
  [[nodiscard]] bool empty() const noexcept { return failures_.empty() && overflow_.empty(); }

  /// Calls emit(user, source or none, validation_failed, correlation id) for each and starts anew.
  template <class Emit>
  void flush(Emit&& emit) {
    for (const auto& [which, seen] : failures_)
      emit(which.user, std::optional(which.source), which.reason, seen);
    for (const auto& [reason, seen] : overflow_)
      emit(core::no_slot, std::optional<core::short_hash>(), reason, seen);
    failures_.clear();
    overflow_.clear();
  }

  struct tally {
    std::uint64_t count = 0;
    core::millis first_at_ms = 0, last_at_ms = 0;
    std::string correlation_id;  // of the first
  };

 private:
  struct key {
    core::user_slot user;
    core::short_hash source;
    core::invalid_reason reason;
    friend auto operator<=>(const key&, const key&) = default;
  };
  template <class CorrelationId>
  static void count(tally& seen, core::millis now_ms, const CorrelationId& correlation_id) {
    if (seen.count++ == 0) {
      seen.first_at_ms = now_ms;
      seen.correlation_id = correlation_id();
    }
    seen.last_at_ms = now_ms;
  }
  std::map<key, tally> failures_;
  std::map<core::invalid_reason, tally> overflow_;
};

}  // namespace portcullis::actors
