// Bytes that nobody may find in memory once their owner is gone.
#pragma once
#include <openssl/crypto.h>

#include "core/bytes.hpp"

namespace portcullis::core {

/// N secret bytes, zero at first, wiped when they die. Copies are as many secrets.
template <std::size_t N>
class secret_bytes : public byte_array<N> {
 public:
  secret_bytes() noexcept : byte_array<N>{} {}
  // Implicit: what is derived comes as a digest.
  secret_bytes(const byte_array<N>& bytes) noexcept : byte_array<N>(bytes) {}
  secret_bytes(const secret_bytes&) noexcept = default;
  secret_bytes& operator=(const secret_bytes&) noexcept = default;
  ~secret_bytes() { OPENSSL_cleanse(this->data(), N); }
};

}  // namespace portcullis::core
