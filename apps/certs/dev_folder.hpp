// A folder of certificates for development: an authority, a server's certificate, clients' and the
// list of revoked ones.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace portcullis::apps {

inline constexpr int dev_authority_days = 3'650;
inline constexpr int dev_certificate_days = 397;

struct dev_certificates_order {
  std::string folder;
  std::vector<std::string> hosts;    // beside localhost, 127.0.0.1 and ::1
  std::vector<std::string> clients;  // empty: admin, where it is not there yet
  int days = dev_certificate_days;   // of servers' and clients' certificates
};

struct dev_certificate {
  std::string name;          // of its files, without ending
  std::int64_t until_s = 0;  // seconds since 1970
};
struct dev_certificates {
  std::optional<dev_certificate> authority, server;  // where they were made
  std::vector<std::string> hosts;                    // of `server`
  std::vector<dev_certificate> clients;
  bool list = false;  // crl.pem was made
};

/// The file of a certificate, or of its key, in `folder`.
[[nodiscard]] std::string certificate_file(const std::string& folder, const std::string& name);
[[nodiscard]] std::string key_file(const std::string& folder, const std::string& name);
[[nodiscard]] std::string revocation_file(const std::string& folder);
/// Why `name` is none for a client and its files; empty: it is one.
[[nodiscard]] std::string why_no_client(const std::string& name);
/// The alternative name of a client's certificate, a SPIFFE id.
[[nodiscard]] std::string client_uri(const std::string& name);

/// Makes the folder and what is missing in it: ca, server and clients, each NAME.pem (0644) and
/// NAME-key.pem (0600), and crl.pem. What is there stays as it is. Nothing, and `why`, where a file
/// of what was asked for by name is there, one of a pair is missing, the authority is no usable
/// one, or a file cannot be written; what was made until then is removed again. `now_s`: seconds
/// since 1970.
[[nodiscard]] std::optional<dev_certificates> make_dev_certificates(
    const dev_certificates_order& order, std::int64_t now_s, std::string& why);

/// Puts the certificate NAME.pem on the list crl.pem, which is replaced at once. False, and `why`,
/// where a file is missing or not of this authority. Not an error: it is on the list already.
[[nodiscard]] bool revoke_dev_certificate(const std::string& folder, const std::string& name,
                                          std::int64_t now_s, std::string& why);

}  // namespace portcullis::apps
