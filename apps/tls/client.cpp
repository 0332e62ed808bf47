#include "apps/tls/client.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/err.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

namespace portcullis::apps {
namespace {

constexpr std::size_t names_told_max = 6;

/// Only a machine without memory fails here.
template <class T>
T need(T made) {
  if (!made) std::abort();
  return made;
}

/// The oldest error of the queue, which is the cause of the others; the queue is empty then.
unsigned long take_error() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  return code;
}

std::string reason_of(unsigned long code) {
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(static_cast<int>(ERR_GET_REASON(code)));
  const char* text = ERR_reason_error_string(code);
  return text != nullptr ? text : fmt::format("OpenSSL error {:x}", code);
}

bool is_address(const std::string& text) {
  std::array<unsigned char, 16> bytes{};
  return inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

/// A stranger's text, for a terminal.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) out += c > 0x20 && c < 0x7f ? c : '?';
  return out;
}

std::string name_text(const X509_NAME* name) {
  const bio_ptr memory(need(BIO_new(BIO_s_mem())));
  // Controls and everything past ASCII come out escaped.
  X509_NAME_print_ex(memory.get(), name, 0, XN_FLAG_ONELINE);
  char* at = nullptr;
  const auto size = BIO_get_mem_data(memory.get(), &at);
  return size > 0 ? std::string(at, static_cast<std::size_t>(size)) : std::string("nobody");
}

std::string time_text(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable time";
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

/// The names and addresses that a certificate is for.
std::string hosts_of(const X509* certificate) {
  const alternatives_ptr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string out;
  std::size_t told = 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = 0;
    const auto* value = static_cast<const ASN1_STRING*>(
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type));
    if (type != GEN_DNS && type != GEN_IPADD) continue;
    if (told++ == names_told_max) return out + ", ...";
    const auto* bytes = ASN1_STRING_get0_data(value);
    const int size = ASN1_STRING_length(value);
    std::array<char, INET6_ADDRSTRLEN> text{};
    std::string one;
    if (type == GEN_DNS)
      one = shown({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)});
    else if (size == 4 || size == 16)
      one = inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, text.data(), text.size());
    out += (out.empty() ? "" : ", ") + one;
  }
  return out.empty() ? "no host" : out;
}

/// What is wrong with `certificate`, which is the server's (depth 0) or of its chain.
std::string problem_of(int verdict, X509* certificate, int depth, const std::string& host,
                       const std::string& ca_file) {
  const std::string servers = "the server's certificate ";
  const auto whose = depth == 0 || certificate == nullptr
                         ? servers
                         : fmt::format("the certificate of {}, behind the server's, ",
                                       name_text(X509_get_subject_name(certificate)));
  switch (certificate != nullptr ? verdict : X509_V_ERR_UNSPECIFIED) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return fmt::format("the certificate is for {}, not for {}", hosts_of(certificate), host);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: {
      const auto signer = name_text(X509_get_issuer_name(certificate));
      return ca_file.empty()
                 ? fmt::format(
                       "{}is not signed by an authority that this system trusts, but by {}: give "
                       "its authority with --ca",
                       servers, signer)
                 : fmt::format("{}is not signed by an authority in {}, but by {}", servers, ca_file,
                               signer);
    }
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return whose + "expired at " + time_text(X509_get0_notAfter(certificate));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return whose + "is not valid before " + time_text(X509_get0_notBefore(certificate));
    case X509_V_ERR_INVALID_PURPOSE:
      return whose + "is not one for a server (extendedKeyUsage)";
    default:
      return whose + "was not accepted: " + X509_verify_cert_error_string(verdict);
  }
}

bool use_identity(SSL_CTX* context, const tls_options& given, std::string& why) {
  if (given.certificate_file.empty() != given.key_file.empty()) {
    why = "a client's certificate needs both --cert and --key";
    return false;
  }
  if (given.certificate_file.empty()) return true;
  if (SSL_CTX_use_certificate_chain_file(context, given.certificate_file.c_str()) != 1) {
    why = fmt::format("{}: no certificate can be read from it ({})", given.certificate_file,
                      reason_of(take_error()));
    return false;
  }
  // Checks that the key is the certificate's.
  if (SSL_CTX_use_PrivateKey_file(context, given.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    const auto code = take_error();
    why = ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH
              ? fmt::format("{}: is not the key of {}", given.key_file, given.certificate_file)
              : fmt::format("{}: no private key can be read from it ({})", given.key_file,
                            reason_of(code));
    return false;
  }
  return true;
}

bool use_authorities(SSL_CTX* context, const std::string& file, std::string& why) {
  if (file.empty()) {
    SSL_CTX_set_default_verify_paths(context);
    ERR_clear_error();
    return true;
  }
  if (SSL_CTX_load_verify_file(context, file.c_str()) != 1) {
    why = fmt::format("{}: no certificate can be read from it ({})", file, reason_of(take_error()));
    return false;
  }
  // What somebody names is trusted, also where it is an intermediate or the server's own.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  return true;
}

}  // namespace

