// The typed configuration: every value that a running server obeys. Plain data; the table in
// table.cpp says what each key is called, what it may hold and what it means.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/breaker/policy.hpp"
#include "core/contract/types.hpp"
#include "core/limits.hpp"
#include "core/lockout/policy.hpp"
#include "core/session/policy.hpp"

namespace portcullis::core {

/// What may write to the log of the process; `log.levels` names them.
inline constexpr std::array<std::string_view, 13> log_component_names = {
    "server",  "config", "net",   "http",   "auth",    "session", "lockout",
    "breaker", "events", "store", "actors", "metrics", "log"};

enum class environment : std::uint8_t { production, development };
enum class auth_mode : std::uint8_t { none, token, mtls };
enum class http_auth : std::uint8_t { none, token };
enum class store_mode : std::uint8_t { embedded, redis };
enum class tls_version : std::uint8_t { v1_2, v1_3 };
enum class client_certificates : std::uint8_t { none, optional, required };
enum class log_level : std::uint8_t { trace, debug, info, warn, error, off };
enum class log_format : std::uint8_t { automatic, json, text };
enum class log_output : std::uint8_t { standard_error, journald, file };

/// The texts of each enumeration, in its order.
inline constexpr std::array<std::string_view, 2> environment_names = {"production", "development"};
inline constexpr std::array<std::string_view, 3> auth_mode_names = {"none", "token", "mtls"};
inline constexpr std::array<std::string_view, 2> http_auth_names = {"none", "token"};
inline constexpr std::array<std::string_view, 2> store_mode_names = {"embedded", "redis"};
/// What a node of several does while the store cannot be reached.
enum class degraded_action : std::uint8_t { fail_closed, serve_cached };
inline constexpr std::array<std::string_view, 2> degraded_action_names = {"fail_closed",
                                                                          "serve_cached"};
inline constexpr std::array<std::string_view, 2> tls_version_names = {"1.2", "1.3"};
inline constexpr std::array<std::string_view, 3> client_certificates_names = {"none", "optional",
                                                                              "required"};
inline constexpr std::array<std::string_view, 6> log_level_names = {"trace", "debug", "info",
                                                                    "warn",  "error", "off"};
inline constexpr std::array<std::string_view, 3> log_format_names = {"auto", "json", "text"};
inline constexpr std::array<std::string_view, 3> log_output_names = {"stderr", "journald", "file"};
inline constexpr std::string_view journald_socket_path = "/run/systemd/journal/socket";

/// An address and a port, as `host:port` or `[v6]:port`; `localhost` is 127.0.0.1. Port 0: the
/// system chooses.
struct endpoint {
  ip_address address;
  std::uint16_t port = 0;
  friend bool operator==(const endpoint&, const endpoint&) = default;
  [[nodiscard]] bool loopback() const noexcept;
};
[[nodiscard]] std::optional<endpoint> parse_endpoint(std::string_view text) noexcept;
[[nodiscard]] std::string to_text(const endpoint& value);

/// One [[auth.token]]: who may log in with the token whose SHA-256 this is.
struct auth_token {
  std::string name;
  core::role role = core::role::none;
  byte_array<32> sha256{};
  std::vector<std::string> tenants;   // empty: all
  std::vector<std::string> services;  // empty: all
  friend bool operator==(const auth_token&, const auth_token&) = default;
};

/// One [[auth.certificate]]: who comes with a client certificate that has this subject alternative
/// name (RFC 5280, 4.2.1.6), written as kind and value: "URI:spiffe://acme/web".
struct auth_certificate {
  std::string name;
  core::role role = core::role::none;
  std::string san;
  std::vector<std::string> tenants;   // empty: all
  std::vector<std::string> services;  // empty: all
  friend bool operator==(const auth_certificate&, const auth_certificate&) = default;
};

struct config {
  struct {
    std::string node_id = "node-1";
    core::environment environment = core::environment::production;
    std::string data_dir = "./data";
    std::uint32_t loops = 0;  // 0: choose (loop_count)
    std::int64_t drain_s = 10;
  } server;

