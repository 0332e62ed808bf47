// Hosted breakers of several nodes: each node's machine beside the others', and a log between them
// that a test hands on as it likes.
#pragma once
#include "world.hpp"

namespace portcullis::core::breaker_tests {

/// Some nodes with the same breaker. What one decides is in force there at once; the others hear of
/// it with tell().
class nodes {
 public:
  explicit nodes(std::size_t count, breaker_policy rules = {}) {
    for (std::size_t i = 0; i < count; ++i) {
      all_.push_back(std::make_unique<world>(rules));
      all_.back()->breaker().join_nodes(rules, start_ms);
    }
    told_.resize(count);
    counted_.resize(count);
    settle();
  }
  /// Until each would have been told of all others' calls.
  void settle() { advance(2 * limits::fleet_tally_calls_every_ms); }
  world& operator[](std::size_t i) { return *all_[i]; }
  [[nodiscard]] std::size_t size() const { return all_.size(); }

  /// What `from` has decided since the last time is read by the others.
  void tell(std::size_t from) {
    auto& of = (*this)[from];
    for (; told_[from] < of.events.size(); ++told_[from]) {
      event what;
      what.decided_at_ms = of.now_ms;
      what.body = of.events[told_[from]];
      for (std::size_t i = 0; i < size(); ++i)
        if (i != from) (*this)[i]->apply_others(what, from + 1, of.policy, (*this)[i].now_ms);
    }
  }
  /// So is what it has counted; each judges by it.
  void count(std::size_t from) { give(from, tally(from)); }
  struct tallied {
    call_counts counts;
    std::optional<epoch_calls> judged;
  };
  tallied tally(std::size_t from) {
    auto& of = (*this)[from];
    tallied more{{}, of->take_judged()};
    for (std::size_t i = 0; i < call_result_count; ++i)
      more.counts.by_result[i] = of->tallies().calls.by_result[i] - counted_[from].by_result[i];
    counted_[from] = of->tallies().calls;
    return more;
  }
  void give(std::size_t from, const tallied& more) {
    for (std::size_t i = 0; i < size(); ++i) {
      if (i == from) continue;
      auto& to = (*this)[i];
      to->add_others("node-" + std::to_string(from), more.counts, more.judged, to.policy,
                     to.now_ms);
      to->judge_others(to.policy, to.now_ms, to.random, to.events);
    }
  }
  void advance(millis by_ms) {
    for (auto& each : all_) each->advance(by_ms);
  }
  /// Where the first of them tries it, and closes it. A permit of that.
  breaker_permit mend() {
    for (auto& each : all_) each->now_ms += each->policy.open_wait_ms;
    breaker_permit permit;
    for (int i = 0; i < 10; ++i) {
      permit = (*this)[0].permit();
      (*this)[0].settle(permit, call_outcome::success);
      tell(0);
    }
    count(0);
    for (auto& each : all_) EXPECT_EQ(each->state(), breaker_state::closed);
    return permit;
  }
  [[nodiscard]] std::size_t events() const {
    std::size_t sum = 0;
    for (const auto& each : all_) sum += each->events.size();
    return sum;
  }
  /// Two nodes with ten failures each: the first of them has opened it, and all know.
  void trip() {
    (*this)[1].repeat(10, call_outcome::failure);
    count(1);
    (*this)[0].repeat(10, call_outcome::failure);
    tell(0);
    count(0);
    for (auto& each : all_) EXPECT_EQ(each->state(), breaker_state::open);
  }

 private:
  std::vector<std::unique_ptr<world>> all_;
  std::vector<std::size_t> told_;
  std::vector<call_counts> counted_;
};

}  // namespace portcullis::core::breaker_tests
