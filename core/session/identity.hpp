// Who a user is: name, pseudonym and key. Immutable once made; shared by the actors of one shard.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "core/session/keyring.hpp"

namespace portcullis::core {

struct user_identity {
  std::string user_id;
  aead_key key{};  // seals what the log keeps of the person, and makes the key of context hashes
};
using identity_ptr = std::shared_ptr<const user_identity>;

/// A new user's identity and its row for the look-up table. The subject's first byte routes like
/// the user's ids.
struct new_user {
  identity_ptr identity;
  user_row row;
};
[[nodiscard]] new_user make_user(std::string_view tenant_id, std::string_view user_id,
                                 const key_material& keys, const random_source& random);

/// Opens what a row has wrapped under this ring key. Null when it is not sealed under the ring
/// (STORE_INTEGRITY for whoever asked).
[[nodiscard]] identity_ptr open_user(std::uint32_t ring_key, std::string_view wrapped,
                                     const key_material& keys);
[[nodiscard]] inline identity_ptr open_user(const user_row& row, const key_material& keys) {
  return open_user(row.ring_key, row.wrapped, keys);
}
/// The row `of` this user, wrapped by the newest ring key.
[[nodiscard]] user_row wrap_user(const user_identity& who, const user_row& of,
                                 const key_material& keys, const random_source& random);

/// Wraps it by the newest ring key. False: it is, or cannot be opened; it stays as it was.
bool wrap_anew(user_row& row, const key_material& keys, const random_source& random);

/// Every present field of a context.
[[nodiscard]] field_hashes hash_fields(const user_identity& who, const context& presented) noexcept;

/// The address, sealed so that a session's row holds it apart; the nonce is the handle's, which
/// occurs once.
[[nodiscard]] std::string seal_ip(const user_identity& who, const session_handle& handle,
                                  const ip_address& ip);
[[nodiscard]] std::optional<ip_address> open_ip(const user_identity& who, std::string_view sealed);

/// Address and user agent for display, as one sealed text.
struct shown_context {
  ip_address ip;
  std::string user_agent;
};
[[nodiscard]] std::string seal_shown(const user_identity& who, const ip_address& ip,
                                     std::string_view user_agent, const random_source& random);
[[nodiscard]] std::optional<shown_context> open_shown(const user_identity& who,
                                                      std::string_view sealed);

}  // namespace portcullis::core
