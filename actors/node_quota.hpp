// How many breakers a node has, over its shards.
#pragma once
#include <atomic>

#include "core/breaker/set.hpp"

namespace portcullis::actors {

/// Any thread.
class node_quota final : public core::breaker_quota {
 public:
  /// `order`: no other start has the same, or one of the next few.
  explicit node_quota(std::uint64_t order) : order_(order) {}
  bool take(std::uint32_t most) noexcept override {
    auto now = count_.load(std::memory_order_relaxed);
    while (now < most)
      if (count_.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) return true;
    return false;
  }
  void take_stored() noexcept override { count_.fetch_add(1, std::memory_order_relaxed); }
  void give_back() noexcept override { count_.fetch_sub(1, std::memory_order_relaxed); }
  std::uint64_t next_number() noexcept override {
    return number_.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  [[nodiscard]] std::uint64_t order() const noexcept override {
    return order_.load(std::memory_order_relaxed);
  }
  void reordered() noexcept override { order_.fetch_add(1, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint32_t> count_{0};
  std::atomic<std::uint64_t> number_{0}, order_;
};

}  // namespace portcullis::actors
