// Making a store out of what another one held: the log's rows as they are, and from them the tables
// that a start needs. There is a store in the folder when all has gone well, and nothing before.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "core/breaker/observed.hpp"
#include "core/crypto/hmac.hpp"
#include "core/event/event.hpp"
#include "core/random.hpp"
#include "core/replay/snapshot.hpp"
#include "core/replay/state.hpp"
#include "core/result.hpp"
#include "core/session/keyring.hpp"
#include "store/log_stream.hpp"

namespace portcullis::store {

/// The schema of the stores that this version makes; an older one's rows can be imported.
[[nodiscard]] int current_schema() noexcept;

struct import_options {
  std::string data_dir;  // made (0700) when it is not there
  std::string node_id;
  core::digest keyring_check{};              // as journal_options
  const core::key_material* keys = nullptr;  // checks the chain; outlives the importer
  /// Seals anew the address of a session that has lost what lists show of it.
  core::random_source random;
  /// The log is cut before its end: what sources of observed breakers reported was not kept of
  /// then, and the states that the log tells of them stand in for it.
  bool cut = false;
};

/// One thread; its calls block on the disk. The folder is locked, as by a running node, for as long
/// as it lives. Memory is that of the state at the log's present place. After an error only the
/// destructor may follow, which removes what was written, and the folder where it made that.
class importer {
 public:
  /// Errors: DATA_DIR_IN_USE, INVALID_PARAMS (rule "not_empty": there is a store already),
  /// STORE_UNAVAILABLE, STORE_FULL.
  [[nodiscard]] static core::result<std::unique_ptr<importer>> begin(const import_options& options);
  ~importer();
  importer(const importer&) = delete;
  importer& operator=(const importer&) = delete;

  /// Rows of `users`, in their order, and of `breaker_sources`: all before the first event (bug
  /// otherwise). Errors: STORE_INTEGRITY (rule "twice": of a subject), STORE_UNAVAILABLE,
  /// STORE_FULL.
  [[nodiscard]] core::status add(const core::user_row& row);
  [[nodiscard]] core::status add(const core::breaker_source_record& row);
  /// Of a log that retention cut, before its first event (bug otherwise): its snapshot, then as
  /// many parts as it has, in their order; with the last one, at once where there is none, all of
  /// it is checked, and the tables have what it holds. Errors: LOG_CORRUPT (rule "signature":
  /// another key signed it; "parts": its parts are not those that were sealed; "state": nor is what
  /// they hold; "snapshot": they hold no state), STORE_UNAVAILABLE, STORE_FULL.
  [[nodiscard]] core::status begin_snapshot(const core::snapshot_seal& seal, std::uint64_t parts);
  [[nodiscard]] core::status add_part(std::string_view part);
  /// The log's next row; the first is seq 1, or comes after the snapshot. Errors: LOG_CORRUPT
  /// (trouble() says what is wrong with it), STORE_UNAVAILABLE, STORE_FULL.
  [[nodiscard]] core::status add(const log_row& row);
  /// After the last event (bug otherwise), by seq. Errors: LOG_CORRUPT (rule "order": the one
  /// before has the same seq or a later one; "session": there is none that lives;
  /// "last_seen_at_ms": not between its creation and the log's end; "sealed": what is sealed there
  /// is another user's, or its creation is in the log), STORE_UNAVAILABLE, STORE_FULL.
  [[nodiscard]] core::status add(const untold_session& row);
  [[nodiscard]] const std::optional<log_trouble>& trouble() const noexcept;
  /// The log is whole: the store is durable, and where a node opens it, when this returns without
  /// error. Errors: as add().
  [[nodiscard]] core::status finish();
  /// What the events so far have led to.
  [[nodiscard]] const core::replayed_state& state() const noexcept;

 private:
  struct work;
  explicit importer(std::unique_ptr<work> made);
  std::unique_ptr<work> work_;
};

}  // namespace portcullis::store
