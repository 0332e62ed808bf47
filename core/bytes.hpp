// Bytes, their text forms, and the output buffer that replies are written into.
#pragma once
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace portcullis::core {

using byte_view = std::span<const std::uint8_t>;
template <std::size_t N>
using byte_array = std::array<std::uint8_t, N>;

[[nodiscard]] inline byte_view as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(byte_view bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Writes 2 * bytes.size() lower-case hex digits to `out`.
void to_hex(byte_view bytes, char* out) noexcept;
[[nodiscard]] std::string to_hex(byte_view bytes);

/// Decodes exactly 2 * out.size() *lower-case* hex digits. False, and `out` unspecified, for any
/// other text.
[[nodiscard]] bool from_hex(std::string_view text, std::span<std::uint8_t> out) noexcept;

/// Unpadded base64url (RFC 4648, section 5).
[[nodiscard]] std::string to_base64url(byte_view bytes);
void to_base64url(byte_view bytes, char* out) noexcept;
[[nodiscard]] constexpr std::size_t base64url_size(std::size_t bytes) noexcept {
  return (bytes * 4 + 2) / 3;
}

/// Strict: no padding, no other characters, no non-zero bits past the last byte (one text for one
/// value).
[[nodiscard]] std::optional<std::string> from_base64url(std::string_view text);
[[nodiscard]] bool from_base64url(std::string_view text, std::span<std::uint8_t> out) noexcept;

/// A growing buffer without std::string's zero-fill: the caller reserves, writes past size() and
/// commits.
class byte_buffer {
 public:
  byte_buffer() = default;
  /// What was moved from is empty and may be used again.
  byte_buffer(byte_buffer&& other) noexcept
      : bytes_(std::move(other.bytes_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  byte_buffer& operator=(byte_buffer&& other) noexcept {
    if (this == &other) return *this;
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  [[nodiscard]] const char* data() const noexcept { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes_.get(), size_}; }

  /// Room for `n` more bytes at the returned pointer; nothing is written until commit().
  [[nodiscard]] char* reserve(std::size_t n) {
    if (capacity_ - size_ < n) grow(n);
    return bytes_.get() + size_;
  }
  void commit(std::size_t n) noexcept { size_ += n; }

  void append(std::string_view text) {
    if (text.empty()) return;
    std::memcpy(reserve(text.size()), text.data(), text.size());
    size_ += text.size();
  }
  void append(char c) {
    *reserve(1) = c;
    ++size_;
  }
  template <class Int>
  void append_int(Int value) {
    char* at = reserve(24);
    size_ += static_cast<std::size_t>(std::to_chars(at, at + 24, value).ptr - at);
  }
  /// Drops the first `n` bytes.
  void consume(std::size_t n) noexcept {
    if (n < size_) std::memmove(bytes_.get(), bytes_.get() + n, size_ - n);
    size_ -= n;
  }
  void clear() noexcept { size_ = 0; }
  /// Gives the memory back.
  void release() noexcept {
    bytes_.reset();
    size_ = capacity_ = 0;
  }

 private:
  void grow(std::size_t n);
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// Appends `text` as a JSON string with its quotes: the two-character escapes, \u00XX for other
/// controls, all else as is. `text` must be UTF-8.
void append_json_string(byte_buffer& out, std::string_view text);

}  // namespace portcullis::core
