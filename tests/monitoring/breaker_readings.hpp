// What breakers have counted, as their owners hand it over, and their series.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "monitoring/breaker_series.hpp"
#include "page.hpp"

namespace portcullis::monitoring {

inline std::unique_ptr<metrics> make(std::uint32_t most = 500) {
  auto made = metrics::create({"1.2.3", "abc", {}, most});
  EXPECT_TRUE(made);
  return std::move(*made);
}

inline breaker_reading reading(std::string service, std::uint64_t number,
                               core::breaker_kind kind = core::breaker_kind::hosted) {
  breaker_reading made;
  made.service = std::move(service);
  made.breaker = "default";
  made.number = number;
  made.kind = kind;
  return made;
}

inline breaker_reading called(std::string service, std::uint64_t number, std::uint64_t successes,
                              core::breaker_kind kind = core::breaker_kind::hosted) {
  auto made = reading(std::move(service), number, kind);
  made.tallies.calls[core::call_result::success] = successes;
  return made;
}

inline snapshot with(std::vector<breaker_reading> breakers, std::uint64_t incarnation = 1) {
  snapshot now;
  now.breakers.push_back({incarnation, std::move(breakers)});
  return now;
}

inline std::string successes_of(const std::string& service, const std::string& source = "hosted") {
  const auto breaker = service == overflow_label ? service : "default";
  return "circuit_breaker_requests_total{breaker=\"" + breaker +
         "\",result=\"success\",service=\"" + service + "\",source=\"" + source + "\"}";
}

/// The samples of breakers alone.
inline std::map<std::string, double> breaker_samples(const metrics& of) {
  auto all = samples(of.render());
  std::erase_if(all, [](const auto& each) { return !each.first.starts_with("circuit_breaker_"); });
  return all;
}
inline bool has(const metrics& of, const std::string& series) {
  return breaker_samples(of).contains(series);
}

}  // namespace portcullis::monitoring
