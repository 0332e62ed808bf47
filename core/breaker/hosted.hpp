// A circuit breaker whose state machine the server runs (Nygard, Release It!, 2007; the states and
// counting rules of docs/breakers.md). Pure: time, policy and randomness are arguments; whatever
// changes a state is an event, already applied and appended to `changes`, for the caller to log.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/breaker/of_nodes.hpp"
#include "core/breaker/policy.hpp"
#include "core/breaker/tallies.hpp"
#include "core/breaker/window.hpp"
#include "core/contract/reply.hpp"
#include "core/contract/request.hpp"
#include "core/event/event.hpp"
#include "core/limits.hpp"
#include "core/random.hpp"
#include "core/result.hpp"

namespace portcullis::core {

/// A hosted breaker as the store keeps it.
struct breaker_record {
  std::string service, breaker;
  breaker_kind kind = breaker_kind::hosted;
  breaker_state state = breaker_state::closed;  // the base state
  std::uint64_t epoch = 1;
  breaker_cause cause = breaker_cause::created;
  millis since_ms = 0, until_ms = 0;
  std::uint32_t failed_rounds = 0;
  breaker_override override_;
};

/// Reports of many calls come numbered: which numbers of a source are known. One thread.
class seen_sequence {
 public:
  static constexpr std::uint64_t width = 64;
  enum class place : std::uint8_t { newest, late, duplicate, too_old };
  seen_sequence() = default;
  seen_sequence(std::uint64_t highest, std::uint64_t bits) noexcept
      : highest_(highest), bits_(bits) {}
  [[nodiscard]] place look(std::uint64_t seq) const noexcept;
  void add(std::uint64_t seq) noexcept;
  [[nodiscard]] std::uint64_t highest() const noexcept { return highest_; }
  [[nodiscard]] std::uint64_t bits() const noexcept { return bits_; }

 private:
  std::uint64_t highest_ = 0;
  std::uint64_t bits_ = 0;  // bit i: highest_ - i was seen
};

/// The source that makes room for another where there are as many as may be: the quietest, if it
/// has been silent for limits::source_silent_ms; else end().
template <class Sources>
[[nodiscard]] auto silent_source(Sources& sources, millis now_ms) {
  const auto quietest =
      std::min_element(sources.begin(), sources.end(), [](const auto& a, const auto& b) {
        return a.second.last_report_at_ms < b.second.last_report_at_ms;
      });
  const bool is_silent = quietest != sources.end() &&
                         quietest->second.last_report_at_ms <= now_ms - limits::source_silent_ms;
  return is_silent ? quietest : sources.end();
}

/// Nothing that acquire and report do while no state changes allocates. One thread.
class hosted_breaker {
 public:
  using changes = std::vector<event_body>;
  struct admission {
    bool allowed = false;
    std::optional<breaker_permit> permit;  // half-open only
    millis retry_after_ms = 0;             // where not allowed; >= 0
  };

  hosted_breaker(std::string service, std::string breaker, const breaker_policy& policy,
                 millis now_ms);
  /// As it was stored. Windows and permits are not: a half-open phase begins anew, under a number
  /// that no old permit has.
  hosted_breaker(const breaker_record& stored, const breaker_policy& policy, millis now_ms);

  /// Whether a call may begin now.
  [[nodiscard]] admission acquire(const breaker_policy& policy, millis now_ms,
                                  const random_source& random, changes& out);
  /// How a call ended. BREAKER_PERMIT_INVALID: the permit is another breaker's, or was never given
  /// out. Not errors: a report of an old epoch, or late (counted as `stale`, changes no state), and
  /// one of a permit that is settled (`duplicate`, counts nothing).
  [[nodiscard]] result<nothing> report(const report_call& call, const breaker_policy& policy,
                                       millis now_ms, const random_source& random, changes& out);
  /// Many calls of one source at once. BREAKER_SOURCE_LIMIT: a 65th source, while none has been
  /// silent for long. INVALID_PARAMS (delta_max): more than limits::reported_calls_max. Not errors:
  /// a duplicate (a number that the source has used, or 64 or more below its highest), and a report
  /// of an old epoch, which counts in the totals only. Calls of one report have no order: of more
  /// than a count window holds each result keeps its share.
  [[nodiscard]] result<calls_counted> report(const report_calls& batch,
                                             const breaker_policy& policy, millis now_ms,
                                             const random_source& random, changes& out);
  /// What time does: overrides and permits that end, waits that are over.
  void advance(const breaker_policy& policy, millis now_ms, const random_source& random,
               changes& out);
  /// Forgets calls that are too old; changes no state. For who looks without calling.
  void age(const breaker_policy& policy, millis now_ms);
  /// When advance() has something to do next; 0: never.
  [[nodiscard]] millis due_ms(const breaker_policy& policy) const noexcept;
  /// From when on nothing is lost with it, if nobody calls: not before an open breaker's wait is
  /// over. Absent: an override is in force, or a permit is out.
  [[nodiscard]] std::optional<millis> free_from_ms() const noexcept {
    if (override_.mode != override_mode::none || !round_.out.empty()) return std::nullopt;
    return base_ == breaker_state::open ? until_ms_ : 0;
  }

