// The key file: keys that never rotate, and the ring that does (architecture.md, Identity). Pure:
// random bytes come in.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/contract/types.hpp"
#include "core/crypto/aead.hpp"
#include "core/crypto/hmac.hpp"
#include "core/crypto/sign.hpp"
#include "core/event/event.hpp"
#include "core/random.hpp"
#include "core/result.hpp"

namespace portcullis::core {

struct ring_key {
  std::uint32_t id = 0;  // 1, 2, ...; never reused
  millis created_at_ms = 0;
  secret_bytes<32> secret;
};

struct keyring {
  secret_bytes<32> routing;    // first byte of ids
  secret_bytes<32> lookup;     // find a user by name, sessions by address
  secret_bytes<32> source;     // keyed hashes of addresses in events
  secret_bytes<32> chain;      // the log's macs
  std::vector<ring_key> ring;  // newest first, 1..limits::key_ring_max
};

[[nodiscard]] keyring generate_keyring(const random_source& random, millis now_ms);
/// A line a key; the format is described at its top line.
[[nodiscard]] std::string serialize(const keyring& keys);
/// Errors: KEYRING_MISMATCH with the rule that the text breaks.
[[nodiscard]] result<keyring> parse_keyring(std::string_view text);
/// Puts a new key in front. With a full ring the oldest is dropped: refused with KEYRING_MISMATCH
/// (rule "oldest_key_in_use") while `oldest_in_use`, so that nobody is logged out.
[[nodiscard]] result<keyring> rotate_keyring(const keyring& keys, bool oldest_in_use,
                                             const random_source& random, millis now_ms);

/// What the keys are used for, with everything precomputed. Shared read-only between threads.
class key_material {
 public:
  explicit key_material(const keyring& keys);

  struct ring_entry {
    std::uint32_t id;
    hmac_key ids;         // raw id -> id_hash
    hmac_key successors;  // (presented id, nonce) -> successor
    aead_key wrap;        // user keys
  };
  /// Newest first.
  [[nodiscard]] std::span<const ring_entry> ring() const noexcept { return ring_; }
  [[nodiscard]] const ring_entry& newest() const noexcept { return ring_.front(); }
  [[nodiscard]] const ring_entry* find(std::uint32_t ring_key_id) const noexcept;

  /// The first byte of every id of this user: which shard owns the user.
  [[nodiscard]] std::uint8_t routing_byte(std::string_view tenant,
                                          std::string_view user) const noexcept;
  [[nodiscard]] byte_array<16> lookup(std::string_view tenant,
                                      std::string_view user) const noexcept;
  /// What the log and the table of aliases know of an alias: a keyed hash, unique a tenant.
  [[nodiscard]] short_hash alias_tag(std::string_view tenant,
                                     std::string_view alias) const noexcept;
  /// The first id of a session with this alias, of a user with this routing byte: as secret as the
  /// alias, and nothing of it can be told from the tag.
  [[nodiscard]] session_id alias_id(std::string_view tenant, std::string_view alias,
                                    std::uint8_t routing_byte) const noexcept;
  /// What session.find compares; never 0.
  [[nodiscard]] std::uint64_t find_tag(std::string_view tenant,
                                       std::string_view what) const noexcept;
  /// A source is an IPv4 address or an IPv6 /64.
  [[nodiscard]] short_hash source(const ip_address& address) const noexcept;
  [[nodiscard]] const hmac_key& chain() const noexcept { return chain_; }
  /// Signs checkpoints. Derived from the chain's key: a key file of before has it, too.
  [[nodiscard]] const signing_key& checkpoints() const noexcept { return checkpoints_; }
  /// Tells one key file from another without telling anything of it.
  [[nodiscard]] std::string check_value() const;

 private:
  hmac_key routing_, lookup_, source_, chain_;
  hmac_key alias_tags_, alias_ids_;  // derived from the routing key: neither rotates
  signing_key checkpoints_;
  std::vector<ring_entry> ring_;
};

/// The id that rotating `presented` gives: the same for the same nonce, however often it is asked
/// for.
[[nodiscard]] session_id successor_of(const session_id& presented, const byte_array<16>& nonce,
                                      const key_material::ring_entry& key) noexcept;

/// The key that a session's data is sealed under; the server does not keep what it derives from.
[[nodiscard]] aead_key data_key(const session_id& id) noexcept;

}  // namespace portcullis::core
