// What forward-auth's configuration means, with the secrets that its files hold.
#pragma once
#include <string>

#include "core/config/config.hpp"
#include "core/result.hpp"
#include "net/authz/settings.hpp"

namespace portcullis::apps {

/// Reads authz.cookie_secrets_file: a secret a line, the newest first. CONFIG_INVALID, and `why`, a
/// sentence for the operator, when it cannot be read, has none, or production finds it readable by
/// others.
[[nodiscard]] core::result<net::authz_settings> load_forward_auth(const core::config& config,
                                                                  std::string& why);

}  // namespace portcullis::apps
