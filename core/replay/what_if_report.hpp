// What replaying a log's attempts under another policy gives: the difference, counted by tenant and
// hour. "Recorded" is what the log says, "other" what would have been.
#pragma once
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/contract/types.hpp"

namespace portcullis::core {

struct lockout_difference {
  std::uint64_t recorded = 0, other = 0;  // that started
  std::uint64_t more = 0;                 // of `other`: no recorded one overlaps
  std::uint64_t fewer = 0;                // of `recorded`: none of the other world overlaps
  lockout_difference& operator+=(const lockout_difference& more_of_them) noexcept;
  friend bool operator==(const lockout_difference&, const lockout_difference&) = default;
};
struct session_difference {
  std::uint64_t died = 0;          // ended in the other world, went on in the recorded one
  std::uint64_t died_in_use = 0;   // of them: used after that
  std::uint64_t lived = 0;         // ended in the recorded world, went on in the other one
  std::uint64_t lived_in_use = 0;  // of them: asked for after that
  session_difference& operator+=(const session_difference& more) noexcept;
  friend bool operator==(const session_difference&, const session_difference&) = default;
};
/// Of a tenant and an hour, or of all.
struct what_if_row {
  lockout_difference users;    // the user as a whole
  lockout_difference sources;  // one source of a user (scope user_source)
  session_difference sessions;
  std::uint64_t refused =
      0;                     // good requests of users that only the other world locks out; at least
  bool approximate = false;  // rests on what the log does not tell one by one
  [[nodiscard]] bool differs() const noexcept;
  what_if_row& operator+=(const what_if_row& more) noexcept;
};
struct breaker_openings {
  std::uint64_t recorded = 0, other = 0;
  friend bool operator==(const breaker_openings&, const breaker_openings&) = default;
};

struct what_if_example {
  enum class kind : std::uint8_t { lockout_more, lockout_fewer, session_died, session_lived };
  kind what = kind::lockout_more;
  std::string tenant_id;
  std::optional<subject_id> subject;
  std::optional<session_handle> handle;  // lockouts: of the attempt that led to it, where known
  millis at_ms = 0;
  std::uint64_t seq = 0;   // the event of the log at which it showed
  std::string_view cause;  // sessions: idle, absolute, cap or lockout
  bool of_source = false, approximate = false;
};
inline constexpr std::size_t what_if_kinds = 4;
[[nodiscard]] std::string_view to_string(what_if_example::kind what) noexcept;

struct what_if_report {
  what_if_row totals;
  std::map<std::pair<millis, std::string>, what_if_row> rows;  // hour (its begin), tenant
  breaker_openings openings;
  std::map<std::pair<millis, std::string>, breaker_openings> breakers;  // hour, service
  std::vector<what_if_example> examples;                                // in order of time
  std::set<std::string> notes;  // what the log cannot tell of this policy
};

/// What of the log is counted; what comes before is folded all the same. Both ends are included.
struct what_if_range {
  std::uint64_t from_seq = 0, to_seq = std::numeric_limits<std::uint64_t>::max();
  millis from_ms = std::numeric_limits<millis>::min(), to_ms = std::numeric_limits<millis>::max();
};

/// Where the parts of a what-if count. One thread.
class what_if_tally {
 public:
  /// Of examples of a kind: those of the earliest times.
  static constexpr std::size_t examples_max = 10;

  explicit what_if_tally(what_if_range range) : range_(range) {}
  /// The event that is being looked at.
  void at(std::uint64_t seq) noexcept { seq_ = seq; }
  [[nodiscard]] std::uint64_t seq() const noexcept { return seq_; }
  /// Whether what happens at this time, and shows at the present event, counts.
  [[nodiscard]] bool counts(millis at_ms) const noexcept {
    return seq_ >= range_.from_seq && seq_ <= range_.to_seq && at_ms >= range_.from_ms &&
           at_ms <= range_.to_ms;
  }
  [[nodiscard]] what_if_row& row(std::string_view tenant, millis at_ms);
  [[nodiscard]] breaker_openings& openings(std::string_view service, millis at_ms);
  void add(what_if_example example);
  void note(std::string text) { report_.notes.insert(std::move(text)); }
  /// Once: with totals, and without rows where nothing differs.
  [[nodiscard]] what_if_report finish();

 private:
  what_if_range range_;
  std::uint64_t seq_ = 0;
  what_if_report report_;
  std::vector<what_if_example> examples_[what_if_kinds];  // each in order of time
};

}  // namespace portcullis::core
