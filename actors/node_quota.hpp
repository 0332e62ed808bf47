// How many breakers a node has, over its shards.
#pragma once
#include <atomic>

#include "core/breaker/set.hpp"

namespace portcullis::actors {

/// Any thread.
class node_quota final : public core::breaker_quota {
 public:
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

 private:
  std::atomic<std::uint32_t> count_{0};
  std::atomic<std::uint64_t> number_{0};
};

}  // namespace portcullis::actors
