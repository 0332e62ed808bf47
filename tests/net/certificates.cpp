#include "tests/net/certificates.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <filesystem>

namespace portcullis::net::test {
namespace {

void extend(X509* certificate, X509* issuer, int what, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  auto* extension = X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str());
  ASSERT_NE(extension, nullptr) << value;
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* unsigned_certificate(const std::string& name, long serial, int days, int seconds,
                           EVP_PKEY* key) {
  auto* made = X509_new();
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made), serial);
  X509_gmtime_adj(X509_getm_notBefore(made), -86'400L * 60);
  X509_gmtime_adj(X509_getm_notAfter(made), 86'400L * days + seconds);
  X509_set_pubkey(made, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return made;
}

}  // namespace

authority::authority(const std::string& name) : key_(EVP_EC_gen("P-256")) {
  std::string made = (std::filesystem::temp_directory_path() / "portcullis-ca-XXXXXX").string();
  EXPECT_NE(::mkdtemp(made.data()), nullptr);
  folder_ = made;
  certificate_ = unsigned_certificate(name, 1, 365, 0, key_);
  X509_set_issuer_name(certificate_, X509_get_subject_name(certificate_));
  extend(certificate_, certificate_, NID_basic_constraints, "critical,CA:TRUE");
  extend(certificate_, certificate_, NID_key_usage, "critical,keyCertSign,cRLSign");
  X509_sign(certificate_, key_, EVP_sha256());
  write("ca.pem", certificate_);
}

authority::~authority() {
  X509_free(certificate_);
  EVP_PKEY_free(key_);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void authority::write(const std::string& file, X509* certificate) const {
  auto* out = std::fopen(path(file).c_str(), "we");
  ASSERT_NE(out, nullptr);
  PEM_write_X509(out, certificate);
  std::fclose(out);
}

long authority::sign(const std::string& name, const std::string& names, int days, int seconds) {
  auto* key = EVP_EC_gen("P-256");
  const long serial = next_serial_++;
  auto* made = unsigned_certificate(name, serial, days, seconds, key);
  X509_set_issuer_name(made, X509_get_subject_name(certificate_));
  extend(made, certificate_, NID_basic_constraints, "critical,CA:FALSE");
  if (!names.empty()) extend(made, certificate_, NID_subject_alt_name, names);
  X509_sign(made, key_, EVP_sha256());
  write(name + ".pem", made);
  std::filesystem::remove(path(name + "-key.pem"));
  auto* out = std::fopen(path(name + "-key.pem").c_str(), "we");
  PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(out);
  std::filesystem::permissions(path(name + "-key.pem"), std::filesystem::perms::owner_read);
  X509_free(made);
  EVP_PKEY_free(key);
  return serial;
}

std::string authority::encrypted_key(const std::string& name) const {
  auto* in = std::fopen(path(name + "-key.pem").c_str(), "re");
  auto* key = PEM_read_PrivateKey(in, nullptr, nullptr, nullptr);
  std::fclose(in);
  const auto made = path(name + "-locked-key.pem");
  auto* out = std::fopen(made.c_str(), "we");
  static unsigned char password[] = "secret";
  PEM_write_PrivateKey(out, key, EVP_aes_128_cbc(), password, 6, nullptr, nullptr);
  std::fclose(out);
  EVP_PKEY_free(key);
  return made;
}

void authority::revoke(const std::initializer_list<long>& serials, int days) {
  auto* list = X509_CRL_new();
  X509_CRL_set_version(list, X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list, X509_get_subject_name(certificate_));
  auto* when = X509_gmtime_adj(nullptr, -86'400L * 60);
  X509_CRL_set1_lastUpdate(list, when);
  for (const long serial : serials) {
    auto* entry = X509_REVOKED_new();
    auto* number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, serial);
    X509_REVOKED_set_serialNumber(entry, number);
    X509_REVOKED_set_revocationDate(entry, when);
    X509_CRL_add0_revoked(list, entry);
    ASN1_INTEGER_free(number);
  }
  X509_gmtime_adj(when, 86'400L * days);
  X509_CRL_set1_nextUpdate(list, when);
  ASN1_TIME_free(when);
  X509_CRL_sort(list);
  X509_CRL_sign(list, key_, EVP_sha256());
  auto* out = std::fopen(path("crl.pem").c_str(), "we");
  PEM_write_X509_CRL(out, list);
  std::fclose(out);
  X509_CRL_free(list);
}

}  // namespace portcullis::net::test
