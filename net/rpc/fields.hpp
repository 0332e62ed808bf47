// The rules for single texts of the contract (protocol.md, Types). Pure functions.
#pragma once
#include <string_view>

namespace portcullis::net {

/// UTF-8 `text` without C0 and C1 controls and DEL.
[[nodiscard]] bool has_no_controls(std::string_view text) noexcept;

/// UTF-8 `text` without C0 and C1 controls, DEL, and bidirectional overrides (U+202A..202E,
/// U+2066..2069).
[[nodiscard]] bool is_identifier_text(std::string_view text) noexcept;

/// 1..64 of [A-Za-z0-9_.-].
[[nodiscard]] bool is_service_name(std::string_view text) noexcept;

/// 1..64 of [A-Za-z0-9._-].
[[nodiscard]] bool is_correlation_id(std::string_view text) noexcept;

/// The trace id (32 hex digits) of a W3C traceparent (Trace Context, 3.2); empty when it is
/// malformed.
[[nodiscard]] std::string_view trace_id_of(std::string_view traceparent) noexcept;

}  // namespace portcullis::net
