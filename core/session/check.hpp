// Whether a request comes from where and from what its session was made with (protocol.md, Policy).
#pragma once
#include <memory>

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

/// Hashes of the present fields only, one after the other.
[[nodiscard]] std::unique_ptr<short_hash[]> pack_hashes(const field_hashes& fields);
[[nodiscard]] field_hashes unpack_hashes(field_set present, const short_hash* packed);

/// Compares `presented` with what the session was made with, under today's policy. The session's
/// address must be known.
[[nodiscard]] context_findings check_context(const session_record& session,
                                             const user_identity& who, const context& presented,
                                             const session_policy& policy);

/// A keyed hash of a whole context: a session remembers that of the last clean one, so that the
/// same context need not be hashed field by field again. It changes with `salt`, which the owner
/// changes with the policy.
[[nodiscard]] byte_array<16> context_memo(const byte_array<32>& salt,
                                          const context& presented) noexcept;

}  // namespace portcullis::core
