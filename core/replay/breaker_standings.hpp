// What a log says of breakers: state, epoch and override of each, and for observed ones what state
// each source's is in. apply() alone changes it.
#pragma once
#include <map>
#include <string>
#include <utility>

#include "core/breaker/stored.hpp"

namespace portcullis::core {

struct breaker_standing {
  breaker_record record;
  std::map<std::string, breaker_state, std::less<>> sources;  // observed: those that are not closed
  std::uint64_t first_seq = 0, last_seq = 0;                  // of its events
};

/// What breaker.status shows: the override's state or the base state; of an observed breaker the
/// worst of its sources. Sources that were never anything but closed are not in the log.
[[nodiscard]] breaker_state shown_state(const breaker_standing& of) noexcept;

class breaker_standings {
 public:
  using name = std::pair<std::string, std::string>;  // service, breaker
  /// Cannot fail; events of other things change nothing.
  void apply(const event& what);
  [[nodiscard]] const std::map<name, breaker_standing>& all() const noexcept { return all_; }
  [[nodiscard]] const breaker_standing* find(const std::string& service,
                                             const std::string& breaker) const;
  void put(breaker_standing standing);

 private:
  breaker_standing& need(const std::string& service, const std::string& breaker);
  std::map<name, breaker_standing> all_;
};

}  // namespace portcullis::core
