// Keeping the log bounded: old events are cut off at a checkpoint, where a signed snapshot of the
// state takes their place; old records of activity lose their bodies. Like the readers, both go in
// steps between commits, on the journal's thread. Format: docs/journal.md.
#pragma once
#include <memory>

#include "core/crypto/sign.hpp"
#include "core/replay/snapshot.hpp"
#include "store/readers.hpp"

namespace portcullis::store {

/// Cuts the log at the newest checkpoint before a time. Whatever ends it early leaves the log as it
/// was, or cut: never between. It holds the state of that time in memory while it works.
class log_cutter {
 public:
  log_cutter(journal& log, const core::signing_key& by, core::millis before_ms);
  ~log_cutter();
  log_cutter(const log_cutter&) = delete;
  log_cutter& operator=(const log_cutter&) = delete;

  /// done: the log begins at cut_seq() + 1, or there was nothing to cut. Not within a transaction
  /// (bug). Errors: LOG_CORRUPT (an event or the snapshot before cannot be read: nothing is cut),
  /// STORE_FULL, STORE_UNAVAILABLE.
  [[nodiscard]] core::result<progress> step();

 private:
  enum class stage : std::uint8_t { looking, reading_base, folding, writing, cutting, done };
  [[nodiscard]] core::status look();
  [[nodiscard]] core::status read_base();
  [[nodiscard]] core::status fold();
  [[nodiscard]] core::status write();
  [[nodiscard]] core::status cut();
  [[nodiscard]] core::status run(const char* sql, std::uint64_t seq);

  journal* log_;
  core::signing_key by_;
  core::millis before_ms_;
  stage stage_ = stage::looking;
  core::log_place at_;          // the checkpoint
  std::uint64_t base_seq_ = 0;  // of the snapshot before; 0: none
  std::uint64_t base_part_ = 0, folded_ = 0;
  core::snapshot_reader base_;
  core::replayed_state state_;
  std::optional<core::snapshot_writer> writer_;
  core::running_sha256 parts_;
};

/// Empties the bodies of records of activity from before a time.
class touch_dropper {
 public:
  touch_dropper(journal& log, core::millis before_ms);
  /// done: none are left. Not within a transaction (bug). Errors: as log_cutter::step().
  [[nodiscard]] core::result<progress> step();

 private:
  journal* log_;
  core::millis before_ms_;
  std::optional<std::uint64_t> position_;
};

}  // namespace portcullis::store
