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
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
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
constexpr std::size_t file_bytes_max = 1024 * 1024;

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

struct bio_freer {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
using bio = std::unique_ptr<BIO, bio_freer>;
struct x509_freer {
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
using certificate_ptr = std::unique_ptr<X509, x509_freer>;

/// Nobody is asked: on a terminal OpenSSL would wait for whoever sits there.
int no_password(char*, int, int, void*) { return -1; }

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

std::int64_t seconds_of(const ASN1_TIME* when) {
  std::tm parts{};
  return when != nullptr && ASN1_TIME_to_tm(when, &parts) == 1 ? ::timegm(&parts) : 0;
}

}  // namespace

/// Makes one context from its files, each of which is read once.
class tls_context_maker {
 public:
  tls_context_maker(const tls_options& options, ticket_keys& tickets, std::string& why)
      : options_(options), tickets_(tickets), why_(why), made_(new tls_context) {}

  core::result<std::shared_ptr<const tls_context>> make() {
    ERR_clear_error();
    if (auto done = read_files(); !done) return done.error();
    for (const auto use : {tls_use::rpc, tls_use::http}) {
      auto*& into = use == tls_use::rpc ? made_->rpc_ : made_->http_;
      into = SSL_CTX_new(TLS_server_method());
      if (into == nullptr) return refused("tls", "", last_reason(), why_);
      if (auto done = fill(into, use); !done) return done.error();
    }
    made_->ends_at_s_ = seconds_of(X509_get0_notAfter(SSL_CTX_get0_certificate(made_->rpc_)));
    return std::shared_ptr<const tls_context>(std::move(made_));
  }

 private:
  struct file {
    const char* key;
    std::string path;
    std::string text = {};
    [[nodiscard]] bio reader() const {
      return bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    }
  };

  core::status refuse(const file& which, std::string_view reason) {
    return refused(which.key, which.path, reason, why_);
  }

  core::status read_files() {
    const bool clients = options_.client_certificates != core::client_certificates::none;
    for (auto* each : {&chain_, &key_, &ca_, &crl_}) {
      if ((each == &ca_ || each == &crl_) && (!clients || each->path.empty())) continue;
      std::FILE* in = std::fopen(each->path.c_str(), "re");
      if (in == nullptr) return refuse(*each, ::strerrordesc_np(errno));
      std::array<char, 4096> part;
      std::size_t got = 0;
      while ((got = std::fread(part.data(), 1, part.size(), in)) > 0 &&
             each->text.size() <= file_bytes_max)
        each->text.append(part.data(), got);
      const bool failed = std::ferror(in) != 0;
      std::fclose(in);
      if (failed) return refuse(*each, "cannot be read");
      if (each->text.size() > file_bytes_max) return refuse(*each, "is larger than 1 MiB");
      made_->files_[each->key] = core::sha256(core::as_bytes(each->text));
    }
    if (options_.private_key_file && others_may_read(key_.path))
      return refuse(key_, "group or others may read it; chmod 600 it");
    return core::nothing{};
  }

