// The journal's inside: the connection, its transaction, and what is known without asking it.
// Private to store.
#pragma once
#include <string>

#include "core/crypto/hmac.hpp"
#include "core/event/event.hpp"
#include "store/data_folder.hpp"
#include "store/journal.hpp"
#include "store/projection.hpp"
#include "store/sqlite.hpp"

namespace portcullis::store {

/// Of meta: the seal of the snapshot that stands for what was cut off.
inline constexpr std::string_view snapshot_key = "snapshot";

/// Where the log ends.
struct log_end {
  std::uint64_t seq = 0;
  core::millis at_ms = 0;
  core::digest mac{};
};

/// Counters whose window was over at the log's last event; locks end by an event.
inline constexpr const char* prune_lockouts =
    "DELETE FROM lockouts WHERE locked_until_ms=0 AND"
    " window_ends_at_ms<=ifnull((SELECT at_ms FROM events ORDER BY seq DESC LIMIT 1),0);";

/// The last event at or before a time, of those after `low` up to `high`; `low`: none. at_ms never
/// decreases with seq. SQLITE_OK or an error.
[[nodiscard]] int last_seq_at(sqlite3* db, core::millis at_ms, std::uint64_t low,
                              std::uint64_t high, std::uint64_t& found);

class database {
 public:
  database(data_folder folder, const journal_options& options);
  ~database();
  database(const database&) = delete;
  database& operator=(const database&) = delete;

  [[nodiscard]] core::status open();
  /// Nothing is written: no migration, no checkpoint, not even of what a crash left behind.
  [[nodiscard]] core::status open_to_read();
  /// The schema's, of the file.
  [[nodiscard]] int version() const noexcept { return version_; }
  [[nodiscard]] core::status append(std::span<const core::event> events,
                                    std::span<const core::user_row> users,
                                    std::span<const std::uint64_t> purged,
                                    std::span<const core::breaker_source_record> sources);
  /// As journal::ends_with().
  [[nodiscard]] core::result<bool> ends_with(core::event what);
  [[nodiscard]] core::status begin();
  [[nodiscard]] core::status commit();
  void rollback() noexcept;
  [[nodiscard]] core::status checkpoint(int mode);
  [[nodiscard]] core::status close();
  /// Of a folder that was entered to import, see there.
  [[nodiscard]] core::status put_in_place() { return folder_.put_in_place(); }
  void discard() noexcept { folder_.discard(); }

  [[nodiscard]] core::result<std::optional<std::string>> meta_get(std::string_view key);
  [[nodiscard]] core::status meta_put(std::string_view key, std::string_view value);

  /// As projection::note_user().
  void note_user(std::uint64_t id, const core::subject_id& subject) {
    projection_.note_user(id, subject);
  }
  [[nodiscard]] sqlite3* handle() const noexcept { return handle_; }
  [[nodiscard]] const core::hmac_key& chain() const noexcept { return chain_; }
  [[nodiscard]] bool in_transaction() const noexcept { return in_transaction_; }
  [[nodiscard]] const log_end& end() const noexcept { return end_; }
  [[nodiscard]] const log_end& committed() const noexcept { return committed_; }
  [[nodiscard]] std::uint64_t cut_seq() const noexcept { return cut_seq_; }
  void set_cut_seq(std::uint64_t seq) noexcept { cut_seq_ = seq; }
  [[nodiscard]] int wal_pages() const noexcept { return wal_pages_; }
  [[nodiscard]] const std::string& path() const noexcept { return folder_.database_path(); }

  /// What comes of a failed call: fatal errors are remembered, STORE_FULL and damage drop the
  /// transaction.
  [[nodiscard]] core::error failed(int rc, unsigned line = __builtin_LINE()) noexcept;
  /// An error when an earlier one was fatal.
  [[nodiscard]] const std::optional<core::error>& fatal() const noexcept { return fatal_; }

 private:
  [[nodiscard]] core::status configure();
  [[nodiscard]] core::status check_keyring();
  [[nodiscard]] core::status clean_up();
  [[nodiscard]] core::status read_end();
  [[nodiscard]] core::status read_cut();
  [[nodiscard]] int run(const char* sql) noexcept;
  [[nodiscard]] int insert(const core::event& happened);
  [[nodiscard]] core::digest mac_of(const core::event& happened, const core::digest& before);

  data_folder folder_;
  std::string node_id_;
  core::hmac_key chain_;
  core::digest keyring_check_;
  std::string vfs_;
  sqlite3* handle_ = nullptr;
  projection projection_;
  statement insert_event_, begin_, commit_, rollback_, savepoint_, rollback_to_, release_,
      meta_get_, meta_put_;
  core::byte_buffer body_;
  log_end end_, committed_;
  bool in_transaction_ = false;
  int version_ = 0;
  std::uint64_t cut_seq_ = 0;
  int wal_pages_ = 0;
  std::optional<core::error> fatal_;
};

}  // namespace portcullis::store
