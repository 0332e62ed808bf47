// The rules for single texts of the contract (protocol.md, Types), for requests and configuration
// alike.
#pragma once
#include <cstddef>
#include <string_view>

namespace portcullis::core {

/// 1..bytes_max of [A-Za-z0-9_.-]: nodes, callers, services, correlation ids.
[[nodiscard]] bool is_name(std::string_view text, std::size_t bytes_max) noexcept;

/// UTF-8 `text` without C0 and C1 controls and DEL.
[[nodiscard]] bool has_no_controls(std::string_view text) noexcept;

/// UTF-8 `text` without C0 and C1 controls and bidirectional overrides (U+202A..202E,
/// U+2066..2069): tenants and users. DEL is neither (protocol.md, Clarifications).
[[nodiscard]] bool is_identifier_text(std::string_view text) noexcept;

}  // namespace portcullis::core
