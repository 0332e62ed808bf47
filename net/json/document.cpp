#include "net/json/document.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "net/json/text_run.hpp"

namespace portcullis::net::json {
namespace {

// Up to so many members every pair of keys is compared; above, the keys are sorted.
constexpr std::size_t pairwise_keys_max = 16;

char* put_utf8(std::uint32_t scalar, char* to) noexcept {
  if (scalar < 0x80) {
    *to++ = static_cast<char>(scalar);
  } else if (scalar < 0x800) {
    *to++ = static_cast<char>(0xC0 | scalar >> 6);
    *to++ = static_cast<char>(0x80 | (scalar & 0x3F));
  } else if (scalar < 0x10000) {
    *to++ = static_cast<char>(0xE0 | scalar >> 12);
    *to++ = static_cast<char>(0x80 | (scalar >> 6 & 0x3F));
    *to++ = static_cast<char>(0x80 | (scalar & 0x3F));
  } else {
    *to++ = static_cast<char>(0xF0 | scalar >> 18);
    *to++ = static_cast<char>(0x80 | (scalar >> 12 & 0x3F));
    *to++ = static_cast<char>(0x80 | (scalar >> 6 & 0x3F));
    *to++ = static_cast<char>(0x80 | (scalar & 0x3F));
  }
  return to;
}

char plain_escape(char c) noexcept {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;  // " \ /
  }
}

}  // namespace

std::size_t unescape(const char* from, std::size_t size, char* to) noexcept {
  char* const begin = to;
  std::size_t at = 0;
  while (at < size) {
    const auto* slash = static_cast<const char*>(std::memchr(from + at, '\\', size - at));
    const std::size_t plain =
        slash == nullptr ? size - at : static_cast<std::size_t>(slash - (from + at));
    std::memmove(to, from + at, plain);
    to += plain;
    at += plain;
    if (at == size) break;
    if (from[at + 1] != 'u') {
      *to++ = plain_escape(from[at + 1]);
      at += 2;
      continue;
    }
    std::uint32_t unit = read_hex4(from, at + 2, size).unit;
    at += 6;
    if (is_high_surrogate(unit) && at + 6 <= size && from[at] == '\\' && from[at + 1] == 'u') {
      const hex4 second = read_hex4(from, at + 2, size);
      if (second.complete && is_low_surrogate(second.unit)) {
        unit = 0x10000 + ((unit - 0xD800) << 10 | (second.unit - 0xDC00));
        at += 6;
      }
    }
    to = put_utf8(unit, to);
  }
  return static_cast<std::size_t>(to - begin);
}

void document::unescape_in_place(token& string) noexcept {
  char* const text = bytes_.data() + string.begin;
  string.end =
      static_cast<std::uint32_t>(string.begin + unescape(text, string.end - string.begin, text));
  string.escaped = false;
}

std::string_view document::key_text(const token& key) {
  const std::string_view raw(bytes_.data() + key.begin, key.end - key.begin);
  if (!key.escaped) return raw;
  // Reserved for the whole document: the views of earlier keys stay.
  const std::size_t start = scratch_.unescaped.size();
  scratch_.unescaped.resize(start + raw.size());
  char* const to = scratch_.unescaped.data() + start;
  return {to, unescape(raw.data(), raw.size(), to)};
}

bool document::has_duplicate_keys(std::size_t object) {
  const std::size_t end = tape_[object].next;
  std::size_t count = 0;
  bool any_escaped = false;
  for (std::size_t key = object + 1; key < end; key = tape_[key + 1].next) {
    ++count;
    any_escaped = any_escaped || tape_[key].escaped;
  }
  if (any_escaped) {
    scratch_.unescaped.clear();
    scratch_.unescaped.reserve(bytes_.size());
  }
  std::array<std::string_view, pairwise_keys_max> few;
  if (count > few.size()) scratch_.keys.resize(count);
  std::string_view* const keys = count > few.size() ? scratch_.keys.data() : few.data();
  std::size_t filled = 0;
  for (std::size_t key = object + 1; key < end; key = tape_[key + 1].next)
    keys[filled++] = key_text(tape_[key]);
  if (count > few.size()) {
    std::sort(keys, keys + count);
    return std::adjacent_find(keys, keys + count) != keys + count;
  }
  for (std::size_t i = 1; i < count; ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (keys[i] == keys[j]) return true;
  return false;
}

std::string_view document::ambiguity(std::size_t index) {
  for (std::size_t i = index; i < tape_[index].next; ++i) {
    if (tape_[i].lone_surrogate) return "lone_surrogate";
    if (tape_[i].kind == token_kind::object && has_duplicate_keys(i)) return "duplicate_key";
  }
  return {};
}

std::string_view document::minify(std::size_t index) noexcept {
  const token& value = tape_[index];
  if (value.kind != token_kind::object && value.kind != token_kind::array) return raw(index);
  char* const begin = bytes_.data() + value.begin;
  char* to = begin;
  std::size_t at = value.begin;
  const auto copy_until = [&](std::size_t end) {
    for (; at < end; ++at) {
      const char c = bytes_[at];
      if (c != ' ' && c != '\n' && c != '\r' && c != '\t') *to++ = c;
    }
  };
  for (std::size_t i = index + 1; i < value.next; ++i) {
    if (tape_[i].kind != token_kind::string) continue;
    copy_until(tape_[i].begin);
    const std::size_t size = tape_[i].end - tape_[i].begin;
    std::memmove(to, bytes_.data() + at, size);
    to += size;
    at += size;
  }
  copy_until(value.end);
  return {begin, static_cast<std::size_t>(to - begin)};
}

}  // namespace portcullis::net::json
