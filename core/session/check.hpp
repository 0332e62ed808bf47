// Whether a request comes from where and from what its session was made with (protocol.md, Policy).
#pragma once
#include <array>
#include <memory>

#include "core/limits.hpp"
#include "core/session/identity.hpp"
#include "core/session/policy.hpp"

namespace portcullis::core {

struct session_record;

/// What comparing a context with a session's gave. At most one of the mismatches; the address is
/// judged first.
struct context_findings {
  bool ip_mismatch = false;
  bool fingerprint_mismatch = false;
  field_set observed = 0, challenged = 0;  // signals; bit 7 is the address
  [[nodiscard]] bool clean() const noexcept {
    return !ip_mismatch && !fingerprint_mismatch && observed == 0 && challenged == 0;
  }
};

/// Half of each field's hash, by context_field: what memory keeps of a session's context. Nobody
/// without the user's key can aim at 64 bits, and nobody has more than a lockout's attempts.
using kept_hashes = std::array<byte_array<8>, context_field_count>;
[[nodiscard]] kept_hashes keep_hashes(const field_hashes& fields) noexcept;

/// Compares `presented` with what the session was made with, under today's policy. The session's
/// address must be known.
[[nodiscard]] context_findings check_context(const session_record& session,
                                             const user_identity& who, const context& presented,
                                             const session_policy& policy);

/// The secret that context_memo hashes with: random words, one for each eight bytes that a context
/// can have. It never leaves the process, nor does a memo: values of NH betray its key.
struct memo_key {
  static constexpr std::size_t context_bytes_max =
      2 * 16 + context_field_count * limits::context_field_bytes_max;
  std::array<std::uint64_t, context_bytes_max / 8> words{};
};
[[nodiscard]] memo_key make_memo_key(const random_source& random);

/// NH, the universal hash of UMAC (RFC 4418, 5.2), on 64-bit words, over a whole context: a session
/// remembers that of the last clean one, so that the same context need not be hashed field by field
/// again. Two different contexts, chosen by someone who knows neither key nor memo, have the same
/// one with a probability of at most 2^-63. It changes with `key`, which the owner changes with the
/// policy. No field is longer than limits::context_field_bytes_max.
[[nodiscard]] byte_array<16> context_memo(const memo_key& key, const context& presented) noexcept;

}  // namespace portcullis::core
