// A TLS client whose socket a test carries by hand: nothing blocks while the server's loop turns.
#pragma once
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <string>
#include <string_view>

#include "tests/net/transport_harness.hpp"

namespace portcullis::net::test {

struct tls_wishes {
  std::string ca = {};           // empty: any certificate will do
  std::string certificate = {};  // empty: none
  std::string key = {};
  int version = 0;        // 0: any
  std::string alpn = {};  // wire format
  std::string server_name = {};
  SSL_SESSION* resume = nullptr;
};

class tls_client {
 public:
  explicit tls_client(std::uint16_t port, const tls_wishes& wishes = {}, int receive_buffer = 0)
      : socket_(port, receive_buffer), context_(SSL_CTX_new(TLS_client_method())) {
    if (!wishes.ca.empty()) {
      SSL_CTX_load_verify_file(context_, wishes.ca.c_str());
      SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    }
    if (!wishes.certificate.empty()) {
      EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_, wishes.certificate.c_str()), 1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_, wishes.key.c_str(), SSL_FILETYPE_PEM), 1);
    }
    if (wishes.version != 0) {
      SSL_CTX_set_min_proto_version(context_, wishes.version);
      SSL_CTX_set_max_proto_version(context_, wishes.version);
      SSL_CTX_set_security_level(context_, 0);
    }
    ssl_ = SSL_new(context_);
    if (!wishes.alpn.empty())
      SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(wishes.alpn.data()),
                          static_cast<unsigned>(wishes.alpn.size()));
    if (!wishes.server_name.empty()) SSL_set_tlsext_host_name(ssl_, wishes.server_name.c_str());
    if (wishes.resume != nullptr) SSL_set_session(ssl_, wishes.resume);
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_, in_, out_);
    SSL_set_connect_state(ssl_);
  }
  ~tls_client() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  tls_client(const tls_client&) = delete;
  tls_client& operator=(const tls_client&) = delete;

  /// Carries what is to be carried; true once the handshake is over.
  bool turn() {
    carry();
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    if (result != 1) {
      const int why = SSL_get_error(ssl_, result);
      failed_ = failed_ || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE);
      if (failed_ && reason_.empty())
        if (const char* text = ERR_reason_error_string(ERR_peek_error())) reason_ = text;
    }
    flush();
    return result == 1;
  }
  /// Takes part in the handshake `bytes` at a time.
  void drip(std::size_t bytes) { drip_ = bytes; }
  void send(std::string_view text) {
    EXPECT_EQ(SSL_write(ssl_, text.data(), static_cast<int>(text.size())),
              static_cast<int>(text.size()));
    flush();
  }
  /// What was decrypted so far.
  const std::string& receive() {
    carry();
    char part[16384];
    for (;;) {
      ERR_clear_error();
      const int got = SSL_read(ssl_, part, sizeof part);
      if (got <= 0) {
        const int why = SSL_get_error(ssl_, got);
        if (why == SSL_ERROR_ZERO_RETURN) ended_ = true;
        if (why == SSL_ERROR_SSL) {
          failed_ = true;
          if (const char* text = ERR_reason_error_string(ERR_peek_error())) reason_ = text;
        }
        break;
      }
      received_.append(part, static_cast<std::size_t>(got));
    }
    flush();
    return received_;
  }
  void flush() {
    char part[16384];
    for (int got = 0; (got = BIO_read(out_, part, sizeof part)) > 0;)
      waiting_.append(part, static_cast<std::size_t>(got));
    if (holding_) return;
    const auto some = drip_ > 0 ? std::min(drip_, waiting_.size()) : waiting_.size();
    waiting_.erase(0, socket_.send(std::string_view(waiting_).substr(0, some)));
  }
  /// From now on nothing is sent by itself: held() has what would have been.
  void hold() { holding_ = true; }
  std::string held() { return std::exchange(waiting_, {}); }
  void goodbye() {
    SSL_shutdown(ssl_);
    flush();
  }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] bool closed() { return socket_.closed(); }
  [[nodiscard]] SSL* ssl() { return ssl_; }
  [[nodiscard]] client& socket() { return socket_; }

 private:
  void carry() {
    const auto& all = socket_.receive();
    if (carried_ < all.size())
      BIO_write(in_, all.data() + carried_, static_cast<int>(all.size() - carried_));
    carried_ = all.size();
  }

  client socket_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
  std::string received_, waiting_, reason_;
  std::size_t carried_ = 0, drip_ = 0;
  bool ended_ = false, failed_ = false, holding_ = false;
};

}  // namespace portcullis::net::test
