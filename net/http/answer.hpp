// The bytes of HTTP answers.
#pragma once
#include <array>
#include <string_view>

#include "core/bytes.hpp"
#include "core/contract/types.hpp"
#include "core/error/catalogue.hpp"
#include "net/rpc/encode.hpp"

namespace portcullis::net {

/// An answer but for its framing. Views.
struct http_answer {
  int status = 200;
  std::string_view content_type = {};  // empty: no field of its own
  std::string_view body = {};
  std::string_view fields = {};  // "Name: value\r\n" each
  /// For a proxy, which looks at the status and a few fields and shows the rest to nobody as it is:
  /// `fields` are all that there are of an answer without a body.
  bool to_proxy = false;
};

/// How an answer stands among the bytes of its connection.
struct http_framing {
  bool head = false;        // a body is left out, its length is told
  bool keep_alive = false;  // the connection goes on
  bool http_1_0 = false;    // of the request
};

/// The value of Date (RFC 9110, 5.6.7), made once a second.
class http_date {
 public:
  [[nodiscard]] std::string_view at(core::millis now_ms);

 private:
  core::millis second_ = -1;
  std::array<char, 29> text_{};
};

/// Appends status line, header fields and body. What a browser could show cannot be kept, framed or
/// taken for something else, and nothing in it is run.
void write_answer(core::byte_buffer& out, const http_answer& answer, const http_framing& framing,
                  std::string_view date);

/// Appends the head of an answer whose body comes in parts until the connection is closed: each is
/// one write_part(), the last an empty one (RFC 9112, 7.1; HTTP/1.0 knows no chunks).
void write_stream_head(core::byte_buffer& out, const http_answer& answer, bool http_1_0,
                       std::string_view date);
void write_part(core::byte_buffer& out, std::string_view bytes, bool http_1_0);

/// Appends the fields that go with an error: how to log in to a 401 (RFC 9110, 15.5.2), when to
/// come again.
void write_error_fields(core::byte_buffer& fields, const core::error& why, int status);

}  // namespace portcullis::net
