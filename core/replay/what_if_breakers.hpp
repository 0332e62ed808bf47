// Circuit breakers under another policy: fed with what the log counted of their calls, ten seconds
// at a time. Always an estimate. docs/what_if.md has the rules.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "core/breaker/hosted.hpp"
#include "core/replay/breaker_standings.hpp"
#include "core/replay/what_if_report.hpp"

namespace portcullis::core {

/// One thread. The tally and the recorded breakers must outlive it. Each event is told before it is
/// applied to the recorded breakers.
class what_if_breakers {
 public:
  what_if_breakers(what_if_tally& tally, const breaker_standings& recorded)
      : tally_(tally), standings_(recorded) {}
  /// What differs from here on begins as the recorded breakers are.
  void change_policies(const breaker_book& recorded, const breaker_book& other, millis now_ms);
  /// The recorded breakers are other ones: they are those of both worlds from here on.
  void begin(millis now_ms);
  /// Events of other things change nothing.
  void apply(const event& what);

 private:
  using name = std::pair<std::string, std::string>;  // service, breaker
  struct tried {
    std::unique_ptr<hosted_breaker> other;  // null: its policy is the recorded one
    std::uint64_t reports = 0;
  };

  tried& need(const std::string& service, const std::string& breaker, millis now_ms);
  void start_from_recorded(millis now_ms);
  [[nodiscard]] call_counts within_bound(call_counts calls);
  void opened(const breaker_opened& what, millis at_ms);
  void called(const calls_tallied& what, millis at_ms);
  void feed(tried& to, const breaker_policy& policy, call_counts calls, millis at_ms);
  void probe(tried& to, const breaker_policy& policy, call_counts& calls, millis at_ms);
  void overrule(const std::string& service, const std::string& breaker, const event& what);
  void take(const hosted_breaker::changes& changes, millis at_ms);

  what_if_tally& tally_;
  const breaker_standings& standings_;
  breaker_book recorded_, other_;
  bool differ_ = false;
  bool blind_ = false;  // the last record of calls has lost them: what opened is as recorded
  std::map<name, tried> all_;
};

}  // namespace portcullis::core
