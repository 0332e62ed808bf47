// The requests in flight on one loop: a slab of slots, reused under new generations, kept in order
// of arrival.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/contract/method.hpp"
#include "core/limits.hpp"
#include "net/ports.hpp"
#include "net/tcp/batch.hpp"

namespace portcullis::net {

/// A short text kept in place, a long one on the heap. Reused: assigning allocates only when the
/// text is long.
template <std::size_t InPlace>
class kept_text {
 public:
  void assign(std::string_view text) {
    size_ = static_cast<std::uint16_t>(text.size());
    if (text.empty()) return;
    if (text.size() <= InPlace)
      std::memcpy(near_.data(), text.data(), text.size());
    else
      far_ = std::make_unique<std::string>(text);
  }
  void clear() noexcept {
    size_ = 0;
    if (far_) far_.reset();
  }
  [[nodiscard]] std::string_view view() const noexcept {
    return far_ ? std::string_view(*far_) : std::string_view(near_.data(), size_);
  }

 private:
  std::array<char, InPlace> near_;
  std::uint16_t size_ = 0;
  std::unique_ptr<std::string> far_;
};

/// What must be remembered of a request until it is answered.
struct pending_request {
  std::uint32_t generation = 1;
  std::uint32_t earlier = 0,
                later = 0;  // neighbours in order of arrival; `later` also links free slots
  std::uint32_t tag = 0;
  connection_id connection = 0;
  std::int64_t started_ns = 0;
  core::method method = core::method::server_ping;
  bool notification = false;
  bool in_use = false;
  std::uint16_t batch_index = 0;
  kept_text<24> raw_id;
  std::shared_ptr<reply_batch> batch;  // null: a call of its own
  kept_text<core::limits::correlation_id_bytes_max> correlation_id;
};

/// Single thread. Slot 0 is the list's end and never given out.
class ticket_slab {
 public:
  ticket_slab() : slots_(1) {}

  /// A slot for a request that starts now; the caller fills it. References to other slots may
  /// become invalid.
  pending_request& open(std::uint32_t& slot) {
    if (free_ == 0) grow();
    slot = free_;
    auto& entry = slots_[slot];
    free_ = entry.later;
    entry.in_use = true;
    entry.earlier = slots_[0].earlier;
    entry.later = 0;
    slots_[entry.earlier].later = slot;
    slots_[0].earlier = slot;
    ++count_;
    return entry;
  }
  /// Null when the ticket was answered before.
  [[nodiscard]] pending_request* find(ticket which) noexcept {
    if (which.slot == 0 || which.slot >= slots_.size()) return nullptr;
    auto& entry = slots_[which.slot];
    return entry.in_use && entry.generation == which.generation ? &entry : nullptr;
  }
  void close(std::uint32_t slot) noexcept {
    auto& entry = slots_[slot];
    slots_[entry.earlier].later = entry.later;
    slots_[entry.later].earlier = entry.earlier;
    entry.in_use = false;
    ++entry.generation;
    entry.tag = 0;
    entry.raw_id.clear();
    entry.correlation_id.clear();
    if (entry.batch) entry.batch.reset();
    entry.later = free_;
    free_ = slot;
    --count_;
  }
  /// The oldest request's slot; 0: none. next(slot) is the one that came after it.
  [[nodiscard]] std::uint32_t oldest() const noexcept { return slots_[0].later; }
  [[nodiscard]] std::uint32_t next(std::uint32_t slot) const noexcept { return slots_[slot].later; }
  [[nodiscard]] const pending_request& at(std::uint32_t slot) const noexcept {
    return slots_[slot];
  }
  [[nodiscard]] ticket name(std::uint32_t slot) const noexcept {
    return {slot, slots_[slot].generation};
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  void grow() {
    const auto first = static_cast<std::uint32_t>(slots_.size());
    slots_.resize(slots_.size() * 2);
    for (auto slot = static_cast<std::uint32_t>(slots_.size()); slot-- > first;) {
      slots_[slot].later = free_;
      free_ = slot;
    }
  }
  std::vector<pending_request> slots_;
  std::uint32_t free_ = 0;
  std::size_t count_ = 0;
};

}  // namespace portcullis::net