  struct {
    struct {
      std::string address = "127.0.0.1:7420";
      std::size_t max_connections = core::limits::connections_max;
      std::size_t max_connections_per_source = 0;  // 0: no cap of its own
      std::int64_t idle_timeout_s = 0;             // 0: never
      bool bind_to_connection = false;
      bool proxy_protocol = false;
    } rpc;
    struct {
      std::string address;  // empty: none
      std::size_t max_connections = core::limits::connections_max;
      bool proxy_protocol = false;
    } rpc_tls;
    struct {
      std::string path;  // empty: none
    } rpc_unix;
    struct {
      std::string address = "127.0.0.1:7480";
      std::size_t max_connections = core::limits::http_connections_max;
      std::size_t max_connections_per_source = 0;
      http_auth auth = http_auth::none;
      std::vector<std::string> hosts;    // beside the listener's own names
      std::vector<std::string> origins;  // empty: none
      bool proxy_protocol = false;
    } http;
    struct {
      std::string address;  // empty: none
      std::size_t max_connections = core::limits::http_connections_max;
      bool proxy_protocol = false;
    } https;
    std::vector<std::string> proxy_sources;  // whose PROXY headers are believed
  } listen;

  struct {
    std::string certificate_file, key_file;  // PEM; the chain follows the certificate
    std::string client_ca_file, crl_file;    // empty: none
    core::client_certificates client_certificates = core::client_certificates::none;
    tls_version min_version = tls_version::v1_2;
  } tls;

  struct {
    std::size_t value_bytes = core::limits::value_bytes_max;
    std::size_t depth = core::limits::nesting_depth_max;
    std::size_t batch = core::limits::batch_entries_max;
    std::size_t data_bytes = core::limits::data_bytes_max;
    std::size_t in_flight_per_connection = core::limits::in_flight_per_connection_max;
    std::int64_t request_timeout_ms = core::limits::request_timeout_ms;
  } limits;

  struct {
    auth_mode mode = auth_mode::token;
    std::vector<auth_token> tokens;
    std::vector<auth_certificate> certificates;
  } auth;

  struct {
    std::string cookie = "portcullis_session";  // empty: none
    std::string header;                         // empty: none
    std::string cookie_secrets_file;            // empty: cookies are not signed
    std::vector<std::string> trusted_proxies;   // whose X-Forwarded-For is believed
  } authz;

  struct {
    store_mode mode = store_mode::embedded;
    std::int64_t touch_retention_h = 24;
    std::int64_t event_retention_h = 0;  // 0: for ever
    std::size_t journal_queue_events = core::limits::journal_queue_events_max;
    degraded_action degraded = degraded_action::fail_closed;
    std::int64_t degraded_max_s = 60;
    struct {
      std::string url;                        // redis://, rediss://, unix://
      std::vector<std::string> sentinels;     // URLs; empty: url is the server itself
      std::string master_name;                // sentinel
      bool cluster = false;                   // Redis Cluster
      std::string password_file;              // empty: the URL's, or none
      std::string ca_file;                    // rediss; empty: the system's
      std::string prefix = "portcullis";      // of all keys
      std::int64_t timeout_ms = 1'000;        // of one command
      std::int64_t staleness_ms_max = 1'000;  // a node that has not heard for so long refuses
      std::int64_t key_ttl_h = 2'160;         // of all keys, renewed while a node runs
    } redis;
  } store;

  struct {
    std::string keys_file;  // empty: <data_dir>/portcullis.keys, in development only (keys_path)
  } crypto;

  session_policy session;
  lockout_policy lockout;
  /// Tenants with rules of their own; each policy is whole: what the tenant does not set it has
  /// from `session`.
  std::map<std::string, session_policy, std::less<>> tenants;

  /// As with tenants: each pattern's policy is whole.
  breaker_book breakers;

  struct {
    log_level level = log_level::info;
    std::map<std::string, log_level, std::less<>> levels;  // by component
    bool hash_user_ids = true;
    log_format format = log_format::automatic;
    log_output output = log_output::standard_error;
    std::string file;  // of output file; empty with the others
    std::string journald_socket{journald_socket_path};
  } log;

  struct {
    std::map<std::string, std::string, std::less<>> labels;         // constant, on every series
    std::uint32_t breakers_max = core::limits::breaker_series_max;  // with series of their own
  } metrics;

  /// crypto.keys_file, or the one that development keeps beside the data.
  [[nodiscard]] std::string keys_path() const;
  /// server.loops, or the choice for a machine with `cores`: 1 on up to 4 cores, else half of them,
  /// at most 16.
  [[nodiscard]] std::uint32_t loop_count(unsigned cores) const noexcept;
};

}  // namespace portcullis::core
