#include "net/http/chunked_body.hpp"

#include <algorithm>

#include "net/http/field_text.hpp"

namespace portcullis::net {
namespace {

/// -1: no hexadecimal digit.
int digit_of(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

chunked_body::status chunked_body::feed(std::string_view bytes, std::size_t& used) {
  used = 0;
  while (used < bytes.size()) {
    if (at_ == at::data) {
      const auto part = bytes.substr(used, static_cast<std::size_t>(left_));
      body_.append(part);
      used += part.size();
      left_ -= part.size();
      if (left_ == 0) at_ = at::data_cr;
      continue;
    }
    if (++framing_bytes_ > framing_bytes_max_) return status::too_large;
    const auto found = step(bytes[used++]);
    if (found != status::need_more) return found;
  }
  return status::need_more;
}

chunked_body::status chunked_body::expect(char c, char what, at next) noexcept {
  at_ = next;
  return c == what ? status::need_more : status::malformed;
}

chunked_body::status chunked_body::step(char c) {
  switch (at_) {
    case at::size:
      left_ = 0;
      if (digit_of(c) < 0) return status::malformed;
      at_ = at::digits;
      [[fallthrough]];
    case at::digits:
      if (digit_of(c) < 0) return after_digits(c);
      left_ = left_ * 16 + static_cast<std::uint64_t>(digit_of(c));
      return left_ > bytes_max_ - body_.size() ? status::too_large : status::need_more;
    case at::space:
      return c == ' ' ? status::need_more : after_digits(c);
    case at::extension:
      if (c == '\r') at_ = at::size_end;
      return c != '\r' && is_field_control(c) ? status::malformed : status::need_more;
    case at::size_end:
      return expect(c, '\n', left_ == 0 ? at::trailer : at::data);
    case at::data:
      break;
    case at::data_cr:
      return expect(c, '\r', at::data_end);
    case at::data_end:
      return expect(c, '\n', at::size);
    case at::trailer:
      if (c == '\r') return expect(c, '\r', at::last_end);
      at_ = at::name;
      return is_token_byte(c) ? status::need_more : status::malformed;
    case at::name:
      if (c == ':') at_ = at::value;
      return c == ':' || is_token_byte(c) ? status::need_more : status::malformed;
    case at::value:
      if (c == '\r') at_ = at::line_end;
      return c != '\r' && is_field_control(c) ? status::malformed : status::need_more;
    case at::line_end:
      return expect(c, '\n', at::trailer);
    case at::last_end:
      return c == '\n' ? status::complete : status::malformed;
  }
  __builtin_unreachable();
}

/// A space there is bad, but to be taken (RFC 9112, 7.1.1); other parsers take no tab. What begins
/// without a semicolon is no extension: some take it for one, and some for part of the size.
chunked_body::status chunked_body::after_digits(char c) {
  at_ = c == '\r' ? at::size_end : c == ' ' ? at::space : at::extension;
  return c == '\r' || c == ';' || c == ' ' ? status::need_more : status::malformed;
}

}  // namespace portcullis::net
