#include "core/breaker/window.hpp"

#include <algorithm>

namespace portcullis::core {
namespace {

millis bucket_length(const breaker_policy& policy) noexcept {
  return std::max<millis>(1, policy.window_s * 1000 / policy.window_buckets);
}

bool is_failure(call_result result) noexcept {
  return result == call_result::failure || result == call_result::timeout ||
         result == call_result::slow_failure;
}

}  // namespace

void call_window::reset(const breaker_policy& policy, millis now_ms) {
  kind_ = policy.window;
  total_ = {};
  now_ms_ = now_ms;
  first_ = used_ = 0;
  bucket_ms_ = bucket_length(policy);
  age_ms_ = policy.window_age_s * 1000;
  if (kind_ == window_kind::time) {
    buckets_.assign(policy.window_buckets, cell{});
    newest_ = now_ms / bucket_ms_;
    ring_ = {};
  } else {
    buckets_ = {};
    ring_.resize(policy.window_calls);
  }
}

bool call_window::fits(const breaker_policy& policy) const noexcept {
  if (kind_ != policy.window) return false;
  if (kind_ == window_kind::time)
    return buckets_.size() == policy.window_buckets && bucket_ms_ == bucket_length(policy);
  return ring_.size() == policy.window_calls && age_ms_ == policy.window_age_s * 1000;
}

void call_window::count(cell& in, call_result result, bool slow, std::uint64_t times) noexcept {
  in.calls += times;
  if (is_failure(result)) in.failures += times;
  if (slow || result == call_result::slow_success || result == call_result::slow_failure)
    in.slow += times;
  in.by_result[static_cast<std::size_t>(result)] += times;
}

void call_window::add(call_result result, bool slow, std::uint32_t times, millis now_ms) noexcept {
  advance(now_ms);
  if (kind_ == window_kind::time) {
    count(buckets_[static_cast<std::size_t>(newest_) % buckets_.size()], result, slow, times);
    count(total_, result, slow, times);
    return;
  }
  // More of the same than the window holds push out all else.
  times = std::min<std::uint32_t>(times, static_cast<std::uint32_t>(ring_.size()));
  for (std::uint32_t i = 0; i < times; ++i) {
    if (used_ == ring_.size()) forget_oldest();
    ring_[(first_ + used_) % ring_.size()] = {now_ms_, result, slow};
    ++used_;
    count(total_, result, slow, 1);
  }
}

void call_window::advance(millis now_ms) noexcept {
  now_ms_ = std::max(now_ms_, now_ms);
  if (kind_ == window_kind::count) {
    while (used_ > 0 && ring_[first_].at_ms <= now_ms_ - age_ms_) forget_oldest();
    return;
  }
  const auto number = now_ms_ / bucket_ms_;
  if (number == newest_) return;
  const auto steps =
      std::min<std::int64_t>(number - newest_, static_cast<std::int64_t>(buckets_.size()));
  for (std::int64_t i = 1; i <= steps; ++i) {
    auto& bucket = buckets_[static_cast<std::size_t>(number - steps + i) % buckets_.size()];
    total_.calls -= bucket.calls;
    total_.failures -= bucket.failures;
    total_.slow -= bucket.slow;
    for (std::size_t k = 0; k < call_result_count; ++k) total_.by_result[k] -= bucket.by_result[k];
    bucket = {};
  }
  newest_ = number;
}

void call_window::forget_oldest() noexcept {
  const auto& oldest = ring_[first_];
  --total_.calls;
  if (is_failure(oldest.result)) --total_.failures;
  if (oldest.slow || oldest.result == call_result::slow_success ||
      oldest.result == call_result::slow_failure)
    --total_.slow;
  --total_.by_result[static_cast<std::size_t>(oldest.result)];
  first_ = (first_ + 1) % ring_.size();
  --used_;
}

call_counts call_window::counts() const noexcept { return {total_.by_result}; }

}  // namespace portcullis::core
