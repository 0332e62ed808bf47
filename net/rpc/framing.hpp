// Cuts one connection's bytes into JSON values by the rules of protocol.md, "Transport". No
// sockets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/error/catalogue.hpp"
#include "net/json/scanner.hpp"
#include "net/rpc/limits.hpp"

namespace portcullis::net {

enum class frame_kind : std::uint8_t { value, need_more, form_error, end };

/// What framer::next() found. Offsets count from the first byte of `unread`.
struct frame {
  frame_kind kind = frame_kind::need_more;
  std::size_t consumed = 0;  // drop so many bytes from the front of `unread` before the next call
  std::size_t begin = 0;     // value: its first byte ...
  std::size_t end = 0;       // ... and one past its last; end <= consumed
  std::span<json::token> tape = {};  // value: for decoder::decode(); lives until the next call
  core::error error = {};            // form_error: answer it with id null
  bool close =
      false;  // form_error: after the replies to all earlier requests and this error, close
};

/// The framing of one connection. The transport calls next() again and again, drops `consumed`
/// bytes after each call, and acts by the kind of what came:
///
/// - value: decode bytes [begin, end) of `unread` with the tape. The decoder overwrites them; they
///   are consumed anyway.
/// - form_error: queue the error with id null; with `close`, end as below.
/// - end: stop reading, answer what is in flight, write everything, close.
/// - need_more: wait for bytes or EOF. What is left of `unread` (at most value_bytes_max bytes)
///   must be kept, may be moved, and must stand at the front of the next call's `unread`. The
///   buffer needs room for value_bytes_max + 1.
///
/// White space between values and what is skipped after an error is consumed at once, so neither is
/// buffered. With `eof` the answer is never need_more. After `close` or `end` every call returns
/// `end`. Single thread; allocates only while its tape grows.
class framer {
 public:
  explicit framer(const message_limits& limits = {});

  /// The next value, error, or need. `eof`: the peer has sent its last byte, which `unread` holds.
  /// Errors: PARSE_ERROR (closes when it is the connection's first byte, or at EOF inside a value),
  /// VALUE_TOO_LARGE and NESTING_TOO_DEEP (both close). Not an error: EOF between values or while
  /// skipping.
  [[nodiscard]] frame next(std::span<const char> unread, bool eof);

 private:
  frame broken(core::error why, std::size_t consumed, bool close);
  frame malformed(std::string_view unread, std::size_t offending);
  frame scan(std::string_view unread, std::size_t at, bool eof);

  json::scanner scanner_;
  message_limits limits_;
  bool started_ = false;   // the first byte that is no white space has been seen
  bool inside_ = false;    // the scanner is in the middle of a value
  bool skipping_ = false;  // through the next LF
  bool over_ = false;
};

}  // namespace portcullis::net
