#include "net/tls/ticket_keys.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <time.h>

#include <array>
#include <cstring>
#include <mutex>

namespace portcullis::net {
namespace {

constexpr std::size_t name_bytes = 16, key_bytes = 32;

/// Time since the machine's start: a ticket's life must not depend on a clock that may be set.
std::int64_t boot_ms() noexcept {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1'000 + now.tv_nsec / 1'000'000;
}

struct key {
  std::array<unsigned char, name_bytes> name{};
  std::array<unsigned char, key_bytes> cipher{}, mac{};
  std::int64_t made_ms = -1;  // none

  /// False, and it is as it was, when no random bytes are to be had.
  bool renew(std::int64_t now_ms) noexcept {
    key fresh;
    const bool drawn = RAND_bytes(fresh.name.data(), name_bytes) == 1 &&
                       RAND_priv_bytes(fresh.cipher.data(), key_bytes) == 1 &&
                       RAND_priv_bytes(fresh.mac.data(), key_bytes) == 1;
    if (drawn) {
      fresh.made_ms = now_ms;
      *this = fresh;
    }
    fresh.forget();
    return drawn;
  }
  void forget() noexcept {
    OPENSSL_cleanse(cipher.data(), key_bytes);
    OPENSSL_cleanse(mac.data(), key_bytes);
    made_ms = -1;
  }
};

int slot_of_context() noexcept {
  static const int slot = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return slot;
}

}  // namespace

struct ticket_keys::impl {
  explicit impl(std::int64_t every_ms) : rotate_ms(every_ms) {}
  ~impl() {
    present.forget();
    former.forget();
  }

  /// False when no random bytes are to be had: then no ticket is given or read.
  bool keep_fresh() noexcept {
    const auto now_ms = boot_ms();
    if (present.made_ms >= 0 && now_ms - present.made_ms < rotate_ms) return true;
    const auto before = present;
    if (!present.renew(now_ms)) return false;
    former = before;  // readable() says for how long
    return true;
  }
  [[nodiscard]] bool readable(const key& which) const noexcept {
    return which.made_ms >= 0 && boot_ms() - which.made_ms < 2 * rotate_ms;
  }

  std::mutex mutex;
  key present, former;  // guarded by mutex
  std::int64_t rotate_ms;

  int seal(const key& with, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) {
    const auto* aes = EVP_aes_256_cbc();
    return RAND_bytes(iv, EVP_CIPHER_get_iv_length(aes)) == 1 &&
                   EVP_EncryptInit_ex(cipher, aes, nullptr, with.cipher.data(), iv) == 1 &&
                   set_mac(with, mac)
               ? 1
               : -1;
  }
  static bool set_mac(const key& with, EVP_MAC_CTX* mac) {
    char digest[] = "SHA256";
    auto secret = with.mac;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, secret.data(), secret.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    const bool done = EVP_MAC_CTX_set_params(mac, parameters) == 1;
    OPENSSL_cleanse(secret.data(), secret.size());
    return done;
  }

  /// OpenSSL's SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 done, 2 done and renew, 0 unknown key, -1
  /// failed.
  static int choose(SSL* connection, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                    EVP_MAC_CTX* mac, int sealing) {
    auto* self =
        static_cast<impl*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), slot_of_context()));
    const std::lock_guard guard{self->mutex};
    if (!self->keep_fresh()) return 0;
    if (sealing != 0) {
      std::memcpy(name, self->present.name.data(), name_bytes);
      return self->seal(self->present, iv, cipher, mac);
    }
    const auto* found = &self->present;
    if (std::memcmp(name, found->name.data(), name_bytes) != 0) found = &self->former;
    if (!self->readable(*found) || std::memcmp(name, found->name.data(), name_bytes) != 0) return 0;
    if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, found->cipher.data(), iv) != 1 ||
        !set_mac(*found, mac))
      return -1;
    // TLS 1.3 clients use a ticket once (RFC 8446, C.4): they are given a new one with each.
    return found == &self->former || SSL_version(connection) >= TLS1_3_VERSION ? 2 : 1;
  }
};

ticket_keys::ticket_keys(std::int64_t rotate_ms) : impl_(std::make_unique<impl>(rotate_ms)) {}
ticket_keys::~ticket_keys() = default;

void ticket_keys::install(SSL_CTX* context) {
  SSL_CTX_set_ex_data(context, slot_of_context(), impl_.get());
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, &impl::choose);
}

}  // namespace portcullis::net
