// Which sessions a user has, in order of creation, and who the user is. Users and sessions are
// named by the slots that the shard's session_state gave them.
#pragma once
#include <memory>
#include <vector>

#include "core/session/identity.hpp"
#include "core/session/sealed_users.hpp"
#include "core/session/slab.hpp"
#include "core/session/slot_index.hpp"

namespace portcullis::core {

class directory_state {
 public:
  /// Adds a user whose row, wrapped under this ring key, has not been opened yet.
  void load_user(std::uint32_t user, std::uint32_t ring_key, std::string_view wrapped);
  /// Adds a session at the end of its user's list.
  void add(std::uint32_t user, std::uint32_t session);
  void remove(std::uint32_t user, std::uint32_t session);
  /// Forgets who a user is; the list of sessions stays.
  void forget(std::uint32_t user);
  /// By creation.
  [[nodiscard]] std::vector<std::uint32_t> sessions(std::uint32_t user) const;
  template <class Each>
  void each_session(std::uint32_t user, Each&& each) const {
    const auto* owner = users_.find(user);
    if (owner == nullptr) return;
    for (auto at = owner->first; at != slot_index::none; at = sessions_.find(at)->after) each(at);
  }
  /// Past the last user's slot.
  [[nodiscard]] std::uint32_t users_end() const noexcept { return users_.end_slot(); }

  [[nodiscard]] bool knows(std::uint32_t user) const noexcept {
    const auto* u = users_.find(user);
    return u != nullptr && (u->who || sealed_.has(user));
  }
  /// Who the user is, opened on first use. Null: unknown here, or the row is not sealed under the
  /// ring.
  [[nodiscard]] identity_ptr identity(std::uint32_t user, const key_material& keys);
  /// Makes a user at first sight; the row is for the look-up table. The user must not be known.
  [[nodiscard]] user_row make(std::uint32_t user, std::string_view tenant, std::string_view name,
                              const key_material& keys, const random_source& random);

  /// The ring has changed: opens what is wrapped under a key that is no longer in it.
  void change_keys(const key_material& before, const key_material& now);

 private:
  struct entry {
    std::uint32_t first = slot_index::none, last = slot_index::none;
    identity_ptr who;
  };
  struct links {
    std::uint32_t before = slot_index::none, after = slot_index::none;
  };

  slot_values<entry> users_;
  sealed_users sealed_;  // loaded ones, until opened
  slot_values<links> sessions_;
  std::uint32_t users_end_ = 0;  // past the last slot of a loaded user
};

}  // namespace portcullis::core
