// What verify compares beyond the digest: columns of the projections that the node reads and no
// digest is of. Private to apps/log.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "apps/log/source.hpp"
#include "core/replay/state.hpp"

namespace portcullis::apps {

class row_checker {
 public:
  using find_function = std::function<void(std::uint64_t seq, std::string what)>;
  using users_by_subject = std::map<core::subject_id, core::identity_ptr>;

  /// First. What is kept of the rows until their events come is as much as the live sessions.
  void begin(log_source& from);
  /// Each event of the log, in order.
  void note(const core::event& what);
  /// `restored`: the tables; `replayed`: the log.
  void check(log_source& from, const core::replayed_state& restored,
             const core::replayed_state& replayed, const users_by_subject& users,
             const find_function& find) const;

 private:
  void check_session(const core::replayed_state& restored, const core::replayed_state& replayed,
                     core::session_slot slot, const find_function& find) const;
  void check_found_by(log_source& from, const users_by_subject& users,
                      const find_function& find) const;

  std::unordered_map<std::uint64_t, core::digest> sealed_;  // of rows whose event has not come
  std::set<std::uint64_t> wrong_sealed_;
  core::millis unknown_until_ms_ = 0;  // of activity up to then not all is in the log
};

/// A breaker's record as its row has it, all of it.
[[nodiscard]] std::string whole_record(const core::breaker_standing& of);

}  // namespace portcullis::apps
