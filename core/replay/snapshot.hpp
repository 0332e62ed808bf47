// A state as bytes, in parts: what retention leaves in the place of the events that it cut off, and
// where replay begins then. Format: docs/journal.md.
#pragma once
#include <string>
#include <string_view>

#include "core/crypto/sign.hpp"
#include "core/event/checkpoint.hpp"
#include "core/replay/state.hpp"
#include "core/result.hpp"

namespace portcullis::core {

/// Writes `of` part by part; it must not change meanwhile. One thread.
class snapshot_writer {
 public:
  explicit snapshot_writer(const replayed_state& of)
      : of_(of), counters_(of.lockouts().users().begin()), breakers_(of.breakers().all().begin()) {}
  /// The next part, of about limits::snapshot_part_bytes; empty: there are no more.
  [[nodiscard]] std::string next();

 private:
  const replayed_state& of_;
  bool begun_ = false;
  tenant_slot tenant_ = 0;
  std::map<subject_id, user_lockout>::const_iterator counters_;
  std::map<breaker_standings::name, breaker_standing>::const_iterator breakers_;
  user_slot user_ = 0;
};

/// Builds the state from its parts, in order. One thread.
class snapshot_reader {
 public:
  /// LOG_CORRUPT (rule "snapshot"): the part is not one of a snapshot, or does not come next.
  [[nodiscard]] status add(std::string_view part);
  /// The same state as was written, for all that comes: digest, decisions, later events.
  [[nodiscard]] replayed_state take() { return std::move(state_); }

 private:
  replayed_state state_;
  bool begun_ = false;
  std::uint64_t last_session_ = 0;  // the seq of its creation
};

/// What stands for the events up to a checkpoint, signed.
struct snapshot_seal {
  log_place of;          // that checkpoint's own event
  core::digest parts{};  // SHA-256 of all parts, one after the other
  core::digest state{};  // the state's digest
  public_key signer{};
  core::signature signature{};
};
/// What is signed: "portcullis snapshot 1", a line feed, then of.seq, of.at_ms (8 bytes each,
/// little endian), of.mac, parts, state.
[[nodiscard]] snapshot_seal seal_snapshot(const log_place& of, const core::digest& parts,
                                          const core::digest& state, const signing_key& by);
[[nodiscard]] bool is_signed(const snapshot_seal& what, const public_key& by) noexcept;
/// As one text of fixed size, for the store, and back.
[[nodiscard]] std::string to_bytes(const snapshot_seal& what);
[[nodiscard]] std::optional<snapshot_seal> parse_snapshot_seal(std::string_view bytes);

}  // namespace portcullis::core
