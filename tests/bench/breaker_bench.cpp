// What a call through a hosted breaker costs: find it among 500, acquire, report. The target is 150
// ns (median) with no allocation; one that is counted ends the run with an error.
#include <benchmark/benchmark.h>

#include <string>

#include "core/breaker/set.hpp"
#include "core/mix.hpp"
#include "tests/core/breaker/quota.hpp"
#include "tests/count_allocations.hpp"

namespace portcullis::core {
namespace {

constexpr std::size_t breakers = 500;
constexpr std::size_t turns = 4096;  // a power of two

class shard {
 public:
  breaker_book book;
  millis now_ms = 1'700'000'000'000;
  random_source random = [](std::span<std::uint8_t> out) {
    std::fill(out.begin(), out.end(), 128);
  };
  hosted_breaker::changes changes;
  breaker_set set{std::make_shared<quota_of_one>()};
  std::vector<std::pair<std::string, std::string>> names;
  std::vector<breaker_name> order;  // names in no order that a cache could learn

  explicit shard(std::size_t name_bytes) {
    for (std::size_t i = 0; i < breakers; ++i) {
      std::string service = "service-" + std::to_string(i);
      service.resize(std::max(service.size(), name_bytes), 'x');
      std::string breaker = "default";
      breaker.resize(std::max(breaker.size(), name_bytes), 'x');
      names.emplace_back(std::move(service), std::move(breaker));
    }
    for (std::uint64_t i = 0; i < turns; ++i) {
      const auto& [service, breaker] = names[mix64(i) % breakers];
      order.push_back({service, breaker});
    }
    changes.reserve(16);
  }
  hosted_breaker& at(const breaker_name& name) { return *set.at(set.find(name)).hosted(); }
  void make() {
    for (const auto& [service, breaker] : names)
      (void)set.need(breaker_kind::hosted, {service, breaker}, book, now_ms);
  }
  void trip_and_wait() {
    for (const auto& [service, breaker] : names) {
      auto& each = at({service, breaker});
      report_call failed;
      failed.outcome = call_outcome::failure;
      for (std::uint32_t i = 0; i < book.fallback.min_calls; ++i)
        (void)each.report(failed, book.fallback, now_ms, random, changes);
    }
    now_ms += 2 * book.fallback.open_wait_ms;
    changes.clear();
    for (const auto& [service, breaker] : names)
      at({service, breaker}).advance(book.fallback, now_ms, random, changes);
    changes.clear();
  }
};

/// find, acquire, find, report: as two requests do it.
void run(benchmark::State& state, shard& s, millis step_ms) {
  std::size_t turn = 0, denied = 0;
  const auto before = allocations;
  for (auto _ : state) {
    const auto& name = s.order[turn++ % turns];
    const auto granted = s.at(name).acquire(s.book.fallback, s.now_ms, s.random, s.changes);
    if (!granted.allowed) ++denied;
    report_call call;
    call.name = name;
    call.duration_ms = 7;
    call.permit = granted.permit;
    benchmark::DoNotOptimize(
        s.at(name).report(call, s.book.fallback, s.now_ms, s.random, s.changes));
    if (turn % 512 == 0) s.now_ms += step_ms;
  }
  const auto made = allocations - before;
  if (denied > 0) state.SkipWithError("a call was denied");
  if (made > 0) state.SkipWithError("memory was allocated");
  if (!s.changes.empty()) state.SkipWithError("a state changed");
}

void closed(benchmark::State& state) {
  shard s(static_cast<std::size_t>(state.range(0)));
  s.make();
  run(state, s, 1);
}
BENCHMARK(closed)->ArgName("name_bytes")->Arg(1)->Arg(32)->Arg(64);

void closed_count_window(benchmark::State& state) {
  shard s(1);
  s.book.fallback.window = window_kind::count;
  s.make();
  run(state, s, 1);
}
BENCHMARK(closed_count_window);

void half_open(benchmark::State& state) {
  shard s(1);
  s.book.fallback.half_open_permits = 100'000;
  s.book.fallback.max_half_open_ms = 3'600'000;
  s.make();
  s.trip_and_wait();
  run(state, s, 0);
}
BENCHMARK(half_open);

void tag_of_a_name(benchmark::State& state) {
  const std::string service(static_cast<std::size_t>(state.range(0)), 's');
  breaker_name name{service, "default"};
  for (auto _ : state) {
    benchmark::DoNotOptimize(name);
    benchmark::DoNotOptimize(tag_of(name));
  }
}
BENCHMARK(tag_of_a_name)->Arg(8)->Arg(16)->Arg(64);

}  // namespace
}  // namespace portcullis::core

BENCHMARK_MAIN();
