// Latencies in buckets of a constant relative width, as HdrHistogram has them: 64 buckets a power
// of two, 1.6%.
#pragma once
#include <array>
#include <bit>
#include <cstdint>

namespace portcullis::apps {

class histogram {
 public:
  void add(std::uint64_t ns) noexcept {
    ++buckets_[index_of(ns)];
    ++count_;
    if (ns > max_) max_ = ns;
  }
  void add(std::uint64_t ns, std::uint64_t times) noexcept {
    buckets_[index_of(ns)] += times;
    count_ += times;
    if (ns > max_) max_ = ns;
  }
  void merge(const histogram& other) noexcept;
  /// The least value that at least `share` (0..1) of all are not above, to the width of a bucket; 0
  /// when empty.
  [[nodiscard]] std::uint64_t quantile(double share) const noexcept;
  [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  static constexpr unsigned sub_bits = 6;
  static constexpr std::uint64_t largest = (std::uint64_t{1} << 40) - 1;  // 18 minutes
  static constexpr std::size_t bucket_count = (40 - sub_bits + 1) << sub_bits;

  static std::size_t index_of(std::uint64_t ns) noexcept {
    if (ns > largest) ns = largest;
    if (ns < (1U << sub_bits)) return ns;
    const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - sub_bits - 1;
    return ((std::size_t{shift} + 1) << sub_bits) + ((ns >> shift) & ((1U << sub_bits) - 1));
  }
  static std::uint64_t top_of(std::size_t index) noexcept;

  std::array<std::uint64_t, bucket_count> buckets_{};
  std::uint64_t count_ = 0, max_ = 0;
};

}  // namespace portcullis::apps
