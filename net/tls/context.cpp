#include "net/tls/context.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

#include "core/bytes.hpp"
#include "core/crypto/hmac.hpp"

namespace portcullis::net {
namespace {

// AEAD with forward secrecy: RFC 9325, 4.2.
constexpr auto ciphers_of_tls_1_2 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr auto groups = "X25519:P-256:P-384";
constexpr int chain_length_max = 4;

/// The reason of OpenSSL's last error; the queue is empty afterwards.
std::string_view last_reason() {
  const auto code = ERR_peek_last_error();
  const char* text = ERR_reason_error_string(code);
  ERR_clear_error();
  return text != nullptr ? text : "cannot be read";
}

core::error refused(std::string_view key, const std::string& file, std::string_view reason,
                    std::string& why) {
  why = fmt::format("{} {}: {}", key, file, reason);
  return core::fail(core::error_code::CONFIG_INVALID, key, "file");
}

/// Why a file cannot be opened; empty when it can.
std::string_view unreadable(const std::string& file) {
  std::FILE* opened = std::fopen(file.c_str(), "re");
  if (opened == nullptr) return ::strerrordesc_np(errno);
  std::fclose(opened);
  return {};
}

bool others_may_read(const std::string& file) {
  struct stat info {};
  return ::stat(file.c_str(), &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

/// RFC 7301, 3.2. A client of the RPC listener that asks for something else is served all the same:
/// the first byte rule keeps other protocols out. HTTP has the alert that the RFC asks for.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned offered_size, void* use) {
  static constexpr unsigned char rpc[] = "\x0eportcullis-rpc";
  static constexpr unsigned char http[] = "\x08http/1.1";
  const bool is_rpc = use != nullptr;
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, out_size, is_rpc ? rpc : http,
                            is_rpc ? sizeof rpc - 1 : sizeof http - 1, offered,
                            offered_size) == OPENSSL_NPN_NEGOTIATED) {
    *out = found;
    return SSL_TLSEXT_ERR_OK;
  }
  return is_rpc ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

class maker {
 public:
  maker(const tls_options& options, ticket_keys& tickets, std::string& why)
      : options_(options), tickets_(tickets), why_(why) {}

  core::result<SSL_CTX*> make(tls_use use) {
    ERR_clear_error();
    auto* made = SSL_CTX_new(TLS_server_method());
    if (made == nullptr) return refused("tls", "", last_reason(), why_);
    auto done = fill(made, use);
    if (done) return made;
    SSL_CTX_free(made);
    return done.error();
  }

