// The request line and the header fields, strictly (RFC 9112): what a proxy in front could read
// another way is refused, for two that do not agree where a request ends can be made to mix up the
// requests of different people. Pure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error/catalogue.hpp"
#include "net/http/request.hpp"

namespace portcullis::net {

struct http_request_head {
  http_request request;           // without a body
  std::size_t size = 0;           // bytes, with the empty line
  std::uint64_t body_bytes = 0;   // as Content-Length says
  bool chunked = false;           // the body's length is in the body
  bool expects_continue = false;  // the body comes when it is asked for (RFC 9110, 10.1.1)
  core::error error;              // of what is refused ...
  int http_status = 400;          // ... and its status
};

enum class http_head_status : std::uint8_t { need_more, complete, refused };

/// Reads the head that `bytes` begin with. A line is judged when its end is there, the method at
/// once. `into` views `bytes`, and its fields stand in `space`. When it is refused, it has the
/// method as far as it is known.
///
/// Refused: INVALID_REQUEST for what is malformed, VALUE_TOO_LARGE (413) for a head of more than
/// header_bytes_max bytes, more fields than `space` has room for, or a Content-Length above
/// body_bytes_max. Malformed is:
/// - a line that does not end in CRLF, a control character, a folded line, white space before a
///   colon or in front of the first field (RFC 9112, 2.2, 5.1, 5.2);
/// - two of Host, Origin, Authorization, Content-Type, Content-Length, Transfer-Encoding,
///   Last-Event-ID, or, in HTTP/1.1, no Host (3.2); a Host that is no uri-host;
/// - Content-Length with Transfer-Encoding, one that is no decimal number, a coding that is not
///   `chunked` alone, any in HTTP/1.0 (6.1, 6.3);
/// - another major version than 1; a target that is neither a path nor an absolute http(s) URI
///   (3.2), or has user information (RFC 9110, 4.2.4) or a fragment.
/// Not an error: empty lines before the request line (2.2), a body of a method that needs none.
[[nodiscard]] http_head_status read_request_head(std::string_view bytes,
                                                 const http_message_limits& limits,
                                                 header_field_space& space,
                                                 http_request_head& into);

}  // namespace portcullis::net
