// The low-level SHA-256 functions are deprecated in OpenSSL 3 in favour of EVP, whose per-call
// context copy and provider dispatch cost more than the two compressions they wrap
// (docs/decisions/0003-low-level-sha256.md).
#define OPENSSL_SUPPRESS_DEPRECATED
#include "core/crypto/hmac.hpp"

#include <openssl/crypto.h>

namespace portcullis::core {
namespace {

void to_little_endian(std::uint64_t value, std::uint8_t* out, int bytes) noexcept {
  for (int i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

}  // namespace

running_sha256::running_sha256() noexcept { SHA256_Init(&state_); }

running_sha256& running_sha256::add(byte_view part) noexcept {
  SHA256_Update(&state_, part.data(), part.size());
  return *this;
}

digest running_sha256::finish() noexcept {
  digest out;
  SHA256_Final(out.data(), &state_);
  return out;
}

digest sha256(byte_view message) noexcept {
  digest out;
  SHA256(message.data(), message.size(), out.data());
  return out;
}

hmac_key::hmac_key(byte_view key) noexcept {
  byte_array<64> block{};
  if (key.size() > block.size()) {
    const auto hashed = sha256(key);
    std::memcpy(block.data(), hashed.data(), hashed.size());
  } else if (!key.empty()) {
    std::memcpy(block.data(), key.data(), key.size());
  }
  for (auto& byte : block) byte ^= 0x36;
  SHA256_Init(&inner_);
  SHA256_Update(&inner_, block.data(), block.size());
  for (auto& byte : block) byte ^= 0x36 ^ 0x5c;
  SHA256_Init(&outer_);
  SHA256_Update(&outer_, block.data(), block.size());
  OPENSSL_cleanse(block.data(), block.size());
}

hmac_key::~hmac_key() {
  OPENSSL_cleanse(&inner_, sizeof inner_);
  OPENSSL_cleanse(&outer_, sizeof outer_);
}

digest hmac_key::operator()(byte_view message) const noexcept {
  return begin().update(message).finish();
}

hmac_key::stream hmac_key::begin() const noexcept {
  stream parts;
  parts.inner_ = inner_;
  parts.outer_ = outer_;
  return parts;
}

hmac_key::stream& hmac_key::stream::update(byte_view part) noexcept {
  SHA256_Update(&inner_, part.data(), part.size());
  return *this;
}

hmac_key::stream& hmac_key::stream::update_sized(byte_view part) noexcept {
  byte_array<4> size;
  to_little_endian(part.size(), size.data(), 4);
  return update(size).update(part);
}

hmac_key::stream& hmac_key::stream::update_int(std::uint64_t value) noexcept {
  byte_array<8> bytes;
  to_little_endian(value, bytes.data(), 8);
  return update(bytes);
}

digest hmac_key::stream::finish() noexcept {
  digest out;
  SHA256_Final(out.data(), &inner_);
  SHA256_Update(&outer_, out.data(), out.size());
  SHA256_Final(out.data(), &outer_);
  return out;
}

bool equal_secrets(byte_view a, byte_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace portcullis::core
