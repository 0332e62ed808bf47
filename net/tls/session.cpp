#include "net/tls/session.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <utility>

namespace portcullis::net {

namespace {

constexpr std::size_t spare_bytes_max = 64 * 1024;

/// Of the thread: what is encrypted is most often sent at once, and the memory free again.
core::byte_buffer& spare_buffer() {
  thread_local core::byte_buffer spare;
  return spare;
}

}  // namespace

/// The BIO between OpenSSL and the session: reads what was fed, writes to pending.
struct tls_wire {
  static int write(BIO* bio, const char* bytes, int size) {
    auto& self = *static_cast<tls_session*>(BIO_get_data(bio));
    if (self.pending_.capacity() == 0) std::swap(self.pending_, spare_buffer());
    self.pending_.append({bytes, static_cast<std::size_t>(size)});
    return size;
  }
  static int read(BIO* bio, char* into, int room) {
    auto& self = *static_cast<tls_session*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (self.fed_.empty()) {
      if (self.over_) return 0;
      BIO_set_retry_read(bio);
      return -1;
    }
    const auto part = std::min(self.fed_.size(), static_cast<std::size_t>(room));
    std::memcpy(into, self.fed_.data(), part);
    self.fed_.remove_prefix(part);
    return static_cast<int>(part);
  }
  static long control(BIO* bio, int command, long, void*) {
    const auto& self = *static_cast<const tls_session*>(BIO_get_data(bio));
    if (command == BIO_CTRL_EOF) return self.over_ && self.fed_.empty() ? 1 : 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }
  static const BIO_METHOD* method() {
    static BIO_METHOD* made = [] {
      auto* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "portcullis wire");
      if (fresh == nullptr) throw std::bad_alloc();
      BIO_meth_set_write(fresh, &write);
      BIO_meth_set_read(fresh, &read);
      BIO_meth_set_ctrl(fresh, &control);
      return fresh;
    }();
    return made;
  }
};

namespace {

constexpr std::size_t record_bytes_max = 16 * 1024;
constexpr std::size_t subject_bytes_max = 256;
constexpr int alternative_names_max = 64;

core::tls_failure failure_of(unsigned long code) noexcept {
  using core::tls_failure;
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return tls_failure::other;
  const int reason = ERR_GET_REASON(code);
  switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_UNKNOWN_PROTOCOL:
      return tls_failure::version;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
      return tls_failure::cipher;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return tls_failure::certificate_missing;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_NO_CERTIFICATE_ASSIGNED:
      return tls_failure::certificate_refused;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
      return tls_failure::not_tls;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return tls_failure::closed;
    default:
      // OpenSSL's codes of alerts that came are 1000 and the alert's number (ssl(7)).
      return reason >= SSL_AD_REASON_OFFSET ? tls_failure::refused_by_peer : tls_failure::other;
  }
}

std::string text_of(const ASN1_STRING* from) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(from)),
          static_cast<std::size_t>(ASN1_STRING_length(from))};
}

/// As [[auth.certificate]] writes it; empty for a kind that it does not know, and for a name with a
/// NUL, which other software may read as its end.
std::string name_of(const GENERAL_NAME& name) {
  std::string made;
  switch (name.type) {
    case GEN_DNS:
      made = "DNS:" + text_of(name.d.dNSName);
      break;
    case GEN_URI:
      made = "URI:" + text_of(name.d.uniformResourceIdentifier);
      break;
    case GEN_EMAIL:
      made = "EMAIL:" + text_of(name.d.rfc822Name);
      break;
    case GEN_IPADD: {
      const auto bytes = text_of(name.d.iPAddress);
      core::ip_address address;
      if (bytes.size() == 4) {
        address.bytes[10] = address.bytes[11] = 0xFF;
        std::memcpy(address.bytes.data() + 12, bytes.data(), 4);
      } else if (bytes.size() == 16) {
        std::memcpy(address.bytes.data(), bytes.data(), 16);
      } else {
        return {};
      }
      return "IP:" + core::to_text(address);
    }
    default:  // NOLINT: other kinds name nobody here
      return {};
  }
  return made.find('\0') == std::string::npos ? made : std::string();
}

std::string subject_of(const X509* certificate) {
  auto* out = BIO_new(BIO_s_mem());
  if (out == nullptr) return {};
  X509_NAME_print_ex(out, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
  char* at = nullptr;
  const long size = BIO_get_mem_data(out, &at);
  std::string text(at, static_cast<std::size_t>(std::clamp(size, 0L, long{subject_bytes_max})));
  BIO_free(out);
  return text;
}

}  // namespace

tls_session::tls_session(std::shared_ptr<const void> context, SSL_CTX* from)
    : context_(std::move(context)), ssl_(SSL_new(from)) {
  auto* wire = ssl_ != nullptr ? BIO_new(tls_wire::method()) : nullptr;
  if (wire == nullptr) {
    SSL_free(ssl_);
    throw std::bad_alloc();
  }
  BIO_set_data(wire, this);
  BIO_set_init(wire, 1);
  SSL_set_bio(ssl_, wire, wire);
}

