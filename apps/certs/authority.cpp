#include "apps/certs/authority.hpp"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <ctime>

namespace portcullis::apps {
namespace {

constexpr std::int64_t clocks_differ_s = 300;
constexpr std::int64_t day_s = 86'400;
constexpr std::size_t host_bytes_max = 253, label_bytes_max = 63;

/// Only a machine without memory or random bytes fails here.
template <class T>
T need(T made) {
  if (!made) std::abort();
  return made;
}

std::string text_of(BIO* memory) {
  char* at = nullptr;
  const auto size = BIO_get_mem_data(memory, &at);
  return {at, static_cast<std::size_t>(size)};
}

template <class Write>
std::string written(Write&& write) {
  const bio_ptr memory(need(BIO_new(BIO_s_mem())));
  need(write(memory.get()));
  return text_of(memory.get());
}

bio_ptr reading(std::string_view text) {
  return bio_ptr(need(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))));
}

std::string pem_of(X509* certificate) {
  return written([&](BIO* to) { return PEM_write_bio_X509(to, certificate); });
}
std::string pem_of(EVP_PKEY* key) {
  return written([&](BIO* to) {
    return PEM_write_bio_PKCS8PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}
std::string pem_of(X509_CRL* list) {
  return written([&](BIO* to) { return PEM_write_bio_X509_CRL(to, list); });
}

x509_ptr parse_certificate(std::string_view pem) {
  x509_ptr out(PEM_read_bio_X509(reading(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return out;
}

pkey_ptr new_key() { return pkey_ptr(need(EVP_EC_gen("P-256"))); }

/// Seconds since 1970.
std::int64_t seconds_of(const ASN1_TIME* time) {
  std::tm parts{};
  need(ASN1_TIME_to_tm(time, &parts));
  return timegm(&parts);
}
time_ptr time_of(std::int64_t at_s) {
  return time_ptr(need(ASN1_TIME_set(nullptr, static_cast<time_t>(at_s))));
}

/// 128 random bits, not zero, as a positive number (RFC 5280, 4.1.2.2: at most 20 octets).
integer_ptr new_serial() {
  std::array<unsigned char, 16> bytes{};
  need(RAND_bytes(bytes.data(), bytes.size()) == 1);
  bytes[0] |= 0x40;  // of full length, and never 0
  BIGNUM* number = need(BN_bin2bn(bytes.data(), bytes.size(), nullptr));
  integer_ptr out(need(BN_to_ASN1_INTEGER(number, nullptr)));
  BN_free(number);
  return out;
}

name_ptr name_of(const std::string& common_name) {
  name_ptr name(need(X509_NAME_new()));
  const auto add = [&](const char* field, const std::string& value) {
    need(X509_NAME_add_entry_by_txt(name.get(), field, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0));
  };
  add("O", "Portcullis development");
  add("CN", common_name);
  return name;
}

/// An extension by its text in OpenSSL's configuration; only for texts that are written here.
void extend(X509* certificate, X509* issuer, int which, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const extension_ptr made(need(X509V3_EXT_nconf_nid(nullptr, &context, which, value)));
  need(X509_add_ext(certificate, made.get(), -1));
}

/// What all certificates have; valid until `until_s`.
x509_ptr new_certificate(EVP_PKEY* key, const X509_NAME* subject, const X509_NAME* issuer,
                         std::int64_t now_s, std::int64_t until_s) {
  x509_ptr out(need(X509_new()));
  need(X509_set_version(out.get(), X509_VERSION_3));
  need(X509_set_serialNumber(out.get(), new_serial().get()));
  need(X509_set_subject_name(out.get(), subject));
  need(X509_set_issuer_name(out.get(), issuer));
  need(X509_set1_notBefore(out.get(), time_of(now_s - clocks_differ_s).get()));
  need(X509_set1_notAfter(out.get(), time_of(until_s).get()));
  need(X509_set_pubkey(out.get(), key));
  return out;
}

void add_alternative(GENERAL_NAMES* to, int type, const void* bytes, std::size_t size) {
  GENERAL_NAME* name = need(GENERAL_NAME_new());
  ASN1_STRING* value =
      need(ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING));
  need(ASN1_STRING_set(value, bytes, static_cast<int>(size)));
  GENERAL_NAME_set0_value(name, type, value);
  need(sk_GENERAL_NAME_push(to, name));
}

/// 4 or 16 bytes; 0: `text` is no address.
std::size_t parse_address(const std::string& text, std::array<unsigned char, 16>& out) {
  if (inet_pton(AF_INET, text.c_str(), out.data()) == 1) return 4;
  return inet_pton(AF_INET6, text.c_str(), out.data()) == 1 ? 16 : 0;
}

crl_ptr parse_list(std::string_view pem) {
  crl_ptr out(PEM_read_bio_X509_CRL(reading(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return out;
}

/// The list's number (RFC 5280, 5.2.3) is one more than it was, or 1.
void number(X509_CRL* list) {
  const integer_ptr before(
      static_cast<ASN1_INTEGER*>(X509_CRL_get_ext_d2i(list, NID_crl_number, nullptr, nullptr)));
  std::int64_t value = 0;
  if (before) ASN1_INTEGER_get_int64(&value, before.get());
  const integer_ptr next(need(ASN1_INTEGER_new()));
  need(ASN1_INTEGER_set_int64(next.get(), value + 1));
  need(X509_CRL_add1_ext_i2d(list, NID_crl_number, next.get(), 0, X509V3_ADD_REPLACE) == 1);
}

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= label_bytes_max && label.front() != '-' &&
         label.back() != '-' && std::all_of(label.begin(), label.end(), [](unsigned char c) {
           return c < 0x80 && (std::isalnum(c) != 0 || c == '-' || c == '_');
         });
}

}  // namespace

std::string why_no_host(const std::string& text) {
  std::array<unsigned char, 16> address{};
  if (parse_address(text, address) != 0) return {};
  const std::string why = text +
                          ": is neither an address (without brackets or port) nor a host's name "
                          "(ASCII; a foreign one as xn--...)";
  if (text.size() > host_bytes_max) return why;
  std::string_view rest = text;
  if (rest.starts_with("*.")) rest.remove_prefix(2);
  // Digits and dots alone are an address that is mistyped.
  if (rest.find_first_not_of("0123456789.") == std::string_view::npos) return why;
  for (;;) {
    const auto dot = rest.find('.');
    if (!is_label(rest.substr(0, dot))) return why;
    if (dot == std::string_view::npos) return {};
    rest.remove_prefix(dot + 1);
  }
}

dev_authority dev_authority::make(std::int64_t now_s, int days) {
  auto key = new_key();
  // Two authorities with one name would be taken for one by people and by some tools.
  std::array<unsigned char, 4> tag{};
  need(RAND_bytes(tag.data(), tag.size()) == 1);
  std::string name = "Portcullis development authority ";
  for (const unsigned char each : tag)
    for (const int digit : {each >> 4, each & 15}) name += "0123456789abcdef"[digit];
  const auto subject = name_of(name);
  auto made = new_certificate(key.get(), subject.get(), subject.get(), now_s,
                              now_s - clocks_differ_s + days * day_s - 1);
  extend(made.get(), made.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  extend(made.get(), made.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  extend(made.get(), made.get(), NID_subject_key_identifier, "hash");
  extend(made.get(), made.get(), NID_authority_key_identifier, "keyid:always");
  need(X509_sign(made.get(), key.get(), EVP_sha256()));
  return {std::move(made), std::move(key)};
}

std::optional<dev_authority> dev_authority::read(const certificate_pair& from, std::int64_t now_s,
                                                 std::string& why) {
  auto certificate = parse_certificate(from.certificate);
  // Without a password: it must not ask for one, so it gets an empty one.
  pkey_ptr key(
      PEM_read_bio_PrivateKey(reading(from.key).get(), nullptr, nullptr, const_cast<char*>("")));
  ERR_clear_error();
  if (!certificate || !key) {
    why = certificate ? "its key is no private key as PEM" : "it is no certificate as PEM";
  } else if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    why = "its key belongs to another certificate";
  } else if (X509_check_ca(certificate.get()) != 1) {
    why = "it is no authority's certificate";
  } else if (seconds_of(X509_get0_notAfter(certificate.get())) <= now_s) {
    why = "it is not valid any more";
  } else if (seconds_of(X509_get0_notBefore(certificate.get())) > now_s) {
    why = "it is not valid yet";
  } else {
    return dev_authority(std::move(certificate), std::move(key));
  }
  ERR_clear_error();
  return std::nullopt;
}

certificate_pair dev_authority::texts() const {
  return {pem_of(certificate_.get()), pem_of(key_.get())};
}

certificate_pair dev_authority::issue(const std::string& name, alternatives_ptr alternatives,
                                      const char* usage, std::int64_t now_s, int days) const {
  const auto key = new_key();
  const auto until = std::min(now_s - clocks_differ_s + days * day_s - 1,
                              seconds_of(X509_get0_notAfter(certificate_.get())));
  const auto made = new_certificate(key.get(), name_of(name).get(),
                                    X509_get_subject_name(certificate_.get()), now_s, until);
  extend(made.get(), certificate_.get(), NID_basic_constraints, "critical,CA:FALSE");
  extend(made.get(), certificate_.get(), NID_key_usage, "critical,digitalSignature");
  extend(made.get(), certificate_.get(), NID_ext_key_usage, usage);
  extend(made.get(), certificate_.get(), NID_subject_key_identifier, "hash");
  extend(made.get(), certificate_.get(), NID_authority_key_identifier, "keyid:always");
  need(X509_add1_ext_i2d(made.get(), NID_subject_alt_name, alternatives.get(), 0, 0) == 1);
  need(X509_sign(made.get(), key_.get(), EVP_sha256()));
  return {pem_of(made.get()), pem_of(key.get())};
}

certificate_pair dev_authority::issue_server(const std::vector<std::string>& hosts,
                                             std::int64_t now_s, int days) const {
  alternatives_ptr names(need(GENERAL_NAMES_new()));
  for (const auto& host : hosts) {
    std::array<unsigned char, 16> address{};
    if (const auto size = parse_address(host, address); size != 0)
      add_alternative(names.get(), GEN_IPADD, address.data(), size);
    else
      add_alternative(names.get(), GEN_DNS, host.data(), host.size());
  }
  return issue(hosts.front(), std::move(names), "serverAuth", now_s, days);
}

certificate_pair dev_authority::issue_client(const std::string& name, const std::string& uri,
                                             std::int64_t now_s, int days) const {
  alternatives_ptr names(need(GENERAL_NAMES_new()));
  add_alternative(names.get(), GEN_URI, uri.data(), uri.size());
  return issue(name, std::move(names), "clientAuth", now_s, days);
}

std::string dev_authority::empty_list(std::int64_t now_s) const {
  const crl_ptr list(need(X509_CRL_new()));
  need(X509_CRL_set_version(list.get(), X509_CRL_VERSION_2));
  need(X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(certificate_.get())));
  need(X509_CRL_set1_lastUpdate(list.get(), time_of(now_s - clocks_differ_s).get()));
  need(X509_CRL_set1_nextUpdate(list.get(), X509_get0_notAfter(certificate_.get())));
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate_.get(), nullptr, nullptr, list.get(), 0);
  const extension_ptr signer(
      need(X509V3_EXT_nconf_nid(nullptr, &context, NID_authority_key_identifier, "keyid:always")));
  need(X509_CRL_add_ext(list.get(), signer.get(), -1));
  number(list.get());
  need(X509_CRL_sign(list.get(), key_.get(), EVP_sha256()));
  return pem_of(list.get());
}

std::optional<std::string> dev_authority::revoke(std::string_view list,
                                                 std::string_view certificate, std::int64_t now_s,
                                                 std::string& why) const {
  const auto parsed = parse_list(list);
  const auto revoked = parse_certificate(certificate);
  const bool ours = parsed && X509_CRL_verify(parsed.get(), key_.get()) == 1;
  const bool issued = revoked && X509_verify(revoked.get(), key_.get()) == 1;
  ERR_clear_error();
  if (!ours || !issued) {
    why = !ours ? "the list was not signed by this authority"
                : "the certificate was not issued by this authority";
    return std::nullopt;
  }
  X509_REVOKED* found = nullptr;
  const auto* serial = X509_get0_serialNumber(revoked.get());
  if (X509_CRL_get0_by_serial(parsed.get(), &found, serial) != 0) return std::string(list);
  const auto at = time_of(now_s - clocks_differ_s);
  revoked_ptr entry(need(X509_REVOKED_new()));
  need(X509_REVOKED_set_serialNumber(entry.get(), const_cast<ASN1_INTEGER*>(serial)));
  need(X509_REVOKED_set_revocationDate(entry.get(), at.get()));
  need(X509_CRL_add0_revoked(parsed.get(), entry.get()));
  static_cast<void>(entry.release());  // the list's now
  need(X509_CRL_sort(parsed.get()));
  need(X509_CRL_set1_lastUpdate(parsed.get(), at.get()));
  number(parsed.get());
  need(X509_CRL_sign(parsed.get(), key_.get(), EVP_sha256()));
  return pem_of(parsed.get());
}

std::optional<std::int64_t> valid_until(std::string_view certificate) {
  const auto parsed = parse_certificate(certificate);
  if (!parsed) return std::nullopt;
  return seconds_of(X509_get0_notAfter(parsed.get()));
}

}  // namespace portcullis::apps
