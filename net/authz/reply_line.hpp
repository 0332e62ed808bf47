// Reads the replies to session.validate as net/rpc/encode writes them: exactly those, and fast.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "core/contract/types.hpp"
#include "core/error/catalogue.hpp"

namespace portcullis::net {

/// Views the line. Texts as they stand in it, without the quotes and still with their escapes.
struct replied_valid {
  std::string_view tenant_id;
  std::string_view user_id;
  std::string_view handle;
  std::string_view expires_at_ms;  // digits
  core::field_set observed = 0;
  core::field_set challenged = 0;
};
struct replied_invalid {
  core::invalid_reason reason = core::invalid_reason::not_found;
  std::int64_t retry_after_ms = -1;  // < 0: none
};
struct replied_error {
  core::error_code code = core::error_code::INTERNAL;
  std::int64_t retry_after_ms = -1;  // < 0: none
  std::string_view object;           // the error object
  std::string_view status;           // in it: the digits of data.status
};
/// Monostate: not a line that the encoder writes. That is a bug, and is to be answered as one.
using replied = std::variant<std::monostate, replied_valid, replied_invalid, replied_error>;

/// Reads a reply with a numeric id or null, with or without its LF. The session's data, which may
/// be 16 KiB, is not looked at: what follows it is found from the line's end.
[[nodiscard]] replied read_reply_line(std::string_view line) noexcept;

}  // namespace portcullis::net
