#include "core/config/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/config/names.hpp"

namespace portcullis::core {
namespace {

constexpr std::span<const std::string_view> granted_roles = std::span(role_names).subspan(1);

using place = config_place;

// Each access is made from one lambda that finds the value, so that a row names its member once.
template <auto At>
constexpr key_access plain_access = {[](const place& p) { return config_value{At(p)}; },
                                     [](const place& p, const config_value& v) {
                                       At(p) =
                                           std::get<std::remove_reference_t<decltype(At(p))>>(v);
                                     }};

template <auto At>
constexpr key_access integer_access = {
    [](const place& p) { return config_value{static_cast<std::int64_t>(At(p))}; },
    [](const place& p, const config_value& v) {
      At(p) = static_cast<std::remove_reference_t<decltype(At(p))>>(std::get<std::int64_t>(v));
    }};

// Seconds outside, milliseconds inside.
template <auto At>
constexpr key_access seconds_access = {
    [](const place& p) {  // the store's own default is half a second
      const auto ms = std::int64_t{At(p)};
      return ms % 1000 == 0 ? config_value{ms / 1000}
                            : config_value{static_cast<double>(ms) / 1000};
    },
    [](const place& p, const config_value& v) { At(p) = std::get<std::int64_t>(v) * 1000; }};

template <auto At, const auto& Names>
constexpr key_access choice_access = {
    [](const place& p) {
      return config_value{std::string(Names[static_cast<std::size_t>(At(p))])};
    },
    [](const place& p, const config_value& v) {
      const auto found = std::find(Names.begin(), Names.end(), std::get<std::string>(v));
      using choice = std::remove_reference_t<decltype(At(p))>;
      At(p) = static_cast<choice>(std::distance(Names.begin(), found));
    }};

template <auto At>
constexpr key_access fields_access = {
    [](const place& p) {
      std::vector<std::string> names;
      for (std::size_t i = 0; i < context_field_count; ++i)
        if ((At(p) & bit(static_cast<context_field>(i))) != 0)
          names.emplace_back(context_field_names[i]);
      return config_value{std::move(names)};
    },
    [](const place& p, const config_value& v) {
      field_set set = 0;
      for (const auto& name : std::get<std::vector<std::string>>(v))
        set = static_cast<field_set>(set | bit(*parse_context_field(name)));
      At(p) = set;
    }};

template <auto At>
constexpr key_access digest_access = {[](const place& p) { return config_value{to_hex(At(p))}; },
                                      [](const place& p, const config_value& v) {
                                        // The form was checked; a false return here would be a bug
                                        // of the table.
                                        if (!from_hex(std::get<std::string>(v), At(p)))
                                          __builtin_trap();
                                      }};

// Values under a name of the user's are made when they are first looked at.
constexpr auto level_of_component = [](const place& p) -> auto& {
  return p.whole->log.levels[std::string(p.name)];
};
constexpr auto constant_label = [](const place& p) -> auto& {
  return p.whole->metrics.labels[std::string(p.name)];
};

#define AT(member) \
  [](const place& p) -> auto& { return p.member; }
#define KEY_INTEGER(name, scope, least, most, reloadable, member, help)                        \
  {                                                                                            \
    name, key_scope::scope, key_form::integer, least, most, {}, nullptr, {}, reloadable, help, \
        integer_access<AT(member)>                                                             \
  }
#define KEY_SECONDS(name, scope, least, most, member, help)                              \
  {                                                                                      \
    name, key_scope::scope, key_form::integer, least, most, {}, nullptr, {}, true, help, \
        seconds_access<AT(member)>                                                       \
  }
#define KEY_NUMBER(name, scope, range, member, help)                             \
  {                                                                              \
    name, key_scope::scope, key_form::number, 0, 0, {}, nullptr, {}, true, help, \
        plain_access<AT(member)>, range                                          \
  }
#define KEY_BOOLEAN(name, scope, reloadable, member, help)                              \
  {                                                                                     \
    name, key_scope::scope, key_form::boolean, 0, 0, {}, nullptr, {}, reloadable, help, \
        plain_access<AT(member)>                                                        \
  }
#define KEY_TEXT(name, scope, least, most, accepts, expected, reloadable, member, help)           \
  {                                                                                               \
    name, key_scope::scope, key_form::text, least, most, {}, accepts, expected, reloadable, help, \
        plain_access<AT(member)>                                                                  \
  }
#define KEY_CHOICE(name, scope, names, reloadable, member, help)                          \
  {                                                                                       \
    name, key_scope::scope, key_form::choice, 0, 0, names, nullptr, {}, reloadable, help, \
        choice_access<AT(member), names>                                                  \
  }
#define KEY_LIST(name, scope, least, most, accepts, expected, reloadable, member, help)           \
  {                                                                                               \
    name, key_scope::scope, key_form::list, least, most, {}, accepts, expected, reloadable, help, \
        plain_access<AT(member)>                                                                  \
  }
#define KEY_FIELDS(name, reloadable, member, help)                                      \
  {                                                                                     \
    name, key_scope::policy, key_form::choices, 0, 0, context_field_names, nullptr, {}, \
        reloadable, help, fields_access<AT(member)>                                     \
  }

// Who somebody is: the same for tokens and certificates.
#define KEYS_CALLER(scope)                                                                        \
  KEY_TEXT("auth." #scope ".name", scope, 1, 64, is_node_name,                                    \
           "1 to 64 of A-Z, a-z, 0-9, _ . and -", true, scope->name,                              \
           "Who this is, in events and logs. Required, unique."),                                 \
      {"auth." #scope ".role",                                                                    \
       key_scope::scope,                                                                          \
       key_form::choice,                                                                          \
       0,                                                                                         \
       0,                                                                                         \
       granted_roles,                                                                             \
       nullptr,                                                                                   \
       {},                                                                                        \
       true,                                                                                      \
       "What the caller may do. Required.",                                                       \
       choice_access<AT(scope->role), role_names>},                                               \
      KEY_LIST("auth." #scope ".tenants", scope, 1, limits::tenant_id_bytes_max, nullptr, {},     \
               true, scope->tenants, "Tenants that the caller sees. Empty: all."),                \
      KEY_LIST("auth." #scope ".services", scope, 1, limits::breaker_name_bytes_max, nullptr, {}, \
               true, scope->services, "Services whose breakers the caller sees. Empty: all.")

constexpr auto field_words = "letters, digits and - _ . or nothing";
constexpr auto prefix_words = "a list of addresses and networks, such as \"10.0.0.0/8\", \"::1\"";
constexpr auto host_words = "a list of host names without port";
constexpr auto origin_words = "a list of origins, such as \"https://console.example\"";

constexpr std::int64_t day_s = 86'400, year_s = 365 * day_s;
constexpr number_range rate = {0, 1, true}, jitter = {0, 0.5};
constexpr auto address_words =
    "an address and a port, such as \"127.0.0.1:7420\" or \"[::1]:7420\"";

constexpr auto component_words =
    "one of server, config, net, http, auth, session, lockout, breaker, events, store, actors, "
    "metrics, "
    "log";

constexpr config_key rows[] = {
    KEY_TEXT("server.node_id", server, 1, 64, is_node_name, "1 to 64 of A-Z, a-z, 0-9, _ . and -",
             false, whole->server.node_id,
             "This node's name in events, logs and metrics. Unique in a cluster."),
    KEY_CHOICE("server.environment", server, environment_names, false, whole->server.environment,
               "`development` shows the place of an error to the caller, makes the key file by "
               "itself and allows "
               "`auth.mode = \"none\"`; `production` does none of these."),
    KEY_TEXT("server.data_dir", server, 1, 4096, nullptr, {}, false, whole->server.data_dir,
             "Folder of the embedded store. Only one process may use it."),
    KEY_INTEGER("server.loops", server, 0, static_cast<std::int64_t>(limits::loops_max), false,
                whole->server.loops,
                "Network loops. 0 chooses: 1 on up to 4 cores, else half the cores, at most 16."),
    KEY_INTEGER("server.drain_s", server, 0, 600, true, whole->server.drain_s,
                "How long a stopping node answers what is in flight, in seconds."),

    KEY_TEXT("listen.rpc.address", server, 1, 64, is_endpoint, address_words, false,
             whole->listen.rpc.address,
             "Where JSON-RPC is served. Port 0 lets the system choose. Off loopback nobody can log "
             "in over plain TCP: see rpc_tls."),
    KEY_INTEGER("listen.rpc.max_connections", server, 1, 1'000'000, false,
                whole->listen.rpc.max_connections,
                "Connections over it are closed at accept and counted."),
    KEY_INTEGER("listen.rpc.max_connections_per_source", server, 0, 1'000'000, false,
                whole->listen.rpc.max_connections_per_source,
                "Of them, and of those of rpc_tls, as many at once from one address (IPv6: one "
                "/64). 0: no cap."),
    KEY_INTEGER("listen.rpc.idle_timeout_s", server, 0, day_s, false,
                whole->listen.rpc.idle_timeout_s,
                "A connection without a request or a subscription for this long is closed, in "
                "seconds. 0: never."),
    KEY_BOOLEAN("listen.rpc.bind_to_connection", server, false,
                whole->listen.rpc.bind_to_connection,
                "Whether a context's `ip`, `ja3` and `ja4` are those of the connection that the "
                "request came on, whatever the caller says. For callers that are the users' own "
                "devices."),
    KEY_BOOLEAN("listen.rpc.proxy_protocol", server, false, whole->listen.rpc.proxy_protocol,
                "Whether each connection begins with a PROXY protocol header (version 1 or 2), "
                "sent by one of listen.proxy_sources."),
    KEY_TEXT("listen.rpc_tls.address", server, 0, 64, is_endpoint_or_empty, address_words, false,
             whole->listen.rpc_tls.address,
             "Where JSON-RPC is served over TLS, with the certificate of `tls`. Empty: nowhere."),
    KEY_INTEGER("listen.rpc_tls.max_connections", server, 1, 1'000'000, false,
                whole->listen.rpc_tls.max_connections,
                "Connections over it are closed at accept and counted."),
    KEY_BOOLEAN("listen.rpc_tls.proxy_protocol", server, false,
                whole->listen.rpc_tls.proxy_protocol, "As listen.rpc.proxy_protocol."),
    KEY_TEXT("listen.rpc_unix.path", server, 0, 107, nullptr, {}, false,
             whole->listen.rpc_unix.path,
             "A Unix socket where JSON-RPC is served to whoever may write to it; its connections "
             "count as listen.rpc's. Empty: none."),
    KEY_TEXT("listen.http.address", server, 1, 64, is_endpoint, address_words, false,
             whole->listen.http.address,
             "Where HTTP is served: `/metrics`, `/livez`, `/readyz`, `/rpc`, `/events`, "
             "`/authz/*`."),
    KEY_INTEGER("listen.http.max_connections", server, 1, 65'536, false,
                whole->listen.http.max_connections,
                "HTTP connections over it are answered with CONNECTION_LIMIT."),
    KEY_INTEGER("listen.http.max_connections_per_source", server, 0, 65'536, false,
                whole->listen.http.max_connections_per_source,
                "Of them, and of those of https, as many at once from one address (IPv6: one "
                "/64). 0: no cap."),
    KEY_CHOICE("listen.http.auth", server, http_auth_names, false, whole->listen.http.auth,
               "Whether metrics, health and forward-auth ask for a token (`Authorization: "
               "Bearer`). Tokens are taken over loopback and over TLS only."),
    KEY_LIST("listen.http.hosts", server, 1, 253, is_host_name, host_words, false,
             whole->listen.http.hosts,
             "Names by which the HTTP listeners may be asked (`Host`), beside their own addresses "
             "and, on loopback, `localhost`."),
    KEY_LIST("listen.http.origins", server, 1, 512, is_origin, origin_words, false,
             whole->listen.http.origins,
             "Origins whose pages may ask from a browser. Any other `Origin` is refused."),
    KEY_BOOLEAN("listen.http.proxy_protocol", server, false, whole->listen.http.proxy_protocol,
                "As listen.rpc.proxy_protocol."),
    KEY_TEXT("listen.https.address", server, 0, 64, is_endpoint_or_empty, address_words, false,
             whole->listen.https.address,
             "Where HTTP is served over TLS, with the certificate of `tls`. Empty: nowhere."),
    KEY_INTEGER("listen.https.max_connections", server, 1, 65'536, false,
                whole->listen.https.max_connections,
                "Connections over it are answered with CONNECTION_LIMIT."),
    KEY_BOOLEAN("listen.https.proxy_protocol", server, false, whole->listen.https.proxy_protocol,
                "As listen.rpc.proxy_protocol."),
    KEY_LIST("listen.proxy_sources", server, 1, 64, is_address_prefix, prefix_words, false,
             whole->listen.proxy_sources,
             "Addresses and networks whose PROXY protocol headers are believed; a connection from "
             "anywhere else to such a listener is closed."),

    KEY_TEXT("tls.certificate_file", server, 0, 4096, nullptr, {}, true,
             whole->tls.certificate_file,
             "The server's certificate and what leads to its root, PEM. A reload reads it anew; "
             "connections go on."),
    KEY_TEXT("tls.key_file", server, 0, 4096, nullptr, {}, true, whole->tls.key_file,
             "The certificate's private key, PEM. Production refuses one that others may read."),
    KEY_TEXT("tls.client_ca_file", server, 0, 4096, nullptr, {}, true, whole->tls.client_ca_file,
             "Who may sign clients' certificates, PEM. A reload reads it anew."),
    KEY_TEXT("tls.crl_file", server, 0, 4096, nullptr, {}, true, whole->tls.crl_file,
             "Revocation lists of client_ca_file, PEM. With it every client certificate must be "
             "covered by one that is not out of date. A reload reads it anew."),
    KEY_CHOICE("tls.client_certificates", server, client_certificates_names, true,
               whole->tls.client_certificates,
               "Whether TLS listeners ask for a client certificate, and refuse who has none."),
    KEY_CHOICE("tls.min_version", server, tls_version_names, true, whole->tls.min_version,
               "The oldest version of TLS that is spoken."),

    KEY_INTEGER("limits.value_bytes", server, 1'024,
                static_cast<std::int64_t>(limits::read_block_bytes / 2), false,
                whole->limits.value_bytes, "Largest JSON value; a batch counts as one."),
    KEY_INTEGER("limits.depth", server, 4,
                static_cast<std::int64_t>(limits::nesting_depth_configurable_max), false,
                whole->limits.depth, "Deepest nesting of a JSON value."),
    KEY_INTEGER("limits.batch", server, 1, 1'000, false, whole->limits.batch,
                "Most entries of a batch."),
    KEY_INTEGER("limits.data_bytes", server, 0, 65'536, false, whole->limits.data_bytes,
                "Largest `data` of a session, minified. Less than limits.value_bytes."),
    KEY_INTEGER("limits.in_flight_per_connection", server, 1, 65'536, false,
                whole->limits.in_flight_per_connection,
                "Requests in flight a connection; over it reading pauses."),
    KEY_INTEGER("limits.request_timeout_ms", server, 100, 600'000, false,
                whole->limits.request_timeout_ms,
                "After it a request is answered with REQUEST_TIMEOUT."),

    KEY_CHOICE("auth.mode", server, auth_mode_names, false, whole->auth.mode,
               "How callers log in. `none` makes every caller admin: only on loopback, only in "
               "development. `token`: with `auth.login`, or by a client certificate that an "
               "[[auth.certificate]] names. `mtls`: by such a certificate alone."),
    KEYS_CALLER(token),
    {"auth.token.sha256",
     key_scope::token,
     key_form::digest,
     0,
     0,
     {},
     nullptr,
     "64 lower-case hex digits, as `portcullis token new` prints them",
     true,
     "SHA-256 of the token; the token itself is kept nowhere. Required, unique.",
     digest_access<AT(token->sha256)>},
    KEYS_CALLER(certificate),
    KEY_TEXT("auth.certificate.san", certificate, 5, 1'024, is_alternative_name,
             "DNS:NAME, URI:NAME, EMAIL:NAME or IP:ADDRESS", true, certificate->san,
             "The subject alternative name in a client certificate that makes its holder this "
             "caller, exactly as it stands there. Required, unique."),

    KEY_TEXT("authz.cookie", server, 0, 128, is_field_name_or_empty, field_words, true,
             whole->authz.cookie,
             "Forward-auth: the cookie that holds the session id, plain or as express-session "
             "signs it (`s:...`). Empty: none."),
    KEY_TEXT("authz.header", server, 0, 128, is_field_name_or_empty, field_words, true,
             whole->authz.header,
             "Forward-auth: the header field that holds the session id where no cookie does. "
             "Empty: none."),
    KEY_TEXT("authz.cookie_secrets_file", server, 0, 4096, nullptr, {}, true,
             whole->authz.cookie_secrets_file,
             "Forward-auth: the secrets that sign cookies, one a line, the newest first. With it "
             "cookies must be signed; empty: they must not be."),
    KEY_LIST("authz.trusted_proxies", server, 1, 64, is_address_prefix, prefix_words, true,
             whole->authz.trusted_proxies,
             "Forward-auth: addresses and networks of proxies whose `X-Forwarded-For` is "
             "believed. From anywhere else the address of the connection counts."),

    KEY_CHOICE("store.mode", server, store_mode_names, false, whole->store.mode,
               "Where the truth is kept. `redis` is not in this version."),
    KEY_INTEGER("store.touch_retention_h", server, 1, 8'760, false, whole->store.touch_retention_h,
                "How long the log tells of activity (and of breakers' calls, for what-if), in "
                "hours; then the records stay, empty."),
    KEY_INTEGER("store.event_retention_h", server, 0, 876'000, false,
                whole->store.event_retention_h,
                "How long events stay in the log, in hours; 0: for ever. What is older is cut off "
                "at a checkpoint, where a signed snapshot of the state takes its place."),
    KEY_INTEGER("store.journal_queue_events", server, 1'000, 5'000'000, false,
                whole->store.journal_queue_events,
                "Events that may wait for the disk; when full, requests are refused."),

    KEY_TEXT("crypto.keys_file", server, 0, 4096, nullptr, {}, false, whole->crypto.keys_file,
             "The key file. Empty: `portcullis.keys` in the data folder, made at first start, in "
             "development only. "
             "Production needs one outside the data folder, readable by its owner alone."),

    KEY_INTEGER("session.idle_ttl_s", policy, 1, year_s, true, policy->idle_ttl_s,
                "A session ends after this long without activity, in seconds. Where only "
                "absolute_ttl_s is given and "
                "is less, it is that."),
    KEY_INTEGER("session.absolute_ttl_s", policy, 1, year_s, true, policy->absolute_ttl_s,
                "A session ends this long after its creation at the latest, in seconds. At least "
                "idle_ttl_s."),
    KEY_INTEGER("session.touch_granularity_s", policy, 0, 86'400, true, policy->touch_granularity_s,
                "Activity is recorded in steps of this many seconds. At most half of idle_ttl_s; "
                "where it is not given "
                "and half of idle_ttl_s is less, it is that."),
    KEY_INTEGER("session.max_sessions_per_user", policy, 0, 1'000'000, true,
                policy->max_sessions_per_user, "Sessions that a user may have at once. 0: no cap."),
    KEY_CHOICE("session.on_cap", policy, cap_action_names, true, policy->on_cap,
               "At the cap: refuse the new session, or end the oldest."),
    KEY_CHOICE("session.ip_binding", policy, ip_binding_names, true, policy->ip_binding,
               "What a request from another address means: a failed attempt, a signal that asks "
               "for a step-up, a signal, "
               "or nothing."),
    KEY_INTEGER("session.ip_prefix_v4", policy, 1, 32, true, policy->ip_prefix_v4,
                "Bits of an IPv4 address that must agree."),
    KEY_INTEGER("session.ip_prefix_v6", policy, 1, 128, true, policy->ip_prefix_v6,
                "Bits of an IPv6 address that must agree."),
    KEY_FIELDS("session.fingerprint_fields", true, policy->enforced,
               "Fields of the context whose change is a failed attempt."),
    KEY_FIELDS("session.observe_fields", true, policy->observed,
               "Fields whose change is only signalled."),
    KEY_FIELDS("session.challenge_fields", true, policy->challenged,
               "Fields whose change asks the application for a step-up. A field may be in one of "
               "the three lists."),
    KEY_INTEGER(
        "session.rotation_grace_s", policy, 0, 300, true, policy->rotation_grace_s,
        "How long a rotated id still validates after its successor's first use, in seconds."),

    KEY_INTEGER("lockout.threshold", server, 1, 1'000'000, true, whole->lockout.threshold,
                "Failed attempts in a window that lock."),
    KEY_INTEGER("lockout.window_s", server, 1, year_s, true, whole->lockout.window_s,
                "The window, in seconds, fixed from the first failure."),
    KEY_INTEGER("lockout.duration_s", server, 1, year_s, true, whole->lockout.duration_s,
                "How long a lock lasts, in seconds."),
    KEY_CHOICE("lockout.scope", server, lockout_scope_names, true, whole->lockout.scope,
               "Who is locked out: the user everywhere, or the user at the source that failed."),
    KEY_INTEGER("lockout.user_threshold", server, 1, 1'000'000, true, whole->lockout.user_threshold,
                "With scope `user_source`: failed attempts over all sources that lock the user "
                "everywhere."),
    KEY_INTEGER(
        "lockout.repeat_collapse_s", server, 0, 86'400, true, whole->lockout.repeat_collapse_s,
        "The same failing context of a session counts once in that many seconds. 0: each counts."),
    KEY_BOOLEAN("lockout.revoke_offending", server, true, whole->lockout.revoke_offending,
                "Whether a lock also revokes the session that took most of the failures."),
    KEY_INTEGER("lockout.source_threshold", server, 0, 1'000'000, true,
                whole->lockout.source_threshold,
                "Distinct unknown ids of a source in a window after which its unknown ids get "
                "RATE_LIMITED. 0: off."),

    KEY_INTEGER("breaker.max", server, 1,
                static_cast<std::int64_t>(limits::breakers_configurable_max), true,
                whole->breakers.breakers_max,
                "Circuit breakers that the node holds at once; past it BREAKER_LIMIT."),
    KEY_CHOICE("breaker.window", breaker, window_kind_names, true, breaker->window,
               "Which calls count: those of the last window_s seconds, or the last window_calls."),
    KEY_INTEGER("breaker.window_s", breaker, 1, day_s, true, breaker->window_s,
                "Window `time`: how far back calls count, in seconds."),
    KEY_INTEGER("breaker.window_buckets", breaker, 1, 100, true, breaker->window_buckets,
                "Window `time`: in how many steps calls leave it. At least 100 ms each; where it "
                "is not given, fewer for a short window."),
    KEY_INTEGER("breaker.window_calls", breaker, 1, 10'000, true, breaker->window_calls,
                "Window `count`: how many calls count."),
    KEY_INTEGER("breaker.window_age_s", breaker, 1, day_s, true, breaker->window_age_s,
                "Window `count`: calls that are older do not count, in seconds."),
    KEY_INTEGER("breaker.min_calls", breaker, 1, 1'000'000, true, breaker->min_calls,
                "Calls in the window below which no rate opens the breaker. More than a `count` "
                "window holds means as many as it holds."),
    KEY_NUMBER("breaker.failure_rate_threshold", breaker, rate, breaker->failure_rate_threshold,
               "The part of the calls that failed at which the breaker opens."),
    KEY_INTEGER("breaker.slow_call_ms", breaker, 1, limits::call_duration_ms_max, true,
                breaker->slow_call_ms, "A call that took longer is slow."),
    KEY_NUMBER("breaker.slow_rate_threshold", breaker, rate, breaker->slow_rate_threshold,
               "The part of the calls that were slow at which the breaker opens."),
    KEY_INTEGER("breaker.consecutive_failures", breaker, 0, 1'000'000, true,
                breaker->consecutive_failures,
                "Failures in a row that open the breaker, whatever the rates. 0: off."),
    KEY_SECONDS("breaker.open_wait_s", breaker, 1, day_s, breaker->open_wait_ms,
                "How long an open breaker waits before it lets calls try, in seconds; doubled by "
                "each half-open phase that fails. Where only open_wait_max_s is given and is less, "
                "it is that."),
    KEY_SECONDS("breaker.open_wait_max_s", breaker, 1, day_s, breaker->open_wait_max_ms,
                "The longest wait, in seconds. At least open_wait_s; where it is not given, not "
                "less than that."),
    KEY_NUMBER("breaker.open_wait_jitter", breaker, jitter, breaker->open_wait_jitter,
               "Each wait is longer or shorter by up to this part of it, so that not all breakers "
               "try at once."),
    KEY_INTEGER("breaker.half_open_permits", breaker, 1, 1'000, true, breaker->half_open_permits,
                "Calls that try the downstream in a half-open phase and decide it. Where only "
                "half_open_concurrency is given and is more, it is that."),
    KEY_INTEGER("breaker.half_open_concurrency", breaker, 1, 1'000, true,
                breaker->half_open_concurrency,
                "How many of them at once. At most half_open_permits; where it is not given, not "
                "more than that."),
    KEY_SECONDS("breaker.max_half_open_s", breaker, 1, day_s, breaker->max_half_open_ms,
                "A half-open phase undecided after this long opens the breaker again, in seconds."),
    KEY_SECONDS("breaker.permit_ttl_s", breaker, 1, day_s, breaker->permit_ttl_ms,
                "A permit that is not reported for this long counts as a failure and makes room "
                "for another, in seconds."),
    KEY_BOOLEAN("breaker.auto_half_open", breaker, true, breaker->auto_half_open,
                "Whether an open breaker becomes half-open when its wait is over; else with the "
                "first call after it."),
    KEY_SECONDS("breaker.retire_after_s", breaker, 1, year_s, breaker->retire_after_ms,
                "A breaker that nobody used for this long is forgotten, in seconds."),

    KEY_CHOICE("log.level", server, log_level_names, true, whole->log.level,
               "The least level that is logged."),
    {"log.levels", key_scope::named, key_form::choice, 0, 0, log_level_names, is_component_name,
     component_words, true, "The level of one component: `log.levels.net = \"debug\"`.",
     choice_access<level_of_component, log_level_names>},
    KEY_BOOLEAN("log.hash_user_ids", server, true, whole->log.hash_user_ids,
                "Whether logs show a hash in place of a user's id."),
    KEY_CHOICE("log.format", server, log_format_names, false, whole->log.format,
               "`auto` is text on a terminal and one JSON object a line elsewhere."),

    {"metrics.labels",
     key_scope::named,
     key_form::text,
     0,
     128,
     {},
     is_label_name,
     "a label: letters, digits and _, not used by our own metrics",
     false,
     "A constant label of every series: `metrics.labels.region = \"eu\"`.",
     plain_access<constant_label>},
    KEY_INTEGER("metrics.breakers_max", server, 0,
                static_cast<std::int64_t>(limits::breaker_series_configurable_max), false,
                whole->metrics.breakers_max,
                "Circuit breakers that have series of their own, some 60 each; all others share "
                "those of `__overflow__`."),
};

#undef KEY_INTEGER
#undef KEY_SECONDS
#undef KEY_NUMBER
#undef KEY_BOOLEAN
#undef KEY_TEXT
#undef KEY_CHOICE
#undef KEY_LIST
#undef KEYS_CALLER
#undef KEY_FIELDS
#undef AT

std::string quoted_list(std::span<const std::string_view> names) {
  std::string text;
  for (const auto& name : names) text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", name);
  return text;
}

void flatten_rows(std::map<std::string, keyed_value>& into, key_scope scope,
                  const std::vector<std::string>& prefix, const place& at) {
  for (const auto& row : rows) {
    if (row.scope != scope) continue;
    auto path = prefix;
    if (prefix.empty()) {
      into[std::string(row.name)] = {&row, row.access.read(at)};
      continue;
    }
    path.emplace_back(last_part(row.name));
    into[dotted(path)] = {&row, row.access.read(at)};
  }
}

}  // namespace

std::span<const config_key> config_table() noexcept { return rows; }

std::string allowed_text(const config_key& key) {
  switch (key.form) {
    case key_form::boolean:
      return "true or false";
    case key_form::integer:
      return fmt::format("an integer from {} to {}", key.least, key.most);
    case key_form::number:
      return fmt::format("a number {} {} {} {}", key.range.above ? "greater than" : "from",
                         key.range.least, key.range.above ? "and at most" : "to", key.range.most);
    case key_form::choice:
      return "one of " + quoted_list(key.allowed);
    case key_form::choices:
      return "a list of any of " + quoted_list(key.allowed);
    case key_form::list:
      if (!key.expected.empty()) return std::string(key.expected);
      return fmt::format("a list of texts of {} to {} bytes", key.least, key.most);
    case key_form::digest:
      return std::string(key.expected);
    case key_form::text:
      if (!key.expected.empty() && key.scope != key_scope::named) return std::string(key.expected);
      return key.least == 0 ? fmt::format("a text of up to {} bytes", key.most)
                            : fmt::format("a text of {} to {} bytes", key.least, key.most);
  }
  __builtin_unreachable();
}

std::map<std::string, keyed_value> flatten(config of) {
  std::map<std::string, keyed_value> values;
  flatten_rows(values, key_scope::server, {}, {.whole = &of});
  flatten_rows(values, key_scope::policy, {}, {.policy = &of.session});
  for (auto& [name, policy] : of.tenants)
    flatten_rows(values, key_scope::policy, {"tenant", name, "session"}, {.policy = &policy});
  flatten_rows(values, key_scope::breaker, {}, {.breaker = &of.breakers.fallback});
  for (auto& [pattern, policy] : of.breakers.patterns)
    flatten_rows(values, key_scope::breaker, {"breaker", pattern}, {.breaker = &policy});
  for (auto& token : of.auth.tokens)
    flatten_rows(values, key_scope::token, {"auth", "token", token.name}, {.token = &token});
  for (auto& each : of.auth.certificates)
    flatten_rows(values, key_scope::certificate, {"auth", "certificate", each.name},
                 {.certificate = &each});
  for (const auto& row : rows) {
    if (row.scope != key_scope::named) continue;
    const bool levels = row.name == "log.levels";
    std::vector<std::string> names;
    if (levels)
      for (const auto& [name, level] : of.log.levels) names.push_back(name);
    else
      for (const auto& [name, label] : of.metrics.labels) names.push_back(name);
    for (const auto& name : names)
      values[std::string(row.name) + "." + name] = {&row,
                                                    row.access.read({.whole = &of, .name = name})};
  }
  return values;
}

}  // namespace portcullis::core
