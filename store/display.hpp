// One session as lists show it, from a row. Private to store.
#pragma once
#include "store/records.hpp"
#include "store/sqlite.hpp"

namespace portcullis::store {

/// What read_display expects, from column 0 on.
inline constexpr std::string_view display_columns =
    "seq,subject,handle,created_at_ms,last_seen_at_ms,absolute_expires_at_ms,idle_ttl_s,tenant_"
    "generation,state,"
    "sealed";

/// False: the row is damaged.
[[nodiscard]] bool read_display(const statement& row, session_display& to);

}  // namespace portcullis::store
