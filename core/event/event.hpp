// Everything that happens is one of these (protocol.md, Events). The same struct is what `apply`
// folds into state, what the journal keeps and what subscribers see; fields.hpp has the one table
// that says which field goes where.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/breaker/types.hpp"
#include "core/contract/types.hpp"
#include "core/crypto/hmac.hpp"

namespace portcullis::core {

/// HMAC-SHA-256 of a raw session id under a ring key: what the server knows of an id.
struct id_hash {
  byte_array<32> bytes{};
  friend auto operator<=>(const id_hash&, const id_hash&) = default;
};
/// HMAC-SHA-256, cut to 16 bytes, of a context field under the user's key, or of a source under the
/// source key.
using short_hash = byte_array<16>;

/// The fields of a context, each as its own keyed hash; only those whose bit is in `present` mean
/// something.
struct field_hashes {
  field_set present = 0;
  std::array<short_hash, context_field_count> hashes{};
  friend bool operator==(const field_hashes&, const field_hashes&) = default;
};

enum class revoke_scope : std::uint8_t { session, user, tenant };
enum class expiry_kind : std::uint8_t { idle, absolute };

struct session_created {
  millis expires_at_ms = 0;
  // Stored only, what replay needs:
  id_hash id;
  std::uint32_t ring_key = 0;
  std::int64_t idle_ttl_s = 0;
  millis absolute_expires_at_ms = 0;
  std::uint64_t tenant_generation = 0;
  field_hashes fields;
  std::string ip;                   // sealed under the user's key
  std::string data;                 // sealed under the session's key
  std::optional<short_hash> alias;  // key_material::alias_tag(): finds the session by its alias
  // Not in the log: what session.find compares, keyed so that a stolen store cannot.
  std::uint64_t find_ip = 0, find_user_agent = 0;
  std::optional<ip_address> ip_plain;  // so that the process that made the event need not open `ip`
};
struct session_touched {  // one a commit, shard and tenant
  struct touch {
    session_handle handle;
    millis last_seen_at_ms = 0;
    std::uint64_t session_seq = 0;  // not in the log
  };
  std::vector<touch> touches;
  std::optional<digest> dropped =
      std::nullopt;  // SHA-256 of the body that was here until it was old
};
struct session_rotated {
  id_hash id;           // the successor's
  id_hash predecessor;  // the presented id's
  std::uint32_t ring_key = 0;
  bool grace = true;
  byte_array<16> nonce{};
  millis grace_ends_at_ms = 0;
  std::string data;  // sealed anew under the successor
};
struct session_successor_used {
  millis grace_ends_at_ms = 0;  // of the predecessor
};
struct session_rekeyed {
  id_hash before, id;
  std::uint32_t ring_key = 0;
};
struct session_updated {
  std::uint32_t version = 1;
  std::string data;
};
struct session_revoked {
  revoke_scope scope = revoke_scope::session;
  std::uint64_t count = 1;
  std::string reason;
  std::optional<session_handle> except_handle;
  std::uint64_t tenant_generation =
      0;  // tenant: sessions made under an earlier one are over; user: the tenant's by then
  std::vector<std::uint64_t> session_seqs;  // scope user: the rows that end with it; not in the log
};
struct session_expired {
  expiry_kind kind = expiry_kind::idle;
};
struct session_evicted {};
struct session_reuse_detected {};
struct validation_failed {
  invalid_reason reason = invalid_reason::not_found;
  std::optional<std::uint32_t> attempt;  // a counted mismatch: its number in the window
  std::optional<std::uint64_t> count;    // coalesced
  std::optional<millis> first_at_ms, last_at_ms;
  std::optional<short_hash> source;   // absent: the overflow bucket
  field_hashes fields;                // as presented; stored only
  millis window_ends_at_ms = 0;       // of the counter; stored only
  bool counted_for_source = false;    // scope user_source: the counter is the source's; stored only
  std::uint32_t user_attempt = 0;     // scope user_source: the number over all sources; stored only
  millis user_window_ends_at_ms = 0;  // and that counter's end; stored only
};
struct validation_signalled {
  field_set fields = 0;
  signal_action action = signal_action::observe;
  std::optional<short_hash> source;
  std::uint64_t count = 1;
};
struct lockout_started {
  millis locked_until_ms = 0;
  std::uint32_t attempts = 0;
  std::optional<short_hash> source;  // scope user_source: only this source is locked out
};
struct lockout_ended {
  std::optional<short_hash> source;
};
struct lockout_cleared {
  std::string reason;
};
struct source_limited {
  short_hash source{};
  millis until_ms = 0;
};
struct node_started {
  std::string version;
  std::string policy;  // JSON object: the policy in force
};
struct node_stopped {};
struct config_reloaded {
  std::string policy;
};
struct store_degraded {
  std::string reason;
};
struct store_recovered {};
struct auth_failed {
  short_hash source{};
};

/// A breaker's state is another one from here on.
struct breaker_transition {
  std::string service, breaker;
  std::uint64_t epoch = 0;  // from here on
  breaker_cause cause = breaker_cause::created;
  call_counts counts;  // of the phase that ended: what its window held, and what it turned away
  breaker_state from = breaker_state::closed;
  std::string reason;  // reset only
  // Observed only:
  breaker_kind kind = breaker_kind::hosted;
  std::string source;                        // whose breaker it is that changed
  std::optional<breaker_state> to;           // where the event's name does not say it
  std::optional<millis> transitioned_at_ms;  // by the source's clock
  bool late = false;  // told after what came later: the source's state is not this one; stored only
};
struct breaker_opened : breaker_transition {
  millis until_ms = 0;              // the wait's end; stored only
  std::uint32_t failed_rounds = 0;  // half-open phases that failed since it was closed; stored only
};
struct breaker_half_opened : breaker_transition {
  millis until_ms = 0;  // open again then, if nothing decides before; stored only
  std::uint32_t failed_rounds = 0;
};
struct breaker_closed : breaker_transition {};
struct breaker_would_open {  // metrics_only: once a breach
  std::string service, breaker;
  std::uint64_t epoch = 0;
  breaker_cause cause = breaker_cause::failure_rate;
  call_counts counts;
};
struct breaker_override_set {
  std::string service, breaker;
  std::uint64_t epoch = 0;
  override_mode mode = override_mode::none;
  override_scope scope = override_scope::node;
  std::string reason;
  std::optional<millis> expires_at_ms;
  // Where it is another state from here on, and not only explained anew or prolonged:
  std::optional<breaker_cause> cause;
  std::optional<call_counts> counts;
  std::optional<breaker_state> from;
};
/// The base state is closed from here on, with an empty window.
struct breaker_override_cleared {
  std::string service, breaker;
  std::uint64_t epoch = 0;
  override_mode mode = override_mode::none;  // that it had
  override_scope scope = override_scope::node;
  std::string reason;
  breaker_cause cause = breaker_cause::override_cleared;
  call_counts counts;  // while it was in force: metrics_only counts
  breaker_state from = breaker_state::closed;
};
struct breaker_retired {
  std::string service, breaker;
  std::uint64_t epoch = 0;
};

/// What hosted breakers counted since the record before: one a shard and
/// limits::tally_calls_every_ms, for trying other thresholds on yesterday's calls.
struct calls_tallied {
  struct tally {
    std::string service, breaker;
    call_counts counts;
    std::optional<epoch_calls> judged = std::nullopt;  // for the other nodes; absent: none
    friend bool operator==(const tally&, const tally&) = default;
  };
  millis from_ms = 0;
  std::vector<tally> tallies;
  std::optional<digest> dropped = std::nullopt;  // as in session_touched
};

/// All of a user's sessions are over, and the key that opens what the log keeps of the person is
/// destroyed. Who comes back under the same name is another subject.
struct user_forgotten {
  std::uint64_t count = 0;  // sessions that it ended
  std::string reason;
  std::uint64_t tenant_generation = 0;      // the tenant's by then
  std::vector<std::uint64_t> session_seqs;  // the rows that end with it; not in the log
};
/// Signed by the node: this is what the log was, up to the event before this one.
struct checkpoint {
  digest mac{};                // of that event
  millis of_at_ms = 0;         // and its time
  byte_array<32> signer{};     // Ed25519 public key
  byte_array<64> signature{};  // core/event/checkpoint.hpp
};

using event_body =
    std::variant<session_created, session_touched, session_rotated, session_successor_used,
                 session_rekeyed, session_updated, session_revoked, session_expired,
                 session_evicted, session_reuse_detected, validation_failed, validation_signalled,
                 lockout_started, lockout_ended, lockout_cleared, source_limited, node_started,
                 node_stopped, config_reloaded, store_degraded, store_recovered, auth_failed,
                 breaker_opened, breaker_half_opened, breaker_closed, breaker_would_open,
                 breaker_override_set, breaker_override_cleared, breaker_retired, user_forgotten,
                 checkpoint, calls_tallied>;

/// The alternatives of event_body, in its order.
enum class event_type : std::uint8_t {
  session_created,
  session_touched,
  session_rotated,
  session_successor_used,
  session_rekeyed,
  session_updated,
  session_revoked,
  session_expired,
  session_evicted,
  session_reuse_detected,
  validation_failed,
  validation_signalled,
  lockout_started,
  lockout_ended,
  lockout_cleared,
  source_limited,
  node_started,
  node_stopped,
  config_reloaded,
  store_degraded,
  store_recovered,
  auth_failed,
  breaker_opened,
  breaker_half_opened,
  breaker_closed,
  breaker_would_open,
  breaker_override_set,
  breaker_override_cleared,
  breaker_retired,
  user_forgotten,
  checkpoint,
  calls_tallied
};
inline constexpr std::size_t event_type_count = std::variant_size_v<event_body>;
[[nodiscard]] std::string_view to_string(event_type type) noexcept;
[[nodiscard]] std::optional<event_type> parse_event_type(std::string_view name) noexcept;

struct event {
  std::uint64_t seq = 0;     // given by the journal; 0 before
  millis at_ms = 0;          // given by the journal: never decreases with seq
  millis decided_at_ms = 0;  // the shard's time, what state is computed from; in the log only where
                             // it differs from at_ms
  std::string tenant_id;
  std::optional<subject_id> subject;
  std::optional<session_handle> handle;
  std::string correlation_id;
  std::string actor;   // the caller's name, where a person or program asked for it
  std::string sealed;  // under the user's key: address and user agent
  std::string node;    // who decided it; empty: the node whose log it goes to
  event_body body;

