// The one table of errors (docs/errors.md is generated from it). Everything that a caller can be
// told is a row here.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace portcullis::core {

enum class severity : std::uint8_t { low, medium, high, critical };

// X(NAME, code, status, severity, retryable, message, remedy): message is sent and never holds
// input, ids or internals; remedy is for the reference page.
#define PORTCULLIS_ERRORS(X)                                                                       \
  X(PARSE_ERROR, -32700, 400, low, false, "The message is not valid JSON.",                        \
    "Send JSON (RFC 8259) in UTF-8 without a byte order mark.")                                    \
  X(INVALID_REQUEST, -32600, 400, low, false, "The message is not a JSON-RPC 2.0 request.",        \
    "Send jsonrpc, method, and optionally params and id, each once.")                              \
  X(METHOD_NOT_FOUND, -32601, 404, low, false, "There is no such method.",                         \
    "See the methods of the contract for this version.")                                           \
  X(INVALID_PARAMS, -32602, 400, low, false, "A parameter is missing, unknown or malformed.",      \
    "details names the field and the rule.")                                                       \
  X(INTERNAL, -32603, 500, critical, true, "The server failed.",                                   \
    "Report it with the correlation id; the log has the cause.")                                   \
  X(VALUE_TOO_LARGE, 1001, 413, low, false, "The message is too large.",                           \
    "Keep a message below details.limit bytes.")                                                   \
  X(NESTING_TOO_DEEP, 1002, 400, low, false, "The message is nested too deeply.",                  \
    "Keep the nesting within details.limit.")                                                      \
  X(BATCH_TOO_LARGE, 1003, 413, low, false, "The batch has too many entries.",                     \
    "Split the batch; details.limit is the largest.")                                              \
  X(DATA_TOO_LARGE, 1004, 413, low, false, "The session's data is too large.",                     \
    "Keep data, minified, within details.limit bytes.")                                            \
  X(TTL_OUT_OF_RANGE, 1005, 400, low, false, "The time to live is out of range.",                  \
    "A request may only shorten the policy; details.limit is its value.")                          \
  X(CURSOR_INVALID, 1006, 400, low, false, "The cursor is not valid.",                             \
    "Pass a cursor back exactly as it came, to the method it came from.")                          \
  X(AUTH_REQUIRED, 2001, 401, low, false, "Log in first.", "Call auth.login with a token.")        \
  X(AUTH_FAILED, 2002, 401, medium, false, "The credentials were not accepted.",                   \
    "Check the token and that the server's configuration has its hash.")                           \
  X(AUTH_RATE_LIMITED, 2003, 429, high, true, "Too many failed logins from this source.",          \
    "Wait retry_after_ms.")                                                                        \
  X(FORBIDDEN, 2004, 403, medium, false, "The caller may not do this.",                            \
    "Use a token whose role, tenants and services allow it.")                                      \
  X(TLS_REQUIRED, 2005, 403, medium, false,                                                        \
    "This is accepted only over TLS, or from this machine on a listener without TLS.",             \
    "Speak TLS to the TLS listener, or connect to the other one over loopback.")                   \
  X(CERTIFICATE_REJECTED, 2006, 401, medium, false, "The client certificate was not accepted.",    \
    "Use a certificate whose alternative name an [[auth.certificate]] of the server names.")       \
  X(SESSION_NOT_FOUND, 3001, 404, low, false, "There is no such session.", "Create a session.")    \
  X(SESSION_EXPIRED, 3002, 401, low, false, "The session has expired.", "Create a session.")       \
  X(SESSION_REVOKED, 3003, 401, low, false, "The session was revoked.", "Create a session.")       \
  X(SESSION_IP_MISMATCH, 3004, 401, high, false,                                                   \
    "The request comes from another address than the session.", "Ask the user to sign in again.")  \
  X(SESSION_FINGERPRINT_MISMATCH, 3005, 401, high, false,                                          \
    "The request comes from another device than the session.", "Ask the user to sign in again.")   \
  X(SESSION_VERSION_CONFLICT, 3006, 409, low, true, "The session was changed meanwhile.",          \
    "Validate to read it again, then update with the new version.")                                \
  X(SESSION_CAP_REACHED, 3007, 409, low, false,                                                    \
    "The user has as many sessions as the policy allows.",                                         \
    "Revoke one; details.limit is the cap.")                                                       \
  X(SESSION_REUSE_DETECTED, 3008, 401, critical, false,                                            \
    "A rotated id was used again; the session was revoked.",                                       \
    "Treat the id as stolen; ask the user to sign in again.")                                      \
  X(USER_LOCKED_OUT, 4001, 429, high, true, "The user is locked out after failed attempts.",       \
    "Wait retry_after_ms, or clear the lockout as admin.")                                         \
  X(RATE_LIMITED, 4002, 429, medium, true, "Too many unknown sessions from this source.",          \
    "Wait retry_after_ms.")                                                                        \
  X(BREAKER_OPEN, 5001, 503, medium, true, "The circuit breaker is open.",                         \
    "Do not call the downstream before retry_after_ms.")                                           \
  X(BREAKER_NOT_FOUND, 5002, 404, low, false, "There is no such circuit breaker.",                 \
    "Acquire, report or observe creates one.")                                                     \
  X(BREAKER_LIMIT, 5003, 429, medium, false, "There are too many circuit breakers.",               \
    "Raise breaker.max; unused ones go after breaker.retire_after_s.")                             \
  X(BREAKER_PERMIT_INVALID, 5004, 409, low, false,                                                 \
    "The permit is of another breaker, or was never given out.", "Acquire again.")                 \
  X(BREAKER_COUNTS_DECREASED, 5005, 409, medium, false,                                            \
    "A cumulative count decreased within an epoch.",                                               \
    "Report totals since source_epoch, never rolling sums; begin anew with a new source_epoch.")   \
  X(BREAKER_SOURCE_LIMIT, 5006, 429, medium, false, "The circuit breaker has too many sources.",   \
    "A source silent for 15 minutes makes room. Name processes, not requests.")                    \
  X(BREAKER_KIND_CONFLICT, 5007, 409, medium, false, "The circuit breaker is of the other kind.",  \
    "Hosted breakers are acquired and reported, observed ones observed.")                          \
  X(EVENTS_CURSOR_EXPIRED, 6001, 410, low, false, "The log no longer reaches back to the cursor.", \
    "Start at the oldest cursor left.")                                                            \
  X(SUBSCRIPTION_NOT_FOUND, 6002, 404, low, false,                                                 \
    "There is no such subscription on this connection.", "Subscribe again.")                       \
  X(SUBSCRIPTION_LIMIT, 6003, 429, low, true, "There are too many subscriptions.",                 \
    "Unsubscribe, or filter within one subscription.")                                             \
  X(SUBSCRIBER_TOO_SLOW, 6004, 503, medium, true, "The subscriber fell too far behind.",           \
    "Subscribe again after the cursor given, and read faster.")                                    \
  X(LOG_CORRUPT, 6005, 500, critical, false, "The event log is damaged.",                          \
    "Restore from a backup; find who wrote it.")                                                   \
  X(STORE_UNAVAILABLE, 7001, 503, critical, true, "The store is not available.",                   \
    "Retry; look at store_degraded in the log.")                                                   \
  X(STORE_TIMEOUT, 7002, 504, high, true, "The store did not answer in time.",                     \
    "Retry; the outcome of a write is unknown.")                                                   \
  X(STORE_FULL, 7003, 507, critical, true, "The store's disk is full.",                            \
    "Free space; nothing acknowledged was lost.")                                                  \
  X(STORE_INTEGRITY, 7004, 500, critical, false, "A stored record is damaged or forged.",          \
    "Restore from a backup; find who wrote it.")                                                   \
  X(DATA_DIR_IN_USE, 7005, 409, critical, false, "Another process uses the data folder.",          \
    "Stop it, or use another folder.")                                                             \
  X(KEYRING_MISMATCH, 7006, 409, critical, false, "The key ring is not the store's.",              \
    "Start with the key file that the store was made with.")                                       \
  X(SCHEMA_TOO_NEW, 7007, 409, critical, false, "The store was written by a newer version.",       \
    "Start that version or a newer one.")                                                          \
  X(NODE_INCOMPATIBLE, 8001, 409, high, false,                                                     \
    "The node speaks another contract version than the cluster.", "Upgrade the older side.")       \
  X(NODE_DRAINING, 8002, 503, low, true, "The node is shutting down.",                             \
    "Connect to another node, or retry shortly.")                                                  \
  X(OVERLOADED, 9001, 503, high, true, "The server has too much to do; the outcome is unknown.",   \
    "Retry with back-off.")                                                                        \
  X(CONFIG_INVALID, 9002, 400, medium, false,                                                      \
    "The configuration is not valid; nothing was changed.", "Run portcullis check-config.")        \
  X(CONNECTION_LIMIT, 9003, 503, high, true, "There are too many connections.",                    \
    "Close idle ones, or raise listen.*.max_connections.")                                         \
  X(REQUEST_TIMEOUT, 9004, 504, medium, true,                                                      \
    "The request was not answered in time; the outcome is unknown.", "Retry.")

