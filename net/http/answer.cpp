#include "net/http/answer.hpp"

#include <http_parser.h>

#include <cstring>
#include <ctime>

namespace portcullis::net {
namespace {

constexpr std::string_view line_end = "\r\n";

void begin(core::byte_buffer& out, const http_answer& answer, std::string_view date) {
  if (answer.status == 200) {
    out.append("HTTP/1.1 200 OK\r\n");
  } else {
    out.append("HTTP/1.1 ");
    out.append_int(answer.status);
    out.append(' ');
    out.append(http_status_str(static_cast<http_status>(answer.status)));
    out.append(line_end);
  }
  if (!answer.to_proxy) {
    out.append("Date: ");
    out.append(date);
    out.append("\r\nCache-Control: no-store\r\n");
  }
  if (!answer.body.empty() || !answer.content_type.empty())
    out.append(
        "X-Content-Type-Options: nosniff\r\n"
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n");
  if (!answer.content_type.empty()) {
    out.append("Content-Type: ");
    out.append(answer.content_type);
    out.append(line_end);
  }
  out.append(answer.fields);
}

}  // namespace

std::string_view http_date::at(core::millis now_ms) {
  const auto second = now_ms / 1'000;
  if (second != second_) {
    second_ = second;
    // Not by strftime: its names follow the locale.
    constexpr std::string_view days = "SunMonTueWedThuFriSat";
    constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const auto time = static_cast<std::time_t>(second);
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    const auto two = [this](std::size_t at, int value) {
      text_[at] = static_cast<char>('0' + value / 10 % 10);
      text_[at + 1] = static_cast<char>('0' + value % 10);
    };
    std::memcpy(text_.data(), "Sun, 06 Nov 1994 08:49:37 GMT", text_.size());
    std::memcpy(text_.data(), days.data() + 3 * parts.tm_wday, 3);
    two(5, parts.tm_mday);
    std::memcpy(text_.data() + 8, months.data() + 3 * parts.tm_mon, 3);
    two(12, (parts.tm_year + 1900) / 100);
    two(14, parts.tm_year % 100);
    two(17, parts.tm_hour);
    two(20, parts.tm_min);
    two(23, parts.tm_sec);
  }
  return {text_.data(), text_.size()};
}

void write_answer(core::byte_buffer& out, const http_answer& answer, const http_framing& framing,
                  std::string_view date) {
  begin(out, answer, date);
  if (answer.status != 204) {  // which has none (RFC 9110, 8.6)
    out.append("Content-Length: ");
    out.append_int(answer.body.size());
    out.append(line_end);
  }
  if (!framing.keep_alive)
    out.append("Connection: close\r\n");
  else if (framing.http_1_0)
    out.append("Connection: keep-alive\r\n");
  out.append(line_end);
  if (!framing.head) out.append(answer.body);
}

void write_stream_head(core::byte_buffer& out, const http_answer& answer, bool http_1_0,
                       std::string_view date) {
  begin(out, answer, date);
  if (!http_1_0) out.append("Transfer-Encoding: chunked\r\n");
  out.append("Connection: close\r\n\r\n");
}

void write_part(core::byte_buffer& out, std::string_view bytes, bool http_1_0) {
  if (http_1_0) return out.append(bytes);
  char* at = out.reserve(16);
  out.commit(static_cast<std::size_t>(std::to_chars(at, at + 16, bytes.size(), 16).ptr - at));
  out.append(line_end);
  out.append(bytes);
  out.append(line_end);
}

void write_error_fields(core::byte_buffer& fields, const core::error& why, int status) {
  if (status == 401) fields.append("WWW-Authenticate: Bearer\r\n");
  if (why.retry_after_ms < 0) return;
  fields.append("Retry-After: ");
  fields.append_int(why.retry_after_ms / 1'000 + (why.retry_after_ms % 1'000 != 0 ? 1 : 0));
  fields.append(line_end);
}

}  // namespace portcullis::net
