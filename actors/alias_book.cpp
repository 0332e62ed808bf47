#include "actors/alias_book.hpp"

#include "core/limits.hpp"

namespace portcullis::actors {

void alias_book::keep(const core::event& what) {
  const auto* created = std::get_if<core::session_created>(&what.body);
  if (created == nullptr || !created->alias || !what.handle) return;
  keep(*created->alias, what.handle->bytes[0],
       created->absolute_expires_at_ms + core::limits::tombstone_keep_ms);
}

void alias_book::sweep(core::millis now_ms) {
  auto& part = parts_[swept_.fetch_add(1, std::memory_order_relaxed) % parts_.size()];
  std::lock_guard guard{part.mutex};
  part.table.sweep(now_ms, core::limits::aliases_swept_at_once);
}

std::size_t alias_book::size() {
  std::size_t all = 0;
  for (auto& part : parts_) {
    std::lock_guard guard{part.mutex};
    all += part.table.size();
  }
  return all;
}

}  // namespace portcullis::actors
