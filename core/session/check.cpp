#define OPENSSL_SUPPRESS_DEPRECATED  // see docs/decisions/0003
#include "core/session/check.hpp"

#include <bit>

#include "core/session/state.hpp"

namespace portcullis::core {

std::unique_ptr<short_hash[]> pack_hashes(const field_hashes& fields) {
  const auto count = static_cast<std::size_t>(std::popcount(fields.present));
  if (count == 0) return nullptr;
  std::unique_ptr<short_hash[]> packed(new short_hash[count]);
  std::size_t at = 0;
  for (std::size_t i = 0; i < context_field_count; ++i)
    if ((fields.present >> i & 1) != 0) packed[at++] = fields.hashes[i];
  return packed;
}

field_hashes unpack_hashes(field_set present, const short_hash* packed) {
  field_hashes fields;
  fields.present = present;
  for (std::size_t i = 0, at = 0; i < context_field_count; ++i)
    if ((present >> i & 1) != 0) fields.hashes[i] = packed[at++];
  return fields;
}

context_findings check_context(const session_record& session, const user_identity& who,
                               const context& presented, const session_policy& policy) {
  context_findings found;
  if (policy.ip_binding != ip_binding::off &&
      !same_network(session.ip, presented.ip, policy.ip_prefix_v4, policy.ip_prefix_v6)) {
    switch (policy.ip_binding) {
      case ip_binding::enforce:
        found.ip_mismatch = true;
        return found;
      case ip_binding::challenge:
        found.challenged |= ip_bit;
        break;
      case ip_binding::observe:
        found.observed |= ip_bit;
        break;
      case ip_binding::off:
        break;
    }
  }
  const auto looked_at =
      static_cast<field_set>(policy.enforced | policy.observed | policy.challenged);
  if ((session.present & looked_at) == 0) return found;
  const auto now = hash_fields(who, presented);
  const auto then = unpack_hashes(session.present, session.hashes.get());
  field_set differing = 0;
  for (std::size_t i = 0; i < context_field_count; ++i) {
    const auto mask = bit(static_cast<context_field>(i));
    if ((then.present & mask) == 0) continue;  // absent at creation: not compared
    if ((now.present & mask) == 0 || !equal_secrets(now.hashes[i], then.hashes[i]))
      differing |= mask;
  }
  if ((differing & policy.enforced) != 0) {
    found.fingerprint_mismatch = true;
    found.observed = found.challenged = 0;
    return found;
  }
  found.challenged |= differing & policy.challenged;
  found.observed |= differing & policy.observed;
  return found;
}

byte_array<16> context_memo(const byte_array<32>& salt, const context& presented) noexcept {
  // One buffer, one call: most contexts are a few hundred bytes.
  byte_array<512> buffer;
  std::size_t used = 0;
  SHA256_CTX hash;
  SHA256_Init(&hash);
  const auto put = [&](const void* bytes, std::size_t size) {
    if (used + size > buffer.size()) {
      SHA256_Update(&hash, buffer.data(), used);
      used = 0;
      if (size > buffer.size()) {
        SHA256_Update(&hash, bytes, size);
        return;
      }
    }
    if (size > 0) std::memcpy(buffer.data() + used, bytes, size);
    used += size;
  };
  put(salt.data(), salt.size());
  put(presented.ip.bytes.data(), presented.ip.bytes.size());
  for (const auto field : presented.fields) {
    const auto size = static_cast<std::uint16_t>(field.size());
    put(&size, sizeof size);
    put(field.data(), field.size());
  }
  SHA256_Update(&hash, buffer.data(), used);
  digest out;
  SHA256_Final(out.data(), &hash);
  return cut<16>(out);
}

}  // namespace portcullis::core
