// From the lines of a subscription to server-sent events (HTML, 9.2).
#pragma once
#include <string_view>

#include "core/bytes.hpp"

namespace portcullis::net {

enum class event_line : unsigned char { begun, event, over, unknown };

/// How long whoever has a token waits when the stream breaks, before coming back with the last id.
/// An EventSource does so, too, but with its URL's ticket, which is used (protocol.md has the
/// loop).
inline constexpr std::string_view stream_retry = "retry: 2000\n";
inline constexpr std::string_view stream_heartbeat = ": keep-alive\n\n";

/// Appends what a line that net/rpc/encode wrote is in an event stream:
/// - the reply to events.subscribe: the time to wait before coming back, and the first id;
/// - `event`: `id` is the cursor, `event` the type, `data` the event; a cursor alone is an `id`
///   without data, which an EventSource keeps and does not dispatch;
/// - `events.ended`: an event named `error`, whose data is the error object; the stream is over.
[[nodiscard]] event_line write_event(core::byte_buffer& out, std::string_view line);

}  // namespace portcullis::net
