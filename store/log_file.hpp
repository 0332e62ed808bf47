// The log of a node that is not running, or a copy of one: read as it stands, changed by nothing.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/crypto/hmac.hpp"
#include "core/replay/snapshot.hpp"
#include "store/journal.hpp"

namespace portcullis::store {

/// A row of `events` as it is in the file. Views live until the next row is read.
struct log_row {
  std::uint64_t seq = 0;
  core::millis at_ms = 0;
  std::string_view type;
  core::byte_view subject;
  std::string_view body;
  core::byte_view sealed, mac;
};

/// A row of `users`, as far as it has the right form.
struct user_line {
  core::user_row row;
  bool good = true;  // false: damaged
};

/// One thread. The folder is locked, as by a running node, for as long as it lives.
class log_file {
 public:
  /// Errors: DATA_DIR_IN_USE (a node, or another reader, has the folder), STORE_UNAVAILABLE (rule
  /// "data_dir": there is no portcullis.db; "io_error"), STORE_INTEGRITY (it is no store, or too
  /// damaged to be opened), SCHEMA_TOO_NEW.
  [[nodiscard]] static core::result<std::unique_ptr<log_file>> open(const std::string& data_dir);
  ~log_file();
  log_file(const log_file&) = delete;
  log_file& operator=(const log_file&) = delete;

  /// Of the rows that are there, after what was cut off; 0 for an empty log. Where the first rows
  /// cannot be read, first_seq() is 1; where the last ones cannot, last_seq() is the first of them
  /// and is_end_damaged() says so.
  [[nodiscard]] std::uint64_t first_seq() const noexcept { return first_seq_; }
  [[nodiscard]] std::uint64_t last_seq() const noexcept { return last_seq_; }
  [[nodiscard]] bool is_end_damaged() const noexcept { return end_damaged_; }
  /// What stands for the events that retention cut off; absent: it cut none.
  [[nodiscard]] const std::optional<core::snapshot_seal>& cut() const noexcept { return cut_; }
  /// The state that the snapshot holds. LOG_CORRUPT (rule "snapshot"): its parts are not what was
  /// sealed, or are none.
  [[nodiscard]] core::result<core::replayed_state> read_snapshot();
  /// The file's, of its tables.
  [[nodiscard]] int schema() const noexcept;
  /// Whether the file has the tables that this version reads a start from.
  [[nodiscard]] bool is_current() const noexcept;

  /// Calls `each` with the rows after `after`, by seq, until it returns false. Errors:
  /// STORE_INTEGRITY (the file is damaged at the row after the last one told), STORE_UNAVAILABLE.
  using row_reader = std::function<bool(const log_row&)>;
  [[nodiscard]] core::status read(std::uint64_t after, const row_reader& each);
  /// The first seq at or after `from` whose row can be read, past what is damaged; 0: none.
  [[nodiscard]] std::uint64_t next_readable(std::uint64_t from);
  /// The last event at or before this time; 0: none.
  [[nodiscard]] core::result<std::uint64_t> seq_at(core::millis at_ms);

  /// As journal::load(), of all routing bytes, and journal::load_breakers().
  [[nodiscard]] core::status load(load_visitor& visitor);
  [[nodiscard]] core::status load_breakers(breaker_visitor& visitor);
  /// In their order. A line that is not good stands for all rows that cannot be read there. Errors:
  /// STORE_INTEGRITY (nothing more can be read), STORE_UNAVAILABLE.
  [[nodiscard]] core::status read_users(const std::function<void(const user_line&)>& each);
  /// What session.find compares, and what it shows, of a session that is live.
  struct found_by {
    std::uint64_t seq = 0, ip = 0, user_agent = 0;
    core::subject_id subject;
    std::string_view tenant_id, sealed;
  };
  [[nodiscard]] core::status read_found_by(const std::function<void(const found_by&)>& each);
  /// The row of the user with this look-up value; absent: unknown, or forgotten.
  [[nodiscard]] core::result<std::optional<core::user_row>> find_user(
      const core::byte_array<16>& lookup);
  [[nodiscard]] core::result<std::optional<core::user_row>> find_user(
      const core::subject_id& subject);
  [[nodiscard]] core::result<std::optional<std::string>> meta(std::string_view key);
  /// What the file defines otherwise than a store of its schema does, a sentence each: tables that
  /// were changed, triggers. Errors: STORE_INTEGRITY, STORE_UNAVAILABLE.
  [[nodiscard]] core::result<std::vector<std::string>> schema_differences();
  /// As journal::integrity_check(); `why` is SQLite's first complaint.
  [[nodiscard]] core::status integrity_check(std::string& why);

 private:
  log_file();
  [[nodiscard]] core::status find_ends();
  [[nodiscard]] bool find_end_before_damage();
  std::unique_ptr<database> db_;
  std::uint64_t first_seq_ = 0, last_seq_ = 0;
  std::optional<core::snapshot_seal> cut_;
  bool end_damaged_ = false;
};

}  // namespace portcullis::store
