// What a shard knows of its sessions. apply() is the only thing that changes a session, live and in
// replay alike.
#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/contract/reply.hpp"
#include "core/event/event.hpp"
#include "core/session/check.hpp"
#include "core/session/identity.hpp"
#include "core/session/policy.hpp"
#include "core/session/slab.hpp"
#include "core/session/slot_index.hpp"
#include "core/session/wheel.hpp"

namespace portcullis::core {

using session_slot = std::uint32_t;
using user_slot = std::uint32_t;
using tenant_slot = std::uint32_t;
inline constexpr std::uint32_t no_slot = slot_index::none;

enum class session_status : std::uint8_t { none, live, revoked, expired, evicted };

/// An id that the session once had.
struct old_id {
  id_hash id;
  millis quiet_until_ms =
      0;  // until then its use is answered `revoked` without more; after it, it is reuse
};

/// What few sessions have, or have only for a while.
struct session_extra {
  std::string data;  // sealed under the current id; empty: none
  // Rotation: the id before the current one, while in grace.
  bool has_predecessor = false;
  bool successor_used = false;
  std::uint32_t rotation_ring_key = 0;     // what the successor was derived under
  std::uint32_t predecessor_ring_key = 0;  // `predecessor` is under it
  id_hash predecessor;
  byte_array<16> nonce{};
  millis grace_ends_at_ms = 0;
  std::vector<old_id> old_ids;  // at most limits::old_ids_per_session_max, oldest first
};

struct session_record {
  id_hash id;
  session_handle handle;
  millis created_at_ms = 0;
  millis last_seen_at_ms = 0;  // recorded activity
  millis absolute_expires_at_ms = 0;
  std::uint64_t seq = 0;  // of its creation
  byte_array<16> memo{};  // of the last context that was found good, see check.hpp
  ip_address ip;
  kept_hashes hashes{};  // of the fields in `present`
  std::unique_ptr<session_extra> extra;
  user_slot user = no_slot;
  std::uint32_t tenant_generation = 0;
  std::uint32_t user_generation = 0;
  std::uint32_t version = 1;
  std::uint32_t idle_ttl_s = 0;
  std::uint32_t ring_key = 0;
  session_status status = session_status::none;
  field_set present = 0;
  bool ip_known = false;
  bool memo_known = false;

  [[nodiscard]] millis idle_expires_at_ms() const noexcept {
    return last_seen_at_ms + millis{idle_ttl_s} * 1000;
  }
  [[nodiscard]] millis expires_at_ms() const noexcept {
    return std::min(idle_expires_at_ms(), absolute_expires_at_ms);
  }
  [[nodiscard]] std::string_view data() const noexcept {
    return extra ? std::string_view(extra->data) : "";
  }
  session_extra& need_extra() {
    if (!extra) extra = std::make_unique<session_extra>();
    return *extra;
  }
  /// The address as seal_ip() gave it, until the first validation after a restart opens it: in the
  /// place of `ip` and `memo`, which mean nothing before.
  void keep_sealed_ip(std::string_view sealed) noexcept;
  [[nodiscard]] std::string sealed_ip() const;
};

struct user_record {
  identity_ptr who;            // null until first needed after a restart
  millis locked_until_ms = 0;  // told by the lockout actor
  tenant_slot tenant = no_slot;
  std::uint32_t generation =
      0;              // sessions made under an earlier one are over; starts anew with the process
  bool busy = false;  // requests of this user wait: a decision about it is not committed yet
  bool sources_locked = false;  // some source of this user is locked out (scope user_source)
  // What validating needs stands above.
  std::uint32_t sessions = 0;  // records, ended ones too
  byte_array<16> lookup{};
  subject_id subject;
};

struct tenant_record {
  std::string name;
  std::uint32_t generation = 0;  // sessions made under an earlier one are over
  std::uint64_t live = 0;
};

/// Which id of a session was presented.
enum class id_kind : std::uint8_t { current, predecessor, old };
struct found_session {
  session_slot slot = no_slot;
  id_kind kind = id_kind::current;
  millis quiet_until_ms = 0;  // old only
};

/// Asks for the cache lines of the first `bytes` at `object`.
[[gnu::always_inline]] inline void prefetch_lines(const void* object, std::size_t bytes) noexcept {
  const auto* at = static_cast<const char*>(object);
  for (std::size_t line = 0; line < bytes; line += 64) __builtin_prefetch(at + line);
  __builtin_prefetch(at + bytes - 1);
}

class session_state {
 public:
  /// Applies what the event says of sessions; other events change nothing. An event of a session
  /// that is not here (purged meanwhile) changes nothing either.
  void apply(const event& what);

