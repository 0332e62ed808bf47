// Forgetting a user of a stopped node, as admin.forget does on a running one.
#pragma once
#include <string>

#include "apps/log/source.hpp"

namespace portcullis::apps {

struct forget_order {
  std::string tenant_id, user_id, reason;
};
/// Opens the store, which must have the schema of this version, and changes it. Says on standard
/// error what is wrong and returns the exit status, or -1: `forgotten` says whether there was such
/// a user.
[[nodiscard]] int forget_in(const log_place_options& place, const forget_order& order,
                            bool& forgotten);

}  // namespace portcullis::apps
