// Every bound of the Redis client.
#pragma once
#include <cstddef>
#include <cstdint>

namespace portcullis::net::redis::limits {

inline constexpr std::size_t url_bytes_max = 2'048;
inline constexpr std::uint32_t db_max = 65'535;

// One reply: past it the connection is cut.
inline constexpr std::size_t reply_bytes_max = 16 * 1024 * 1024;  // as it comes over the wire
inline constexpr std::size_t reply_elements_max = 256 * 1024;     // of all its arrays together
inline constexpr std::size_t reply_depth_max = 7;                 // arrays in one another

// One channel: past it OVERLOADED.
inline constexpr std::size_t commands_max = 16 * 1024;  // asked and not yet answered
inline constexpr std::size_t bytes_max = 16 * 1024 * 1024;

// Reading and writing.
inline constexpr std::size_t read_bytes = 64 * 1024;
inline constexpr unsigned reads_per_turn_max = 8;
inline constexpr std::size_t kept_buffer_bytes_max = 256 * 1024;  // a larger one is given back

// Connecting.
inline constexpr std::int64_t connect_ms = 2'000;  // name, connection, TLS and greeting together
inline constexpr std::size_t addresses_max = 8;    // of one name that are tried
inline constexpr std::int64_t back_off_ms_min = 50;
inline constexpr std::int64_t back_off_ms_max = 2'000;
inline constexpr int keepalive_idle_s = 15;
inline constexpr int keepalive_every_s = 5;
inline constexpr int keepalive_count = 3;

// Sentinel.
inline constexpr std::int64_t master_check_ms = 1'000;

// Cluster.
inline constexpr std::size_t slots = 16'384;
inline constexpr int redirections_max = 5;
inline constexpr std::size_t nodes_max = 256;  // masters that are connected to
inline constexpr std::int64_t slots_again_ms_min = 100;

inline constexpr std::size_t detail_bytes_max = 200;  // of a server's words in a loss

static_assert(back_off_ms_min < back_off_ms_max);
static_assert(read_bytes < reply_bytes_max);
static_assert(reply_depth_max >= 5, "XREAD: streams, stream, entries, entry, fields");

}  // namespace portcullis::net::redis::limits
