#include "apps/bench/histogram.hpp"

#include <algorithm>
#include <cmath>

namespace portcullis::apps {

void histogram::merge(const histogram& other) noexcept {
  for (std::size_t i = 0; i < bucket_count; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

std::uint64_t histogram::top_of(std::size_t index) noexcept {
  const auto row = index >> sub_bits;
  const auto column = index & ((1U << sub_bits) - 1);
  if (row == 0) return column;
  return (((std::uint64_t{1} << sub_bits) + column + 1) << (row - 1)) - 1;
}

std::uint64_t histogram::quantile(double share) const noexcept {
  if (count_ == 0) return 0;
  const auto wanted = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < bucket_count; ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return std::min(top_of(i), max_);
  }
  return max_;
}

}  // namespace portcullis::apps
