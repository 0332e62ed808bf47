// The texts of `_meta` (protocol.md, Types); those of params are in core/contract/texts.hpp. Pure
// functions.
#pragma once
#include <string_view>

namespace portcullis::net {

/// 1..64 of [A-Za-z0-9._-].
[[nodiscard]] bool is_correlation_id(std::string_view text) noexcept;

/// The trace id (32 hex digits) of a W3C traceparent (Trace Context, 3.2); empty when it is
/// malformed.
[[nodiscard]] std::string_view trace_id_of(std::string_view traceparent) noexcept;

}  // namespace portcullis::net
