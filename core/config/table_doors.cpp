// The rows of the table: listeners, and who may come in.
#include "core/config/rows.hpp"

namespace portcullis::core {
namespace {

using namespace rows;

constexpr config_key door_table[] = {
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
             "Forward-auth: the header field that holds the session id, beside the cookie or in "
             "its place. "
             "Empty: none."),
    KEY_TEXT("authz.cookie_secrets_file", server, 0, 4096, nullptr, {}, true,
             whole->authz.cookie_secrets_file,
             "Forward-auth: the secrets that sign cookies, one a line, the newest first. With it "
             "cookies must be signed; empty: they must not be."),
    KEY_LIST("authz.trusted_proxies", server, 1, 64, is_address_prefix, prefix_words, true,
             whole->authz.trusted_proxies,
             "Forward-auth: addresses and networks of proxies whose `X-Forwarded-For` is "
             "believed. From anywhere else the address of the connection counts."),
};

}  // namespace

std::span<const config_key> door_rows() noexcept { return door_table; }

}  // namespace portcullis::core
