// What a configuration says of TLS, as the room that makes it takes it.
#pragma once
#include "apps/cli/secret_file.hpp"
#include "core/config/config.hpp"
#include "net/tls/context.hpp"

namespace portcullis::apps {

/// Whether any listener speaks TLS.
[[nodiscard]] inline bool speaks_tls(const core::config& config) {
  return !config.listen.rpc_tls.address.empty() || !config.listen.https.address.empty();
}

[[nodiscard]] inline net::tls_options tls_options_of(const core::config& config) {
  const auto& from = config.tls;
  net::tls_options options;
  options.certificate_file = from.certificate_file;
  options.key_file = from.key_file;
  options.client_ca_file = from.client_ca_file;
  options.crl_file = from.crl_file;
  options.client_certificates = from.client_certificates;
  options.min_version = from.min_version;
  options.private_key_file =
      config.server.environment == core::environment::production && !is_credential(from.key_file);
  return options;
}

}  // namespace portcullis::apps
