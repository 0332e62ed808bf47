// What this process's own connections over TLS are made of: whom they trust, and who they are.
#pragma once
#include <openssl/types.h>

#include <memory>
#include <string>

#include "core/config/config.hpp"
#include "core/result.hpp"

namespace portcullis::net {

struct tls_client_options {
  std::string ca_file;                     // empty: the authorities that the system trusts
  std::string certificate_file, key_file;  // PEM; both or neither
  core::tls_version min_version = core::tls_version::v1_2;
  /// Refuse a key file that group or others may read.
  bool private_key_file = false;
};

/// Immutable; connections of all loops share it, and keep it while they live. A server's chain is
/// verified, always. Any thread.
class tls_client_context {
 public:
  /// Reads the files. CONFIG_INVALID, its field "ca_file", "certificate_file" or "key_file": a file
  /// that cannot be read or is none, a key of another certificate, one without the other, a key
  /// that others may read. `why` is a sentence for the operator.
  [[nodiscard]] static core::result<std::shared_ptr<const tls_client_context>> make(
      const tls_client_options& options, std::string& why);
  ~tls_client_context();
  tls_client_context(const tls_client_context&) = delete;
  tls_client_context& operator=(const tls_client_context&) = delete;

  [[nodiscard]] SSL_CTX* get() const noexcept { return made_; }

 private:
  explicit tls_client_context(SSL_CTX* made) noexcept : made_(made) {}
  SSL_CTX* made_;
};

}  // namespace portcullis::net
