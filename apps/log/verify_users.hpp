// What verify and import say of the table of users, the one that the log cannot rebuild: whether
// each row is its user's, and who must have one. Private to apps/log.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>

#include "apps/log/source.hpp"
#include "core/replay/state.hpp"

namespace portcullis::apps {

class user_checker {
 public:
  using find_function = std::function<void(std::uint64_t seq, std::string what)>;
  using users_by_subject = std::map<core::subject_id, core::identity_ptr>;

  explicit user_checker(find_function find) : find_(std::move(find)) {}

  /// First: the rows, all of a store or one by one.
  void read(log_source& from);
  void add(const core::user_row& row, const core::key_material& keys);
  /// Where the log begins with a snapshot.
  void begin(const core::replayed_state& snapshot);
  /// Each event of the log, in order.
  void note(const core::event& what);
  /// Last, when nothing of the log was left out. Who was forgotten before the log begins is not
  /// known any more; nor is, of a log that ends at an `earlier_state` than that of the rows, who
  /// was forgotten since.
  void finish(bool earlier_state = false) const;

  [[nodiscard]] std::uint64_t rows() const noexcept { return rows_; }
  [[nodiscard]] const users_by_subject& opened() const noexcept { return users_; }

 private:
  void check_row(const core::user_row& row, const core::key_material& keys);
  void check_owner(const core::subject_id& subject, std::uint64_t seq, std::string_view sealed_ip);

  find_function find_;
  std::uint64_t rows_ = 0;
  std::set<core::subject_id> subjects_;  // of all rows
  std::set<core::subject_id> checked_;   // whose key was tried
  std::set<core::byte_array<16>> lookups_;
  users_by_subject users_;                               // of rows that the key file opens
  std::map<core::subject_id, std::uint64_t> needed_;     // by what event
  std::map<core::subject_id, std::uint64_t> forgotten_;  // by what event
};

}  // namespace portcullis::apps
