// One session as lists show it, from a row. Private to store.
#pragma once
#include "store/records.hpp"
#include "store/sqlite.hpp"

namespace portcullis::store {

/// What read_display expects, from column 0 on.
inline constexpr std::string_view display_columns = "seq,subject,handle,state,sealed";
/// How many these are: where columns of the caller's own begin.
inline constexpr int display_column_count = 5;

/// False: the row is damaged.
[[nodiscard]] bool read_display(const statement& row, session_display& to);

}  // namespace portcullis::store
