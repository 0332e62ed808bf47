#include "core/session/check.hpp"

#include "core/session/recorded.hpp"
#include "core/session/state.hpp"

namespace portcullis::core {

kept_hashes keep_hashes(const field_hashes& fields) noexcept {
  kept_hashes kept{};
  for (std::size_t i = 0; i < context_field_count; ++i)
    if ((fields.present >> i & 1) != 0) kept[i] = cut<8>(fields.hashes[i]);
  return kept;
}

field_set differing_fields(const session_record& session, const field_hashes& presented) noexcept {
  const auto kept = keep_hashes(presented);
  field_set differing = 0;
  for (std::size_t i = 0; i < context_field_count; ++i) {
    const auto mask = bit(static_cast<context_field>(i));
    if ((session.present & mask) == 0) continue;  // absent at creation: not compared
    if ((presented.present & mask) == 0 || !equal_secrets(kept[i], session.hashes[i]))
      differing |= mask;
  }
  return differing;
}

namespace {

/// `hash` gives the presented fields' hashes: they are made only where something depends on them.
template <class Hash>
context_findings check(const session_record& session, const ip_address& presented_ip, Hash&& hash,
                       const session_policy& policy) {
  context_findings found;
  if (policy.ip_binding != ip_binding::off &&
      !same_network(session.ip, presented_ip, policy.ip_prefix_v4, policy.ip_prefix_v6)) {
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
  const auto differing = differing_fields(session, hash());
  if ((differing & policy.enforced) != 0) {
    found.fingerprint_mismatch = true;
    found.observed = found.challenged = 0;
    return found;
  }
  found.challenged |= differing & policy.challenged;
  found.observed |= differing & policy.observed;
  return found;
}

}  // namespace

context_findings check_context(const session_record& session, const user_identity& who,
                               const context& presented, const session_policy& policy) {
  return check(
      session, presented.ip, [&] { return hash_fields(who, presented); }, policy);
}

context_findings check_recorded(const session_record& session, const ip_address& presented_ip,
                                const field_hashes& presented,
                                const session_policy& policy) noexcept {
  return check(
      session, presented_ip, [&]() -> const field_hashes& { return presented; }, policy);
}

namespace {

/// The sum of products modulo 2^128 that NH is.
class nh {
 public:
  explicit nh(const std::uint64_t* key) noexcept : key_(key) {}

  /// In blocks of 16 bytes, the last one filled with zeros.
  void add(std::string_view part) noexcept {
    const char* at = part.data();
    auto left = part.size();
    for (; left >= 16; left -= 16, at += 16) block(at);
    if (left == 0) return;
    std::array<char, 16> last{};
    std::memcpy(last.data(), at, left);
    block(last.data());
  }
  [[nodiscard]] byte_array<16> sum() const noexcept {
    byte_array<16> out;
    std::memcpy(out.data(), &sum_, sizeof sum_);
    return out;
  }

 private:
  __extension__ using uint128 = unsigned __int128;
  void block(const char* bytes) noexcept {
    std::array<std::uint64_t, 2> words;
    std::memcpy(words.data(), bytes, sizeof words);
    sum_ += uint128{words[0] + key_[0]} * (words[1] + key_[1]);
    key_ += 2;
  }

  const std::uint64_t* key_;
  uint128 sum_ = 0;
};

}  // namespace

memo_key make_memo_key(const random_source& random) {
  memo_key made;
  random({reinterpret_cast<std::uint8_t*>(made.words.data()), sizeof made.words});
  return made;
}

byte_array<16> context_memo(const memo_key& key, const context& presented) noexcept {
  nh hash(key.words.data());
  hash.add(as_text(presented.ip.bytes));
  // The sizes first: with them, fields filled with zeros are told from fields that have them.
  std::array<std::uint16_t, 8> sizes{};
  static_assert(context_field_count <= sizes.size());
  for (std::size_t i = 0; i < context_field_count; ++i)
    sizes[i] = static_cast<std::uint16_t>(presented.fields[i].size());
  hash.add({reinterpret_cast<const char*>(sizes.data()), sizeof sizes});
  for (const auto field : presented.fields) hash.add(field);
  return hash.sum();
}

}  // namespace portcullis::core
