// A thin hold on SQLite: one connection, prepared statements, and what its result codes mean to us.
// Private to store.
#pragma once
#include <sqlite3.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/bytes.hpp"
#include "core/result.hpp"

namespace portcullis::store {

/// What a result code (extended) means: SQLITE_FULL is STORE_FULL; any IO error is
/// STORE_UNAVAILABLE with rule "io_error" (fatal, see journal); damage and refused rows are
/// STORE_INTEGRITY.
[[nodiscard]] core::error meaning_of(int rc, const char* file = __builtin_FILE(),
                                     unsigned line = __builtin_LINE(),
                                     const char* function = __builtin_FUNCTION()) noexcept;
[[nodiscard]] bool is_full(const core::error& why) noexcept;

/// A prepared statement. Bound views must live until the next reset().
class statement {
 public:
  statement() = default;
  statement(statement&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)), bound_(other.bound_) {}
  statement& operator=(statement&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(bound_, other.bound_);
    return *this;
  }
  ~statement() { sqlite3_finalize(handle_); }

  [[nodiscard]] int prepare(sqlite3* db, std::string_view sql, bool lasting = true) noexcept;

  void bind(int at, std::uint64_t value) noexcept {
    sqlite3_bind_int64(handle_, at, static_cast<sqlite3_int64>(value));
  }
  void bind(int at, std::int64_t value) noexcept { sqlite3_bind_int64(handle_, at, value); }
  void bind(int at, std::uint32_t value) noexcept { sqlite3_bind_int64(handle_, at, value); }
  void bind_text(int at, std::string_view text) noexcept {
    note(sqlite3_bind_text64(handle_, at, text.empty() ? "" : text.data(), text.size(),
                             SQLITE_STATIC, SQLITE_UTF8));
  }
  /// An empty blob is NULL.
  void bind_blob(int at, core::byte_view bytes) noexcept {
    note(bytes.empty()
             ? sqlite3_bind_null(handle_, at)
             : sqlite3_bind_blob64(handle_, at, bytes.data(), bytes.size(), SQLITE_STATIC));
  }
  void bind_empty_blob(int at) noexcept { note(sqlite3_bind_zeroblob(handle_, at, 0)); }

  /// SQLITE_ROW, SQLITE_DONE or an error.
  [[nodiscard]] int step() noexcept { return bound_ == SQLITE_OK ? sqlite3_step(handle_) : bound_; }
  void reset() noexcept {
    sqlite3_reset(handle_);
    bound_ = SQLITE_OK;
  }
  /// Runs a statement that gives no rows, and resets it. SQLITE_OK or an error.
  [[nodiscard]] int run() noexcept;

  // Columns of the current row; views live until the next step() or reset().
  [[nodiscard]] std::int64_t integer(int column) const noexcept {
    return sqlite3_column_int64(handle_, column);
  }
  [[nodiscard]] std::uint64_t natural(int column) const noexcept {
    return static_cast<std::uint64_t>(integer(column));
  }
  [[nodiscard]] bool is_null(int column) const noexcept {
    return sqlite3_column_type(handle_, column) == SQLITE_NULL;
  }
  [[nodiscard]] std::string_view text(int column) const noexcept {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
    return {data == nullptr ? "" : data,
            static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
  }
  [[nodiscard]] core::byte_view blob(int column) const noexcept {
    const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(handle_, column));
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
  }
  /// False unless the blob has exactly this size.
  template <std::size_t N>
  [[nodiscard]] bool read(int column, core::byte_array<N>& to) const noexcept {
    const auto bytes = blob(column);
    if (bytes.size() != N) return false;
    std::memcpy(to.data(), bytes.data(), N);
    return true;
  }

 private:
  void note(int rc) noexcept {
    if (rc != SQLITE_OK) bound_ = rc;
  }
  sqlite3_stmt* handle_ = nullptr;
  int bound_ =
      SQLITE_OK;  // the last bind that failed (a value too large): the next step fails with it
};

/// Resets a statement at the end of a scope, so that no read stays open across commits.
class resetting {
 public:
  explicit resetting(statement& what) noexcept : what_(what) {}
  ~resetting() { what_.reset(); }
  resetting(const resetting&) = delete;
  resetting& operator=(const resetting&) = delete;

 private:
  statement& what_;
};

}  // namespace portcullis::store
