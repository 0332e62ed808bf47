// The log's events one after the other, decoded on other threads while the caller uses them: what
// replay, verify and what-if read.
#pragma once
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/crypto/hmac.hpp"
#include "core/event/event.hpp"
#include "store/log_file.hpp"

namespace portcullis::store {

/// No event has so many bytes: the largest tell of a hundred thousand breakers, or of the activity
/// of a commit.
inline constexpr std::size_t log_row_bytes_max = 64U << 20U;

/// What is wrong at a place of the log, and where: nothing after it was told.
struct log_trouble {
  enum class kind : std::uint8_t {
    missing,    // the row with this seq is not there
    time,       // its time is before that of the row before
    mac,        // its mac is not the chain's: it was changed, or the one before was
    body,       // it cannot be read as an event, or is larger than one
    file,       // the file cannot be read here, or there is no memory for it
    signature,  // a checkpoint that this key did not sign, or of another log
  };
  std::uint64_t seq = 0;
  kind what = kind::missing;
  core::error why{};  // body, file
};
[[nodiscard]] std::string_view to_string(log_trouble::kind what) noexcept;

/// Whether the row's mac is the chain's, after a row with that mac. `decoded`: the row as an event;
/// null where it is none. Rows of an earlier version have their whole body in the mac, whatever
/// their type.
[[nodiscard]] bool is_chained(const core::hmac_key& chain, const core::digest& mac_before,
                              const log_row& row, const core::event* decoded) noexcept;

struct log_stream_options {
  std::uint64_t after = 0;
  std::uint64_t until = ~std::uint64_t{0};
  core::millis until_ms = std::numeric_limits<core::millis>::max();  // inclusive
  const core::hmac_key* chain = nullptr;                             // set: each mac is checked
  std::optional<core::digest> mac_before;  // of the row `after`; absent: read from the log
  std::optional<core::digest> signer;      // set: checkpoints are checked
};

/// From where the log begins: after what retention cut off, or with its first event.
[[nodiscard]] log_stream_options whole_log(const log_file& of);

/// One thread at a time; the file is the stream's while it lives. Where a thread or memory cannot
/// be had that is trouble(), not an exception.
class log_stream {
 public:
  log_stream(log_file& from, log_stream_options options);
  ~log_stream();
  log_stream(const log_stream&) = delete;
  log_stream& operator=(const log_stream&) = delete;

  /// The next events, in order; empty at the end, or before trouble. Good until the next call.
  [[nodiscard]] std::span<core::event> next();
  /// Where and why it ended early.
  [[nodiscard]] const std::optional<log_trouble>& trouble() const noexcept;
  /// Of the last event told.
  [[nodiscard]] const core::digest& mac() const noexcept;

 private:
  struct pipeline;
  std::unique_ptr<pipeline> pipeline_;
};

}  // namespace portcullis::store
