// What journal and log_file read a start from. Private to store.
#pragma once
#include "store/database.hpp"
#include "store/journal.hpp"

namespace portcullis::store {

[[nodiscard]] core::status load_all(database& db, const routing_set& routing,
                                    load_visitor& visitor);
[[nodiscard]] core::status load_all_breakers(database& db, breaker_visitor& visitor);

}  // namespace portcullis::store
