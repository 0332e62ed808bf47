// Gathers failures that are not single events: one event a window, user (or none), source and
// reason, with exact counts. Past a bound everything further goes to one bucket without a source.
// What a window gathered leaves in slices: thousands of events in one turn would make every request
// beside them wait.
#pragma once
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

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
  /// Ends the window: what it gathered waits to leave, behind what waits already.
  void close_window() {
    for (auto& [which, seen] : failures_)
      closed_.push_back({which.user, which.source, which.reason, std::move(seen)});
    for (auto& [reason, seen] : overflow_)
      closed_.push_back({core::no_slot, std::nullopt, reason, std::move(seen)});
    failures_.clear();
    overflow_.clear();
  }
  [[nodiscard]] bool has_closed() const noexcept { return !closed_.empty(); }

  /// Calls emit(user, source or none, reason, tally) for `most` of what waits to leave.
  template <class Emit>
  void emit(std::size_t most, Emit&& emit) {
    for (; most > 0 && !closed_.empty(); --most, closed_.pop_front()) {
      const auto& [user, source, reason, seen] = closed_.front();
      emit(user, source, reason, seen);
    }
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
    friend bool operator==(const key&, const key&) = default;
  };
  struct key_hash {
    std::size_t operator()(const key& of) const noexcept {
      std::size_t hash = 0;  // a source is a keyed hash: as good as random
      std::memcpy(&hash, of.source.data(), sizeof hash);
      return hash ^ (std::size_t{of.user} * 0x9E3779B97F4A7C15U) ^
             static_cast<std::size_t>(of.reason);
    }
  };
  struct closed {
    core::user_slot user;
    std::optional<core::short_hash> source;
    core::invalid_reason reason;
    tally seen;
  };
  template <class CorrelationId>
  static void count(tally& seen, core::millis now_ms, const CorrelationId& correlation_id) {
    if (seen.count++ == 0) {
      seen.first_at_ms = now_ms;
      seen.correlation_id = correlation_id();
    }
    seen.last_at_ms = now_ms;
  }
  std::unordered_map<key, tally, key_hash> failures_;
  std::map<core::invalid_reason, tally> overflow_;
  std::deque<closed> closed_;
};

}  // namespace portcullis::actors
