// Certificates for tests: an authority in a temporary folder, and what it signs.
#pragma once
#include <openssl/types.h>

#include <string>

namespace portcullis::net::test {

/// Files in a folder of its own, which goes with it.
class authority {
 public:
  explicit authority(const std::string& name = "Test CA");
  ~authority();
  authority(const authority&) = delete;
  authority& operator=(const authority&) = delete;

  /// Signs a certificate; `names` as OpenSSL's configuration has them ("DNS:localhost, URI:..."),
  /// valid for `days` and `seconds`; `days` < 0: it is over. Writes NAME.pem and NAME-key.pem;
  /// returns its serial number.
  long sign(const std::string& name, const std::string& names, int days = 30, int seconds = 0);
  /// Another file with the key of `name`, under a password.
  std::string encrypted_key(const std::string& name) const;
  /// Writes crl.pem, which revokes these; `days` < 0: it is out of date.
  void revoke(const std::initializer_list<long>& serials, int days = 30);

  [[nodiscard]] std::string path(const std::string& file) const { return folder_ + "/" + file; }
  [[nodiscard]] std::string ca() const { return path("ca.pem"); }

 private:
  void write(const std::string& file, X509* certificate) const;

  std::string folder_;
  EVP_PKEY* key_;
  X509* certificate_;
  long next_serial_ = 2;
};

}  // namespace portcullis::net::test
