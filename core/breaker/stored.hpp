// Breakers as a log leaves them: what its events make of their records. The store's projection does
// the same in its tables.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/breaker/observed.hpp"

namespace portcullis::core {

/// A stored breaker with its sources.
struct stored_breaker {
  breaker_record record;
  std::vector<breaker_source_record> sources;
  std::uint64_t number = 0;  // by creation; 0: it gets the next one
};

/// The record that a change of a breaker's state leads to, whatever was there before. Absent: the
/// event is none, or depends on what was there (breaker_override_set).
[[nodiscard]] std::optional<breaker_record> record_after(const event& what);

/// What breaker_override_set makes of the record that was there.
void apply_override(breaker_record& record, const event& what, const breaker_override_set& body);

/// In the order of their first event. One thread.
class stored_breakers {
 public:
  void add(breaker_record row) { need(row.service, row.breaker).record = std::move(row); }
  void put(breaker_source_record row);
  /// Cannot fail; events of other things change nothing.
  void apply(const event& what);
  [[nodiscard]] std::vector<stored_breaker> take();

 private:
  using name = std::pair<std::string, std::string>;
  stored_breaker& need(const std::string& service, const std::string& breaker);

  std::vector<stored_breaker> all_;  // also what was retired, until take()
  std::map<name, std::size_t> places_;
};

}  // namespace portcullis::core
