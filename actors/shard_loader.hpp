// Builds the state of shards from the journal's projections, at start and when a shard is started
// again.
#pragma once
#include <deque>
#include <memory>
#include <vector>

#include "actors/breaker_messages.hpp"
#include "actors/messages.hpp"
#include "store/journal.hpp"

namespace portcullis::actors {

/// Reads what is committed. Errors: as journal::load; KEYRING_MISMATCH: something was made under a
/// key newer than `newest_ring_key`, so the key file is an older copy and must not be used to make
/// the same key ids anew.
[[nodiscard]] core::result<std::vector<std::shared_ptr<shard_image>>> load_shards_from(
    store::journal& log, const std::vector<std::uint32_t>& wanted, std::uint32_t shards,
    std::uint32_t newest_ring_key);

/// Brings a shard's image up to what its session actor has applied and handed over in these
/// batches, and the disk has no room for yet. Batches of others change nothing.
void apply_waiting(shard_image& to, std::uint32_t shard, const std::deque<batch_ptr>& queue);

/// The generation of every tenant that was ever revoked, as committed. Errors: as journal::load.
[[nodiscard]] core::result<std::vector<tenant_revoked>> tenant_generations_of(store::journal& log);

/// All breakers, as committed. Errors: as journal::load.
[[nodiscard]] core::result<core::stored_breakers> load_breakers_from(store::journal& log);

}  // namespace portcullis::actors
