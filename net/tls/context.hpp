// What a TLS listener is made of: certificate, key, who may sign clients' certificates, what is
// spoken. Made from files, replaced as a whole by a reload.
#pragma once
#include <openssl/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/bytes.hpp"
#include "core/config/config.hpp"
#include "core/limits.hpp"
#include "core/result.hpp"
#include "net/tls/ticket_keys.hpp"

namespace portcullis::net {

/// What a listener's clients speak over TLS: what ALPN (RFC 7301) agrees on.
enum class tls_use : std::uint8_t { rpc, http };

struct tls_options {
  std::string certificate_file, key_file;
  std::string client_ca_file, crl_file;  // empty: none
  core::client_certificates client_certificates = core::client_certificates::none;
  core::tls_version min_version = core::tls_version::v1_2;
  /// Refuse a key file that group or others may read.
  bool private_key_file = false;
};

/// Immutable; connections of all loops share it, and keep it while they live. Any thread.
class tls_context {
 public:
  /// Reads the files. CONFIG_INVALID, its field the key of the configuration: a file that cannot be
  /// read or is none, a key of another certificate, a key that others may read. `why` is a sentence
  /// for the operator. `tickets` must outlive the context.
  [[nodiscard]] static core::result<std::shared_ptr<const tls_context>> make(
      const tls_options& options, ticket_keys& tickets, std::string& why);
  ~tls_context();
  tls_context(const tls_context&) = delete;
  tls_context& operator=(const tls_context&) = delete;

  [[nodiscard]] SSL_CTX* get(tls_use use) const noexcept {
    return use == tls_use::rpc ? rpc_ : http_;
  }
  /// When the server's certificate ends: seconds since the epoch.
  [[nodiscard]] std::int64_t ends_at_s() const noexcept { return ends_at_s_; }
  /// When the first of the revocation lists ends, the same; 0: there is none, or it does not say.
  [[nodiscard]] std::int64_t lists_end_at_s() const noexcept { return lists_end_at_s_; }
  /// Hashes of what the files held, by the keys of the configuration that name them.
  [[nodiscard]] const std::map<std::string, core::byte_array<32>>& files() const noexcept {
    return files_;
  }

 private:
  friend class tls_context_maker;
  tls_context() = default;
  SSL_CTX* rpc_ = nullptr;
  SSL_CTX* http_ = nullptr;
  std::int64_t ends_at_s_ = 0;
  std::int64_t lists_end_at_s_ = 0;  // when the first of the revocation lists does; 0: none
  std::map<std::string, core::byte_array<32>> files_;
};

/// The context in force. Any thread.
class tls_contexts {
 public:
  [[nodiscard]] std::shared_ptr<const tls_context> current() const {
    const std::lock_guard guard{mutex_};
    return current_;
  }
  /// Connections that are open, or opening, keep what they have.
  void replace(std::shared_ptr<const tls_context> next) {
    const std::lock_guard guard{mutex_};
    current_ = std::move(next);
    ++replaced_;
  }
  /// How often, the first time included.
  [[nodiscard]] std::uint64_t replaced() const {
    const std::lock_guard guard{mutex_};
    return replaced_;
  }
  [[nodiscard]] ticket_keys& tickets() noexcept { return tickets_; }

 private:
  mutable std::mutex mutex_;
  ticket_keys tickets_{core::limits::tls_ticket_key_ms};  // outlives what uses it
  std::shared_ptr<const tls_context> current_;            // guarded by mutex_
  std::uint64_t replaced_ = 0;                            // guarded by mutex_
};

}  // namespace portcullis::net