 private:
  core::status fill(SSL_CTX* to, tls_use use) {
    const int least =
        options_.min_version == core::tls_version::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_min_proto_version(to, least);
    SSL_CTX_set_options(to, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    // An idle connection keeps no buffers; a write goes on with whatever buffer has its bytes.
    SSL_CTX_set_mode(to, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                             SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(to, SSL_SESS_CACHE_OFF);  // tickets alone
    SSL_CTX_set_num_tickets(to, 1);
    SSL_CTX_set_timeout(to, core::limits::tls_ticket_key_ms / 1'000);
    if (SSL_CTX_set_cipher_list(to, ciphers_of_tls_1_2) != 1 ||
        SSL_CTX_set1_groups_list(to, groups) != 1)
      return refused("tls", "", last_reason(), why_);
    SSL_CTX_set_alpn_select_cb(to, &choose_protocol, use == tls_use::rpc ? to : nullptr);
    if (auto done = certificate(to); !done) return done;
    if (auto done = clients(to); !done) return done;
    tickets_.install(to);
    return sessions(to, use);
  }

  core::status certificate(SSL_CTX* to) {
    const auto& chain = options_.certificate_file;
    if (const auto reason = unreadable(chain); !reason.empty())
      return refused("tls.certificate_file", chain, reason, why_);
    if (SSL_CTX_use_certificate_chain_file(to, chain.c_str()) != 1)
      return refused("tls.certificate_file", chain, last_reason(), why_);
    const auto& key = options_.key_file;
    if (const auto reason = unreadable(key); !reason.empty())
      return refused("tls.key_file", key, reason, why_);
    if (options_.private_key_file && others_may_read(key))
      return refused("tls.key_file", key, "group or others may read it; chmod 600 it", why_);
    if (SSL_CTX_use_PrivateKey_file(to, key.c_str(), SSL_FILETYPE_PEM) != 1) {
      const auto reason = ERR_GET_REASON(ERR_peek_last_error());
      const bool other = reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH;
      const auto text = last_reason();
      return refused("tls.key_file", key, other ? "is not the key of tls.certificate_file" : text,
                     why_);
    }
    return core::nothing{};
  }

  core::status clients(SSL_CTX* to) {
    const auto& ca = options_.client_ca_file;
    if (options_.client_certificates == core::client_certificates::none) return core::nothing{};
    if (const auto reason = unreadable(ca); !reason.empty())
      return refused("tls.client_ca_file", ca, reason, why_);
    auto* names = SSL_load_client_CA_file(ca.c_str());
    if (names == nullptr || SSL_CTX_load_verify_file(to, ca.c_str()) != 1) {
      sk_X509_NAME_pop_free(names, X509_NAME_free);
      return refused("tls.client_ca_file", ca, last_reason(), why_);
    }
    SSL_CTX_set_client_CA_list(to, names);
    SSL_CTX_set_verify_depth(to, chain_length_max);
    SSL_CTX_set_verify(
        to,
        SSL_VERIFY_PEER | (options_.client_certificates == core::client_certificates::required
                               ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                               : 0),
        nullptr);
    const auto& crl = options_.crl_file;
    if (crl.empty()) return core::nothing{};
    if (const auto reason = unreadable(crl); !reason.empty())
      return refused("tls.crl_file", crl, reason, why_);
    auto* lookup = X509_STORE_add_lookup(SSL_CTX_get_cert_store(to), X509_LOOKUP_file());
    if (lookup == nullptr || X509_load_crl_file(lookup, crl.c_str(), X509_FILETYPE_PEM) < 1)
      return refused("tls.crl_file", crl, last_reason(), why_);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(to),
                                X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return core::nothing{};
  }

  /// A ticket holds what was verified when it was made. It is good only for a context that verifies
  /// by the same files: after a reload of a revocation list nobody comes in by an older ticket.
  core::status sessions(SSL_CTX* to, tls_use use) {
    std::string all = use == tls_use::rpc ? "rpc" : "http";
    all += core::client_certificates_names[static_cast<std::size_t>(options_.client_certificates)];
    for (const auto& file : {options_.client_ca_file, options_.crl_file}) {
      all += '\n';
      if (options_.client_certificates == core::client_certificates::none || file.empty()) continue;
      auto* in = BIO_new_file(file.c_str(), "r");
      std::array<char, 4096> part;
      int got = 0;
      while (in != nullptr && (got = BIO_read(in, part.data(), part.size())) > 0)
        all.append(part.data(), static_cast<std::size_t>(got));
      BIO_free(in);
    }
    const auto digest = core::sha256(core::as_bytes(all));
    static_assert(sizeof digest <= SSL_MAX_SID_CTX_LENGTH);
    if (SSL_CTX_set_session_id_context(to, digest.data(), digest.size()) != 1)
      return refused("tls", "", last_reason(), why_);
    return core::nothing{};
  }

  const tls_options& options_;
  ticket_keys& tickets_;
  std::string& why_;
};

std::int64_t end_of(const SSL_CTX* context) {
  const auto* certificate = SSL_CTX_get0_certificate(context);
  std::tm when{};
  if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &when) != 1)
    return 0;
  return ::timegm(&when);
}

}  // namespace

core::result<std::shared_ptr<const tls_context>> tls_context::make(const tls_options& options,
                                                                   ticket_keys& tickets,
                                                                   std::string& why) {
  std::shared_ptr<tls_context> made(new tls_context);
  maker from(options, tickets, why);
  auto rpc = from.make(tls_use::rpc);
  if (!rpc) return rpc.error();
  made->rpc_ = *rpc;
  auto http = from.make(tls_use::http);
  if (!http) return http.error();
  made->http_ = *http;
  made->ends_at_s_ = end_of(made->rpc_);
  return std::shared_ptr<const tls_context>(std::move(made));
}

tls_context::~tls_context() {
  SSL_CTX_free(rpc_);
  SSL_CTX_free(http_);
}

}  // namespace portcullis::net