  // Known in the process that made the event, not in the log: so that live readers need no look-up.
  std::string user_id;
  std::uint64_t session_seq = 0;  // the session's creation seq: its row in the projection

  [[nodiscard]] event_type type() const noexcept { return static_cast<event_type>(body.index()); }
};

/// The service whose breaker it is about; empty: it is about none.
[[nodiscard]] inline std::string_view service_of(const event& what) noexcept {
  return std::visit(
      [](const auto& body) -> std::string_view {
        if constexpr (requires { body.service; }) return body.service;
        return {};
      },
      what.body);
}

/// Whether such events lose their body when they are old (store.touch_retention_h): only what is
/// shown of activity, and what-if, depend on it. Their macs are over the body's SHA-256, so that
/// the chain stays whole.
[[nodiscard]] constexpr bool is_dropped_when_old(event_type type) noexcept {
  return type == event_type::session_touched || type == event_type::calls_tallied;
}

/// A user as the look-up table keeps it: the one thing that the log cannot rebuild.
struct user_row {
  subject_id subject;
  byte_array<16> lookup{};  // HMAC of (tenant, user) under a key that never rotates, cut
  std::string tenant_id;
  std::uint32_t ring_key = 0;
  std::string wrapped;  // sealed under the ring: the user's key (32 bytes), then the user id
};

}  // namespace portcullis::core
