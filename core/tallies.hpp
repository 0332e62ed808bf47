// Plain counters that their owners keep as they work and the metrics read at a scrape. Counters
// only grow while their owner lives; fields named *_live, *_active, queue, bytes and the like are
// levels. Nothing here is synchronised: an owner copies its tallies, on its own thread, into the
// snapshot that it is asked for.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/contract/method.hpp"
#include "core/error/catalogue.hpp"

namespace portcullis::core {

#define X(...) +1
inline constexpr std::size_t error_code_count = 0 PORTCULLIS_ERRORS(X);
#undef X

/// Upper bounds (inclusive) of every duration histogram, in nanoseconds: 10 us to 10 s. One more
/// bucket takes the rest.
inline constexpr std::array<std::uint64_t, 19> duration_bounds_ns = {
    10'000,        25'000,        50'000,        100'000,       250'000,
    500'000,       1'000'000,     2'500'000,     5'000'000,     10'000'000,
    25'000'000,    50'000'000,    100'000'000,   250'000'000,   500'000'000,
    1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};

/// How often durations of each size were seen, not cumulative, and their sum.
struct duration_tally {
  std::array<std::uint64_t, duration_bounds_ns.size() + 1> counts{};
  std::uint64_t sum_ns = 0;

  void add(std::uint64_t ns) noexcept {
    const auto at = std::lower_bound(duration_bounds_ns.begin(), duration_bounds_ns.end(), ns);
    ++counts[static_cast<std::size_t>(at - duration_bounds_ns.begin())];
    sum_ns += ns;
  }
};

/// Requests of one loop. The last row is for what named no method of ours (unparsable, unknown).
struct request_tallies {
  static constexpr std::size_t rows = method_count + 1;
  static constexpr std::size_t unknown_method = method_count;
  static constexpr std::size_t no_error = error_code_count;

  std::array<std::array<std::uint64_t, error_code_count + 1>, rows> by_error{};
  std::array<duration_tally, rows> duration{};
  std::uint64_t in_flight = 0;  // level

  /// A request ended: `error` absent: with a result. `ns` counts from its decoding to its encoded
  /// answer.
  void finished(std::optional<method> which, std::optional<error_code> error,
                std::uint64_t ns) noexcept {
    const auto row = which ? static_cast<std::size_t>(*which) : unknown_method;
    ++by_error[row][error ? static_cast<std::size_t>(*error) : no_error];
    duration[row].add(ns);
  }
  /// A message that never became a request: counted, not timed.
  void refused(error_code error) noexcept {
    ++by_error[unknown_method][static_cast<std::size_t>(error)];
  }
};

enum class listener : std::uint8_t { rpc, rpc_tls, rpc_unix, http, https };
inline constexpr std::array<std::string_view, 5> listener_names = {"rpc", "rpc_tls", "rpc_unix",
                                                                   "http", "https"};

/// Why a connection was turned away or cut off by us.
enum class rejection : std::uint8_t {
  limit,         // over the configured number: closed at accept
  source_limit,  // the same, of one source
  descriptors,   // no file descriptor left for it
  proxy_header,  // no PROXY header where one must be, or not from a trusted source
  handshake,     // TLS failed; portcullis_tls_handshake_failures_total says how
  certificate,   // a client certificate that names no caller, where one must
  opening_slow,  // PROXY header and TLS handshake took too long
  protocol,      // spoke something else, or an error of form that ends the connection
  slow_sender,   // began a message and did not end it in time
  slow_reader,   // did not read its replies
  idle,          // neither request nor subscription for listen.rpc.idle_timeout_s
};
inline constexpr std::array<std::string_view, 11> rejection_names = {
    "limit",        "source_limit", "descriptors", "proxy_header", "handshake", "certificate",
    "opening_slow", "protocol",     "slow_sender", "slow_reader",  "idle"};

struct connection_tallies {
  std::array<std::uint64_t, listener_names.size()> live{};  // level
  std::array<std::uint64_t, listener_names.size()> opened{};
  std::array<std::array<std::uint64_t, rejection_names.size()>, listener_names.size()> rejected{};

  void reject(listener at, rejection why) noexcept {
    ++rejected[static_cast<std::size_t>(at)][static_cast<std::size_t>(why)];
  }
};

/// Why a TLS handshake failed, as far as OpenSSL tells.
enum class tls_failure : std::uint8_t {
  not_tls,  // the first bytes were no ClientHello
  version,  // no version in common
  cipher,   // no cipher, group or signature in common
  certificate_missing,
  certificate_refused,  // the client's: not signed by who may, over, revoked
  refused_by_peer,      // the client sent an alert: it does not trust ours, for one
  closed,               // the client went away
  timeout,
  other,
};
inline constexpr std::array<std::string_view, 9> tls_failure_names = {
    "not_tls", "version", "cipher", "certificate_missing", "certificate_refused", "refused_by_peer",
    "closed",  "timeout", "other"};
inline constexpr std::array<std::string_view, 2> tls_version_labels = {"TLSv1.2", "TLSv1.3"};

struct tls_tallies {
  /// By version, then whether an earlier session was resumed.
  std::array<std::array<std::uint64_t, 2>, tls_version_labels.size()> handshakes{};
  std::array<std::uint64_t, tls_failure_names.size()> failures{};
  std::uint64_t reloads = 0;               // of certificates; told by the first loop
  std::int64_t certificate_ends_at_s = 0;  // level, the same; 0: no TLS
  std::int64_t lists_end_at_s = 0;         // the same, of the revocation list that ends first

  void failed(tls_failure why) noexcept { ++failures[static_cast<std::size_t>(why)]; }
  void add(const tls_tallies& other) noexcept {
    for (std::size_t i = 0; i < handshakes.size(); ++i)
      for (std::size_t j = 0; j < handshakes[i].size(); ++j)
        handshakes[i][j] += other.handshakes[i][j];
    for (std::size_t i = 0; i < failures.size(); ++i) failures[i] += other.failures[i];
    reloads += other.reloads;
  }
};

/// What HTTP was asked for.
enum class http_route : std::uint8_t { metrics, livez, readyz, rpc, events, authz, other };
inline constexpr std::array<std::string_view, 7> http_route_names = {
    "metrics", "livez", "readyz", "rpc", "events", "authz", "other"};
inline constexpr std::array<std::string_view, 4> http_status_classes = {"2xx", "3xx", "4xx", "5xx"};

struct http_tallies {
  std::array<std::array<std::uint64_t, http_status_classes.size()>, http_route_names.size()>
      requests{};

  void answered(http_route what, int http_status) noexcept {
    const auto row = static_cast<std::size_t>(std::clamp(http_status / 100, 2, 5) - 2);
    ++requests[static_cast<std::size_t>(what)][row];
  }
};

/// All of one loop. `lag` is how much later than due the loop's timer ran.
struct loop_tallies {
  std::uint64_t incarnation =
      0;  // another number for another life of the owner; its counters then start at zero
  request_tallies requests;
  connection_tallies connections;
  tls_tallies tls;
  http_tallies http;
  duration_tally lag;
};

}  // namespace portcullis::core
