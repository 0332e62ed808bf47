// The one table that says, for each event, which field is stored, shown, or both, and how. Private
// to core/event.
#pragma once
#include <tuple>
#include <type_traits>

#include "core/event/event.hpp"

namespace portcullis::core {

enum class visibility : std::uint8_t { stored, shown, both };
/// given: left out where the field is absent or has its default value.
enum class presence : std::uint8_t { always, given };

// How a member is written, where its type alone does not say.
struct as_itself {};
struct as_bytes_text {};  // std::string of bytes as base64url
struct as_raw_json {};    // std::string that is a JSON object
struct as_names {};       // field_set as an array of names

template <class Form, class Owner, class T>
struct field_row {
  using form = Form;
  using type = T;
  std::string_view name;
  T Owner::*member;
  visibility seen;
  presence when;
  std::string_view note;  // for the reference page

  [[nodiscard]] constexpr bool is_stored() const noexcept { return seen != visibility::shown; }
  [[nodiscard]] constexpr bool is_shown() const noexcept { return seen != visibility::stored; }
};

template <class Form = as_itself, class Owner, class T>
[[nodiscard]] constexpr field_row<Form, Owner, T> row(std::string_view name, T Owner::*member,
                                                      visibility seen, presence when,
                                                      std::string_view note) {
  return {name, member, seen, when, note};
}

/// Fields of every event, in the order written, after `node`.
inline constexpr auto common_fields = std::make_tuple(
    row("tenant_id", &event::tenant_id, visibility::both, presence::given,
        "the tenant that it is about"),
    row("handle", &event::handle, visibility::both, presence::given,
        "the session that it is about"),
    row("correlation_id", &event::correlation_id, visibility::both, presence::given,
        "of the request behind it"),
    row("actor", &event::actor, visibility::both, presence::given, "the caller that asked for it"),
    row("decided_at_ms", &event::decided_at_ms, visibility::stored, presence::given,
        "when it was decided; absent: at_ms"));

template <class Body>
inline constexpr auto fields_of = std::make_tuple();

template <>
inline constexpr auto fields_of<session_created> = std::make_tuple(
    row("expires_at_ms", &session_created::expires_at_ms, visibility::both, presence::always,
        "when it ends without activity"),
    row("id", &session_created::id, visibility::stored, presence::always, "keyed hash of the id"),
    row("ring_key", &session_created::ring_key, visibility::stored, presence::always,
        "the key of `id`"),
    row("idle_ttl_s", &session_created::idle_ttl_s, visibility::stored, presence::always,
        "time to live when idle"),
    row("absolute_expires_at_ms", &session_created::absolute_expires_at_ms, visibility::stored,
        presence::always, "when it ends in any case"),
    row("tenant_generation", &session_created::tenant_generation, visibility::stored,
        presence::given, "of the tenant at creation"),
    row("fields", &session_created::fields, visibility::stored, presence::given,
        "keyed hashes of the context fields given"),
    row<as_bytes_text>("ip", &session_created::ip, visibility::stored, presence::given,
                       "sealed address"),
    row<as_bytes_text>("data", &session_created::data, visibility::stored, presence::given,
                       "sealed data"),
    row("alias", &session_created::alias, visibility::stored, presence::given,
        "keyed hash of the alias"));

template <>
inline constexpr auto fields_of<session_touched> =
    std::make_tuple(row("touches", &session_touched::touches, visibility::both, presence::given,
                        "stored: pairs of handle and last_seen_at_ms; shown: `handle`, or "
                        "`handles` where there are several"),
                    row("dropped", &session_touched::dropped, visibility::stored, presence::given,
                        "it was older than `store.touch_retention_h`: SHA-256 of what was here"));

template <>
inline constexpr auto fields_of<session_rotated> =
    std::make_tuple(row("id", &session_rotated::id, visibility::stored, presence::always,
                        "keyed hash of the successor"),
                    row("predecessor", &session_rotated::predecessor, visibility::stored,
                        presence::always, "keyed hash of the id presented"),
                    row("ring_key", &session_rotated::ring_key, visibility::stored,
                        presence::always, "the key of `id`"),
                    row("grace", &session_rotated::grace, visibility::stored, presence::always,
                        "whether the predecessor goes on for a while"),
                    row("nonce", &session_rotated::nonce, visibility::stored, presence::always,
                        "what the successor is derived with"),
                    row("grace_ends_at_ms", &session_rotated::grace_ends_at_ms, visibility::stored,
                        presence::always, "the predecessor's end"),
                    row<as_bytes_text>("data", &session_rotated::data, visibility::stored,
                                       presence::given, "data, sealed anew under the successor"));

template <>
inline constexpr auto fields_of<session_successor_used> =
    std::make_tuple(row("grace_ends_at_ms", &session_successor_used::grace_ends_at_ms,
                        visibility::stored, presence::always, "the predecessor's end"));

template <>
inline constexpr auto fields_of<session_rekeyed> = std::make_tuple(
    row("before", &session_rekeyed::before, visibility::stored, presence::always,
        "keyed hash until now"),
    row("id", &session_rekeyed::id, visibility::stored, presence::always, "keyed hash from now on"),
    row("ring_key", &session_rekeyed::ring_key, visibility::stored, presence::always,
        "the key of `id`"));

template <>
inline constexpr auto fields_of<session_updated> =
    std::make_tuple(row("version", &session_updated::version, visibility::both, presence::always,
                        "the session's version from now on"),
                    row<as_bytes_text>("data", &session_updated::data, visibility::stored,
                                       presence::given, "sealed data"));

template <>
inline constexpr auto fields_of<session_revoked> = std::make_tuple(
    row("scope", &session_revoked::scope, visibility::both, presence::always,
        "session, user or tenant"),
    row("count", &session_revoked::count, visibility::both, presence::always,
        "sessions that it ended"),
    row("reason", &session_revoked::reason, visibility::both, presence::always, "why"),
    row("except_handle", &session_revoked::except_handle, visibility::both, presence::given,
        "the session that goes on"),
    row("tenant_generation", &session_revoked::tenant_generation, visibility::stored,
        presence::given, "sessions made under an earlier one are over"));

template <>
inline constexpr auto fields_of<session_expired> = std::make_tuple(
    row("kind", &session_expired::kind, visibility::both, presence::always, "idle or absolute"));

template <>
inline constexpr auto fields_of<validation_failed> =
    std::make_tuple(row("reason", &validation_failed::reason, visibility::both, presence::always,
                        "as in the reply"),
                    row("attempt", &validation_failed::attempt, visibility::both, presence::given,
                        "a counted mismatch: its number in the window"),
                    row("count", &validation_failed::count, visibility::both, presence::given,
                        "failures in this event"),
                    row("first_at_ms", &validation_failed::first_at_ms, visibility::both,
                        presence::given, "the first of them"),
                    row("last_at_ms", &validation_failed::last_at_ms, visibility::both,
                        presence::given, "the last of them"),
                    row("source", &validation_failed::source, visibility::both, presence::given,
                        "keyed hash of the source; absent: several"),
                    row("fields", &validation_failed::fields, visibility::stored, presence::given,
                        "keyed hashes of the context presented"),
                    row("window_ends_at_ms", &validation_failed::window_ends_at_ms,
                        visibility::stored, presence::given, "the counter's end"),
                    row("counted_for_source", &validation_failed::counted_for_source,
                        visibility::stored, presence::given, "whether the counter is the source's"),
                    row("user_attempt", &validation_failed::user_attempt, visibility::stored,
                        presence::given, "then: the number over all sources"),
                    row("user_window_ends_at_ms", &validation_failed::user_window_ends_at_ms,
                        visibility::stored, presence::given, "and that counter's end"));

template <>
inline constexpr auto fields_of<validation_signalled> =
    std::make_tuple(row<as_names>("fields", &validation_signalled::fields, visibility::both,
                                  presence::always, "what differed"),
                    row("action", &validation_signalled::action, visibility::both, presence::always,
                        "observe or challenge"),
                    row("source", &validation_signalled::source, visibility::both, presence::given,
                        "keyed hash of the source"),
                    row("count", &validation_signalled::count, visibility::stored, presence::always,
                        "always 1: repeats within touch_granularity_s are not told"));

template <>
inline constexpr auto fields_of<lockout_started> =
    std::make_tuple(row("locked_until_ms", &lockout_started::locked_until_ms, visibility::both,
                        presence::always, "the lock's end"),
                    row("attempts", &lockout_started::attempts, visibility::both, presence::always,
                        "failed attempts that led to it"),
                    row("source", &lockout_started::source, visibility::stored, presence::given,
                        "only this source is locked out"));

template <>
inline constexpr auto fields_of<lockout_ended> =
    std::make_tuple(row("source", &lockout_ended::source, visibility::stored, presence::given,
                        "the source that was locked out"));

template <>
inline constexpr auto fields_of<lockout_cleared> = std::make_tuple(
    row("reason", &lockout_cleared::reason, visibility::both, presence::always, "why"));

template <>
inline constexpr auto fields_of<source_limited> =
    std::make_tuple(row("source", &source_limited::source, visibility::both, presence::always,
                        "keyed hash of the source"),
                    row("until_ms", &source_limited::until_ms, visibility::stored, presence::always,
                        "the limit's end"));

template <>
inline constexpr auto fields_of<node_started> = std::make_tuple(
    row("version", &node_started::version, visibility::both, presence::always, "the program's"),
    row<as_raw_json>("policy", &node_started::policy, visibility::both, presence::given,
                     "the policy in force"));

template <>
inline constexpr auto fields_of<config_reloaded> = std::make_tuple(row<as_raw_json>(
    "policy", &config_reloaded::policy, visibility::both, presence::given, "the policy in force"));

template <>
inline constexpr auto fields_of<store_degraded> = std::make_tuple(
    row("reason", &store_degraded::reason, visibility::stored, presence::always, "what failed"));

template <>
inline constexpr auto fields_of<auth_failed> = std::make_tuple(row("source", &auth_failed::source,
                                                                   visibility::both,
                                                                   presence::always,
                                                                   "keyed hash of the source"));

/// Fields that every event of a breaker has first.
template <class Body>
constexpr auto breaker_fields() {
  return std::make_tuple(
      row("service", &Body::service, visibility::both, presence::always, "the breaker's service"),
      row("breaker", &Body::breaker, visibility::both, presence::always, "its name there"),
      row("epoch", &Body::epoch, visibility::both, presence::always,
          "the breaker's, from here on"));
}
template <class Body>
constexpr auto transition_fields() {
  return std::tuple_cat(
      breaker_fields<Body>(),
      std::make_tuple(
          row("cause", &Body::cause, visibility::both, presence::always, "why"),
          row("counts", &Body::counts, visibility::both, presence::always,
              "calls of the phase that ended: in its window, and turned away or ignored; a permit "
              "that "
              "expired is a failure"),
          row("from", &Body::from, visibility::both, presence::always, "the state until now"),
          row("reason", &Body::reason, visibility::both, presence::given, "of a reset"),
          row("kind", &Body::kind, visibility::both, presence::always, "hosted or observed"),
          row("source", &Body::source, visibility::both, presence::given,
              "observed: whose breaker changed"),
          row("to", &Body::to, visibility::both, presence::given,
              "observed: the state, where the type does not say it"),
          row("transitioned_at_ms", &Body::transitioned_at_ms, visibility::both, presence::given,
              "observed: when, by the source's clock"),
          row("late", &Body::late, visibility::stored, presence::given,
              "observed: told after what came later, so that the state is not this one")));
}
template <class Body>
constexpr auto waiting_fields() {
  return std::make_tuple(row("until_ms", &Body::until_ms, visibility::stored, presence::always,
                             "when the phase ends by itself"),
                         row("failed_rounds", &Body::failed_rounds, visibility::stored,
                             presence::given, "half-open phases that failed since it was closed"));
}

template <>
inline constexpr auto fields_of<breaker_opened> =
    std::tuple_cat(transition_fields<breaker_opened>(), waiting_fields<breaker_opened>());
template <>
inline constexpr auto fields_of<breaker_half_opened> =
    std::tuple_cat(transition_fields<breaker_half_opened>(), waiting_fields<breaker_half_opened>());
template <>
inline constexpr auto fields_of<breaker_closed> = transition_fields<breaker_closed>();

template <>
inline constexpr auto fields_of<breaker_would_open> =
    std::tuple_cat(breaker_fields<breaker_would_open>(),
                   std::make_tuple(row("cause", &breaker_would_open::cause, visibility::both,
                                       presence::always, "what would open it"),
                                   row("counts", &breaker_would_open::counts, visibility::both,
                                       presence::always, "what its window holds")));

template <>
inline constexpr auto fields_of<breaker_override_set> = std::tuple_cat(
    breaker_fields<breaker_override_set>(),
    std::make_tuple(row("mode", &breaker_override_set::mode, visibility::both, presence::always,
                        "what it does"),
                    row("scope", &breaker_override_set::scope, visibility::both, presence::always,
                        "node or fleet"),
                    row("reason", &breaker_override_set::reason, visibility::both, presence::always,
                        "why"),
                    row("expires_at_ms", &breaker_override_set::expires_at_ms, visibility::both,
                        presence::given, "its end; absent: it stays"),
                    row("cause", &breaker_override_set::cause, visibility::both, presence::given,
                        "override_set; this and the next two where the state is another one"),
                    row("counts", &breaker_override_set::counts, visibility::both, presence::given,
                        "calls of the phase that ended"),
                    row("from", &breaker_override_set::from, visibility::both, presence::given,
                        "the state until now")));

template <>
inline constexpr auto fields_of<breaker_override_cleared> = std::tuple_cat(
    breaker_fields<breaker_override_cleared>(),
    std::make_tuple(row("mode", &breaker_override_cleared::mode, visibility::both, presence::always,
                        "what it did"),
                    row("scope", &breaker_override_cleared::scope, visibility::both,
                        presence::always, "node or fleet"),
                    row("reason", &breaker_override_cleared::reason, visibility::both,
                        presence::always, "why"),
                    row("cause", &breaker_override_cleared::cause, visibility::both,
                        presence::always, "override_cleared or override_expired"),
                    row("counts", &breaker_override_cleared::counts, visibility::both,
                        presence::always, "calls of the phase that ended"),
                    row("from", &breaker_override_cleared::from, visibility::both, presence::always,
                        "the state until now")));

template <>
inline constexpr auto fields_of<breaker_retired> = breaker_fields<breaker_retired>();

template <>
inline constexpr auto fields_of<user_forgotten> = std::make_tuple(
    row("count", &user_forgotten::count, visibility::both, presence::always,
        "sessions that it ended"),
    row("reason", &user_forgotten::reason, visibility::both, presence::always, "why"),
    row("tenant_generation", &user_forgotten::tenant_generation, visibility::stored,
        presence::given, "of the tenant by then"));

template <>
inline constexpr auto fields_of<checkpoint> =
    std::make_tuple(row("mac", &checkpoint::mac, visibility::both, presence::always,
                        "the chained mac of the event before"),
                    row("of_at_ms", &checkpoint::of_at_ms, visibility::both, presence::always,
                        "when that happened"),
                    row("signer", &checkpoint::signer, visibility::both, presence::always,
                        "the node's Ed25519 public key"),
                    row("signature", &checkpoint::signature, visibility::both, presence::always,
                        "over the event before: its seq, at_ms and mac"));

template <>
inline constexpr auto fields_of<calls_tallied> = std::make_tuple(
    row("from_ms", &calls_tallied::from_ms, visibility::both, presence::given, "calls since then"),
    row("tallies", &calls_tallied::tallies, visibility::both, presence::given,
        "of each breaker that was called: `[service, breaker, counts]`; of nodes that share a log "
        "then the epoch in which calls were judged, and which, if not all"),
    row("dropped", &calls_tallied::dropped, visibility::stored, presence::given,
        "as in `session_touched`"));

/// Calls `each` with every row of a tuple of rows.
template <class Rows, class Each>
constexpr void for_each_row(const Rows& rows, Each&& each) {
  std::apply([&](const auto&... one) { (each(one), ...); }, rows);
}

}  // namespace portcullis::core
