// The tables that a start reads, filled from a snapshot's state instead of from events. Private to
// store.
#pragma once
#include "core/replay/state.hpp"
#include "store/database.hpp"

namespace portcullis::store {

/// What neither replay nor a start reads is left out: the seq that ended a session, ring keys of
/// retired ids, the second halves of context hashes. Errors: as database::failed().
[[nodiscard]] core::status put_rows(database& db, const core::replayed_state& of);

}  // namespace portcullis::store
