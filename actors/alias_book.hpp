// All aliases of a node. Shared by its loops: an alias leads to its session's shard before a
// request is on its way there, so that requests of a connection stay in order (decision 0027).
#pragma once
#include <array>
#include <atomic>
#include <mutex>
#include <optional>

#include "core/error/catalogue.hpp"
#include "core/session/alias_table.hpp"

namespace portcullis::actors {

/// A create asks for an alias that another session of the tenant has, or is about to have.
[[nodiscard]] inline core::error alias_taken() {
  return core::fail(core::error_code::INVALID_PARAMS, "alias", "unique");
}

/// The functions of core::alias_table, of the part that a tag's first byte names. Thread-safe: each
/// part has its lock, held for one look-up.
class alias_book {
 public:
  [[nodiscard]] bool reserve(const core::short_hash& tag, std::uint8_t byte, core::millis now_ms) {
    auto& part = part_of(tag);
    std::lock_guard guard{part.mutex};
    return part.table.reserve(tag, byte, now_ms);
  }
  [[nodiscard]] bool renew(const core::short_hash& tag, std::uint8_t byte, core::millis now_ms) {
    auto& part = part_of(tag);
    std::lock_guard guard{part.mutex};
    return part.table.renew(tag, byte, now_ms);
  }
  void release(const core::short_hash& tag, std::uint8_t byte) {
    auto& part = part_of(tag);
    std::lock_guard guard{part.mutex};
    part.table.release(tag, byte);
  }
  void keep(const core::short_hash& tag, std::uint8_t byte, core::millis until_ms) {
    auto& part = part_of(tag);
    std::lock_guard guard{part.mutex};
    part.table.keep(tag, byte, until_ms);
  }
  /// What a session_created says of an alias; other events say nothing.
  void keep(const core::event& what);
  [[nodiscard]] std::optional<std::uint8_t> find(const core::short_hash& tag, core::millis now_ms) {
    auto& part = part_of(tag);
    std::lock_guard guard{part.mutex};
    return part.table.find(tag, now_ms);
  }
  [[nodiscard]] std::optional<std::uint8_t> holder(const core::short_hash& tag,
                                                   core::millis now_ms) {
    auto& part = part_of(tag);
    std::lock_guard guard{part.mutex};
    return part.table.holder(tag, now_ms);
  }
  void drop_reservations(const std::bitset<256>& bytes) {
    for (auto& part : parts_) {
      std::lock_guard guard{part.mutex};
      part.table.drop_reservations(bytes);
    }
  }
  /// The next step of sweeping: a slice of one part.
  void sweep(core::millis now_ms);
  /// Also those that are over and have not been swept.
  [[nodiscard]] std::size_t size();

 private:
  struct alignas(64) partition {
    std::mutex mutex;
    core::alias_table table;  // guarded by mutex
  };
  [[nodiscard]] partition& part_of(const core::short_hash& tag) noexcept { return parts_[tag[0]]; }

  std::array<partition, 256> parts_;
  std::atomic<std::uint32_t> swept_{0};
};

}  // namespace portcullis::actors
