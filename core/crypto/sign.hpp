// Ed25519 signatures (RFC 8032).
#pragma once
#include <memory>
#include <string_view>

#include "core/crypto/hmac.hpp"

struct evp_pkey_st;

namespace portcullis::core {

using public_key = byte_array<32>;
using signature = byte_array<64>;

/// A private key, from its 32-byte seed. Copies share it; any thread.
class signing_key {
 public:
  explicit signing_key(const digest& seed);
  /// Takes away all that OpenSSL keeps for the calling thread: the next use of OpenSSL on it starts
  /// anew. Meant for what is signed now and then.
  [[nodiscard]] signature sign(std::string_view message) const;
  [[nodiscard]] const public_key& verifier() const noexcept { return verifier_; }

 private:
  std::shared_ptr<evp_pkey_st> key_;
  public_key verifier_{};
};

[[nodiscard]] bool verifies(const public_key& by, std::string_view message,
                            const signature& what) noexcept;

}  // namespace portcullis::core
