// Every bound of the product in one place. Where configuration may lower or raise a bound, this is
// its default and the hard limits stand beside it. static_asserts relate what must hold together.
#pragma once
#include <cstddef>
#include <cstdint>

namespace portcullis::core::limits {

// One message (protocol.md, Transport).
inline constexpr std::size_t value_bytes_max = 64 * 1024;
inline constexpr std::size_t nesting_depth_max = 16;
inline constexpr std::size_t nesting_depth_configurable_max = 64;
inline constexpr std::size_t batch_entries_max = 100;
inline constexpr std::size_t data_bytes_max = 16 * 1024;

// Fields (protocol.md, Types).
inline constexpr std::size_t tenant_id_bytes_max = 128;
inline constexpr std::size_t user_id_bytes_max = 256;
inline constexpr std::size_t alias_bytes_min = 16;  // a secret: no shorter
inline constexpr std::size_t alias_bytes_max = 256;
inline constexpr std::size_t context_field_bytes_max = 1024;
inline constexpr std::size_t correlation_id_bytes_max = 64;
inline constexpr std::size_t breaker_name_bytes_max = 64;
inline constexpr std::size_t node_name_bytes_max = 64;  // of callers too
inline constexpr std::size_t reason_bytes_max = 256;
inline constexpr std::size_t path_bytes_max = 4096;
inline constexpr std::size_t request_id_bytes_max =
    1024;  // echoed byte for byte; longer: INVALID_REQUEST

// Loops of one node: a connection's id has four bits for its loop.
inline constexpr std::size_t loops_max = 16;

// Connections of one node.
inline constexpr std::size_t connections_max = 10'000;
inline constexpr std::size_t http_connections_max = 256;
inline constexpr std::size_t http_header_bytes_max = 32 * 1024;  // what nginx passes on: 4 x 8 KiB
inline constexpr std::size_t http_header_fields_max = 100;
inline constexpr std::int64_t http_header_ms_max = 10'000;
inline constexpr std::int64_t refusal_log_ms = 10'000;    // between two lines of one kind
inline constexpr std::int64_t http_idle_ms_max = 60'000;  // between two requests of a connection
inline constexpr std::size_t in_flight_per_connection_max = 1'024;
inline constexpr std::size_t in_flight_per_loop_max = 65'536;  // past it: OVERLOADED
inline constexpr std::int64_t turn_ms_max = 500;  // what a loop's turn comes to later: OVERLOADED
inline constexpr std::size_t unread_pause_bytes = 256 * 1024;  // reading pauses above
inline constexpr std::size_t unread_close_bytes = 8 * 1024 * 1024;
inline constexpr std::int64_t unread_stall_ms_max = 10'000;
inline constexpr std::int64_t linger_ms =
    1'000;  // reads and drops after the last reply, so that a reset cannot overtake it
inline constexpr std::size_t read_block_bytes = 256 * 1024;
inline constexpr std::size_t read_blocks_max =
    256;  // held by requests of one loop; past it reading pauses
inline constexpr std::int64_t request_timeout_ms = 10'000;
// What HTTP waits for an answer that has a deadline of its own, should that fail; the other for
// methods that take as long as the store is large.
inline constexpr std::int64_t http_backstop_ms = 3 * request_timeout_ms;
inline constexpr std::int64_t http_long_backstop_ms = 3'600'000;
inline constexpr std::size_t fd_reserve = 64;  // descriptors kept for the store, keys and logs
inline constexpr std::size_t fd_per_loop = 8;  // what a loop and its listeners hold

// Several nodes over Redis.
inline constexpr std::int64_t fleet_retention_h = 168;     // where none is given
inline constexpr std::size_t fleet_writers_max = 4'096;    // lives of nodes that a reader remembers
inline constexpr std::size_t fleet_not_seen_max = 65'536;  // numbers of a writer that may yet come
inline constexpr std::size_t fleet_entry_events_max = 100'000;
inline constexpr std::size_t fleet_read_entries = 512;  // of one reading
inline constexpr std::size_t fleet_units_per_append = 256;
inline constexpr std::int64_t fleet_block_ms = 50;             // a reader asks anew after that long
inline constexpr std::int64_t fleet_propose_again_ms = 5'000;  // what has run out, told again
inline constexpr std::size_t fleet_postponed_max = 10'000;     // revocations, a shard
inline constexpr unsigned fleet_overtaken_max = 64;            // of one request; then OVERLOADED
inline constexpr std::int64_t fleet_heartbeat_ms = 500;
inline constexpr std::int64_t fleet_tally_calls_every_ms = 250;  // breakers' counts, to the others
inline constexpr std::int64_t fleet_breaker_late_ms = 2'000;     // then any node does what is due
inline constexpr std::uint64_t fleet_breaker_lag_events = 256;   // that its breakers may not know
inline constexpr std::int64_t fleet_member_live_ms = 3'000;      // without a word from it
inline constexpr std::int64_t fleet_member_keep_ms = 60'000;     // then it is not listed any more

// Events over HTTP.
inline constexpr std::size_t event_stream_share = 4;  // one of so many connections may be a stream
inline constexpr std::int64_t event_stream_silence_ms = 15'000;  // then a comment keeps it open
inline constexpr std::int64_t event_ticket_ms = 30'000;
inline constexpr std::size_t event_tickets_max = 1'024;

// What comes before the first message of a connection: PROXY header and TLS handshake, both
// together (hazards H10, H11).
inline constexpr std::int64_t opening_ms_max = 5'000;
inline constexpr std::size_t openings_max = 4'096;  // of one loop at once; past it: closed
inline constexpr std::size_t client_hello_bytes_max = 16 * 1024;
inline constexpr std::size_t proxy_header_bytes_max = 4 * 1024;
inline constexpr std::size_t tls_feed_bytes_max = 32 * 1024;     // given to OpenSSL at a time
inline constexpr std::size_t tls_pending_bytes_max = 64 * 1024;  // encrypted and not yet sent
inline constexpr std::int64_t tls_ticket_key_ms = 3'600'000;     // a key encrypts so long, and then
                                                                 // decrypts as long again
inline constexpr std::int64_t message_ms_max = 30'000;  // from a message's first byte to its last

// Lists and pages.
inline constexpr std::uint32_t page_rows_default = 100;
inline constexpr std::uint32_t page_rows_max = 1'000;
inline constexpr std::size_t page_bytes_max = 256 * 1024;
inline constexpr std::size_t cursor_bytes_max = 256;  // as a caller gives it
inline constexpr std::size_t event_types_per_filter_max = 64;

// Sessions.
inline constexpr std::int64_t tombstone_keep_ms = 900'000;  // past absolute expiry
// A create that was lost with its shard keeps its alias for so long; any other ends sooner.
inline constexpr std::int64_t alias_reservation_ms = 3'600'000;
inline constexpr std::size_t aliases_swept_at_once = 512;  // places of the table, a shard's tick
inline constexpr std::int64_t rotation_grace_after_rotation_ms = 300'000;
inline constexpr std::size_t key_ring_max = 3;
inline constexpr std::size_t old_ids_per_session_max =
    256;  // past it the oldest is forgotten: not_found
inline constexpr std::size_t expiries_per_tick_max = 1'024;

// Coalescing of failures and signals, a shard.
inline constexpr std::size_t coalesce_entries_max = 4'096;
inline constexpr std::int64_t coalesce_window_ms = 1'000;
// What a window gathered becomes events in slices, so that no request waits for all of them:
// 6,400 a second, more than a window holds.
inline constexpr std::size_t coalesce_slice_events = 64;
inline constexpr std::int64_t coalesce_slice_ms = 10;
inline constexpr std::size_t limited_sources_max = 4'096;
inline constexpr std::size_t source_counters_max = 65'536;
inline constexpr std::size_t source_ids_max = 1'048'576;  // of all sources; past it: not counted

// Breakers.
inline constexpr std::uint32_t breakers_max = 500;  // of one node
inline constexpr std::uint32_t breakers_configurable_max = 100'000;
inline constexpr std::uint32_t breaker_series_max = 500;  // in metrics; the others are __overflow__
inline constexpr std::uint32_t breaker_series_configurable_max = 10'000;  // some 60 series each
inline constexpr std::int64_t breaker_bucket_ms_min = 100;                // a step of a window
inline constexpr std::int64_t call_duration_ms_max = 86'400'000;
inline constexpr std::uint64_t reported_calls_max = 1'000'000;  // more than the report before
inline constexpr std::size_t breaker_sources_max = 64;
inline constexpr std::int64_t source_silent_ms = 900'000;     // then it makes room for another
inline constexpr std::int64_t tally_calls_every_ms = 10'000;  // into the log
inline constexpr std::int64_t override_ttl_s_max = 31'536'000;
inline constexpr std::size_t breakers_due_per_tick_max = 1'024;

// The journal.
inline constexpr std::size_t commit_events_max = 1'000;
inline constexpr std::size_t journal_queue_events_max =
    200'000;  // when full, validation fails closed
inline constexpr std::int64_t read_slice_us = 1'000;

inline constexpr std::int64_t log_time_again_ms =
    30'000;  // what has ended waits so long for an event
inline constexpr std::size_t checkpoint_events = 10'000;  // a signed checkpoint at the latest after
inline constexpr std::int64_t checkpoint_ms = 300'000;    // or so long after an event
inline constexpr std::int64_t retention_every_ms = 60'000;  // at the most so often
inline constexpr std::size_t snapshot_part_bytes = 256 * 1024;
inline constexpr std::int64_t stillness_ms_max = 20'000;  // while a digest is taken, requests wait

// Subscriptions.
inline constexpr std::size_t subscriptions_per_connection_max = 16;
inline constexpr std::size_t subscriptions_per_loop_max = 1'024;
inline constexpr std::size_t subscriber_lag_events_max = 100'000;
inline constexpr std::int64_t cursor_only_every_ms = 30'000;
inline constexpr std::size_t recent_events_max = 4'096;  // kept by a loop with subscribers

// The log of the process (not the event log).
inline constexpr std::size_t log_queue_lines_max =
    8'192;  // past it the oldest are dropped and counted
inline constexpr std::size_t log_value_bytes_max = 1'024;  // a longer value is cut
inline constexpr std::int64_t log_flush_ms_max =
    1'000;  // what a shutdown waits for a stalled reader

// Who may call.
inline constexpr std::size_t auth_failures_per_source_max = 5;
inline constexpr std::int64_t auth_failure_window_ms = 60'000;
inline constexpr std::size_t tokens_max = 1'024;

static_assert(value_bytes_max <= read_block_bytes / 2,
              "a value and its successor's head fit one read block");
static_assert(data_bytes_max < value_bytes_max, "data leaves room for the rest of its request");
static_assert(unread_pause_bytes < unread_close_bytes);
static_assert(page_bytes_max + value_bytes_max < unread_close_bytes,
              "one page never closes its reader");
static_assert(page_rows_default <= page_rows_max);

}  // namespace portcullis::core::limits
