// Appends JSON text to an output buffer, piece by piece; the caller sees to commas and braces.
#pragma once
#include <charconv>
#include <string_view>

#include "core/bytes.hpp"
#include "core/contract/types.hpp"
#include "net/json/text_run.hpp"

namespace portcullis::net {

class json_writer {
 public:
  explicit json_writer(core::byte_buffer& out) noexcept : out_(out) {}

  /// JSON text, as it is.
  json_writer& raw(std::string_view json) {
    out_.append(json);
    return *this;
  }
  /// UTF-8 text, quoted and escaped.
  json_writer& text(std::string_view utf8) {
    // What needs no escape, which is nearly everything, is copied.
    if (json::skip_plain_text(utf8.data(), 0, utf8.size()) != utf8.size()) {
      core::append_json_string(out_, utf8);
      return *this;
    }
    char* const at = out_.reserve(utf8.size() + 2);
    at[0] = '"';
    if (!utf8.empty()) std::memcpy(at + 1, utf8.data(), utf8.size());
    at[utf8.size() + 1] = '"';
    out_.commit(utf8.size() + 2);
    return *this;
  }
  template <class Int>
  json_writer& integer(Int value) {
    out_.append_int(value);
    return *this;
  }
  /// The shortest text that reads back as the same; finite.
  json_writer& decimal(double value) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    return raw({text, static_cast<std::size_t>(end - text)});
  }
  json_writer& boolean(bool value) { return raw(value ? "true" : "false"); }
  /// Lower-case hex digits, quoted.
  json_writer& hex(core::byte_view bytes) {
    char* const at = out_.reserve(bytes.size() * 2 + 2);
    at[0] = '"';
    core::to_hex(bytes, at + 1);
    at[bytes.size() * 2 + 1] = '"';
    out_.commit(bytes.size() * 2 + 2);
    return *this;
  }
  json_writer& handle(const core::session_handle& handle) {
    char text[core::handle_text_size];
    core::to_text(handle, text);
    out_.append('"');
    out_.append(std::string_view(text, sizeof text));
    out_.append('"');
    return *this;
  }
  /// Writes `separator` unless it is NUL, and makes it a comma.
  json_writer& separate(char& separator) {
    if (separator != '\0') out_.append(separator);
    separator = ',';
    return *this;
  }

 private:
  core::byte_buffer& out_;
};

}  // namespace portcullis::net
