// A circuit breaker that its application runs and reports: the server takes differences of
// cumulative counts and remembers transitions. Pure, like hosted.hpp.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/breaker/hosted.hpp"

namespace portcullis::core {

/// What is known of one source's reports, as the store keeps it too.
struct breaker_source {
  std::uint64_t source_epoch = 0;
  seen_sequence seen;
  call_counts counts;  // of its newest report
  duration_buckets durations{};
  breaker_state state = breaker_state::closed;
  millis last_report_at_ms = 0;
  millis open_since_ms = 0;  // 0: not open
  /// Changes of state that nobody reported, seen between two reports: a late report of one of
  /// those in between takes its place.
  struct gap {
    std::uint64_t after = 0, before = 0;
    breaker_state from = breaker_state::closed, to = breaker_state::closed;
  };
  std::vector<gap> gaps;
};

/// The same with its names. gone: it made room for another.
struct breaker_source_record {
  std::string service, breaker, source;
  breaker_source what;
  bool gone = false;
};

/// One thread.
class observed_breaker {
 public:
  using changes = std::vector<event_body>;

  observed_breaker(std::string service, std::string breaker, millis now_ms);
  observed_breaker(const breaker_record& stored, millis now_ms);

  /// BREAKER_SOURCE_LIMIT: a 65th source. BREAKER_COUNTS_DECREASED: a count is less than in an
  /// earlier report of its epoch. INVALID_PARAMS (counts, delta_max): more calls than
  /// limits::reported_calls_max since the report before; where the first report that is heard of an
  /// epoch is not its first, so many only say where counting begins. Each is counted as a
  /// refusal and changes nothing else. Not errors: a duplicate, and a report of an epoch that is
  /// over (accepted: false).
  [[nodiscard]] result<report_observed> observe(const observe_breaker& report, millis now_ms,
                                                changes& out);
  /// A source as it was stored.
  void restore(std::string name, breaker_source source);

  /// What is to be stored: sources that reported, or are gone, since the last call.
  [[nodiscard]] std::vector<breaker_source_record> take_unsaved();
  [[nodiscard]] bool has_unsaved() const noexcept { return !unsaved_.empty(); }

  /// The worst of its sources' states: open, then half-open, then closed. One that has been silent
  /// for limits::source_silent_ms counts as closed as soon as another reports.
  [[nodiscard]] breaker_state state() const noexcept { return state_; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
  [[nodiscard]] breaker_row describe(millis now_ms) const;
  [[nodiscard]] const breaker_tallies& tallies() const noexcept { return tallies_; }
  /// How long its sources were open, all together, each until it last reported: it never shrinks
  /// when a source tells later that it had closed meanwhile.
  [[nodiscard]] millis open_ms(millis now_ms) const noexcept;
  [[nodiscard]] const std::string& service() const noexcept { return service_; }
  [[nodiscard]] const std::string& breaker() const noexcept { return breaker_; }
  [[nodiscard]] const std::map<std::string, breaker_source, std::less<>>& sources() const noexcept {
    return sources_;
  }

 private:
  enum class counting : std::uint8_t { goes_on, begins, late };
  [[nodiscard]] result<counting> judge_counts(const breaker_source& before,
                                              const observe_breaker& report, bool anew);
  breaker_source* need_source(std::string_view name, millis now_ms, changes& out);
  void take_transition(breaker_source& source, const observe_breaker& report, counting how,
                       std::uint64_t newest_before, millis now_ms, changes& out);
  void moved_unreported(breaker_source& source, const observe_breaker& report, breaker_state to,
                        std::uint64_t newest_before, millis now_ms, changes& out);
  void moved(breaker_source& source, std::string_view name, breaker_state from, breaker_state to,
             std::optional<millis> at_ms, millis now_ms, changes& out,
             breaker_cause cause = breaker_cause::reported);
  void hear_no_silent_ones(std::string_view but, millis now_ms, changes& out);
  void hear_no_more(breaker_source& source, std::string_view name, millis now_ms, changes& out);
  void take_counts(breaker_source& source, const reported_calls& calls, counting how);
  [[nodiscard]] static millis open_ms(const breaker_source& source) noexcept;
  [[nodiscard]] breaker_state worst_state() const noexcept;
  void recompute_state(breaker_cause cause, millis now_ms);

  std::string service_, breaker_;
  std::map<std::string, breaker_source, std::less<>> sources_;
  std::set<std::string, std::less<>> unsaved_;
  breaker_state state_ = breaker_state::closed;
  breaker_cause cause_ = breaker_cause::created;
  std::uint64_t epoch_ = 1;
  millis since_ms_ = 0, loaded_at_ms_ = 0;
  breaker_tallies tallies_;
};

}  // namespace portcullis::core
