// What a configuration says of Redis, as those take it who connect.
#pragma once
#include <string>

#include "core/config/config.hpp"
#include "net/redis/client.hpp"
#include "store/fleet/first_contact.hpp"

namespace portcullis::apps {

/// Reads store.redis.password_file. CONFIG_INVALID, and `why`: a sentence for the operator.
[[nodiscard]] core::result<net::redis::client_options> redis_options_of(const core::config& config,
                                                                        std::string& why);
/// Who the node is to the servers with data; as redis_options_of().
[[nodiscard]] core::result<net::redis::login> redis_login_of(const core::config& config,
                                                             std::string& why);

/// How a node, or a command, asks before it begins. Errors as redis_options_of().
[[nodiscard]] core::result<store::fleet::contact_options> fleet_contact(
    const core::config& config, std::shared_ptr<const core::key_material> keys, std::string& why);

}  // namespace portcullis::apps