tls_session::tls_session(std::shared_ptr<const tls_context> context, tls_use use)
    : tls_session(context, context->get(use)) {
  SSL_set_accept_state(ssl_);
}

tls_session::tls_session(std::shared_ptr<const tls_client_context> context,
                         const std::string& server)
    : tls_session(context, context->get()) {
  SSL_set_connect_state(ssl_);
  assert(!server.empty());
  bool set = false;
  if (core::parse_ip(server)) {
    set = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), server.c_str()) == 1;
  } else {
    SSL_set_hostflags(ssl_,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    set = SSL_set1_host(ssl_, server.c_str()) == 1 &&
          SSL_set_tlsext_host_name(ssl_, server.c_str()) == 1;
  }
  if (!set) throw std::bad_alloc();  // the destructor of what is constructed already frees ssl_
}

tls_session::~tls_session() { SSL_free(ssl_); }

void tls_session::all_sent() noexcept {
  pending_.clear();
  auto& spare = spare_buffer();
  if (spare.capacity() == 0 && pending_.capacity() <= spare_bytes_max)
    std::swap(spare, pending_);
  else
    pending_.release();
}

void tls_session::keep_left() {
  // What is left may stand in kept_ itself.
  if (fed_.empty())
    std::string().swap(kept_);
  else
    kept_ = std::string(fed_);
  fed_ = kept_;
}

tls_session::status tls_session::after(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_NONE:
      return status::done;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return status::more;
    case SSL_ERROR_ZERO_RETURN:
      return status::ended;
    default: {  // NOLINT: SSL, SYSCALL and what cannot happen here
      const long verdict = SSL_get_verify_result(ssl_);
      const char* text = verdict != X509_V_OK && SSL_is_server(ssl_) == 0
                             ? X509_verify_cert_error_string(verdict)
                             : ERR_reason_error_string(ERR_peek_error());
      reason_ = text != nullptr ? text : "";
      return status::failed;
    }
  }
}

tls_session::status tls_session::shake_hands() {
  ERR_clear_error();  // SSL_get_error(3) reads the thread's queue (hazards H11)
  const int result = SSL_do_handshake(ssl_);
  const auto found = after(result);
  if (found == status::failed || found == status::ended) {
    failure_ = over_ ? core::tls_failure::closed : failure_of(ERR_peek_error());
    ERR_clear_error();
    return status::failed;
  }
  return found;
}

tls_session::status tls_session::read(char* into, std::size_t room, std::size_t& got) {
  got = 0;
  if (untold_) return *std::exchange(untold_, std::nullopt);
  while (got < room) {
    ERR_clear_error();
    std::size_t part = 0;
    const int result = SSL_read_ex(ssl_, into + got, room - got, &part);
    if (result == 1) {
      got += part;
      if (fed_.empty() && SSL_pending(ssl_) == 0) return status::more;  // asking again costs
      continue;
    }
    const auto found = after(result);
    ERR_clear_error();
    if (fed_.empty() && !kept_.empty()) std::string().swap(kept_);
    if (got == 0 || found == status::more) return found;
    untold_ = found;
    return status::done;
  }
  return status::done;
}

tls_session::status tls_session::write(std::string_view bytes, std::size_t& taken) {
  taken = 0;
  while (taken < bytes.size() && pending_.size() < core::limits::tls_pending_bytes_max) {
    ERR_clear_error();
    std::size_t part = 0;
    const auto size = std::min(bytes.size() - taken, record_bytes_max);
    const int result = SSL_write_ex(ssl_, bytes.data() + taken, size, &part);
    if (result == 1) {
      taken += part;
      continue;
    }
    const auto found = after(result);
    ERR_clear_error();
    return found == status::more ? status::more : status::failed;
  }
  return taken == bytes.size() ? status::done : status::more;
}

void tls_session::say_goodbye() {
  ERR_clear_error();
  (void)SSL_shutdown(ssl_);
  ERR_clear_error();
}

// Not SSL_has_pending(3): half a record is pending, too, and reading it again gives nothing.
bool tls_session::readable() const noexcept {
  return untold_ || !fed_.empty() || SSL_pending(ssl_) > 0;
}

void tls_session::shed_buffers() noexcept { SSL_free_buffers(ssl_); }

bool tls_session::is_tls_1_3() const noexcept { return SSL_version(ssl_) >= TLS1_3_VERSION; }
bool tls_session::resumed() const noexcept { return SSL_session_reused(ssl_) == 1; }

std::optional<peer_certificate> tls_session::certificate() const {
  const auto* found = SSL_get0_peer_certificate(ssl_);
  if (found == nullptr || SSL_get_verify_result(ssl_) != X509_V_OK) return std::nullopt;
  peer_certificate made;
  made.subject = subject_of(found);
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(found, NID_subject_alt_name, nullptr, nullptr));
  const int count =
      names != nullptr ? std::min(sk_GENERAL_NAME_num(names), alternative_names_max) : 0;
  for (int i = 0; i < count; ++i)
    if (auto name = name_of(*sk_GENERAL_NAME_value(names, i)); !name.empty())
      made.names.push_back(std::move(name));
  GENERAL_NAMES_free(names);
  return made;
}

}  // namespace portcullis::net
