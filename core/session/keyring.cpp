#include "core/session/keyring.hpp"

#include <fmt/format.h>

#include <charconv>

#include "core/limits.hpp"

namespace portcullis::core {
namespace {

constexpr std::string_view header =
    "# portcullis key file, version 1: name and 64 hex digits; ring keys: id, made at (ms), key";

secret_bytes<32> derive(byte_view secret, std::string_view purpose) {
  return hmac_key(secret)(purpose);
}

template <class Int>
bool parse_int(std::string_view text, Int& out) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  return failure == std::errc{} && end == text.data() + text.size();
}

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find(by), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

error malformed(std::string_view rule) {
  return fail(error_code::KEYRING_MISMATCH, "crypto.keys_file", rule);
}

}  // namespace

keyring generate_keyring(const random_source& random, millis now_ms) {
  keyring keys;
  for (auto* key : {&keys.routing, &keys.lookup, &keys.source, &keys.chain}) random(*key);
  ring_key first{1, now_ms, {}};
  random(first.secret);
  keys.ring.push_back(first);
  return keys;
}

std::string serialize(const keyring& keys) {
  auto text =
      fmt::format("{}\nrouting {}\nlookup {}\nsource {}\nchain {}\n", header, to_hex(keys.routing),
                  to_hex(keys.lookup), to_hex(keys.source), to_hex(keys.chain));
  for (const auto& key : keys.ring)
    text += fmt::format("ring {} {} {}\n", key.id, key.created_at_ms, to_hex(key.secret));
  return text;
}

result<keyring> parse_keyring(std::string_view text) {
  keyring keys;
  unsigned seen = 0;
  for (const auto line : split(text, '\n')) {
    if (line.starts_with('#')) continue;
    const auto words = split(line, ' ');
    if (words.empty()) continue;
    if (words[0] == "ring") {
      ring_key key;
      if (words.size() != 4 || !parse_int(words[1], key.id) ||
          !parse_int(words[2], key.created_at_ms) || !from_hex(words[3], key.secret) || key.id == 0)
        return malformed("ring ID MADE_AT_MS 64_HEX");
      if (!keys.ring.empty() && keys.ring.back().id <= key.id) return malformed("newest_first");
      keys.ring.push_back(key);
      continue;
    }
    const std::pair<std::string_view, byte_array<32>*> fixed[] = {{"routing", &keys.routing},
                                                                  {"lookup", &keys.lookup},
                                                                  {"source", &keys.source},
                                                                  {"chain", &keys.chain}};
    bool known = false;
    for (unsigned i = 0; i < 4; ++i) {
      if (fixed[i].first != words[0]) continue;
      if (words.size() != 2 || !from_hex(words[1], *fixed[i].second))
        return malformed("NAME 64_HEX");
      if ((seen & (1U << i)) != 0) return malformed("each_once");
      seen |= 1U << i;
      known = true;
    }
    if (!known) return malformed("unknown_line");
  }
  if (seen != 15) return malformed("routing_lookup_source_chain");
  if (keys.ring.empty() || keys.ring.size() > limits::key_ring_max)
    return malformed("1_to_3_ring_keys");
  return keys;
}

result<keyring> rotate_keyring(const keyring& keys, bool oldest_in_use, const random_source& random,
                               millis now_ms) {
  keyring next = keys;
  if (next.ring.size() == limits::key_ring_max) {
    if (oldest_in_use)
      return fail(error_code::KEYRING_MISMATCH, "crypto.keys_file", "oldest_key_in_use",
                  limits::key_ring_max);
    next.ring.pop_back();
  }
  ring_key key{next.ring.front().id + 1, now_ms, {}};
  random(key.secret);
  next.ring.insert(next.ring.begin(), key);
  return next;
}

key_material::key_material(const keyring& keys)
    : routing_(keys.routing),
      lookup_(keys.lookup),
      source_(keys.source),
      chain_(keys.chain),
      alias_tags_(derive(keys.routing, "portcullis alias tag")),
      alias_ids_(derive(keys.routing, "portcullis alias id")),
      checkpoints_(hmac_key(keys.chain)("portcullis checkpoints")) {
  for (const auto& key : keys.ring)
    ring_.push_back({key.id, hmac_key(derive(key.secret, "portcullis session id")),
                     hmac_key(derive(key.secret, "portcullis successor")),
                     derive(key.secret, "portcullis user key")});
}

const key_material::ring_entry* key_material::find(std::uint32_t ring_key_id) const noexcept {
  for (const auto& entry : ring_)
    if (entry.id == ring_key_id) return &entry;
  return nullptr;
}

std::uint8_t key_material::routing_byte(std::string_view tenant,
                                        std::string_view user) const noexcept {
  return routing_.begin().update_sized(tenant).update_sized(user).finish()[0];
}

byte_array<16> key_material::lookup(std::string_view tenant, std::string_view user) const noexcept {
  return cut<16>(lookup_.begin().update_sized(tenant).update_sized(user).finish());
}

short_hash key_material::alias_tag(std::string_view tenant, std::string_view alias) const noexcept {
  return cut<16>(alias_tags_.begin().update_sized(tenant).update_sized(alias).finish());
}

session_id key_material::alias_id(std::string_view tenant, std::string_view alias,
                                  std::uint8_t routing_byte) const noexcept {
  session_id id{alias_ids_.begin().update_sized(tenant).update_sized(alias).finish()};
  id.bytes[0] = routing_byte;
  return id;
}

std::uint64_t key_material::find_tag(std::string_view tenant,
                                     std::string_view what) const noexcept {
  const auto whole =
      lookup_.begin().update_sized("find").update_sized(tenant).update_sized(what).finish();
  std::uint64_t tag;
  std::memcpy(&tag, whole.data(), sizeof tag);
  tag &= 0x7fff'ffff'ffff'ffffULL;  // SQLite's integers are signed
  return tag == 0 ? 1 : tag;
}

short_hash key_material::source(const ip_address& address) const noexcept {
  const std::size_t size = address.is_v4() ? 16 : 8;
  return cut<16>(source_(byte_view(address.bytes).first(size)));
}

std::string key_material::check_value() const {
  return to_hex(cut<16>(chain_("portcullis key file")));
}

session_id successor_of(const session_id& presented, const byte_array<16>& nonce,
                        const key_material::ring_entry& key) noexcept {
  session_id id{key.successors.begin().update(presented.bytes).update(nonce).finish()};
  id.bytes[0] = presented.bytes[0];
  return id;
}

aead_key data_key(const session_id& id) noexcept {
  return hmac_key(id.bytes)("portcullis session data");
}

}  // namespace portcullis::core
