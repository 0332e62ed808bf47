// AES-256-GCM (NIST SP 800-38D). A sealed text is nonce (12 bytes), ciphertext, tag (16 bytes).
#pragma once
#include <optional>
#include <string>

#include "core/crypto/secret.hpp"

namespace portcullis::core {

using aead_key = secret_bytes<32>;
using aead_nonce = byte_array<12>;
inline constexpr std::size_t aead_overhead = 12 + 16;

/// Seals `plain`, bound to `purpose` (authenticated, not stored). A nonce must never be used twice
/// with one key: pass random ones, or ones derived from what occurs once under the key.
[[nodiscard]] std::string seal(const aead_key& key, const aead_nonce& nonce, std::string_view plain,
                               std::string_view purpose);
/// The plain text; absent when the text was not sealed under this key for this purpose, or was
/// changed.
[[nodiscard]] std::optional<std::string> open(const aead_key& key, std::string_view sealed,
                                              std::string_view purpose);

}  // namespace portcullis::core
