#include "core/crypto/sign.hpp"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <cstdlib>

namespace portcullis::core {
namespace {

using context_ptr = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

const std::uint8_t* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

/// Only a machine without memory fails here.
void require_done(bool done) {
  if (!done) std::abort();
}

}  // namespace

signing_key::signing_key(const digest& seed)
    : key_(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()),
           EVP_PKEY_free) {
  require_done(key_ != nullptr);
  std::size_t size = verifier_.size();
  require_done(EVP_PKEY_get_raw_public_key(key_.get(), verifier_.data(), &size) == 1);
}

signature signing_key::sign(std::string_view message) const {
  const context_ptr context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  signature out{};
  std::size_t size = out.size();
  require_done(
      context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
      EVP_DigestSign(context.get(), out.data(), &size, bytes_of(message), message.size()) == 1);
  // Rare, and on threads that may still be ending when the process does: what OpenSSL keeps for the
  // thread would look like a leak then.
  OPENSSL_thread_stop();
  return out;
}

bool verifies(const public_key& by, std::string_view message, const signature& what) noexcept {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, by.data(), by.size()), EVP_PKEY_free);
  const context_ptr context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const bool good =
      key && context &&
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
      EVP_DigestVerify(context.get(), what.data(), what.size(), bytes_of(message),
                       message.size()) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace portcullis::core
