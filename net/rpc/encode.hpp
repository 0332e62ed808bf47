// From replies and errors to the JSON text of protocol.md, appended to an output buffer.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "core/bytes.hpp"
#include "core/contract/reply.hpp"
#include "core/error/catalogue.hpp"
#include "core/mix.hpp"

namespace portcullis::net {

/// Makes up correlation ids: 16 hex digits, not secret, not repeated within a run. Seed it with
/// random bits. Single thread (one a loop).
class correlation_maker {
 public:
  explicit correlation_maker(std::uint64_t seed) noexcept : state_(seed) {}
  /// splitmix64.
  [[nodiscard]] std::uint64_t next() noexcept { return core::mix64(state_ += core::mix64_step); }
  [[nodiscard]] std::string text();

 private:
  std::uint64_t state_;
};

struct encode_options {
  correlation_maker& made_up;  // used for errors that carry no correlation id
  bool development = false;    // errors carry `stack`
};

/// Appends `"result":{...}`, or `"error":{...}` for core::failed. No envelope, no LF.
void encode_outcome(core::byte_buffer& out, const core::reply& reply,
                    const encode_options& options);

/// Appends `"error":{...}`.
void encode_error_outcome(core::byte_buffer& out, const core::error& why,
                          std::string_view correlation_id, const encode_options& options);

/// Appends the error object alone, `{"code":...}`: the body of an HTTP answer or of events.ended.
/// `status`: what stands in it for the status, where HTTP's is another than the table's; 0: the
/// table's.
void encode_error_object(core::byte_buffer& out, const core::error& why,
                         std::string_view correlation_id, const encode_options& options,
                         int status = 0);

/// Appends `{"jsonrpc":"2.0","id":<raw_id>,` (empty: null). Then comes an outcome, then
/// end_envelope().
void begin_envelope(core::byte_buffer& out, std::string_view raw_id);
/// Appends `}`; the LF, or a batch's comma, is the transport's.
void end_envelope(core::byte_buffer& out);

/// Appends a whole reply without LF: envelope and outcome.
void encode_reply(core::byte_buffer& out, std::string_view raw_id, const core::reply& reply,
                  const encode_options& options);
/// Appends a whole error reply without LF.
void encode_error_reply(core::byte_buffer& out, std::string_view raw_id, const core::error& why,
                        std::string_view correlation_id, const encode_options& options);

/// Appends the notification `event`, without LF. `event_json`: a rendered event; empty: cursor
/// only.
void encode_event(core::byte_buffer& out, std::string_view subscription, std::string_view cursor,
                  std::string_view event_json);
/// Appends the notification `events.ended`, without LF.
void encode_events_ended(core::byte_buffer& out, std::string_view subscription,
                         std::string_view cursor, const core::error& why,
                         const encode_options& options);

}  // namespace portcullis::net
