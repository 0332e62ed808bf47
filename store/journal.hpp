// The embedded store: the durable log of events and the projections that a start needs, in one
// SQLite file. One connection reads, writes and checkpoints (hazards H8); one thread uses it.
// Format: docs/journal.md.
#pragma once
#include <bitset>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/crypto/hmac.hpp"
#include "core/event/event.hpp"
#include "core/result.hpp"
#include "store/records.hpp"

namespace portcullis::store {

struct journal_options {
  std::string data_dir;          // made (0700) when it is not there
  std::string node_id;           // goes into every event
  core::hmac_key chain;          // chains the events' macs; never rotates
  core::digest keyring_check{};  // any value that only this key file gives; kept at the first open,
                                 // compared later
  std::string vfs;               // SQLite VFS, for fault tests; empty: the default one
};

/// Rows of one routing byte are loaded iff its bit is set.
using routing_set = std::bitset<256>;

/// Whether the journal is dead after this error: what is on the disk is not known any more.
[[nodiscard]] bool is_fatal(const core::error& why) noexcept;

/// Of meta: journal_options::keyring_check.
inline constexpr std::string_view keyring_check_key = "keyring_check";

class database;  // the SQLite connection and its prepared statements; private to store

/// The mac of a row: HMAC(chain key, previous mac, seq, at_ms, then sized: type, subject, body,
/// sealed). The first row's previous mac is 32 zero bytes. An absent subject is an empty one. Of
/// events that are dropped when old `body` is the SHA-256 of what was written (mac_body()).
[[nodiscard]] core::digest chain_mac(const core::hmac_key& chain, const core::digest& previous,
                                     std::uint64_t seq, core::millis at_ms, std::string_view type,
                                     core::byte_view subject, std::string_view body,
                                     core::byte_view sealed) noexcept;

/// What stands for a row's body in its mac. `hash` holds it where it is not the body itself.
[[nodiscard]] std::string_view mac_body(core::event_type type, std::string_view body,
                                        const std::optional<core::digest>& dropped,
                                        core::digest& hash) noexcept;

/// Not thread-safe: all calls, and all calls on the readers made from it, come from one thread.
/// Calls block on the disk.
///
/// After STORE_UNAVAILABLE with rule "io_error" the page cache can no longer be trusted (hazards
/// H9): every later call fails the same way, nothing is retried, and the caller stops the process.
class journal {
 public:
  /// Opens or creates `data_dir/portcullis.db`, takes `data_dir/portcullis.lock` and brings an
  /// older schema up to date. Errors: DATA_DIR_IN_USE (another process; known at once, and free
  /// again when that process dies), KEYRING_MISMATCH, SCHEMA_TOO_NEW, STORE_UNAVAILABLE (rule
  /// "data_dir": it cannot be made or entered; rule "open" or "io_error"), STORE_INTEGRITY (not a
  /// journal, or damaged; rule keyring_check_key: a log without what its key file is known by),
  /// STORE_FULL.
  [[nodiscard]] static core::result<std::unique_ptr<journal>> open(const journal_options& options);
  ~journal();  // without close(): like a crash after the last commit, which is no harm
  journal(const journal&) = delete;
  journal& operator=(const journal&) = delete;

  /// Of the last event appended (committed or not); 0, 0 and zeros for an empty log.
  [[nodiscard]] std::uint64_t last_seq() const noexcept;
  [[nodiscard]] core::millis last_at_ms() const noexcept;
  [[nodiscard]] const core::digest& last_mac() const noexcept;
  /// Whether this is the last event, as far as that can be told: true also where what it follows
  /// was cut off. `what` has its seq; its at_ms does not count. Errors: as load().
  [[nodiscard]] core::result<bool> ends_with(const core::event& what);
  /// Of the last event that is durable.
  [[nodiscard]] std::uint64_t committed_seq() const noexcept;
  [[nodiscard]] core::millis committed_at_ms() const noexcept;
  /// The event after which the log begins: what came up to it was cut off by retention. 0: nothing
  /// was.
  [[nodiscard]] std::uint64_t cut_seq() const noexcept;