std::optional<tls_client> tls_client::make(const tls_options& given, const std::string& host,
                                           std::string& why) {
  if (host.empty() && given.server_name.empty()) {  // OpenSSL would take it for "do not check"
    why = "the address names no host";
    return std::nullopt;
  }
  ssl_context_ptr context(need(SSL_CTX_new(TLS_client_method())));
  need(SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION));
  // A line that is cut off is seen as such: the end of a connection need not be authenticated.
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(context.get(), 1);  // one read a record, not two
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, verified);
  SSL_CTX_set_client_cert_cb(context.get(), asked_for_certificate);
  if (!use_authorities(context.get(), given.ca_file, why) ||
      !use_identity(context.get(), given, why))
    return std::nullopt;
  return tls_client(std::move(context), given,
                    given.server_name.empty() ? host : given.server_name);
}

tls_session tls_client::session(int descriptor) const {
  ssl_ptr ssl(need(SSL_new(context_.get())));
  auto kept = std::make_unique<tls_session::notes>();
  kept->host = host_;
  kept->ca_file = given_.ca_file;
  kept->certificate_file = given_.certificate_file;
  SSL_set_app_data(ssl.get(), kept.get());
  need(SSL_set_fd(ssl.get(), descriptor));
  if (is_address(host_)) {
    need(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host_.c_str()));
  } else {
    SSL_set_hostflags(ssl.get(),
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    need(SSL_set1_host(ssl.get(), host_.c_str()));
    // RFC 6066, 3: names only.
    need(SSL_set_tlsext_host_name(ssl.get(), host_.c_str()));
  }
  return {std::move(ssl), std::move(kept)};
}

int tls_client::verified(int good, X509_STORE_CTX* store) {
  if (good == 1) return 1;
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& kept = *static_cast<tls_session::notes*>(SSL_get_app_data(ssl));
  kept.certificate_problem =
      problem_of(X509_STORE_CTX_get_error(store), X509_STORE_CTX_get_current_cert(store),
                 X509_STORE_CTX_get_error_depth(store), kept.host, kept.ca_file);
  return 0;
}

int tls_client::asked_for_certificate(SSL* ssl, X509**, EVP_PKEY**) {
  static_cast<tls_session::notes*>(SSL_get_app_data(ssl))->asked = true;
  return 0;
}

std::string tls_session::why_alerted(int alert) const {
  const auto refused = [&](std::string_view why) {
    if (kept_->asked)
      return std::string("the server asks for a client certificate: give --cert and --key");
    return kept_->certificate_file.empty()
               ? fmt::format("TLS failed: the server says: {}", why)
               : fmt::format("the server did not accept the client certificate {}: {}",
                             kept_->certificate_file, why);
  };
  switch (alert) {
    case SSL_AD_CERTIFICATE_REQUIRED:
    case SSL_AD_BAD_CERTIFICATE:
      return refused("bad certificate");
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
      return refused("it is of an unsupported kind, or not for clients");
    case SSL_AD_CERTIFICATE_REVOKED:
      return refused("it is revoked");
    case SSL_AD_CERTIFICATE_EXPIRED:
      return refused("it has expired, or is not valid yet");
    case SSL_AD_CERTIFICATE_UNKNOWN:
      return refused("certificate unknown");
    case SSL_AD_UNKNOWN_CA:
      return refused("the server does not trust its authority");
    case SSL_AD_ACCESS_DENIED:
      return refused("access denied");
    case SSL_AD_HANDSHAKE_FAILURE:  // also how TLS 1.2 says that a certificate is required
      if (kept_->asked) return refused("");
      return "TLS handshake failed: the server shares no cipher or signature algorithm";
    case SSL_AD_PROTOCOL_VERSION:
      return "TLS handshake failed: the server speaks neither TLS 1.2 nor 1.3";
    case SSL_AD_UNRECOGNIZED_NAME:
      return "TLS handshake failed: the server has no certificate for " + kept_->host;
    default:
      return fmt::format("TLS failed: the server says: {}", SSL_alert_desc_string_long(alert));
  }
}

std::string tls_session::why_failed(int result, bool heard) const {
  const int failed = errno;
  const int kind = SSL_get_error(ssl_.get(), result);
  const auto code = take_error();
  if (!kept_->certificate_problem.empty()) return kept_->certificate_problem;
  const bool shaken = SSL_is_init_finished(ssl_.get()) == 1;
  const int reason = ERR_GET_REASON(code);
  if (kind == SSL_ERROR_SSL && reason > SSL_AD_REASON_OFFSET)
    return why_alerted(reason - SSL_AD_REASON_OFFSET);
  if (kind == SSL_ERROR_SSL) {
    switch (reason) {
      case SSL_R_WRONG_VERSION_NUMBER:
      case SSL_R_HTTP_REQUEST:
      case SSL_R_PACKET_LENGTH_TOO_LONG:
        if (!shaken) return "TLS handshake failed: the server speaks no TLS";
        break;
      case SSL_R_UNSUPPORTED_PROTOCOL:
        return "TLS handshake failed: the server speaks neither TLS 1.2 nor 1.3";
      default:
        break;
    }
    return fmt::format("TLS failed: {}", reason_of(code));
  }
  auto why = kind == SSL_ERROR_SYSCALL && failed != 0 && failed != EPIPE
                 ? std::string(std::strerror(failed))
                 : std::string("the server closed the connection");
  if (!shaken) why = "TLS handshake failed: " + why + "; does it speak TLS there?";
  // What it said of it may have been lost with the connection.
  else if (kept_->asked && !heard)
    why += "; it had asked for a client certificate: give --cert and --key";
  return why;
}

}  // namespace portcullis::apps
