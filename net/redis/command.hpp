// A command to a Redis server: words of any bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.hpp"

namespace portcullis::net::redis {

class command {
 public:
  command(std::initializer_list<std::string_view> words);

  command& add(std::string_view word);
  command& add(std::int64_t value);
  command& add(std::span<const std::string_view> words);

  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
  /// `index` < size().
  [[nodiscard]] std::string_view operator[](std::size_t index) const noexcept;
  /// The same with other words in place of the first two. size() >= 2.
  [[nodiscard]] command renamed(std::string_view first, std::string_view second) const;
  /// At least what it takes on the wire.
  [[nodiscard]] std::size_t wire_bytes_max() const noexcept {
    return bytes_.size() + 32 * (ends_.size() + 1);
  }
  /// Appends it as the wire has it: a RESP array of bulk strings. Throws std::bad_alloc.
  void write(core::byte_buffer& to) const;

 private:
  std::string bytes_;
  std::vector<std::size_t> ends_;  // of each word, in bytes_
};

/// A Lua script and the name that the server gives it (SCRIPT LOAD): SHA-1 in lower-case hex.
struct script {
  std::string text;
  std::string sha1;

  [[nodiscard]] static script of(std::string text);
};

}  // namespace portcullis::net::redis
