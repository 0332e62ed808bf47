// A hosted breaker without actors: a clock that is a number, injected random bytes, and all events
// that it gave. What the tests of its rules are written with.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>

#include "core/breaker/hosted.hpp"
#include "core/limits.hpp"

namespace portcullis::core::breaker_tests {

inline constexpr millis start_ms = 1'700'000'040'000;  // begins a minute

/// Always the same 64 random bits. The middle one sways a wait by nothing.
inline constexpr std::uint64_t no_sway = std::uint64_t{1} << 63;
inline random_source fixed_random(std::uint64_t bits = no_sway) {
  return [bits](std::span<std::uint8_t> out) {
    for (std::size_t i = 0; i < out.size(); i += sizeof bits)
      std::memcpy(out.data() + i, &bits, std::min(sizeof bits, out.size() - i));
  };
}

struct told {
  event_type type;
  std::uint64_t epoch = 0;
  breaker_cause cause = breaker_cause::created;
  call_counts counts;
  breaker_state from = breaker_state::closed;
};
template <class T>
void take_over(T& to, const T& from) {
  to = from;
}
template <class T>
void take_over(T& to, const std::optional<T>& from) {
  to = from.value_or(to);
}
inline told told_by(const event_body& body) {
  told out{static_cast<event_type>(body.index()), 0, breaker_cause::created, {}, {}};
  std::visit(
      [&](const auto& what) {
        if constexpr (requires { what.epoch; }) out.epoch = what.epoch;
        if constexpr (requires { what.cause; }) take_over(out.cause, what.cause);
        if constexpr (requires { what.counts; }) take_over(out.counts, what.counts);
        if constexpr (requires { what.from; }) take_over(out.from, what.from);
      },
      body);
  return out;
}

class world {
 public:
  breaker_policy policy;
  millis now_ms = start_ms;
  random_source random = fixed_random();
  std::vector<event_body> events;

  explicit world(breaker_policy rules = {}) : policy(rules) {
    breaker_.emplace("payments", "default", policy, now_ms);
  }
  hosted_breaker& breaker() { return *breaker_; }
  hosted_breaker* operator->() { return &*breaker_; }
  void restore(const breaker_record& stored) { breaker_.emplace(stored, policy, now_ms); }

  hosted_breaker::admission acquire() {
    auto answer = breaker_->acquire(policy, now_ms, random, events);
    EXPECT_GE(answer.retry_after_ms, 0);
    return answer;
  }
  /// A permit of the half-open phase; fails where there is none.
  breaker_permit permit() {
    const auto answer = acquire();
    EXPECT_TRUE(answer.allowed);
    EXPECT_TRUE(answer.permit);
    return answer.permit.value_or(breaker_permit{});
  }
  result<nothing> report(const report_call& call) {
    return breaker_->report(call, policy, now_ms, random, events);
  }
  /// A call that was not asked for: no permit, no epoch.
  void report(call_outcome outcome, millis duration_ms = 1) {
    EXPECT_TRUE(report(call_of(outcome, duration_ms)));
  }
  void settle(const breaker_permit& permit, call_outcome outcome, millis duration_ms = 1) {
    auto call = call_of(outcome, duration_ms);
    call.permit = permit;
    EXPECT_TRUE(report(call));
  }
  void repeat(int times, call_outcome outcome, millis duration_ms = 1) {
    for (int i = 0; i < times; ++i) report(outcome, duration_ms);
  }
  void advance(millis by_ms = 0) {
    now_ms += by_ms;
    breaker_->advance(policy, now_ms, random, events);
  }
  result<calls_counted> batch(std::string_view source, std::uint64_t seq, const call_counts& counts,
                              std::optional<std::uint64_t> epoch = {},
                              std::optional<duration_buckets> durations = {}) {
    report_calls order;
    order.source = source;
    order.seq = seq;
    order.epoch = epoch.value_or(breaker_->epoch());
    order.calls = std::make_shared<reported_calls>(reported_calls{counts, durations});
    return breaker_->report(order, policy, now_ms, random, events);
  }
  /// What the actor does with breaker.override; true: something changed.
  bool override_with(override_mode mode, std::optional<std::int64_t> ttl_s = {},
                     std::string_view reason = "drill", std::string_view actor = "ada") {
    advance();
    override_breaker order;
    order.mode = mode;
    order.ttl_s = ttl_s;
    order.reason = reason;
    return commit(breaker_->decide_override(order, actor, override_scope::node, now_ms), actor);
  }
  bool reset() {
    advance();
    return commit(breaker_->decide_reset("mended"), "ada");
  }

  /// Twenty failures of twenty calls, under the default policy.
  void trip() {
    repeat(20, call_outcome::failure);
    EXPECT_EQ(breaker_->state(), breaker_state::open);
  }
  void trip_and_wait() {
    trip();
    advance(policy.open_wait_ms);
    EXPECT_EQ(breaker_->state(), breaker_state::half_open);
  }

  [[nodiscard]] told last() const {
    if (!events.empty()) return told_by(events.back());
    ADD_FAILURE() << "no event was told";
    return told_by(node_stopped{});
  }
  [[nodiscard]] breaker_state state() const { return breaker_->state(); }
  [[nodiscard]] std::uint64_t permits(permit_outcome which) const {
    return breaker_->tallies().permits[static_cast<std::size_t>(which)];
  }
  [[nodiscard]] std::uint64_t total(call_result which) const {
    return breaker_->tallies().calls[which];
  }
  template <class Body>
  [[nodiscard]] const Body& last_as() const {
    static const Body none{};
    const auto* body = events.empty() ? nullptr : std::get_if<Body>(&events.back());
    EXPECT_NE(body, nullptr) << "another event, or none, was told";
    return body != nullptr ? *body : none;
  }

  static report_call call_of(call_outcome outcome, millis duration_ms = 1) {
    report_call call;
    call.outcome = outcome;
    call.duration_ms = duration_ms;
    return call;
  }

 private:
  bool commit(std::optional<event_body> what, std::string_view actor) {
    if (!what) return false;
    breaker_->apply(*what, actor, policy, now_ms);
    events.push_back(std::move(*what));
    return true;
  }
  std::optional<hosted_breaker> breaker_;
};

inline call_counts counts_of(std::uint64_t successes, std::uint64_t failures = 0,
                             std::uint64_t timeouts = 0) {
  call_counts out;
  out[call_result::success] = successes;
  out[call_result::failure] = failures;
  out[call_result::timeout] = timeouts;
  return out;
}

}  // namespace portcullis::core::breaker_tests