  /// What an override, or a reset, would change: absent where nothing would.
  [[nodiscard]] std::optional<event_body> decide_override(const override_breaker& order,
                                                          std::string_view actor,
                                                          override_scope scope,
                                                          millis now_ms) const;
  [[nodiscard]] std::optional<event_body> decide_reset(std::string_view reason) const;

  /// The only thing that changes a state. `actor`: the event's.
  void apply(const event_body& what, std::string_view actor, const breaker_policy& policy,
             millis now_ms);

  // Where several nodes share a log (docs/breakers.md). What this node decides is in force here at
  // once; the log says whether it is for all.
  /// This node is one of several. Once.
  void join_nodes(const breaker_policy& policy, millis now_ms);
  /// What another node has decided, or this one in another life. `at_ms`: its time; `writer`: who.
  void apply_others(const event& what, std::uint64_t writer, const breaker_policy& policy,
                    millis now_ms);
  /// What another node has counted, and what of that it has judged. Of this epoch it is judged
  /// here, too, by judge_others(), when all that was read is added; of another one it changes no
  /// state.
  void add_others(std::string_view node, const call_counts& calls,
                  const std::optional<epoch_calls>& judged, const breaker_policy& policy,
                  millis now_ms);
  /// What was judged here since it was last asked for: for the others. Absent: nothing.
  [[nodiscard]] std::optional<epoch_calls> take_judged() noexcept;
  /// Whether no other node lives.
  void be_alone(bool alone) noexcept {
    if (nodes_) nodes_->alone = alone;
  }
  void judge_others(const breaker_policy& policy, millis now_ms, const random_source& random,
                    changes& out);
  /// What this node decided is not in the log, which says this. `writer`: of who tries it, while
  /// it is half-open; 0: not known.
  void take_over(const breaker_record& logged, std::uint64_t writer, const breaker_policy& policy,
                 millis now_ms);
  /// Who tries it; 0: this node, nobody, or not known.
  [[nodiscard]] std::uint64_t prober() const noexcept { return is_guest() ? nodes_->writer : 0; }
  /// It is half-open, and another node's to try.
  [[nodiscard]] bool is_guest() const noexcept {
    return nodes_ && base_ == breaker_state::half_open &&
           nodes_->tries != breaker_of_nodes::prober::here;
  }
  /// The last half-open phase was another node's to try, as permits of it may be.
  [[nodiscard]] bool was_of_others() const noexcept {
    return nodes_ && nodes_->tries != breaker_of_nodes::prober::here;
  }
  /// The phase that the log has is this node's own.
  void tries_here() noexcept {
    if (is_guest()) nodes_->tries = breaker_of_nodes::prober::here;
  }
  void tried_by(std::uint64_t writer) noexcept {
    if (is_guest()) nodes_->writer = writer;
  }
  void prober_is_gone() noexcept {
    if (is_guest()) nodes_->tries = breaker_of_nodes::prober::nobody;
  }
  [[nodiscard]] bool is_open_here() const noexcept {
    return nodes_ && nodes_->open_here_until_ms > 0;
  }

