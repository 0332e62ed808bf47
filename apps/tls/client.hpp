// The client's side of TLS 1.2 and 1.3: whom it trusts, who it is, and what to say when that fails.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "apps/tls/handles.hpp"

namespace portcullis::apps {

struct tls_options {
  std::string ca_file;                     // empty: the authorities that the system trusts
  std::string certificate_file, key_file;  // PEM; both or neither
  std::string server_name;  // whom the server's certificate has to be for; empty: the host
};

/// One connection's TLS. Neither it nor what it was made by is used by two threads at once.
class tls_session {
 public:
  [[nodiscard]] SSL* ssl() const noexcept { return ssl_.get(); }
  /// Why a call failed that SSL_get_error() says is over, as a sentence without a full stop.
  /// `result` is the call's, whose errno and error queue are still as it left them; the queue is
  /// empty then. `heard`: the server has sent data since the handshake.
  [[nodiscard]] std::string why_failed(int result, bool heard) const;

 private:
  friend class tls_client;
  /// What callbacks saw.
  struct notes {
    std::string host, ca_file, certificate_file;
    std::string certificate_problem;  // why the server's was not accepted
    bool asked = false;               // for a client's certificate, and there was none to give
  };
  tls_session(ssl_ptr ssl, std::unique_ptr<notes> kept)
      : kept_(std::move(kept)), ssl_(std::move(ssl)) {}
  [[nodiscard]] std::string why_alerted(int alert) const;

  std::unique_ptr<notes> kept_;  // outlives ssl_
  ssl_ptr ssl_;
};

class tls_client {
 public:
  /// `host`: a name or an address, which the server's certificate is checked against unless
  /// `given` names another. Nothing, and `why`, where a file cannot be used.
  [[nodiscard]] static std::optional<tls_client> make(const tls_options& given,
                                                      const std::string& host, std::string& why);
  /// A session over a connected, non-blocking descriptor, which it does not own. Nothing was sent
  /// yet: SSL_connect() begins.
  [[nodiscard]] tls_session session(int descriptor) const;

 private:
  tls_client(ssl_context_ptr context, const tls_options& given, std::string host)
      : context_(std::move(context)), given_(given), host_(std::move(host)) {}
  static int verified(int good, X509_STORE_CTX* store);
  static int asked_for_certificate(SSL* ssl, X509** certificate, EVP_PKEY** key);

  ssl_context_ptr context_;
  tls_options given_;
  std::string host_;
};

}  // namespace portcullis::apps