enum class error_code : std::uint8_t {
#define X(NAME, ...) NAME,
  PORTCULLIS_ERRORS(X)
#undef X
};

struct error_row {
  error_code id;
  std::int32_t code;
  std::string_view name;
  std::int32_t status;
  core::severity severity;
  bool retryable;
  std::string_view message;
  std::string_view remedy;
};

/// Every row, in the order of error_code.
[[nodiscard]] std::span<const error_row> error_catalogue() noexcept;
[[nodiscard]] const error_row& describe(error_code code) noexcept;
/// The row with this JSON-RPC code; absent for a code that is not ours.
[[nodiscard]] std::optional<error_code> error_from_wire(std::int32_t code) noexcept;
[[nodiscard]] std::string_view to_string(severity value) noexcept;
/// Whether the server never says it: for clients, of calls that they did not make.
[[nodiscard]] bool is_reserved(error_code code) noexcept;

/// Where an error was decided: shown as `stack` in development only.
struct source_place {
  const char* file = "";
  unsigned line = 0;
  const char* function = "";
};

/// An error on its way to a caller. Texts in it are literals of this program, never input.
struct error {
  error_code code = error_code::INTERNAL;
  std::string_view field = {};  // a field of the contract
  std::string_view rule = {};
  std::int64_t limit = -1;           // < 0: none
  std::int64_t retry_after_ms = -1;  // < 0: none
  source_place place = {};
};

/// An error that remembers where it was made.
[[nodiscard]] constexpr error fail(error_code code, std::string_view field = {},
                                   std::string_view rule = {}, std::int64_t limit = -1,
                                   const char* file = __builtin_FILE(),
                                   unsigned line = __builtin_LINE(),
                                   const char* function = __builtin_FUNCTION()) {
  return {code, field, rule, limit, -1, {file, line, function}};
}

}  // namespace portcullis::core
