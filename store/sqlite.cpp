#include "store/sqlite.hpp"

namespace portcullis::store {
namespace {

constexpr std::string_view io_error = "io_error";

}  // namespace

core::error meaning_of(int rc, const char* file, unsigned line, const char* function) noexcept {
  using core::error_code;
  const auto make = [&](error_code code, std::string_view rule) {
    return core::fail(code, {}, rule, -1, file, line, function);
  };
  switch (rc & 0xff) {
    case SQLITE_FULL:
      return make(error_code::STORE_FULL, {});
    case SQLITE_IOERR:
      return make(error_code::STORE_UNAVAILABLE, io_error);
    case SQLITE_NOMEM:
      return make(error_code::STORE_UNAVAILABLE, "memory");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return make(error_code::DATA_DIR_IN_USE, {});
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
      return make(error_code::STORE_UNAVAILABLE, "open");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return make(error_code::STORE_INTEGRITY, "file");
    default:
      return make(error_code::STORE_INTEGRITY, "refused");
  }
}

bool is_fatal(const core::error& why) noexcept {
  return why.code == core::error_code::STORE_UNAVAILABLE && why.rule == io_error;
}

bool is_full(const core::error& why) noexcept { return why.code == core::error_code::STORE_FULL; }

int statement::prepare(sqlite3* db, std::string_view sql, bool lasting) noexcept {
  sqlite3_finalize(std::exchange(handle_, nullptr));
  return sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()),
                            lasting ? SQLITE_PREPARE_PERSISTENT : 0U, &handle_, nullptr);
}

int statement::run() noexcept {
  const int rc = step();
  reset();
  return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

}  // namespace portcullis::store
