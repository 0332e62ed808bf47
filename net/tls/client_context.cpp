#include "net/tls/client_context.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/stat.h>

#include <cstring>
#include <string_view>
#include <utility>

namespace portcullis::net {
namespace {

// AEAD with forward secrecy: RFC 9325, 4.2.
constexpr auto ciphers_of_tls_1_2 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

core::error refuse(std::string_view key, const std::string& file, std::string_view reason,
                   std::string& why) {
  why = fmt::format("{} {}: {}", key, file, reason);
  return core::fail(core::error_code::CONFIG_INVALID, key, "file");
}

/// The cause of OpenSSL's last failure, which is its oldest error; the queue is empty afterwards.
std::string take_reason() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  if (ERR_SYSTEM_ERROR(code)) {
    const char* text = ::strerrordesc_np(static_cast<int>(ERR_GET_REASON(code)));
    return text != nullptr ? text : "cannot be read";
  }
  const char* text = ERR_reason_error_string(code);
  return text != nullptr ? text : "cannot be read";
}

/// Nobody is asked: on a terminal OpenSSL would wait for whoever sits there.
int no_password(char*, int, int, void*) { return -1; }

core::status trust(SSL_CTX* to, const std::string& file, std::string& why) {
  if (file.empty()) {
    if (SSL_CTX_set_default_verify_paths(to) != 1) return refuse("ca_file", file, "none", why);
    return core::nothing{};
  }
  if (SSL_CTX_load_verify_file(to, file.c_str()) != 1)
    return refuse("ca_file", file, take_reason(), why);
  // What somebody names is trusted, also where it is an intermediate or the server's own.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(to), X509_V_FLAG_PARTIAL_CHAIN);
  return core::nothing{};
}

core::status identify(SSL_CTX* to, const tls_client_options& options, std::string& why) {
  const auto& [chain, key] = std::pair(options.certificate_file, options.key_file);
  if (chain.empty() && key.empty()) return core::nothing{};
  if (key.empty()) return refuse("key_file", key, "certificate_file needs one", why);
  if (chain.empty()) return refuse("certificate_file", chain, "key_file needs one", why);
  SSL_CTX_set_default_passwd_cb(to, &no_password);
  if (SSL_CTX_use_certificate_chain_file(to, chain.c_str()) != 1)
    return refuse("certificate_file", chain, take_reason(), why);
  struct stat info {};
  if (options.private_key_file && ::stat(key.c_str(), &info) == 0 &&
      (info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return refuse("key_file", key, "group or others may read it; chmod 600 it", why);
  // Checks that it is the certificate's, too.
  if (SSL_CTX_use_PrivateKey_file(to, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return refuse("key_file", key, take_reason(), why);
  return core::nothing{};
}

}  // namespace

core::result<std::shared_ptr<const tls_client_context>> tls_client_context::make(
    const tls_client_options& options, std::string& why) {
  ERR_clear_error();
  auto* to = SSL_CTX_new(TLS_client_method());
  if (to == nullptr) return refuse("tls", "", take_reason(), why);
  const std::shared_ptr<const tls_client_context> made(new tls_client_context(to));
  SSL_CTX_set_min_proto_version(
      to, options.min_version == core::tls_version::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  // What is cut off is seen by what it cuts.
  SSL_CTX_set_options(
      to, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(to, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(to, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(to, SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_set_cipher_list(to, ciphers_of_tls_1_2) != 1)
    return refuse("tls", "", take_reason(), why);
  if (auto done = trust(to, options.ca_file, why); !done) return done.error();
  if (auto done = identify(to, options, why); !done) return done.error();
  ERR_clear_error();
  return made;
}

tls_client_context::~tls_client_context() { SSL_CTX_free(made_); }

}  // namespace portcullis::net