  /// Adds events and what follows from them to the open transaction (the first append begins it).
  /// All or nothing: after an error the transaction is as before this call, or, when
  /// in_transaction() says no, dropped as a whole: last_seq() is committed_seq() again, and the
  /// caller has to append everything since then again. STORE_FULL and an IO error always drop it;
  /// STORE_INTEGRITY does when the file is damaged.
  /// `events` carry seq, contiguous after last_seq(), and at_ms, never decreasing (a breach is a
  /// bug and stops the process). An event about one session carries its session_seq, each touch its
  /// own; a row that is not there any more is no error. `users` are rows seen for the first time.
  /// `purge_session_seqs` are sessions to forget: their tombstones have run out. `sources` are what
  /// the log does not hold: how far reports of observed breakers were counted.
  /// Errors: STORE_FULL, STORE_UNAVAILABLE, STORE_INTEGRITY (the rows were refused).
  [[nodiscard]] core::status append(std::span<const core::event> events,
                                    std::span<const core::user_row> users = {},
                                    std::span<const std::uint64_t> purge_session_seqs = {},
                                    std::span<const core::breaker_source_record> sources = {});

  /// Durable (fsync) when it returns without error. Nothing to commit is no error. Errors: as
  /// append().
  [[nodiscard]] core::status commit();
  /// Whether something was appended that is neither committed nor dropped.
  [[nodiscard]] bool in_transaction() const noexcept;
  /// Drops what was appended since the last commit.
  void rollback() noexcept;

  /// Whether enough has gathered in the write-ahead log that checkpoint() should be called at the
  /// next quiet moment. commit() does it by itself only far above that.
  [[nodiscard]] bool wants_checkpoint() const noexcept;
  /// Moves the write-ahead log into the database file. Takes a few ms per MB. Errors: STORE_FULL
  /// (nothing is lost, try again later), STORE_UNAVAILABLE (io_error). Within a transaction it does
  /// nothing.
  [[nodiscard]] core::status checkpoint();

  /// Streams the committed state of the given routing bytes, for a start or to rebuild one shard.
  /// Tenants always come all. Not within a transaction (bug). Errors: STORE_INTEGRITY (a row is not
  /// what this program writes), STORE_UNAVAILABLE.
  [[nodiscard]] core::status load(const routing_set& routing, load_visitor& visitor);
  /// As checkpoint(), and leaves nothing in the write-ahead log, so that what was deleted is gone
  /// from the disk (deleted rows are overwritten). Errors: as checkpoint().
  [[nodiscard]] core::status truncate_log();

  /// The tenants alone. Otherwise as load().
  [[nodiscard]] core::status load_tenants(load_visitor& visitor);

  /// Breakers alone. Otherwise as load().
  [[nodiscard]] core::status load_breakers(breaker_visitor& visitor);

  /// Display rows of these sessions, in the order given; those that are gone are left out. At most
  /// limits::page_rows_max seqs (bug). Errors: as load().
  [[nodiscard]] core::result<std::vector<session_display>> read_sessions(
      std::span<const std::uint64_t> seqs);

  /// Small values beside the log (the clock's last boot and wall time). set joins the open
  /// transaction, or is durable on return when there is none. Errors of set: as append().
  [[nodiscard]] core::result<std::optional<std::string>> meta_get(std::string_view key);
  [[nodiscard]] core::status meta_set(std::string_view key, std::string_view value);

  /// What stands for the events that retention cut off: its seal for index 0, then its parts, from
  /// 1 on; empty past the last, and where nothing was cut. Errors: as load().
  [[nodiscard]] core::result<std::string> read_snapshot_part(std::uint64_t index);

  /// What rewrap_users() asks of its caller.
  class rewrapper {
   public:
    virtual ~rewrapper() = default;
    /// False: leave the row. Otherwise `row.ring_key` and `row.wrapped` are the new ones.
    virtual bool rewrap(core::user_row& row) = 0;
  };
  /// Re-wraps users' keys after a rotation of the ring: passes users after row `after`, at most a
  /// slice's worth, to `with` and keeps the rows that it changed; returns the row to go on after,
  /// or 0 at the end. Durable on return, together with what was appended before. Errors: as
  /// append(); the slice can be asked for again.
  [[nodiscard]] core::result<std::uint64_t> rewrap_users(std::uint64_t after, rewrapper& with);

  /// Bytes of the database file and its write-ahead log.
  [[nodiscard]] std::uint64_t size_bytes() const noexcept;
  /// SQLite's own check of the whole file: STORE_INTEGRITY when anything is wrong. Slow.
  [[nodiscard]] core::status integrity_check();
  /// Commits nothing: drops an open transaction, empties the write-ahead log into the file and
  /// closes. Only the destructor may follow.
  [[nodiscard]] core::status close();

 private:
  friend class event_query;
  friend class session_find;
  friend class backup;
  friend class log_cutter;
  friend class touch_dropper;
  journal();
  std::unique_ptr<database> db_;
};

}  // namespace portcullis::store
