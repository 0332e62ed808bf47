// Stored rows as the records that the actors and replay keep in memory.
#pragma once
#include <vector>

#include "core/replay/state.hpp"
#include "core/session/state.hpp"
#include "store/log_file.hpp"
#include "store/records.hpp"

namespace portcullis::store {

struct restored_session {
  core::subject_id subject;
  core::session_record record;  // without its user's slot
  std::vector<core::old_id> old_ids;
  std::optional<core::short_hash> alias;
};
[[nodiscard]] restored_session session_of(const session_record& row);

/// The state that the projections hold, as if replayed up to the log's end. Errors: as
/// log_file::load().
[[nodiscard]] core::result<core::replayed_state> restore_projections(log_file& from);

}  // namespace portcullis::store
