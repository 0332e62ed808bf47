// A certification authority for development: makes itself, certificates of servers and clients, and
// its list of revoked ones (RFC 5280). Texts in, texts out: no files, no clock.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/tls/handles.hpp"

namespace portcullis::apps {

/// A certificate and its private key (PKCS #8), both PEM.
struct certificate_pair {
  std::string certificate, key;
};

/// Why `text` is neither a host's name nor an address, such as a server's certificate is for;
/// empty: it is one. A name: labels of A-Z a-z 0-9 - _ with dots between, the first may be `*`.
[[nodiscard]] std::string why_no_host(const std::string& text);

/// Keys are ECDSA P-256, signatures SHA-256, serials 128 random bits. Nothing is valid for longer
/// than the authority itself. A machine without memory or random bytes ends the process.
class dev_authority {
 public:
  /// Valid from five minutes before `now_s` (clocks differ) for `days`. Seconds since 1970.
  [[nodiscard]] static dev_authority make(std::int64_t now_s, int days);
  /// Nothing, and `why`, where a text is no certificate or key, the two do not belong together, or
  /// it is no authority or is not valid at `now_s`.
  [[nodiscard]] static std::optional<dev_authority> read(const certificate_pair& from,
                                                         std::int64_t now_s, std::string& why);

  [[nodiscard]] certificate_pair texts() const;
  /// For `hosts`, names and addresses (why_no_host()), the first of which is the subject's name.
  [[nodiscard]] certificate_pair issue_server(const std::vector<std::string>& hosts,
                                              std::int64_t now_s, int days) const;
  /// `name` is the subject's, at most 64 bytes; `uri` its alternative name.
  [[nodiscard]] certificate_pair issue_client(const std::string& name, const std::string& uri,
                                              std::int64_t now_s, int days) const;

  /// A list that revokes nobody. Lists are valid as long as the authority: nobody would renew them.
  [[nodiscard]] std::string empty_list(std::int64_t now_s) const;
  /// `list` and `certificate` in it, signed anew with the next number; `list` as it was where it
  /// has that certificate. Nothing, and `why`, where one of them is not this authority's.
  [[nodiscard]] std::optional<std::string> revoke(std::string_view list,
                                                  std::string_view certificate, std::int64_t now_s,
                                                  std::string& why) const;

 private:
  dev_authority(x509_ptr certificate, pkey_ptr key)
      : certificate_(std::move(certificate)), key_(std::move(key)) {}
  [[nodiscard]] certificate_pair issue(const std::string& name, alternatives_ptr alternatives,
                                       const char* usage, std::int64_t now_s, int days) const;

  x509_ptr certificate_;
  pkey_ptr key_;
};

/// Until when a certificate is valid, in seconds since 1970; nothing where the text is none.
[[nodiscard]] std::optional<std::int64_t> valid_until(std::string_view certificate);

}  // namespace portcullis::apps
