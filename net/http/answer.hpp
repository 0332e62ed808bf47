// The bytes of HTTP answers.
#pragma once
#include <string_view>

#include "core/bytes.hpp"
#include "core/error/catalogue.hpp"
#include "net/ports.hpp"
#include "net/rpc/encode.hpp"

namespace portcullis::net {

/// Appends status line, header fields and, unless `head`, the body. Content-Length is the body's in
/// either case.
void write_response(core::byte_buffer& out, const http_response& response, bool head,
                    bool keep_alive);

/// The answer for an error: the error object is its body, and `status` stands in both.
/// `correlation_id` empty: made up.
[[nodiscard]] http_response error_response(const core::error& why, int status,
                                           const encode_options& options,
                                           std::string_view correlation_id = {});

}  // namespace portcullis::net
