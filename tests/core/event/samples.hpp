// One event of every type with every field given, and the same with every field at its extreme.
#pragma once
#include <limits>

#include "core/event/event.hpp"

namespace portcullis::core::samples {

template <std::size_t N>
byte_array<N> bytes(std::uint8_t first) {
  byte_array<N> out{};
  for (std::size_t i = 0; i < N; ++i) out[i] = static_cast<std::uint8_t>(first + i);
  return out;
}

inline session_handle handle(std::uint8_t first) { return {bytes<16>(first)}; }

inline field_hashes all_fields(std::uint8_t first) {
  field_hashes out;
  for (std::size_t i = 0; i < context_field_count; ++i) {
    out.present = static_cast<field_set>(out.present | 1U << i);
    out.hashes[i] = bytes<16>(static_cast<std::uint8_t>(first + i));
  }
  return out;
}

/// What the transitions of breakers have in common.
inline void fill(breaker_transition& out) {
  out.service = "payments";
  out.breaker = "default";
  out.epoch = 7;
  out.cause = breaker_cause::probe_failed;
  for (std::size_t i = 0; i < call_result_count; ++i) out.counts.by_result[i] = 10 + i;
  out.from = breaker_state::half_open;
  out.reason = "mended";
  out.kind = breaker_kind::observed;
  out.source = "app-1";
  out.to = breaker_state::forced_open;
  out.transitioned_at_ms = 1'789'999'999'000;
}

/// The body of this type with plausible values.
inline event_body body(event_type type) {
  switch (type) {
    case event_type::session_created: {
      session_created out;
      out.expires_at_ms = 1'790'000'900'000;
      out.id = {bytes<32>(1)};
      out.ring_key = 7;
      out.idle_ttl_s = 900;
      out.absolute_expires_at_ms = 1'790'043'200'000;
      out.tenant_generation = 3;
      out.fields = all_fields(10);
      out.ip = "sealed address";
      out.data = std::string("sealed\0data", 11);
      out.alias = bytes<16>(90);
      return out;
    }
    case event_type::session_touched:
      return session_touched{
          {{handle(1), 1'790'000'000'001, 0}, {handle(2), 1'790'000'000'002, 0}}};
    case event_type::session_rotated:
      return session_rotated{.id = {bytes<32>(2)},
                             .predecessor = {bytes<32>(1)},
                             .ring_key = 8,
                             .grace = true,
                             .nonce = bytes<16>(30),
                             .grace_ends_at_ms = 1'790'000'300'000,
                             .data = "sealed anew"};
    case event_type::session_successor_used:
      return session_successor_used{1'790'000'010'000};
    case event_type::session_rekeyed:
      return session_rekeyed{{bytes<32>(1)}, {bytes<32>(3)}, 9};
    case event_type::session_updated:
      return session_updated{2, "sealed update"};
    case event_type::session_revoked: {
      session_revoked out;
      out.scope = revoke_scope::user;
      out.count = 4;
      out.reason = "revoke_user";
      out.except_handle = handle(5);
      out.tenant_generation = 4;
      return out;
    }
    case event_type::session_expired:
      return session_expired{expiry_kind::absolute};
    case event_type::session_evicted:
      return session_evicted{};
    case event_type::session_reuse_detected:
      return session_reuse_detected{};
    case event_type::validation_failed: {
      validation_failed out;
      out.reason = invalid_reason::fingerprint_mismatch;
      out.attempt = 3;
      out.count = 2;
      out.first_at_ms = 1'790'000'000'000;
      out.last_at_ms = 1'790'000'000'999;
      out.source = bytes<16>(40);
      out.fields = all_fields(50);
      out.window_ends_at_ms = 1'790'000'900'000;
      out.counted_for_source = true;
      out.user_attempt = 12;
      out.user_window_ends_at_ms = 1'790'000'800'000;
      return out;
    }
    case event_type::validation_signalled:
      return validation_signalled{static_cast<field_set>(ip_bit | bit(context_field::ja4)),
                                  signal_action::challenge, bytes<16>(41), 17};
    case event_type::lockout_started:
      return lockout_started{1'790'000'900'000, 10, bytes<16>(42)};
    case event_type::lockout_ended:
      return lockout_ended{bytes<16>(42)};
    case event_type::lockout_cleared:
      return lockout_cleared{"asked by phone"};
    case event_type::source_limited:
      return source_limited{bytes<16>(43), 1'790'000'900'000};
    case event_type::node_started:
      return node_started{"0.1.0", R"({"session":{"idle_ttl_s":900}})"};
    case event_type::node_stopped:
      return node_stopped{};
    case event_type::config_reloaded:
      return config_reloaded{R"({"lockout":{"threshold":10}})"};
    case event_type::store_degraded:
      return store_degraded{"STORE_FULL"};
    case event_type::store_recovered:
      return store_recovered{};
    case event_type::auth_failed:
      return auth_failed{bytes<16>(44)};
    case event_type::breaker_opened: {
      breaker_opened out;
      fill(out);
      out.until_ms = 1'790'000'060'000;
      out.failed_rounds = 2;
      return out;
    }
    case event_type::breaker_half_opened: {
      breaker_half_opened out;
      fill(out);
      out.until_ms = 1'790'000'030'000;
      out.failed_rounds = 3;
      return out;
    }
    case event_type::breaker_closed: {
      breaker_closed out;
      fill(out);
      return out;
    }
    case event_type::breaker_would_open: {
      breaker_would_open out{"payments", "default", 7, breaker_cause::slow_rate, {}};
      out.counts[call_result::slow_success] = 20;
      return out;
    }
    case event_type::breaker_override_set:
      return breaker_override_set{"payments",
                                  "default",
                                  8,
                                  override_mode::forced_open,
                                  override_scope::fleet,
                                  "drill",
                                  1'790'000'600'000,
                                  breaker_cause::override_set,
                                  call_counts{},
                                  breaker_state::half_open};
    case event_type::breaker_override_cleared:
      return breaker_override_cleared{"payments",
                                      "default",
                                      9,
                                      override_mode::metrics_only,
                                      override_scope::fleet,
                                      "drill is over",
                                      breaker_cause::override_expired,
                                      call_counts{},
                                      breaker_state::metrics_only};
    case event_type::breaker_retired:
      return breaker_retired{"payments", "default", 9};
    case event_type::user_forgotten:
      return user_forgotten{2, "asked for", 3, {}};
    case event_type::checkpoint:
      return checkpoint{bytes<32>(1), 1'789'999'999'990, bytes<32>(2), bytes<64>(3)};
    case event_type::calls_tallied: {
      calls_tallied out{1'789'999'990'000, {{"payments", "default", {}}, {"mail", "smtp", {}}}};
      out.tallies[0].counts[call_result::success] = 12;
      out.tallies[1].counts[call_result::timeout] = 3;
      return out;
    }
  }
  return node_stopped{};
}

/// A whole event of this type, about a user and a session.
inline event whole(event_type type, std::uint64_t seq = 42) {
  event out;
  out.seq = seq;
  out.at_ms = 1'790'000'000'000;
  out.decided_at_ms = 1'789'999'999'997;
  out.tenant_id = "acme";
  out.subject = subject_id{bytes<16>(60)};
  out.handle = handle(70);
  out.correlation_id = "req-1";
  out.actor = "billing";
  out.sealed = "sealed address and agent";
  out.body = body(type);
  return out;
}

/// Only what cannot be absent.
inline event bare(event_type type) {
  event out;
  out.seq = 1;
  out.at_ms = out.decided_at_ms = 1;
  switch (type) {
#define X(name)          \
  case event_type::name: \
    out.body = name{};   \
    break;
    X(session_created)
    X(session_touched)
    X(session_rotated)
    X(session_successor_used)
    X(session_rekeyed)
    X(session_updated)
    X(session_revoked)
    X(session_expired)
    X(session_evicted)
    X(session_reuse_detected)
    X(validation_failed)
    X(validation_signalled)
    X(lockout_started)
    X(lockout_ended)
    X(lockout_cleared)
    X(source_limited)
    X(node_started)
    X(node_stopped)
    X(config_reloaded)
    X(store_degraded)
    X(store_recovered)
    X(auth_failed)
    X(breaker_opened)
    X(breaker_half_opened)
    X(breaker_closed)
    X(breaker_would_open)
    X(breaker_override_set)
    X(breaker_override_cleared)
    X(breaker_retired)
    X(user_forgotten)
    X(checkpoint)
    X(calls_tallied)
#undef X
  }
  return out;
}

}  // namespace portcullis::core::samples
