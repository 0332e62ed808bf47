#include "core/breaker/window.hpp"

#include <algorithm>

namespace portcullis::core {
namespace {

millis bucket_length(const breaker_policy& policy) noexcept {
  return std::max<millis>(1, policy.window_s * 1000 / policy.window_buckets);
}

std::size_t next(std::size_t at, std::size_t size) noexcept { return at + 1 == size ? 0 : at + 1; }

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
  window_s_ = policy.window_s;
  bucket_ms_ = bucket_length(policy);
  age_ms_ = policy.window_age_s * 1000;
  if (kind_ == window_kind::time) {
    buckets_.assign(policy.window_buckets, cell{});
    newest_ = 0;
    newest_ends_ms_ = (now_ms / bucket_ms_ + 1) * bucket_ms_;
    ring_ = {};
  } else {
    buckets_ = {};
    ring_.resize(policy.window_calls);
  }
}

bool call_window::fits(const breaker_policy& policy) const noexcept {
  if (kind_ != policy.window) return false;
  if (kind_ == window_kind::time)
    return buckets_.size() == policy.window_buckets && window_s_ == policy.window_s;
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
    count(buckets_[newest_], result, slow, times);
    count(total_, result, slow, times);
    return;
  }
  // More of the same than the window holds push out all else.
  times = std::min<std::uint32_t>(times, static_cast<std::uint32_t>(ring_.size()));
  for (std::uint32_t i = 0; i < times; ++i) {
    if (used_ == ring_.size()) forget_oldest();
    const auto room = ring_.size() - first_;
    ring_[used_ < room ? first_ + used_ : used_ - room] = {now_ms_, result, slow};
    ++used_;
    count(total_, result, slow, 1);
  }
}

void call_window::add(const call_counts& calls, millis now_ms) noexcept {
  using enum call_result;
  const auto all = calls.calls();
  const std::uint64_t most = kind_ == window_kind::count ? ring_.size() : all;
  std::uint64_t before = 0;  // calls of the results that are added already
  for (const auto each : {success, slow_success, failure, slow_failure, timeout}) {
    auto times = calls[each];
    if (all > most) {  // shares of the places, so that all of them together are `most`
      const auto share = (before + times) * most / all - before * most / all;
      before += times;
      times = share;
    }
    if (times > 0) add(each, false, static_cast<std::uint32_t>(times), now_ms);
  }
}

void call_window::advance(millis now_ms) noexcept {
  if (kind_ == window_kind::count) {
    now_ms_ = std::max(now_ms_, now_ms);
    while (used_ > 0 && ring_[first_].at_ms <= now_ms_ - age_ms_) forget_oldest();
    return;
  }
  if (now_ms < newest_ends_ms_) return;  // nearly always: no division
  const auto begun = (now_ms - newest_ends_ms_) / bucket_ms_ + 1;
  newest_ends_ms_ += begun * bucket_ms_;
  const auto steps = std::min<std::int64_t>(begun, static_cast<std::int64_t>(buckets_.size()));
  for (std::int64_t i = 0; i < steps; ++i) {
    newest_ = next(newest_, buckets_.size());
    auto& bucket = buckets_[newest_];
    total_.calls -= bucket.calls;
    total_.failures -= bucket.failures;
    total_.slow -= bucket.slow;
    for (std::size_t k = 0; k < call_result_count; ++k) total_.by_result[k] -= bucket.by_result[k];
    bucket = {};
  }
}

void call_window::forget_oldest() noexcept {
  const auto& oldest = ring_[first_];
  --total_.calls;
  if (is_failure(oldest.result)) --total_.failures;
  if (oldest.slow || oldest.result == call_result::slow_success ||
      oldest.result == call_result::slow_failure)
    --total_.slow;
  --total_.by_result[static_cast<std::size_t>(oldest.result)];
  first_ = next(first_, ring_.size());
  --used_;
}

call_counts call_window::counts() const noexcept { return {total_.by_result}; }

}  // namespace portcullis::core
