#include "net/rpc/framing.hpp"

#include <string_view>

namespace portcullis::net {
namespace {

constexpr bool is_space(char c) noexcept { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

}  // namespace

framer::framer(const message_limits& limits)
    : scanner_(json::scan_limits{limits.value_bytes_max, limits.nesting_depth_max}),
      limits_(limits) {}

frame framer::broken(core::error why, std::size_t consumed, bool close) {
  inside_ = false;
  over_ = close;
  frame found;
  found.kind = frame_kind::form_error;
  found.consumed = consumed;
  found.error = why;
  found.close = close;
  return found;
}

frame framer::malformed(std::string_view unread, std::size_t offending) {
  const std::size_t line_end = unread.find('\n', offending);
  skipping_ = line_end == std::string_view::npos;
  return broken(core::fail(core::error_code::PARSE_ERROR), skipping_ ? unread.size() : line_end + 1,
                false);
}

frame framer::next(std::span<const char> bytes, bool eof) {
  const std::string_view unread(bytes.data(), bytes.size());
  frame found;
  if (over_) {
    found.kind = frame_kind::end;
    found.consumed = unread.size();
    return found;
  }
  std::size_t at = 0;
  if (skipping_) {
    const std::size_t line_end = unread.find('\n');
    skipping_ = line_end == std::string_view::npos;
    at = skipping_ ? unread.size() : line_end + 1;
  }
  if (!inside_) {
    while (at < unread.size() && is_space(unread[at])) ++at;
    if (at == unread.size()) {
      over_ = eof;
      found.kind = eof ? frame_kind::end : frame_kind::need_more;
      found.consumed = at;
      return found;
    }
    if (!started_ && unread[at] != '{' && unread[at] != '[')
      return broken(core::fail(core::error_code::PARSE_ERROR), unread.size(), true);
    started_ = true;
    scanner_.reset();
    inside_ = true;
  }
  return scan(unread, at, eof);
}

frame framer::scan(std::string_view unread, std::size_t at, bool eof) {
  using core::error_code;
  const std::string_view rest = unread.substr(at);
  frame found;
  switch (scanner_.resume(rest, eof)) {
    case json::scan_status::complete:
      inside_ = false;
      found.kind = frame_kind::value;
      found.begin = at;
      found.end = found.consumed = at + scanner_.end();
      found.tape = scanner_.tape();
      return found;
    case json::scan_status::incomplete:
      found.consumed = at;
      return found;
    case json::scan_status::malformed:
      // At the very end there is no offending byte: the value was cut off.
      if (scanner_.offset() == rest.size())
        return broken(core::fail(error_code::PARSE_ERROR), unread.size(), true);
      return malformed(unread, at + scanner_.offset());
    case json::scan_status::too_large:
      return broken(core::fail(error_code::VALUE_TOO_LARGE, {}, {},
                               static_cast<std::int64_t>(limits_.value_bytes_max)),
                    unread.size(), true);
    case json::scan_status::too_deep:
      return broken(core::fail(error_code::NESTING_TOO_DEEP, {}, {},
                               static_cast<std::int64_t>(limits_.nesting_depth_max)),
                    unread.size(), true);
  }
  __builtin_unreachable();
}

}  // namespace portcullis::net