  core::status fill(SSL_CTX* to, tls_use use) {
    const int least =
        options_.min_version == core::tls_version::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_min_proto_version(to, least);
    // A FIN without close_notify, as many clients send it, ends input as one with it does: what is
    // cut off is seen by what it cuts, a value of JSON or a body.
    SSL_CTX_set_options(to, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                SSL_OP_IGNORE_UNEXPECTED_EOF);
    // A write goes on with whatever buffer has its bytes. Not SSL_MODE_RELEASE_BUFFERS, which costs
    // an allocation of 17 KiB a record: idle connections shed them (shed_buffers()).
    SSL_CTX_set_mode(to, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
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
    SSL_CTX_set_session_ticket_cb(to, nullptr, &judge_ticket, made_.get());
    return sessions(to, use);
  }

  core::status certificate(SSL_CTX* to) {
    const auto chain = chain_.reader(), key = key_.reader();
    certificate_ptr own(PEM_read_bio_X509_AUX(chain.get(), nullptr, &no_password, nullptr));
    if (!own || SSL_CTX_use_certificate(to, own.get()) != 1) return refuse(chain_, last_reason());
    for (;;) {
      certificate_ptr next(PEM_read_bio_X509(chain.get(), nullptr, &no_password, nullptr));
      if (!next) break;  // the end; what follows that is no certificate is not looked at
      if (SSL_CTX_add1_chain_cert(to, next.get()) != 1) return refuse(chain_, last_reason());
    }
    ERR_clear_error();
    auto* secret = PEM_read_bio_PrivateKey(key.get(), nullptr, &no_password, nullptr);
    if (secret == nullptr) {
      const bool locked = key_.text.find("ENCRYPTED") != std::string::npos;
      const auto reason = last_reason();
      return refuse(key_, locked ? "has a password; store it without one" : reason);
    }
    const bool used = SSL_CTX_use_PrivateKey(to, secret) == 1;
    EVP_PKEY_free(secret);
    if (used) return core::nothing{};
    ERR_clear_error();
    return refuse(key_, "is not the key of tls.certificate_file");
  }

  core::status clients(SSL_CTX* to) {
    if (options_.client_certificates == core::client_certificates::none) return core::nothing{};
    auto* store = SSL_CTX_get_cert_store(to);
    const auto authorities = ca_.reader();
    int count = 0;
    for (;; ++count) {
      certificate_ptr next(PEM_read_bio_X509(authorities.get(), nullptr, &no_password, nullptr));
      if (!next) break;
      if (X509_STORE_add_cert(store, next.get()) != 1 || SSL_CTX_add_client_CA(to, next.get()) != 1)
        return refuse(ca_, last_reason());
    }
    if (count == 0) return refuse(ca_, last_reason());
    ERR_clear_error();
    const bool required = options_.client_certificates == core::client_certificates::required;
    SSL_CTX_set_verify_depth(to, chain_length_max);
    SSL_CTX_set_verify(to, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       nullptr);
    return crl_.path.empty() ? core::status(core::nothing{}) : lists(to, store);
  }

  core::status lists(SSL_CTX* to, X509_STORE* store) {
    const auto from = crl_.reader();
    int count = 0;
    for (;; ++count) {
      auto* list = PEM_read_bio_X509_CRL(from.get(), nullptr, &no_password, nullptr);
      if (list == nullptr) break;
      const auto ends = seconds_of(X509_CRL_get0_nextUpdate(list));
      auto& first = made_->lists_end_at_s_;
      if (ends != 0 && (first == 0 || ends < first)) first = ends;
      const bool added = X509_STORE_add_crl(store, list) == 1;
      X509_CRL_free(list);
      if (!added) return refuse(crl_, last_reason());
    }
    if (count == 0) return refuse(crl_, last_reason());
    ERR_clear_error();
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(to),
                                X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return core::nothing{};
  }

  /// A ticket holds what was verified when it was made. It is good only for a context that verifies
  /// by the same files: after a reload of a revocation list nobody comes in by an older ticket.
  core::status sessions(SSL_CTX* to, tls_use use) {
    std::string all = use == tls_use::rpc ? "rpc" : "http";
    all += core::client_certificates_names[static_cast<std::size_t>(options_.client_certificates)];
    for (const auto* each : {&ca_, &crl_}) all.append("\n").append(each->text);
    const auto digest = core::sha256(core::as_bytes(all));
    static_assert(sizeof digest <= SSL_MAX_SID_CTX_LENGTH);
    if (SSL_CTX_set_session_id_context(to, digest.data(), digest.size()) != 1)
      return refused("tls", "", last_reason(), why_);
    return core::nothing{};
  }

  /// And it is good only while the client's certificate and the lists are: OpenSSL does not look
  /// again when a session is resumed (SSL_CTX_set_session_ticket_cb(3)).
  static SSL_TICKET_RETURN judge_ticket(SSL*, SSL_SESSION* session, const unsigned char*,
                                        std::size_t, SSL_TICKET_STATUS status, void* of) {
    const bool read = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!read || session == nullptr) return SSL_TICKET_RETURN_IGNORE_RENEW;
    const auto* client = SSL_SESSION_get0_peer(session);
    const auto lists_end_at_s = static_cast<const tls_context*>(of)->lists_end_at_s_;
    const bool over =
        client != nullptr && (X509_cmp_current_time(X509_get0_notAfter(client)) <= 0 ||
                              (lists_end_at_s != 0 && std::time(nullptr) >= lists_end_at_s));
    if (over) return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
  }

  const tls_options& options_;
  ticket_keys& tickets_;
  std::string& why_;
  std::shared_ptr<tls_context> made_;
  file chain_{"tls.certificate_file", options_.certificate_file};
  file key_{"tls.key_file", options_.key_file};
  file ca_{"tls.client_ca_file", options_.client_ca_file};
  file crl_{"tls.crl_file", options_.crl_file};
};

core::result<std::shared_ptr<const tls_context>> tls_context::make(const tls_options& options,
                                                                   ticket_keys& tickets,
                                                                   std::string& why) {
  return tls_context_maker(options, tickets, why).make();
}

tls_context::~tls_context() {
  SSL_CTX_free(rpc_);
  SSL_CTX_free(http_);
}

}  // namespace portcullis::net