  /// Records activity: what session_touched says of one session. Never backwards.
  void touch(session_slot slot, millis seen_at_ms) noexcept {
    auto& s = sessions_[slot];
    if (s.status == session_status::live)
      s.last_seen_at_ms = std::max(s.last_seen_at_ms, seen_at_ms);
  }
  /// What needs no event: what a clean context looked like, and an address opened after a restart.
  void remember(session_slot slot, const byte_array<16>& memo) noexcept {
    sessions_[slot].memo = memo;
    sessions_[slot].memo_known = true;
  }
  void know_ip(session_slot slot, const ip_address& ip);

  [[nodiscard]] found_session find(const id_hash& id) const;
  [[nodiscard]] session_slot find(const session_handle& handle) const;
  [[nodiscard]] user_slot find_user(const byte_array<16>& lookup) const;
  [[nodiscard]] user_slot find_user(const subject_id& subject) const;
  [[nodiscard]] tenant_slot find_tenant(std::string_view name) const;

  /// The user with this look-up value, made when it is new (then without subject).
  user_slot need_user(const byte_array<16>& lookup, std::string_view tenant);
  tenant_slot need_tenant(std::string_view name);
  /// Completes a user that need_user made, or opens one that was loaded.
  void identify(user_slot user, const subject_id& subject, identity_ptr who);
  /// Gives a user that has no session yet another subject; who it is has to be looked up anew.
  void rename_user(user_slot user, const subject_id& subject);
  /// Adds a loaded user, none of those that there are, whose row has not been opened yet.
  user_slot load_user(const subject_id& subject, const byte_array<16>& lookup,
                      std::string_view tenant);
  /// Adds a loaded session; its indexes and counts, not its events.
  session_slot load_session(session_record&& loaded, std::span<const old_id> old_ids);
  void load_tenant(std::string_view name, std::uint32_t generation);
  /// Forgets who a user is: the same name is another user from here on. The user's ended sessions
  /// stay until they are purged.
  void forget_user(user_slot user);
  /// Forgets an ended session.
  void purge(session_slot slot);

  [[nodiscard]] session_record& at(session_slot slot) noexcept { return sessions_[slot]; }
  [[nodiscard]] const session_record& at(session_slot slot) const noexcept {
    return sessions_[slot];
  }
  [[nodiscard]] user_record& user(user_slot slot) noexcept { return users_[slot]; }
  [[nodiscard]] const user_record& user(user_slot slot) const noexcept { return users_[slot]; }
  [[nodiscard]] tenant_record& tenant(tenant_slot slot) noexcept { return tenants_[slot]; }
  [[nodiscard]] const tenant_record& tenant(tenant_slot slot) const noexcept {
    return tenants_[slot];
  }
  [[nodiscard]] std::uint32_t tenant_count() const noexcept {
    return static_cast<std::uint32_t>(tenants_.size());
  }

