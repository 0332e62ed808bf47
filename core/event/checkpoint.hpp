// Signed checkpoints: what the log was up to an event, so that whoever keeps one elsewhere sees a
// log that was cut, rolled back or written anew, even by someone who has the chain's key.
#pragma once
#include <string>

#include "core/crypto/sign.hpp"
#include "core/event/event.hpp"

namespace portcullis::core {

/// The place in the log that a checkpoint speaks of: the event before it.
struct log_place {
  std::uint64_t seq = 0;
  millis at_ms = 0;
  digest mac{};
};

/// A number as signed texts have it: 8 bytes, little endian.
void append_signed_number(std::string& to, std::uint64_t value);
/// What is signed: "portcullis checkpoint 1", a line feed, then seq, at_ms (8 bytes each, little
/// endian) and mac.
[[nodiscard]] std::string signed_text(const log_place& of);
[[nodiscard]] checkpoint make_checkpoint(const log_place& of, const signing_key& by);
/// Whether it was signed by this key, and says this of the log.
[[nodiscard]] bool is_signed(const checkpoint& what, const log_place& of,
                             const public_key& by) noexcept;

}  // namespace portcullis::core
