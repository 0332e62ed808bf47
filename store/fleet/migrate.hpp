// The log of a node that was alone becomes the log that nodes share.
#pragma once
#include <string>

#include "core/session/keyring.hpp"
#include "store/fleet/first_contact.hpp"
#include "store/log_file.hpp"

namespace portcullis::store::fleet {

struct migrated {
  std::uint64_t seq = 0, events = 0, users = 0, sessions_seen = 0;
};

/// Puts all that the folder's log has into Redis: users, the snapshot where retention has cut,
/// every event, and for what old records of activity do not tell any more one record at the end.
/// The folder stays as it is, and is that of the first node. Blocks. `why` is a sentence for
/// people: STORE_UNAVAILABLE; STORE_INTEGRITY (rule "not_empty": Redis has a log of this prefix
/// already; what failed half-way is removed); LOG_CORRUPT: the folder's log cannot be read.
[[nodiscard]] core::result<migrated> migrate(log_file& from, const core::key_material& keys,
                                             core::clock& clock, const contact_options& with,
                                             const core::random_source& random, std::string& why);

}  // namespace portcullis::store::fleet
