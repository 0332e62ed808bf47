// Circuit breakers under another policy: fed with what the log counted of their calls, ten seconds
// at a time. Always an estimate. docs/what_if.md has the rules.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "core/breaker/hosted.hpp"
#include "core/replay/what_if_report.hpp"

namespace portcullis::core {

/// One thread. The tally must outlive it.
class what_if_breakers {
 public:
  explicit what_if_breakers(what_if_tally& tally) : tally_(tally) {}
  void change_policies(const breaker_book& recorded, const breaker_book& other);
  /// Events of other things change nothing.
  void apply(const event& what);

 private:
  using name = std::pair<std::string, std::string>;  // service, breaker
  struct tried {
    std::unique_ptr<hosted_breaker> other;  // null: its policy is the recorded one
    std::uint64_t reports = 0;
  };

  tried& need(const std::string& service, const std::string& breaker, millis now_ms);
  void opened(const breaker_opened& what, millis at_ms);
  void called(const calls_tallied& what, millis at_ms);
  void feed(tried& to, const breaker_policy& policy, call_counts calls, millis at_ms);
  void probe(tried& to, const breaker_policy& policy, call_counts& calls, millis at_ms);
  void overrule(const std::string& service, const std::string& breaker, const event& what);
  void take(const hosted_breaker::changes& changes, millis at_ms);

  what_if_tally& tally_;
  breaker_book recorded_, other_;
  bool differ_ = false;
  bool blind_ = false;  // the last record of calls has lost them: what opened is as recorded
  std::map<name, tried> all_;
};

}  // namespace portcullis::core
