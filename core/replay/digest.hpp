// The digest of a state (architecture.md, Identity): SHA-256 over 256 digests, one a routing byte,
// of what the actors hold, in canonical form and sorted. The same functions look at the actors'
// memory and at what replay made of the log. Not in it: activity, a session's address, windows,
// permits, tallies, users' keys. Pure; whoever calls keeps the state still meanwhile.
#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "core/breaker/hosted.hpp"
#include "core/breaker/observed.hpp"
#include "core/crypto/hmac.hpp"
#include "core/lockout/state.hpp"
#include "core/replay/breaker_standings.hpp"
#include "core/session/directory.hpp"
#include "core/session/state.hpp"

namespace portcullis::core {

using routing_digests = std::array<digest, 256>;

/// What a shard holds, a digest a routing byte; those of other shards' bytes are of nothing.
struct shard_digests {
  routing_digests sessions, directory, lockouts, tenants;
};

/// Which sessions each user has, by slots, as the directory keeps them.
struct directory_listing {
  std::vector<user_slot> users;
  std::vector<std::uint32_t> counts;   // sessions of each
  std::vector<session_slot> sessions;  // of all users, one after the other
};

[[nodiscard]] directory_listing list_directory(const directory_state& directory);

/// `at_ms`: the time of the last event: an ended session is in it iff its tombstone ends later, a
/// counter of failed attempts iff it does.
[[nodiscard]] routing_digests digest_sessions(const session_state& state, millis at_ms);
[[nodiscard]] routing_digests digest_directory(const session_state& state,
                                               const directory_listing& listed, millis at_ms);
[[nodiscard]] routing_digests digest_lockouts(const lockout_state& state, millis at_ms);
/// Tenants that were ever revoked; a tenant's byte is a hash of its name.
[[nodiscard]] routing_digests digest_tenants(const session_state& state);
[[nodiscard]] std::uint8_t routing_byte_of_tenant(std::string_view tenant) noexcept;

/// A breaker with its name in front. Empty: nothing of it is in the log.
struct breaker_entity {
  std::string service, breaker, bytes;
};
[[nodiscard]] breaker_entity canonical(const hosted_breaker& breaker);
[[nodiscard]] breaker_entity canonical(const observed_breaker& breaker);
[[nodiscard]] breaker_entity canonical(const breaker_standing& breaker);
[[nodiscard]] routing_digests digest_breakers(std::vector<breaker_entity> all);

/// `shard_of[b]`: whose digests of routing byte b count.
[[nodiscard]] digest digest_of_all(std::span<const shard_digests> shards,
                                   const std::array<std::uint32_t, 256>& shard_of,
                                   const routing_digests& breakers) noexcept;

/// One session or one user's counters as they go into the digest: what a comparison of two states
/// tells them apart by. Empty: not in it.
[[nodiscard]] std::string canonical_session(const session_state& state, session_slot slot,
                                            millis at_ms);
[[nodiscard]] std::string canonical_lockout(const subject_id& subject, const user_lockout& user,
                                            millis at_ms);

}  // namespace portcullis::core
