// Every rule about sessions, as pure functions: state and a command in, a verdict and events out.
// Nothing here changes state; session_state::apply does, from the events.
#pragma once
#include <vector>

#include "core/contract/request.hpp"
#include "core/session/check.hpp"
#include "core/session/policy_book.hpp"
#include "core/session/state.hpp"

namespace portcullis::core {

/// What decisions are made with, besides state and command.
struct decision_input {
  const session_state& state;
  const key_material& keys;
  const policy_book& policies;
  const core::memo_key& memo_key;
  millis now_ms;
};

/// Looks an id up under every key of the ring, newest first. not found: slot is no_slot.
struct located {
  found_session found;
  std::uint32_t ring_key = 0;
};
[[nodiscard]] located locate(const session_state& state, const key_material& keys,
                             const session_id& id);
/// The same, where the hash under the newest key is known already.
[[nodiscard]] located locate(const session_state& state, const key_material& keys,
                             const session_id& id, const id_hash& under_newest);
/// Whether using this id of a live session is reuse: it was replaced, and its grace is over.
[[nodiscard]] bool is_reuse(const session_record& session, const found_session& found,
                            millis now_ms) noexcept;
[[nodiscard]] inline id_hash hash_id(const key_material& keys, const session_id& id) noexcept {
  return id_hash{keys.newest().ids(byte_view(id.bytes))};
}

enum class verdict : std::uint8_t {
  valid,
  unknown,  // no such session
  expired,
  revoked,  // evicted, too
  reused,   // an old id after its grace: the session must be revoked (event session_reuse_detected)
  locked,   // the user, or this source of the user, is locked out
  ip_mismatch,           // a failed attempt
  fingerprint_mismatch,  // a failed attempt
  unopened,              // the user's row must be opened before this can be judged
};

struct judgement {
  core::verdict verdict = verdict::unknown;
  session_slot slot = no_slot;
  id_kind kind = id_kind::current;
  std::uint32_t ring_key = 0;
  field_set observed = 0, challenged = 0;
  bool touch_due = false;  // recorded activity should move
  bool first_successor_use = false;
  bool rekey_due = false;  // found under an old ring key
  bool remember = false;   // the context was clean but not the one remembered: keep `memo`
  byte_array<16> memo{};
};

/// Judges a located session for a context, in the order of protocol.md: not_found, revoked,
/// expired; locked_out; ip; device. `source_locked` says whether this source of the user is locked
/// out (scope user_source).
[[nodiscard]] judgement judge(const decision_input& in, const located& where,
                              const context& presented, bool source_locked);

/// The contract's reason for a verdict that is not valid, reused or unopened.
[[nodiscard]] invalid_reason reason_of(verdict value) noexcept;
/// The error that update and rotate answer for a verdict that is not valid.
[[nodiscard]] error_code error_of(verdict value) noexcept;

/// The id that a valid presented id stands for: itself, or in grace its successor.
[[nodiscard]] session_id current_id(const session_record& session, const session_id& presented,
                                    id_kind kind, const key_material& keys);
/// The session's data in clear, for a valid presented id. Absent: sealed under something else
/// (STORE_INTEGRITY).
[[nodiscard]] std::optional<std::string> open_data(const session_record& session,
                                                   const session_id& presented, id_kind kind,
                                                   const key_material& keys);

/// An event of this session, with everything but its body.
[[nodiscard]] event about(const session_state& state, session_slot slot, millis now_ms);

/// Immediate consequences of a valid use: session_successor_used, session_rekeyed. Touches are
/// collected by the owner.
void consequences_of_use(const decision_input& in, const judgement& verdict,
                         const session_id& presented, std::vector<event>& out);

struct created {
  session_id id;
  event what;
};
/// Refuses a TTL beyond the policy with TTL_OUT_OF_RANGE (details.limit is the policy's value).
[[nodiscard]] result<nothing> check_ttls(const create_session& command,
                                         const session_policy& policy);
/// A new session of an identified user; with an alias its id is what the alias stands for. The
/// caller has seen to the cap, and that nobody else has the alias.
[[nodiscard]] created decide_create(const decision_input& in, const create_session& command,
                                    user_slot user, const random_source& random);

struct rotated {
  session_id id;
  std::vector<event> events;  // empty: the same successor as before
};
/// Rotates a session that was judged valid for the presented id.
/// STORE_INTEGRITY when the session's data cannot be opened with it: it must not be lost silently.
[[nodiscard]] result<rotated> decide_rotate(const decision_input& in, const rotate_session& command,
                                            const judgement& verdict, const random_source& random);

/// Replaces data. SESSION_VERSION_CONFLICT when a version is given and stale.
[[nodiscard]] result<event> decide_update(const decision_input& in, const update_session& command,
                                          const judgement& verdict, const random_source& random);

/// Whether the session is live at this moment, whatever the sweep has done.
[[nodiscard]] bool is_live(const session_state& state, session_slot slot, millis now_ms) noexcept;
/// Why it is not: revoked or expired. Only for sessions that are not live.
[[nodiscard]] verdict over_because(const session_state& state, session_slot slot,
                                   millis now_ms) noexcept;

/// What create and rotate answer once the session is as decided.
[[nodiscard]] session_made made_reply(const session_record& session, const session_id& id);

/// What the sweep finds for a session whose second has come.
struct swept {
  enum class action : std::uint8_t { keep, expire, purge } what = action::keep;
  expiry_kind kind = expiry_kind::idle;
  millis next_ms = 0;  // keep: when to look again
};
[[nodiscard]] swept sweep(const session_state& state, session_slot slot, millis now_ms) noexcept;

}  // namespace portcullis::core
