// Which shard owns a routing byte: contiguous ranges, so that what is sorted by routing byte is
// sorted by shard.
#pragma once
#include <cstdint>

#include "core/breaker/types.hpp"
#include "store/journal.hpp"

namespace portcullis::actors {

[[nodiscard]] constexpr std::uint32_t shard_of(std::uint8_t routing_byte,
                                               std::uint32_t shards) noexcept {
  return routing_byte * shards / 256;
}
/// All breakers of a service live in one shard.
[[nodiscard]] inline std::uint32_t shard_of_service(std::string_view service,
                                                    std::uint32_t shards) noexcept {
  return core::tag_of({service, {}}) % shards;
}
[[nodiscard]] inline store::routing_set bytes_of_shard(std::uint32_t shard, std::uint32_t shards) {
  store::routing_set set;
  for (unsigned byte = 0; byte < 256; ++byte)
    set[byte] = shard_of(static_cast<std::uint8_t>(byte), shards) == shard;
  return set;
}

}  // namespace portcullis::actors
