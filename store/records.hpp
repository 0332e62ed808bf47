// What the journal's projections hold, as it hands them out. Views point into the store's memory
// and live only until the call that hands them over returns.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/breaker/observed.hpp"
#include "core/event/event.hpp"

namespace portcullis::store {

enum class session_state : std::uint8_t { live, revoked, expired, evicted };

/// An id that the session once had, other than its `predecessor`: using it is reuse, or `revoked`
/// within its grace.
struct retired_id {
  core::id_hash id;
  core::millis grace_ends_at_ms = 0;  // as it was when the id was retired; 0: it had none
};

/// One session as its events left it.
struct session_record {
  std::uint64_t seq = 0;  // of its session_created
  core::subject_id subject;
  std::string_view tenant_id;
  core::session_handle handle;
  core::id_hash id;
  std::uint32_t ring_key = 0;  // `id` is under it
  core::millis created_at_ms = 0, last_seen_at_ms = 0, absolute_expires_at_ms = 0;
  std::int64_t idle_ttl_s = 0;
  std::uint32_t version = 1;
  /// A user's revocation is worked in already; a tenant's is not: compare tenant_generation with
  /// the tenant's.
  session_state state = session_state::live;
  std::uint64_t tenant_generation = 0;
  core::field_hashes fields;
  std::optional<core::short_hash> alias;  // key_material::alias_tag(), where it has one
  std::string_view ip, sealed, data;  // sealed: its event's; data: the newest; all empty once ended
  // The last rotation, where it gave its predecessor a grace; otherwise these mean nothing.
  bool has_predecessor = false;
  bool successor_used = false;
  core::id_hash predecessor;
  std::uint32_t predecessor_ring_key = 0;  // `predecessor` is under it
  std::uint32_t rotation_ring_key = 0;     // what the successor was derived under
  core::byte_array<16> nonce{};
  core::millis grace_ends_at_ms = 0;
  std::span<const retired_id> retired;  // the newest limits::old_ids_per_session_max, oldest first
};

/// A counter of failed attempts, or a lock: of the user, or of one of the user's sources.
struct lockout_record {
  core::subject_id subject;
  std::optional<core::short_hash> source;  // absent: the user's
  std::uint32_t failed_attempts = 0;
  core::millis window_ends_at_ms = 0;  // 0: no window
  core::millis locked_until_ms = 0;    // 0: not locked
};

struct tenant_record {
  std::string_view tenant_id;
  std::uint64_t generation = 0;  // sessions made under an earlier one are revoked
};

/// What session.list and session.find show beyond what memory has; owned.
struct session_display {
  std::uint64_t seq = 0;
  core::subject_id subject;
  core::session_handle handle;
  session_state state = session_state::live;  // as in session_record
  std::string sealed;                         // under the user's key: address and user agent
};

/// Receives what load() reads, in this order: tenants, users, lockouts, then sessions by creation.
class load_visitor {
 public:
  virtual ~load_visitor() = default;
  /// Before the users: how many of all routing bytes there are, at most.
  virtual void expect_users(std::uint64_t) {}
  virtual void on_tenant(const tenant_record& row) = 0;
  virtual void on_user(const core::user_row& row) = 0;
  virtual void on_lockout(const lockout_record& row) = 0;
  virtual void on_session(const session_record& row) = 0;
};

/// Receives what load_breakers() reads: breakers by creation, then the sources of observed ones.
class breaker_visitor {
 public:
  virtual ~breaker_visitor() = default;
  virtual void on_breaker(core::breaker_record&& row) = 0;
  virtual void on_source(core::breaker_source_record&& row) = 0;
};

}  // namespace portcullis::store
