// What configuration says of forward-auth.
#pragma once
#include <string>
#include <vector>

#include "core/contract/address_set.hpp"

namespace portcullis::net {

struct authz_settings {
  std::string cookie = "portcullis_session";  // its name; empty: no cookie is looked at
  std::string header = {};  // the name of a field whose value is the session id; empty: none
  std::vector<std::string> cookie_secrets = {};  // express-session's, the newest first
  core::address_set trusted_proxies = {};        // whose X-Forwarded-For is believed
};

}  // namespace portcullis::net
