// A server of lines over TLS, TCP or a Unix socket, for tests of clients.
#pragma once
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "apps/certs/authority.hpp"
#include "apps/tls/handles.hpp"

namespace portcullis::apps {

struct tls_server_options {
  certificate_pair identity = {};        // empty: no TLS
  std::string client_ca = {}, crl = {};  // PEM; with an authority, clients need a certificate
  int version_min = TLS1_2_VERSION;      // SECLEVEL 0 below
  int version_max = TLS1_3_VERSION;
  std::size_t piece = 16 * 1024;  // what one write has at most
  std::string unix_path = {};     // empty: 127.0.0.1
};

/// Serves any number of connections at a time. Each line is answered by what `reply` makes of it,
/// sent as it is; empty: the connection is closed.
class tls_server {
 public:
  using answer = std::function<std::string(const std::string& line, SSL* ssl)>;
  tls_server(tls_server_options options, answer reply)
      : options_(std::move(options)), reply_(std::move(reply)) {
    std::signal(SIGPIPE, SIG_IGN);
    if (!options_.identity.certificate.empty()) make_context();
    listen_there();
    accepting_ = std::jthread([this] { accept_all(); });
  }
  ~tls_server() {
    shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    for (const int each : open_) shutdown(each, SHUT_RDWR);
    serving_.clear();
    for (const int each : open_) close(each);
    close(listener_);
  }
  tls_server(const tls_server&) = delete;
  tls_server& operator=(const tls_server&) = delete;

  [[nodiscard]] std::string port() const { return std::to_string(port_); }
  [[nodiscard]] std::string address() const {
    return options_.unix_path.empty() ? "127.0.0.1:" + port() : "unix:" + options_.unix_path;
  }
  /// All that clients have said so far.
  [[nodiscard]] std::vector<std::string> heard() const {
    const std::lock_guard guard(mutex_);
    return heard_;
  }

 private:
  static x509_ptr certificate_of(const std::string& pem) {
    const bio_ptr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    return x509_ptr(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  }
  static void require(bool done) {
    if (!done) std::abort();
  }
  void make_context() {
    context_.reset(SSL_CTX_new(TLS_server_method()));
    auto* context = context_.get();
    if (options_.version_min < TLS1_2_VERSION) SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, options_.version_min);
    SSL_CTX_set_max_proto_version(context, options_.version_max);
    const auto& key = options_.identity.key;
    const bio_ptr in(BIO_new_mem_buf(key.data(), static_cast<int>(key.size())));
    const pkey_ptr private_key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
    require(SSL_CTX_use_certificate(context, certificate_of(options_.identity.certificate).get()) ==
            1);
    require(SSL_CTX_use_PrivateKey(context, private_key.get()) == 1);
    if (options_.client_ca.empty()) return;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    auto* store = SSL_CTX_get_cert_store(context);
    require(X509_STORE_add_cert(store, certificate_of(options_.client_ca).get()) == 1);
    if (options_.crl.empty()) return;
    const bio_ptr list(BIO_new_mem_buf(options_.crl.data(), static_cast<int>(options_.crl.size())));
    const crl_ptr parsed(PEM_read_bio_X509_CRL(list.get(), nullptr, nullptr, nullptr));
    require(X509_STORE_add_crl(store, parsed.get()) == 1);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  }
  void listen_there() {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    options_.unix_path.copy(un.sun_path, sizeof un.sun_path - 1);
    const bool path = !options_.unix_path.empty();
    listener_ = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto* where = path ? reinterpret_cast<sockaddr*>(&un) : reinterpret_cast<sockaddr*>(&in);
    socklen_t size = path ? sizeof un : sizeof in;
    require(bind(listener_, where, size) == 0 && listen(listener_, 64) == 0);
    if (!path) getsockname(listener_, where, &size);
    port_ = ntohs(in.sin_port);
  }
  void accept_all() {
    for (int fd = 0; (fd = accept(listener_, nullptr, nullptr)) >= 0;) {
      const int on = 1;
      if (options_.unix_path.empty()) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      open_.push_back(fd);
      serving_.emplace_back([this, fd] { serve(fd); });
    }
  }
  void serve(int fd) {
    ssl_ptr ssl(context_ ? SSL_new(context_.get()) : nullptr);
    if (ssl) SSL_set_fd(ssl.get(), fd);
    if (!ssl || SSL_accept(ssl.get()) == 1) talk(fd, ssl.get());
    if (ssl) SSL_shutdown(ssl.get());
    // What the client still sends is read, so that it gets what it was told before the end.
    shutdown(fd, SHUT_WR);
    char rest[4096];
    while (read(fd, rest, sizeof rest) > 0) {
    }
    ERR_clear_error();
    OPENSSL_thread_stop();
  }
  void talk(int fd, SSL* ssl) {
    std::string text;
    char block[16 * 1024];
    for (;;) {
      const auto got =
          ssl != nullptr ? SSL_read(ssl, block, sizeof block) : read(fd, block, sizeof block);
      if (got <= 0) return;
      text.append(block, static_cast<std::size_t>(got));
      for (std::size_t end = 0; (end = text.find('\n')) != std::string::npos;) {
        const auto line = text.substr(0, end);
        text.erase(0, end + 1);
        {
          const std::lock_guard guard(mutex_);
          heard_.push_back(line);
        }
        const auto said = reply_(line, ssl);
        if (said.empty() || !say(fd, ssl, said)) return;
      }
    }
  }
  bool say(int fd, SSL* ssl, std::string_view text) const {
    while (!text.empty()) {
      const auto piece = text.substr(0, options_.piece);
      const auto sent = ssl != nullptr
                            ? SSL_write(ssl, piece.data(), static_cast<int>(piece.size()))
                            : write(fd, piece.data(), piece.size());
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  tls_server_options options_;
  answer reply_;
  ssl_context_ptr context_;
  int listener_ = -1, port_ = 0;
  std::vector<int> open_;            // the accepting thread's, until it has ended
  std::list<std::jthread> serving_;  // the same
  mutable std::mutex mutex_;
  std::vector<std::string> heard_;  // guarded by mutex_
  std::jthread accepting_;
};

}  // namespace portcullis::apps
