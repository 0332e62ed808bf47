// How many connections each source has at once: of all loops and listeners that share it.
#pragma once
#include <cstddef>
#include <map>
#include <mutex>

#include "core/contract/types.hpp"

namespace portcullis::net {

/// A source is one IPv4 address, or the /64 of an IPv6 address: what one subscriber is given (RFC
/// 6177). Holds an entry a source that has connections. Any thread.
class source_counts {
 public:
  explicit source_counts(std::size_t connections_max) : max_(connections_max) {}

  /// Counts a connection; false, and nothing is counted, where its source has all that it may.
  [[nodiscard]] bool enter(const core::ip_address& from) {
    const std::lock_guard guard{mutex_};
    auto& count = counts_[source_of(from)];
    if (count >= max_) return false;
    ++count;
    return true;
  }
  /// Undoes an enter() that was true.
  void leave(const core::ip_address& from) {
    const std::lock_guard guard{mutex_};
    const auto found = counts_.find(source_of(from));
    if (--found->second == 0) counts_.erase(found);
  }

 private:
  static core::ip_address source_of(core::ip_address address) noexcept {
    if (!address.is_v4())
      for (std::size_t i = 8; i < address.bytes.size(); ++i) address.bytes[i] = 0;
    return address;
  }
  std::size_t max_;
  std::mutex mutex_;
  std::map<core::ip_address, std::size_t> counts_;  // guarded by mutex_
};

}  // namespace portcullis::net
