// The policy that an event of the log carries, and what it would be with other settings.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/session/policy_book.hpp"

namespace portcullis::apps {

/// `policy`: as node_started and config_reloaded keep it (core::to_json); empty: the defaults.
/// `sets`: section.key=value as for `serve --set`, over it; only session, tenant, lockout and
/// breaker are taken. What a tenant or a pattern of breakers has as the general section has it
/// follows that. Absent: `why` says what is wrong, a line a problem.
[[nodiscard]] std::optional<core::policy_book> parse_policy(const std::string& policy,
                                                            const std::vector<std::string>& sets,
                                                            std::string& why);

}  // namespace portcullis::apps
