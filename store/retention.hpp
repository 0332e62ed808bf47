// Keeping the log bounded: old events are cut off at a checkpoint, where a signed snapshot of the
// state takes their place; old records of activity lose their bodies. Like the readers, both go in
// steps between commits, on the journal's thread. Format: docs/journal.md.
#pragma once
#include <future>
#include <memory>

#include "core/crypto/sign.hpp"
#include "core/replay/snapshot.hpp"
#include "store/log_file.hpp"
#include "store/readers.hpp"

namespace portcullis::store {

/// Cuts the log at the newest checkpoint before a time. Whatever ends it early leaves the log as it
/// was, or cut: never between. What it signs it has checked: the chain and the checkpoints of what
/// it cuts off, and the snapshot before. It holds the state of that time in memory while it works,
/// and has a thread beside it for what is not cut into slices: hashing that state and freeing it.
class log_cutter {
 public:
  /// `apart_ms`: a checkpoint that is less than that newer than the last cut is not worth one, as
  /// each cut writes the whole state.
  log_cutter(journal& log, const core::signing_key& by, core::millis before_ms,
             core::millis apart_ms = 0);
  /// A 24th of how long events are kept, and at least ten minutes.
  [[nodiscard]] static core::millis apart_ms(core::millis kept_ms) noexcept;
  ~log_cutter();
  log_cutter(const log_cutter&) = delete;
  log_cutter& operator=(const log_cutter&) = delete;

  /// done: the log begins at cut_seq() + 1, or there was nothing to cut. Waits for its thread,
  /// where it has to, for a slice's time. Not within a transaction (bug). Errors: LOG_CORRUPT (an
  /// event, with its seq in `limit`, or the snapshot before is not what the node wrote: nothing is
  /// cut), STORE_FULL, STORE_UNAVAILABLE.
  [[nodiscard]] core::result<progress> step();

 private:
  enum class stage : std::uint8_t {
    looking,
    clearing,
    reading_base,
    checking_base,
    folding,
    writing,
    cutting,
    letting_go,
    done
  };
  [[nodiscard]] core::status go_on();
  [[nodiscard]] core::status look();
  [[nodiscard]] core::status clear();
  [[nodiscard]] core::status read_base();
  [[nodiscard]] core::status check_base();
  [[nodiscard]] core::status fold();
  [[nodiscard]] core::status take(const log_row& row);
  void hash_state();
  void let_go();
  [[nodiscard]] core::status write();
  [[nodiscard]] core::status cut();
  [[nodiscard]] core::status run(const char* sql, std::uint64_t seq);

  journal* log_;
  core::signing_key by_;
  core::millis before_ms_, apart_ms_;
  stage stage_ = stage::looking;
  std::optional<core::error> failed_;        // told when all is let go
  core::log_place at_;                       // the checkpoint
  std::optional<core::snapshot_seal> seal_;  // of the snapshot before
  std::uint64_t base_seq_ = 0;               // of that; 0: none
  std::uint64_t base_part_ = 0;
  core::log_place folded_;  // the last event that is in the state
  std::optional<core::snapshot_reader> base_;
  std::unique_ptr<core::replayed_state> state_;
  std::optional<core::snapshot_writer> writer_;
  core::running_sha256 base_parts_, parts_;
  // On the other thread; they end before what they use does.
  std::future<core::digest> digest_;
  std::future<void> gone_;
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
