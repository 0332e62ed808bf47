// From Redis' replies to entries: what is not a node's, was changed, dropped or repeated is found
// here. One thread.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "core/fleet/entry.hpp"
#include "core/result.hpp"
#include "net/redis/reply.hpp"
#include "store/fleet/records.hpp"

namespace portcullis::store::fleet {

/// A user's row as the store keeps it, sealed, and back: STORE_INTEGRITY where it is not of a node
/// of this key file, or another user's.
[[nodiscard]] std::string seal_user(const core::user_row& row, const core::fleet_keys& keys,
                                    const core::random_source& random);
[[nodiscard]] core::result<core::user_row> open_user(const core::subject_id& subject,
                                                     std::string_view sealed,
                                                     const core::fleet_keys& keys);

class decoder {
 public:
  /// Begins behind `position`. `keys` must outlive it. `is_known`: whether the events of an entry
  /// are at hand, so that it need not be opened; empty: none are. `last`: the entry that ends at
  /// `position`; none: an entry may reach over it.
  decoder(const core::fleet_keys& keys, std::uint64_t position,
          std::function<bool(const core::entry_name&)> is_known,
          std::optional<core::entry_name> last = std::nullopt)
      : keys_(keys), position_(position), last_(last), is_known_(std::move(is_known)) {}

  struct undecided {  // an entry whose users' rows have to be fetched
    entry what;
    std::vector<core::subject_id> users;
  };
  /// One element of XREAD's or XRANGE's list. STORE_INTEGRITY by rule: "entry" (malformed, or not
  /// sealed by a node), "gap" (it does not come next; only the first one may begin earlier),
  /// "repeated", "entries_are_lost" (it follows another entry than the last one taken).
  [[nodiscard]] core::result<undecided> take(const net::redis::reply& element);
  /// Of the last entry taken.
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  /// Which one that was; none: none was taken.
  [[nodiscard]] const std::optional<core::entry_name>& last() const noexcept { return last_; }

 private:
  /// Which of a writer's entries were seen: up to `last`, but for those that were refused, or come
  /// later than what the writer asked for after them.
  struct writer {
    core::aead_key key;
    std::uint64_t last = 0;
    std::set<std::uint64_t> not_seen;
  };
  [[nodiscard]] static bool is_new(writer& of, std::uint64_t number);

  const core::fleet_keys& keys_;
  std::uint64_t position_;
  std::optional<core::entry_name> last_;
  std::function<bool(const core::entry_name&)> is_known_;
  std::map<core::byte_array<8>, writer> writers_;
};

}  // namespace portcullis::store::fleet
