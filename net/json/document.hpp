// A scanned value with its bytes: reads strings (unescaping them in place), finds what JSON itself
// does not forbid but the contract does, and minifies.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/json/scanner.hpp"

namespace portcullis::net::json {

/// Memory that is reused between documents.
struct scratch {
  std::vector<std::string_view> keys;
  std::string unescaped;
};

/// Writes the text of a valid JSON string's inside to `to`, which may be `from`; never longer.
/// Returns its length. A lone surrogate becomes three bytes that are no UTF-8.
std::size_t unescape(const char* from, std::size_t size, char* to) noexcept;

/// Views bytes and tape of one complete value; both must outlive it. Single thread.
class document {
 public:
  document(std::span<char> bytes, std::span<token> tape, json::scratch& memory) noexcept
      : bytes_(bytes), tape_(tape), scratch_(memory) {}

  [[nodiscard]] const token& at(std::size_t index) const noexcept { return tape_[index]; }

  /// The string's text. Unescapes it over itself the first time.
  [[nodiscard]] std::string_view text(std::size_t index) noexcept {
    token& string = tape_[index];
    if (string.escaped) unescape_in_place(string);
    return {bytes_.data() + string.begin, string.end - string.begin};
  }

  /// The value's JSON text, of strings with the quotes. Of a string never unescaped: byte for byte
  /// as it came.
  [[nodiscard]] std::string_view raw(std::size_t index) const noexcept {
    const token& value = tape_[index];
    const std::size_t quote = value.kind == token_kind::string ? 1 : 0;
    return {bytes_.data() + value.begin - quote, value.end - value.begin + 2 * quote};
  }

  /// Whether two of the object's own keys are the same text. Changes nothing.
  [[nodiscard]] bool has_duplicate_keys(std::size_t object);

  /// "duplicate_key" or "lone_surrogate" when the value holds one, at any depth; else empty.
  /// Changes nothing.
  [[nodiscard]] std::string_view ambiguity(std::size_t index);

  /// The value without white space between tokens, over its own text. Strings and numbers keep
  /// their bytes. Afterwards the tokens inside the value do not fit any more. Only before any of
  /// its strings is unescaped.
  [[nodiscard]] std::string_view minify(std::size_t index) noexcept;

 private:
  void unescape_in_place(token& string) noexcept;
  std::string_view key_text(const token& key);

  std::span<char> bytes_;
  std::span<token> tape_;
  json::scratch& scratch_;
};

}  // namespace portcullis::net::json