  /// Whether the session is over because its user or its tenant was revoked after it was made.
  [[nodiscard]] bool outlived(const session_record& s) const noexcept {
    const auto& owner = users_[s.user];
    return s.user_generation != owner.generation ||
           s.tenant_generation != tenants_[owner.tenant].generation;
  }
  [[nodiscard]] std::uint32_t slots_used() const noexcept { return sessions_.used(); }
  [[nodiscard]] std::size_t records() const noexcept { return sessions_.live(); }
  [[nodiscard]] const session_counts& counts() const noexcept { return counts_; }
  void reserve(std::size_t sessions, std::size_t users);
  /// Bring what validating these ids needs towards the cache, a step a pass over a batch: most of a
  /// validation's time is waiting for memory, and the waits of several requests overlap. Hints
  /// only. Always inlined: GCC drops calls of functions that do nothing but prefetch.
  [[gnu::always_inline]] void prefetch_index(const id_hash& id) const noexcept {
    by_id_.prefetch(hash_at(id.bytes, 4));
  }
  [[nodiscard, gnu::always_inline]] session_slot prefetch_record(const id_hash& id) const noexcept {
    const auto slot = by_id_.candidate(hash_at(id.bytes, 4));
    if (slot != no_slot) prefetch_lines(&sessions_[slot], sizeof(session_record));
    return slot;
  }
  [[nodiscard, gnu::always_inline]] user_slot prefetch_user(session_slot slot) const noexcept {
    const auto owner = sessions_[slot].user;
    if (owner != no_slot) prefetch_lines(&users_[owner], offsetof(user_record, lookup));
    return owner;
  }
  [[gnu::always_inline]] void prefetch_identity(user_slot user) const noexcept {
    if (const auto* who = users_[user].who.get()) prefetch_lines(who, offsetof(user_identity, key));
  }

  /// The same for what load_user and load_session are to add, and for the user they will look for.
  [[gnu::always_inline]] void prefetch_load(const subject_id& subject,
                                            const byte_array<16>& lookup) const noexcept {
    users_by_subject_.prefetch(hash_at(subject.bytes, 4));
    users_by_lookup_.prefetch(hash_at(lookup, 0));
  }
  [[gnu::always_inline]] void prefetch_load(const session_record& s,
                                            const subject_id& subject) const noexcept {
    users_by_subject_.prefetch(hash_at(subject.bytes, 4));
    by_id_.prefetch(hash_at(s.id.bytes, 4));
    by_handle_.prefetch(hash_at(s.handle.bytes, 4));
  }
  [[gnu::always_inline]] void prefetch_owner(const subject_id& subject) const noexcept {
    const auto slot = users_by_subject_.candidate(hash_at(subject.bytes, 4));
    if (slot != no_slot) prefetch_lines(&users_[slot], sizeof(user_record));
  }

 private:
  user_slot add_user(const byte_array<16>& lookup, std::string_view tenant);
  void on(const event& what, const session_created& body);
  void on(const event& what, const session_touched& body);
  void on(const event& what, const session_rotated& body);
  void on(const event& what, const session_successor_used& body);
  void on(const event& what, const session_rekeyed& body);
  void on(const event& what, const session_updated& body);
  void on(const event& what, const session_revoked& body);
  void on(const event& what, const session_expired& body);
  void on(const event& what, const session_evicted& body);
  void on(const event& what, const session_reuse_detected& body);
  void on(const event& what, const user_forgotten& body);
  void end_user(user_slot owner, session_slot excepted, std::uint64_t count,
                std::uint64_t tenant_generation);
  template <class Other>
  void on(const event&, const Other&) {}

  void end(session_slot slot, session_status status);
  void retire_id(session_slot slot, const id_hash& id, millis quiet_until_ms);
  void index_id(const id_hash& id, session_slot slot) { by_id_.insert(hash_at(id.bytes, 4), slot); }
  void unindex_id(const id_hash& id, session_slot slot) {
    by_id_.erase(hash_at(id.bytes, 4), slot);
  }
  [[nodiscard]] session_slot live_slot(const event& what) const;

  slab<session_record> sessions_;
  slab<user_record> users_;
  std::vector<tenant_record> tenants_;
  slot_index by_id_, by_handle_, users_by_lookup_, users_by_subject_;
  std::unordered_map<std::string, tenant_slot> tenants_by_name_;
  session_counts counts_;
};

}  // namespace portcullis::core