  /// Whether it was given out and is neither reported nor expired, as far as time was told.
  [[nodiscard]] bool is_out(const breaker_permit& permit) const noexcept;
  [[nodiscard]] breaker_position position() const noexcept { return {shown_state(), epoch_}; }
  /// The state, or open where it is so on this node alone.
  [[nodiscard]] breaker_state shown_state() const noexcept {
    return is_open_here() ? breaker_state::open : state();
  }
  [[nodiscard]] breaker_state state() const noexcept {
    return override_.mode == override_mode::none ? base_ : state_of(override_.mode);
  }
  [[nodiscard]] breaker_state base_state() const noexcept { return base_; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
  [[nodiscard]] const breaker_override& override_in_force() const noexcept { return override_; }
  [[nodiscard]] breaker_row describe(const breaker_policy& policy, millis now_ms) const;
  [[nodiscard]] const breaker_tallies& tallies() const noexcept { return tallies_; }
  /// How long it was open or forced open, until now.
  [[nodiscard]] millis open_ms(millis now_ms) const noexcept {
    const auto since_ms = tallies_.open_since_ms;
    return tallies_.open_ms + (since_ms > 0 ? std::max<millis>(0, now_ms - since_ms) : 0);
  }
  [[nodiscard]] const std::string& service() const noexcept { return service_; }
  [[nodiscard]] const std::string& breaker() const noexcept { return breaker_; }
  /// Failure and slow rate; absent below the calls that the policy asks for.
  struct ratios {
    std::optional<double> failure, slow;
  };
  [[nodiscard]] ratios rates(const breaker_policy& policy) const noexcept;

 private:
  /// A half-open phase: who may try.
  struct probe_round {
    struct probe {
      std::uint32_t number = 0;
      millis deadline_ms = 0;
    };
    std::uint32_t epoch = 0, nonce = 0, next_number = 0;
    std::vector<probe> out;              // given out, not reported
    std::vector<std::uint32_t> expired;  // not reported in time
    std::uint32_t settled = 0, failures = 0, slow = 0;
    bool restored = false;  // it had begun before a restart, which forgot its permits
  };
  /// One that is over: what tells a late report from a duplicate.
  struct past_round {
    std::uint32_t epoch = 0, nonce = 0, next_number = 0;
    std::vector<std::uint32_t> open;
    bool restored = false;
  };
  struct batch_source {  // of report_batch
    seen_sequence seen;
    millis last_report_at_ms = 0;
  };
  static constexpr std::size_t past_rounds_max = 8;
  enum class settling : std::uint8_t { counts, late, duplicate, never };

  [[nodiscard]] bool judges() const noexcept {  // whether calls are held against the thresholds
    return override_.mode == override_mode::metrics_only ||
           (override_.mode == override_mode::none && base_ == breaker_state::closed);
  }
  [[nodiscard]] bool probing() const noexcept {
    return override_.mode == override_mode::none && base_ == breaker_state::half_open;
  }
  void add(const reported_calls& calls, std::uint64_t epoch, const breaker_policy& policy,
           millis now_ms, const random_source& random, changes& out);
  void commit(event_body what, const breaker_policy& policy, millis now_ms, changes& out);
  void begin_phase(breaker_state from, breaker_cause cause, millis now_ms);
  void begin_round(const breaker_policy& policy, std::uint32_t nonce);
  void end_round();
  template <class Body>
  [[nodiscard]] Body transition_to(breaker_cause cause) const;
  [[nodiscard]] breaker_override_cleared override_cleared(std::string_view reason,
                                                          breaker_cause cause) const;
  [[nodiscard]] call_counts phase_counts() const noexcept;
  [[nodiscard]] millis open_wait(const breaker_policy& policy, std::uint32_t failed_rounds,
                                 const random_source& random) const;
  void open(breaker_cause cause, const breaker_policy& policy, millis now_ms,
            const random_source& random, changes& out);
  void half_open(const breaker_policy& policy, millis now_ms, changes& out);
  void close(breaker_cause cause, const breaker_policy& policy, millis now_ms, changes& out);
  void expire_permits(const breaker_policy& policy, millis now_ms, const random_source& random,
                      changes& out);
  [[nodiscard]] settling settle(const breaker_permit& permit);
  void judge(const breaker_policy& policy, millis now_ms, const random_source& random,
             changes& out);
  void judge_round(const breaker_policy& policy, millis now_ms, const random_source& random,
                   changes& out);
  [[nodiscard]] std::optional<breaker_cause> breach(const breaker_policy& policy,
                                                    millis now_ms) const noexcept;
  [[nodiscard]] std::optional<breaker_cause> breach_here(
      const breaker_policy& policy) const noexcept;
  [[nodiscard]] std::optional<breaker_cause> breach_of_all(const breaker_policy& policy,
                                                           millis now_ms) const noexcept;
  void use_here(millis now_ms) noexcept;
  [[nodiscard]] breaker_of_nodes& judge_here(bool failed, const breaker_policy& policy,
                                             millis now_ms);
  void begin_round_again(const breaker_policy& policy, millis now_ms);
  [[nodiscard]] bool was_begun_by_time(const breaker_record& logged,
                                       const breaker_policy& policy) const noexcept;
  void advance_closed(const breaker_policy& policy, millis now_ms, const random_source& random,
                      changes& out);
  void judge_again(const breaker_policy& policy, millis now_ms, const random_source& random,
                   changes& out);
  void advance_guest(const breaker_policy& policy, millis now_ms, const random_source& random,
                     changes& out);
  [[nodiscard]] millis due_among_nodes_ms(const breaker_policy& policy) const noexcept;
  void open_here(const breaker_policy& policy, millis now_ms, const random_source& random);
  void end_open_here(millis now_ms);
  void forget_nodes_calls(const breaker_policy& policy, millis now_ms);
  void total(call_result result, const report_call& call);
  [[nodiscard]] batch_source* need_source(std::string_view name, millis now_ms);

  std::string service_, breaker_;
  std::uint32_t tag_ = 0;
  breaker_state base_ = breaker_state::closed;
  breaker_cause cause_ = breaker_cause::created;
  bool breached_ = false;  // metrics_only: told already
  std::uint64_t epoch_ = 1;
  millis since_ms_ = 0;
  millis until_ms_ = 0;  // open: the wait's end; half-open: its own
  std::uint32_t failed_rounds_ = 0, consecutive_ = 0;
  breaker_override override_;
  call_window window_;
  call_counts phase_;  // what the window does not hold
  probe_round round_;
  std::vector<past_round> past_;
  std::map<std::string, batch_source, std::less<>> sources_;
  breaker_tallies tallies_;
  std::unique_ptr<breaker_of_nodes> nodes_;  // null: this node is alone
};

}  // namespace portcullis::core
