#include "journal_fixture.hpp"

#include <sqlite3.h>

namespace portcullis::store {

std::uint64_t first_broken_link(const std::string& database_path) {
  sqlite3* db = nullptr;
  sqlite3_stmt* rows = nullptr;
  EXPECT_EQ(sqlite3_open_v2(database_path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
  EXPECT_EQ(sqlite3_prepare_v2(
                db, "SELECT seq,at_ms,type,subject,body,sealed,mac FROM events ORDER BY seq", -1,
                &rows, nullptr),
            SQLITE_OK);
  const auto text = [&](int column) {
    const auto* at = static_cast<const char*>(sqlite3_column_blob(rows, column));
    return std::string(at == nullptr ? "" : at,
                       static_cast<std::size_t>(sqlite3_column_bytes(rows, column)));
  };
  core::digest mac{};
  std::uint64_t seq = 0;
  std::uint64_t broken = 0;
  while (sqlite3_step(rows) == SQLITE_ROW && broken == 0) {
    ++seq;
    const auto subject = text(3), sealed = text(5);
    core::digest hash;
    const auto body = text(4);
    const auto type = core::parse_event_type(text(2)).value_or(core::event_type::node_stopped);
    mac = chain_mac(chain_key(), mac, seq, sqlite3_column_int64(rows, 1), text(2),
                    core::as_bytes(subject), mac_body(type, body, std::nullopt, hash),
                    core::as_bytes(sealed));
    if (static_cast<std::uint64_t>(sqlite3_column_int64(rows, 0)) != seq ||
        text(6) != core::as_text(mac))
      broken = seq;
  }
  sqlite3_finalize(rows);
  sqlite3_close(db);
  return broken;
}

}  // namespace portcullis::store
