// The tables, as numbered migrations. Private to store.
#pragma once
#include <sqlite3.h>

#include <string>
#include <vector>

#include "core/result.hpp"

namespace portcullis::store {

/// The version that this program writes: PRAGMA user_version.
[[nodiscard]] int schema_version() noexcept;

/// PRAGMA user_version of the file. SQLITE_OK or an error.
[[nodiscard]] int read_schema_version(sqlite3* db, int& version);

/// Brings an empty or older database up to schema_version(), each step in a transaction of its own.
/// Errors: SCHEMA_TOO_NEW, STORE_INTEGRITY (not a journal), STORE_FULL, STORE_UNAVAILABLE.
[[nodiscard]] core::status migrate(sqlite3* db);

/// What the file defines otherwise than a fresh one of its version, a sentence each; white space in
/// definitions does not count. SQLITE_OK or an error.
[[nodiscard]] int compare_schema(sqlite3* db, std::vector<std::string>& differences);

}  // namespace portcullis::store
