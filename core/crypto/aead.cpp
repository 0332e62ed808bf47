#include "core/crypto/aead.hpp"

#include <openssl/evp.h>

#include <memory>

namespace portcullis::core {
namespace {

struct free_context {
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};

// Fetching the cipher and allocating the context cost more than sealing a short text: both are
// kept, one a thread.
EVP_CIPHER_CTX* thread_context() {
  thread_local const std::unique_ptr<EVP_CIPHER_CTX, free_context> context = [] {
    std::unique_ptr<EVP_CIPHER_CTX, free_context> made(EVP_CIPHER_CTX_new());
    EVP_CipherInit_ex(made.get(), EVP_aes_256_gcm(), nullptr, nullptr, nullptr, 1);
    return made;
  }();
  return context.get();
}

unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

std::string seal(const aead_key& key, const aead_nonce& nonce, std::string_view plain,
                 std::string_view purpose) {
  auto* context = thread_context();
  std::string out(plain.size() + aead_overhead, '\0');
  std::memcpy(out.data(), nonce.data(), nonce.size());
  int n = 0;
  EVP_EncryptInit_ex(context, nullptr, nullptr, key.data(), nonce.data());
  EVP_EncryptUpdate(context, nullptr, &n, bytes_of(purpose), static_cast<int>(purpose.size()));
  EVP_EncryptUpdate(context, bytes_of(out) + 12, &n, bytes_of(plain),
                    static_cast<int>(plain.size()));
  EVP_EncryptFinal_ex(context, bytes_of(out) + 12 + plain.size(), &n);
  EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, bytes_of(out) + 12 + plain.size());
  return out;
}

std::optional<std::string> open(const aead_key& key, std::string_view sealed,
                                std::string_view purpose) {
  if (sealed.size() < aead_overhead) return std::nullopt;
  auto* context = thread_context();
  const auto size = sealed.size() - aead_overhead;
  std::string tag(sealed.substr(12 + size));
  std::string out(size, '\0');
  int n = 0;
  EVP_DecryptInit_ex(context, nullptr, nullptr, key.data(), bytes_of(sealed));
  EVP_DecryptUpdate(context, nullptr, &n, bytes_of(purpose), static_cast<int>(purpose.size()));
  EVP_DecryptUpdate(context, bytes_of(out), &n, bytes_of(sealed.substr(12)),
                    static_cast<int>(size));
  EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, tag.data());
  if (EVP_DecryptFinal_ex(context, bytes_of(out) + size, &n) != 1) return std::nullopt;
  return out;
}

}  // namespace portcullis::core
