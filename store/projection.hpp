// What follows from each event in the tables that a start reads: one function an alternative.
// Private to store.
#pragma once
#include <vector>

#include "core/breaker/stored.hpp"
#include "core/event/event.hpp"
#include "core/result.hpp"
#include "store/source_columns.hpp"
#include "store/sqlite.hpp"

namespace portcullis::store {

/// The same rules as the apply functions in core, as SQL on rows addressed by their key alone. A
/// session's row only ever changes while live.
class projection {
 public:
  [[nodiscard]] int prepare(sqlite3* db);
  /// SQLITE_OK or an error.
  [[nodiscard]] int apply(const core::event& happened);
  [[nodiscard]] int add_user(const core::user_row& user);
  /// Where the row of a user is, from whoever reads all of them. Forgetting a user that nobody has
  /// told of reads the whole table: there is no index, which each new user would pay for.
  void note_user(std::uint64_t id, const core::subject_id& subject);
  [[nodiscard]] int purge_session(std::uint64_t seq);
  [[nodiscard]] int put_source(const core::breaker_source_record& row);

 private:
  int on(const core::event& what, const core::session_created& body);
  int on(const core::event& what, const core::session_touched& body);
  int on(const core::event& what, const core::session_rotated& body);
  int on(const core::event& what, const core::session_successor_used& body);
  int on(const core::event& what, const core::session_rekeyed& body);
  int on(const core::event& what, const core::session_updated& body);
  int on(const core::event& what, const core::session_revoked& body);
  int on(const core::event& what, const core::session_expired& body);
  int on(const core::event& what, const core::session_evicted& body);
  int on(const core::event& what, const core::session_reuse_detected& body);
  int on(const core::event& what, const core::validation_failed& body);
  int on(const core::event& what, const core::lockout_started& body);
  int on(const core::event& what, const core::lockout_ended& body);
  int on(const core::event& what, const core::lockout_cleared& body);
  int on(const core::event& what, const core::breaker_opened&) { return move_breaker(what); }
  int on(const core::event& what, const core::breaker_half_opened&) { return move_breaker(what); }
  int on(const core::event& what, const core::breaker_closed&) { return move_breaker(what); }
  int on(const core::event& what, const core::breaker_override_cleared&) {
    return move_breaker(what);
  }
  int on(const core::event& what, const core::breaker_override_set& body);
  int on(const core::event& what, const core::breaker_retired& body);
  int on(const core::event& what, const core::user_forgotten& body);
  // These leave no state behind.
  int on(const core::event&, const core::checkpoint&) { return SQLITE_OK; }
  int on(const core::event&, const core::calls_tallied&) { return SQLITE_OK; }
  int on(const core::event&, const core::breaker_would_open&) { return SQLITE_OK; }
  int on(const core::event&, const core::validation_signalled&) { return SQLITE_OK; }
  int on(const core::event&, const core::source_limited&) { return SQLITE_OK; }
  int on(const core::event&, const core::node_started&) { return SQLITE_OK; }
  int on(const core::event&, const core::node_stopped&) { return SQLITE_OK; }
  int on(const core::event&, const core::config_reloaded&) { return SQLITE_OK; }
  int on(const core::event&, const core::store_degraded&) { return SQLITE_OK; }
  int on(const core::event&, const core::store_recovered&) { return SQLITE_OK; }
  int on(const core::event&, const core::auth_failed&) { return SQLITE_OK; }

  int forget_row(core::byte_view subject);
  int move_breaker(const core::event& what);
  int end_session(std::uint64_t session, const core::event& what, int state);
  int revoke_tenant(const core::event& what, const core::session_revoked& body);

  statement insert_session_, touch_, retire_predecessor_, retire_current_, end_graces_, rotate_,
      trim_retired_, successor_used_, rekey_, update_, end_, revoke_tenant_, count_failure_, lock_,
      unlock_, clear_locks_, drop_over_, insert_user_, purge_session_, purge_retired_,
      move_breaker_, override_breaker_, forget_breaker_, forget_sources_, put_source_, drop_source_,
      forget_user_, forget_user_at_;
  std::vector<std::uint32_t> user_tags_;  // of subjects, by the row's id
  sqlite3* db_ = nullptr;
};

/// The column `fields`: the set, then the hashes of its members in order; empty for none.
[[nodiscard]] std::size_t pack_fields(
    const core::field_hashes& fields,
    core::byte_array<1 + 16 * core::context_field_count>& out) noexcept;
[[nodiscard]] bool unpack_fields(core::byte_view from, core::field_hashes& out) noexcept;

}  // namespace portcullis::store
