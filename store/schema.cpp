#include "store/schema.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>

#include "store/sqlite.hpp"

namespace portcullis::store {
namespace {

// What stands before a row in a page scan comes first: small columns before large ones.
constexpr const char* version_1 = R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE events(
  seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, type TEXT NOT NULL, subject BLOB,
  body TEXT NOT NULL, sealed BLOB, mac BLOB NOT NULL);
CREATE TABLE users(
  id INTEGER PRIMARY KEY, subject BLOB NOT NULL, lookup BLOB NOT NULL, tenant_id TEXT NOT NULL,
  ring_key INTEGER NOT NULL, wrapped BLOB NOT NULL);
CREATE TABLE sessions(
  seq INTEGER PRIMARY KEY, subject BLOB NOT NULL, tenant_id TEXT NOT NULL, handle BLOB NOT NULL,
  id BLOB NOT NULL,
  ring_key INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, last_seen_at_ms INTEGER NOT NULL,
  absolute_expires_at_ms INTEGER NOT NULL, idle_ttl_s INTEGER NOT NULL, version INTEGER NOT NULL,
  state INTEGER NOT NULL, ended_seq INTEGER NOT NULL, tenant_generation INTEGER NOT NULL,
  find_ip INTEGER NOT NULL, find_user_agent INTEGER NOT NULL, fields BLOB, ip BLOB,
  predecessor BLOB, predecessor_ring_key INTEGER, nonce BLOB, grace_ends_at_ms INTEGER,
  rotation_ring_key INTEGER, successor_used INTEGER, sealed BLOB, data BLOB);
CREATE TABLE retired_ids(
  session_seq INTEGER NOT NULL, place INTEGER NOT NULL, id BLOB NOT NULL,
  ring_key INTEGER NOT NULL,
  grace_ends_at_ms INTEGER NOT NULL, PRIMARY KEY(session_seq, place)) WITHOUT ROWID;
CREATE TABLE lockouts(
  subject BLOB NOT NULL, source BLOB NOT NULL, failed_attempts INTEGER NOT NULL,
  window_ends_at_ms INTEGER NOT NULL,
  locked_until_ms INTEGER NOT NULL, PRIMARY KEY(subject, source)) WITHOUT ROWID;
CREATE TABLE tenants(tenant_id TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
)sql";

// Breakers by creation, and what sources of observed ones have reported.
constexpr const char* version_2 = R"sql(
CREATE TABLE breakers(
  id INTEGER PRIMARY KEY, service TEXT NOT NULL, breaker TEXT NOT NULL, kind INTEGER NOT NULL,
  state INTEGER NOT NULL, epoch INTEGER NOT NULL, cause INTEGER NOT NULL,
  since_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, failed_rounds INTEGER NOT NULL,
  mode INTEGER NOT NULL, scope INTEGER NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL, UNIQUE(service, breaker));
CREATE TABLE breaker_sources(
  service TEXT NOT NULL, breaker TEXT NOT NULL, source TEXT NOT NULL,
  source_epoch INTEGER NOT NULL, highest_seq INTEGER NOT NULL, seen INTEGER NOT NULL,
  state INTEGER NOT NULL, open_since_ms INTEGER NOT NULL, last_report_at_ms INTEGER NOT NULL,
  counts BLOB NOT NULL, gaps BLOB, PRIMARY KEY(service, breaker, source)) WITHOUT ROWID;
)sql";

// What retention leaves in the place of the events that it cut off, in parts, by the seq of the
// last of them.
constexpr const char* version_3 = R"sql(
CREATE TABLE snapshot(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL);
)sql";

// Where the session has one, the keyed hash of the alias that its caller gave it.
constexpr const char* version_4 = R"sql(
ALTER TABLE sessions ADD COLUMN alias BLOB;
)sql";

// Index i brings version i to i + 1. Only ever appended to.
constexpr std::array migrations = {version_1, version_2, version_3, version_4};

int run(sqlite3* db, const std::string& sql) {
  return sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
}

int migrate_from(sqlite3* db, int version) {
  return run(db, std::string("BEGIN IMMEDIATE;") + migrations[static_cast<std::size_t>(version)] +
                     "PRAGMA user_version=" + std::to_string(version + 1) + ";COMMIT;");
}

/// By kind and name: of which table, and its text.
using definitions = std::map<std::pair<std::string, std::string>, std::string>;

std::string text_of(const definitions::key_type& name) {
  auto text = name.first + " " + name.second;
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string with_single_spaces(std::string_view sql) {
  std::string out;
  for (const char c : sql) {
    const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (!space)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

int read_definitions(sqlite3* db, definitions& to) {
  statement rows;
  int rc = rows.prepare(db, "SELECT type,name,tbl_name,sql FROM sqlite_master", false);
  if (rc != SQLITE_OK) return rc;
  while ((rc = rows.step()) == SQLITE_ROW)
    to[{std::string(rows.text(0)), std::string(rows.text(1))}] =
        std::string(rows.text(2)) + ": " + with_single_spaces(rows.text(3));
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/// Of an empty database of that version.
int read_fresh(int version, definitions& to) {
  sqlite3* db = nullptr;
  int rc = sqlite3_open(":memory:", &db);
  for (int i = 0; rc == SQLITE_OK && i < version; ++i) rc = migrate_from(db, i);
  if (rc == SQLITE_OK) rc = read_definitions(db, to);
  sqlite3_close(db);
  return rc;
}

}  // namespace

int read_schema_version(sqlite3* db, int& version) {
  statement query;
  if (const int rc = query.prepare(db, "PRAGMA user_version"); rc != SQLITE_OK) return rc;
  if (const int rc = query.step(); rc != SQLITE_ROW) return rc;
  version = static_cast<int>(query.integer(0));
  return SQLITE_OK;
}

int schema_version() noexcept { return static_cast<int>(migrations.size()); }

core::status migrate(sqlite3* db) {
  int version = 0;
  if (const int rc = read_schema_version(db, version); rc != SQLITE_OK) return meaning_of(rc);
  if (version > schema_version()) return core::fail(core::error_code::SCHEMA_TOO_NEW);
  if (version < 0) return core::fail(core::error_code::STORE_INTEGRITY, {}, "schema");
  for (; version < schema_version(); ++version)
    if (const int rc = migrate_from(db, version); rc != SQLITE_OK) {
      static_cast<void>(run(db, "ROLLBACK"));
      return meaning_of(rc);
    }
  return core::nothing{};
}

int compare_schema(sqlite3* db, std::vector<std::string>& differences) {
  int version = 0;
  if (const int rc = read_schema_version(db, version); rc != SQLITE_OK) return rc;
  definitions found, fresh;
  if (const int rc = read_definitions(db, found); rc != SQLITE_OK) return rc;
  if (const int rc = read_fresh(std::min(version, schema_version()), fresh); rc != SQLITE_OK)
    return rc;
  for (const auto& [name, sql] : found) {
    const auto same = fresh.find(name);
    if (same == fresh.end())
      differences.push_back(text_of(name) + " does not belong there");
    else if (same->second != sql)
      differences.push_back(text_of(name) + " is defined otherwise");
  }
  for (const auto& [name, sql] : fresh)
    if (!found.contains(name)) differences.push_back(text_of(name) + " is missing");
  return SQLITE_OK;
}

}  // namespace portcullis::store
