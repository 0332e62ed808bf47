// One entry of the log that nodes share: the events of one decision, all or nothing, sealed under a
// key that the store of the log never sees. What the store must compare stands beside it in clear:
// how many events there are, and keyed tags of what the decision is about. Format: docs/cluster.md.
// Pure; any thread.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/crypto/aead.hpp"
#include "core/event/event.hpp"
#include "core/result.hpp"
#include "core/session/keyring.hpp"

namespace portcullis::core {

/// What a decision is about (a user, a tenant, an alias, a breaker) as a keyed hash: says nothing
/// to who has not the key, and is the same on every node.
using fleet_tag = std::uint64_t;

/// What all nodes of one key file derive from it for their log. Immutable; any thread.
class fleet_keys {
 public:
  explicit fleet_keys(const key_material& from);

  /// `lookup`: of key_material::lookup().
  [[nodiscard]] fleet_tag of_user(const byte_array<16>& lookup) const noexcept;
  [[nodiscard]] fleet_tag of_tenant(std::string_view tenant_id) const noexcept;
  /// `tag`: of key_material::alias_tag().
  [[nodiscard]] fleet_tag of_alias(const short_hash& tag) const noexcept;
  [[nodiscard]] fleet_tag of_breaker(std::string_view service, std::string_view breaker) const;
  /// Tells one key file from another without telling anything of it.
  [[nodiscard]] const std::string& check_value() const noexcept { return check_value_; }
  /// Tells one ring of a key file from another, without telling anything of it: a mark of each key,
  /// newest first.
  [[nodiscard]] const std::string& ring() const noexcept { return ring_; }
  /// Whether this ring has the newest key of `other`, so that nothing that was made under that one
  /// is lost.
  [[nodiscard]] bool goes_on_from(std::string_view other) const noexcept;
  /// Seals the entries of one writer, each with its number as nonce: no nonce occurs twice, however
  /// many entries there are (SP 800-38D, 8.2.1).
  [[nodiscard]] aead_key of_writer(const byte_array<8>& writer) const noexcept;
  /// Seals users' rows.
  [[nodiscard]] const aead_key& of_users() const noexcept { return users_; }

 private:
  hmac_key tags_, writers_;
  aead_key users_;
  std::string check_value_, ring_;
};

/// Which entry of which writer it is. A writer is one life of one node's process.
struct entry_name {
  byte_array<8> writer{};
  std::uint64_t number = 0;  // 1, 2, ... in the order in which the writer asked for them
  friend bool operator==(const entry_name&, const entry_name&) = default;
};
/// 16 bytes: the writer, then the number, big endian.
[[nodiscard]] std::string to_bytes(const entry_name& name);
[[nodiscard]] std::optional<entry_name> parse_entry_name(std::string_view bytes) noexcept;

/// What an entry changes (`writes`), and what else its decision rests on (`reads`): it is refused
/// when an entry of another writer that it does not know of wrote any of them.
struct entry_tags {
  std::vector<fleet_tag> writes, reads;
};
/// 8 bytes each, big endian.
[[nodiscard]] std::string to_bytes(std::span<const fleet_tag> tags);

/// What of an entry stands in clear beside it, and is bound to it.
struct entry_outside {
  std::string_view writes;    // tags
  std::string_view subjects;  // of users whose rows come with it
};

/// Seals `events`, which `node` decided, under the key of the writer. Of each the log's own fields
/// count, and what the tables behind the log need beside them; seq and at_ms are the log's to give.
[[nodiscard]] std::string seal_entry(std::span<const event> events, std::string_view node,
                                     const entry_name& name, const entry_outside& outside,
                                     const aead_key& key);

/// The events again, each with its node, decided_at_ms and session_seq, the first with seq
/// `first_seq`, at_ms not given. STORE_INTEGRITY (rule "entry"): not sealed by a node of this key
/// file under this name, with these tags and as many events; or it is damaged.
[[nodiscard]] result<std::vector<event>> open_entry(std::string_view sealed, std::uint64_t count,
                                                    std::uint64_t first_seq, const entry_name& name,
                                                    const entry_outside& outside,
                                                    const aead_key& key);

}  // namespace portcullis::core
