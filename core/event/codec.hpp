// The events' text forms: stored (journal, column `body`, schema 1) and shown (protocol.md,
// Events). Both, the decoder and docs/events.md come from the one table in fields.hpp. Pure; any
// thread.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "core/bytes.hpp"
#include "core/event/event.hpp"
#include "core/result.hpp"

namespace portcullis::core {

[[nodiscard]] std::string_view to_string(revoke_scope scope) noexcept;
[[nodiscard]] std::string_view to_string(expiry_kind kind) noexcept;

/// The JSON kept in column `body`: everything of the event but seq, at_ms, type, subject and
/// sealed, which have columns of their own. `decided_at_ms` is written only where it is neither 0
/// nor at_ms. `node`: who decided it, where the event does not say so. Bytes are base64url. Texts
/// must be UTF-8, a policy a JSON object or empty.
void append_body(byte_buffer& out, const event& happened, std::string_view node);

/// A stored row back to the event it was made from: decided_at_ms is filled in, session_created's
/// session_seq is its seq; user_id, other session_seqs, find_* and ip_plain are not in the log.
/// LOG_CORRUPT (rule: the column): anything that append_body or drop_body does not write, but for
/// the order of fields. Absent subject: an empty one.
[[nodiscard]] result<event> decode_body(std::uint64_t seq, millis at_ms, std::string_view type,
                                        byte_view subject, std::string_view body,
                                        std::string_view sealed);

/// What a stored body of an event that is dropped when old leaves: its node and tenant, which no
/// mac covers any more, and its own SHA-256. Empty: it was dropped already, or is none.
[[nodiscard]] std::string drop_body(std::string_view body);

/// Appends the public JSON object. `user_id` empty: left out.
void append_shown(byte_buffer& out, const event& happened, std::string_view node,
                  std::string_view user_id);

/// docs/events.md: every type with its fields, as Markdown.
[[nodiscard]] std::string event_reference();

}  // namespace portcullis::core
