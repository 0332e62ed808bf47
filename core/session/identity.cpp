#include "core/session/identity.hpp"

namespace portcullis::core {
namespace {

constexpr std::string_view user_purpose = "portcullis user";
constexpr std::string_view ip_purpose = "portcullis ip";
constexpr std::string_view shown_purpose = "portcullis context";

aead_nonce random_nonce(const random_source& random) {
  aead_nonce nonce;
  random(nonce);
  return nonce;
}

// Made when needed: kept, its precomputed states would be most of a user's memory.
hmac_key field_key(const aead_key& key) {
  return hmac_key(hmac_key(key)("portcullis context fields"));
}

}  // namespace

user_row wrap_user(const user_identity& who, const user_row& of, const key_material& keys,
                   const random_source& random) {
  std::string plain(as_text(who.key));
  plain += who.user_id;
  return {of.subject, of.lookup, of.tenant_id, keys.newest().id,
          seal(keys.newest().wrap, random_nonce(random), plain, user_purpose)};
}

new_user make_user(std::string_view tenant_id, std::string_view user_id, const key_material& keys,
                   const random_source& random) {
  auto who = std::make_shared<user_identity>();
  who->user_id = user_id;
  random(who->key);
  user_row row;
  random(row.subject.bytes);
  row.subject.bytes[0] = keys.routing_byte(tenant_id, user_id);
  row.lookup = keys.lookup(tenant_id, user_id);
  row.tenant_id = tenant_id;
  row = wrap_user(*who, row, keys, random);
  return {std::move(who), std::move(row)};
}

identity_ptr open_user(std::uint32_t ring_key, std::string_view wrapped, const key_material& keys) {
  const auto* ring = keys.find(ring_key);
  if (ring == nullptr) return nullptr;
  const auto plain = open(ring->wrap, wrapped, user_purpose);
  if (!plain || plain->size() < 32) return nullptr;
  auto who = std::make_shared<user_identity>();
  who->user_id = plain->substr(32);
  std::memcpy(who->key.data(), plain->data(), who->key.size());
  return who;
}

bool wrap_anew(user_row& row, const key_material& keys, const random_source& random) {
  if (row.ring_key == keys.newest().id) return false;
  const auto who = open_user(row, keys);
  if (who) row = wrap_user(*who, row, keys, random);
  return who != nullptr;
}

field_hashes hash_fields(const user_identity& who, const context& presented) noexcept {
  field_hashes out;
  const auto key = field_key(who.key);
  for (std::size_t i = 0; i < context_field_count; ++i) {
    if (presented.fields[i].empty()) continue;
    const auto field = static_cast<context_field>(i);
    out.present |= bit(field);
    out.hashes[i] = cut<16>(key.begin().update_int(i).update_sized(presented.fields[i]).finish());
  }
  return out;
}

std::string seal_ip(const user_identity& who, const session_handle& handle, const ip_address& ip) {
  aead_nonce nonce;
  std::memcpy(nonce.data(), handle.bytes.data() + 4, nonce.size());
  return seal(who.key, nonce, as_text(ip.bytes), ip_purpose);
}

std::optional<ip_address> open_ip(const user_identity& who, std::string_view sealed) {
  const auto plain = open(who.key, sealed, ip_purpose);
  if (!plain || plain->size() != 16) return std::nullopt;
  ip_address ip;
  std::memcpy(ip.bytes.data(), plain->data(), 16);
  return ip;
}

std::string seal_shown(const user_identity& who, const ip_address& ip, std::string_view user_agent,
                       const random_source& random) {
  std::string plain(as_text(ip.bytes));
  plain += user_agent;
  return seal(who.key, random_nonce(random), plain, shown_purpose);
}

std::optional<shown_context> open_shown(const user_identity& who, std::string_view sealed) {
  auto plain = open(who.key, sealed, shown_purpose);
  if (!plain || plain->size() < 16) return std::nullopt;
  shown_context shown;
  std::memcpy(shown.ip.bytes.data(), plain->data(), 16);
  shown.user_agent = plain->substr(16);
  return shown;
}

}  // namespace portcullis::core
