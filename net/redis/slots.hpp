// What a Redis Cluster's client has to compute: slots, redirections, the map. Pure. Redis Cluster
// specification, "Key distribution model", "Redirection and resharding".
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "net/redis/reply.hpp"
#include "net/redis/url.hpp"

namespace portcullis::net::redis {

/// CRC16 (XMODEM) of the key's hash tag, or of the whole key, modulo 16384. The tag stands between
/// the first { and the next }, and is not empty.
[[nodiscard]] std::uint16_t slot_of(std::string_view key) noexcept;

struct redirection {
  bool ask = false;  // ASK: this once, after ASKING; MOVED: for good
  std::uint16_t slot = 0;
  address to;
};

/// Of an error MOVED or ASK; absent for any other reply. An empty host is that of `from`, which
/// answered.
[[nodiscard]] std::optional<redirection> redirection_of(const reply& what, const address& from);

struct slot_range {
  std::uint16_t first = 0, last = 0;
  address master;
};

/// Of the reply to CLUSTER SLOTS; absent where it is none. Without the ranges whose master has no
/// address that is known. Empty hosts as above.
[[nodiscard]] std::optional<std::vector<slot_range>> slots_of(const reply& what,
                                                              const address& from);

}  // namespace portcullis::net::redis
