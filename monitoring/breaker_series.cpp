#include "monitoring/breaker_series.hpp"

#include <algorithm>

#include "core/breaker/policy.hpp"

// What is counted for whom; how it is written is in breaker_page.cpp.

namespace portcullis::monitoring {
namespace {

using core::breaker_tallies;

/// Calls `visit` with each array of counters, of all the tallies at once.
template <class Visit, class... Tallies>
void each_array(Visit&& visit, Tallies&... of) {
  visit(of.calls.by_result...);
  visit(of.errors...);
  visit(of.durations...);
  visit(of.permits...);
  visit(of.reports_rejected...);
}

std::uint64_t count_of(const std::vector<breaker_tallies::transition>& in,
                       const breaker_tallies::transition& like) {
  for (const auto& each : in)
    if (each.from == like.from && each.to == like.to && each.cause == like.cause) return each.count;
  return 0;
}

bool went_back(const breaker_tallies& now, const breaker_tallies& before) {
  bool less = now.duration_sum_ms < before.duration_sum_ms;
  each_array(
      [&](const auto& later, const auto& earlier) {
        for (std::size_t i = 0; i < later.size(); ++i) less = less || later[i] < earlier[i];
      },
      now, before);
  for (const auto& each : before.transitions)
    less = less || count_of(now.transitions, each) < each.count;
  return less;
}

void add_transitions(breaker_tallies& to, const breaker_tallies::transition& more) {
  if (more.count == 0) return;
  for (auto& each : to.transitions)
    if (each.from == more.from && each.to == more.to && each.cause == more.cause) {
      each.count += more.count;
      return;
    }
  to.transitions.push_back(more);
}

void add_difference(breaker_tallies& to, const breaker_tallies& now,
                    const breaker_tallies& before) {
  each_array(
      [](auto& sum, const auto& later, const auto& earlier) {
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += later[i] - earlier[i];
      },
      to, now, before);
  to.duration_sum_ms += now.duration_sum_ms - before.duration_sum_ms;
  for (auto each : now.transitions) {
    each.count -= count_of(before.transitions, each);
    add_transitions(to, each);
  }
  to.last_transition_at_ms = std::max(to.last_transition_at_ms, now.last_transition_at_ms);
  to.last_report_at_ms = std::max(to.last_report_at_ms, now.last_report_at_ms);
}

}  // namespace

breaker_series::breaker_series(const constant_labels& constant, std::uint32_t most) : most_(most) {
  for (const auto& [name, value] : constant)
    constant_.append(constant_.empty() ? "" : ",")
        .append(name)
        .append("=\"")
        .append(escaped(value))
        .append("\"");
}

void breaker_series::restart(shard& of) {
  of.lost.clear();
  for (auto& [number, each] : of.lives) {
    std::pair name(each.last.service, each.last.breaker);
    of.lost.insert_or_assign(std::move(name), std::move(each));
  }
  of.lives.clear();
}

breaker_tallies breaker_series::sum_of(breaker_tallies one, const breaker_tallies& other) {
  add_difference(one, other, {});
  one.open_ms += other.open_ms;
  return one;
}

breaker_series::life& breaker_series::life_of(shard& of, const breaker_reading& reading) {
  const auto [at, made] = of.lives.try_emplace(reading.number);
  auto& each = at->second;
  if (made) {
    if (const auto found = of.lost.find({reading.service, reading.breaker});
        found != of.lost.end()) {
      each = std::move(found->second);
      of.lost.erase(found);
    }
    each.last.tallies = {};
    each.last.open_ms = 0;
  } else if (went_back(reading.tallies, each.last.tallies)) {
    each.last.tallies = {};
    each.last.open_ms = 0;
  }
  each.there = true;
  return each;
}

void breaker_series::update(std::span<const breaker_shard_tallies> now) {
  std::vector<std::pair<life*, const breaker_reading*>> read;
  if (shards_.size() < now.size()) shards_.resize(now.size());
  for (std::size_t i = 0; i < now.size(); ++i) {
    auto& of = shards_[i];
    if (of.incarnation && *of.incarnation != now[i].incarnation) restart(of);
    of.incarnation = now[i].incarnation;
    for (auto& [number, each] : of.lives) each.there = false;
    for (const auto& reading : now[i].breakers) read.emplace_back(&life_of(of, reading), &reading);
    std::erase_if(of.lives, [](const auto& each) { return !each.second.there; });
  }

  // Who has series keeps them; then it goes by number.
  std::size_t own = 0;
  for (std::size_t i = now.size(); i < shards_.size(); ++i)
    for (const auto& [number, each] : shards_[i].lives) own += each.own ? 1 : 0;
  std::sort(read.begin(), read.end(), [](const auto& a, const auto& b) {
    return std::pair(!a.first->own, a.second->number) < std::pair(!b.first->own, b.second->number);
  });
  for (const auto& [each, reading] : read) {
    const bool of_store = core::is_the_stores({reading->service, reading->breaker});
    each->own = of_store || (own < most_ && reading->service != overflow_label);
    own += each->own && !of_store ? 1 : 0;
  }

  for (const auto& [each, reading] : read) {
    const auto kind = static_cast<std::size_t>(reading->kind);
    if (!each->own) {
      overflows_ += each->over ? 0 : 1;
      each->over = overflowed_[kind] = true;
    }
    auto& to = each->own ? each->shown : overflow_[kind];
    add_difference(to, reading->tallies, each->last.tallies);
    // A counter never goes back, whatever its owner says.
    const auto open_ms = std::max(each->last.open_ms, reading->open_ms);
    to.open_ms += static_cast<core::millis>(open_ms - each->last.open_ms);
    each->last = *reading;
    each->last.open_ms = open_ms;
  }
}

}  // namespace portcullis::monitoring
