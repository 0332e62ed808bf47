// What is said to take the digest of the live state (server.info {digest}): every shard stands
// still, with nothing under way and all it did on the disk; then each tells what it holds; then all
// go on.
#pragma once
#include <optional>
#include <vector>

#include "actors/messages.hpp"
#include "core/replay/digest.hpp"

namespace portcullis::actors {

/// Answered when nothing is under way any more. Requests wait from here on, until go_on, or until
/// limits::stillness_ms_max is over.
struct stand_still {
  std::uint64_t number = 0;  // of the digest; 1, 2, ...
};
struct stood_still {
  std::optional<core::error> why;  // set: it cannot, as with a full disk
};
/// By whom it still stands still for. `at_ms`: the time of the last event.
struct take_digest {
  std::uint64_t number = 0;
  core::millis at_ms = 0;
};
struct digest_taken {
  std::shared_ptr<const core::shard_digests> digests;  // null: it went on already
};
struct lockouts_digested {
  std::shared_ptr<const core::routing_digests> digests;  // null: it does not stand still for that
};
struct list_directory {};
struct breakers_digested {
  std::vector<core::breaker_entity> breakers;
  bool still = false;
};
struct go_on {
  std::uint64_t number = 0;
};
/// To the fleet actor: nothing more of the log is told to anybody, until go_on, or until
/// limits::stillness_ms_max is over.
struct hold_log {
  std::uint64_t number = 0;
};
/// All have been told up to here.
struct log_held {
  std::uint64_t seq = 0;
  core::millis at_ms = 0;
};

/// To the session actors, and from there to the lockout actor: an event of this time is on the
/// disk.
struct log_time {
  core::millis at_ms = 0;
};
/// To the journal: the log is to come to this time, which is not in the future. log_time tells of
/// it.
struct want_log_time {
  core::millis at_ms = 0;
};

/// To the supervisor.
struct digest_request {};
struct digest_answer {
  std::optional<core::error> why;
  std::uint64_t seq = 0;
  core::digest digest{};
};

/// Whether an owner stands still, and since when.
class stillness {
 public:
  void begin(std::uint64_t number, core::millis now_ms) noexcept {
    number_ = number;
    since_ms_ = now_ms;
  }
  [[nodiscard]] bool is_for(std::uint64_t number) const noexcept { return number_ == number; }
  explicit operator bool() const noexcept { return number_ != 0; }
  /// Nobody has said that it may go on.
  [[nodiscard]] bool forgotten(core::millis now_ms) const noexcept {
    return number_ != 0 && now_ms - since_ms_ > core::limits::stillness_ms_max;
  }
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  void end() noexcept { number_ = 0; }

 private:
  std::uint64_t number_ = 0;
  core::millis since_ms_ = 0;
};

}  // namespace portcullis::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::stand_still)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::stood_still)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::take_digest)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::digest_taken)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::lockouts_digested)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::list_directory)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::core::directory_listing)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::breakers_digested)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::go_on)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::hold_log)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::log_held)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::log_time)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::want_log_time)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::digest_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(portcullis::actors::digest_answer)
