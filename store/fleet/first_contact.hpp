// Before a node of several starts: its own store is brought up to the log that they share.
#pragma once
#include <memory>
#include <string>

#include "core/clock.hpp"
#include "net/redis/client.hpp"
#include "store/fleet/records.hpp"
#include "store/importer.hpp"
#include "store/journal.hpp"

namespace portcullis::store::fleet {

struct contact_options {
  net::redis::client_options redis;  // without callbacks
  std::string prefix;
  std::int64_t timeout_ms = 1'000;
  std::int64_t patience_ms = 10'000;  // for a connection
  std::int64_t key_ttl_ms = 0;
  std::shared_ptr<const core::fleet_keys> keys;
  core::random_source random;
  /// Wraps a user's key under the newest key of the ring; false: it is, or cannot be.
  std::function<bool(core::user_row&)> rewrap;
};

/// Appends to `log` what the shared log has and `log` has not, and commits it. Blocks; single
/// thread. `why` is a sentence for people, where it fails:
/// STORE_UNAVAILABLE: the store does not answer. KEYRING_MISMATCH: it belongs to another key file,
/// or its nodes have another ring ("ring": a newer one; "ring_in_use": an older one, and they run).
/// NODE_INCOMPATIBLE: its entries have a format that this version does not know. STORE_INTEGRITY:
/// it is not the log that `log` was brought up to before (rules "log_is_gone", "log_is_shorter",
/// "entries_are_lost"), or was changed ("entry", "gap", "repeated", "user"). EVENTS_CURSOR_EXPIRED:
/// what comes next was cut off. And what journal::append() says. Returns the entry that it read
/// last, or in which `log` ends; none: the log is empty.
[[nodiscard]] core::result<std::optional<core::entry_name>> bring_up(journal& log,
                                                                     core::clock& clock,
                                                                     const contact_options& with,
                                                                     std::string& why);

/// Makes the store of a node that has none, in the folder that `into` names, out of what Redis has;
/// makes none where that has nothing, or is not this fleet's. Blocks.
/// `why` as there; errors: STORE_UNAVAILABLE, STORE_INTEGRITY, as is_the_fleets(), and what
/// importer says.
[[nodiscard]] core::status make_store(const import_options& into, core::clock& clock,
                                      const contact_options& with, std::string& why);

/// Whether a log, as hello_script tells of it, is of this version and of these keys' fleet: their
/// ring, or an older one. Errors: NODE_INCOMPATIBLE, KEYRING_MISMATCH; `why` as above.
[[nodiscard]] core::status is_the_fleets(std::span<const net::redis::reply> list,
                                         const core::fleet_keys& keys, std::string& why);

/// What a part of a snapshot is sealed for; part 0 is its seal.
[[nodiscard]] std::string snapshot_purpose(std::uint64_t seq, std::uint64_t index);

}  // namespace portcullis::store::fleet
