// HMAC-SHA-256 (RFC 2104) with the key's two inner states computed once: a 32-byte message costs
// two compressions.
#pragma once
#include <openssl/sha.h>

#include <array>
#include <string_view>

#include "core/bytes.hpp"

namespace portcullis::core {

using digest = byte_array<32>;

[[nodiscard]] digest sha256(byte_view message) noexcept;

/// SHA-256 over what comes one after the other.
class running_sha256 {
 public:
  running_sha256() noexcept;
  running_sha256& add(byte_view part) noexcept;
  running_sha256& add(std::string_view part) noexcept { return add(as_bytes(part)); }
  /// Once.
  [[nodiscard]] digest finish() noexcept;

 private:
  SHA256_CTX state_;
};

class hmac_key {
 public:
  hmac_key() : hmac_key(byte_view{}) {}
  explicit hmac_key(byte_view key) noexcept;
  ~hmac_key();
  hmac_key(const hmac_key&) = default;
  hmac_key& operator=(const hmac_key&) = default;

  [[nodiscard]] digest operator()(byte_view message) const noexcept;
  [[nodiscard]] digest operator()(std::string_view message) const noexcept {
    return (*this)(as_bytes(message));
  }

  /// A MAC over parts that are not contiguous. Parts of varying length go in with their length
  /// (update_sized), so that no two lists of parts give the same bytes.
  class stream {
   public:
    stream& update(byte_view part) noexcept;
    /// The length as 4 bytes, little endian, then the part.
    stream& update_sized(byte_view part) noexcept;
    stream& update_sized(std::string_view part) noexcept { return update_sized(as_bytes(part)); }
    /// 8 bytes, little endian.
    stream& update_int(std::uint64_t value) noexcept;
    [[nodiscard]] digest finish() noexcept;

   private:
    friend class hmac_key;
    SHA256_CTX inner_, outer_;
  };
  [[nodiscard]] stream begin() const noexcept;

 private:
  SHA256_CTX inner_, outer_;
};

/// The first N bytes of a digest, or of what was cut from one.
template <std::size_t N, std::size_t Size>
[[nodiscard]] byte_array<N> cut(const byte_array<Size>& whole) noexcept {
  static_assert(N <= Size && Size <= 32);
  byte_array<N> part;
  std::memcpy(part.data(), whole.data(), N);
  return part;
}

/// Whether both are the same, in a time that does not depend on where they differ (ASVS 11.2.4).
/// Sizes are public.
[[nodiscard]] bool equal_secrets(byte_view a, byte_view b) noexcept;

}  // namespace portcullis::core
