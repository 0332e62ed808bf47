// What a set of breakers needs of its node.
#pragma once
#include "core/breaker/set.hpp"

namespace portcullis::core {

/// The quota of one thread.
class quota_of_one final : public breaker_quota {
 public:
  bool take(std::uint32_t most) noexcept override { return count < most && ++count > 0; }
  void take_stored() noexcept override { ++count; }
  void give_back() noexcept override { --count; }
  std::uint64_t next_number() noexcept override { return ++number; }
  [[nodiscard]] std::uint64_t order() const noexcept override { return orders; }
  void reordered() noexcept override { ++orders; }
  std::uint32_t count = 0;
  std::uint64_t number = 0, orders = 0;
};

}  // namespace portcullis::core
