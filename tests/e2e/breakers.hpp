// Shorthand of the contract for circuit breakers.
#pragma once
#include "harness.hpp"

namespace portcullis::e2e {

/// One breaker as its callers name it. The server's defaults are what the numbers here are of.
class breaker {
 public:
  breaker(line_client& client, std::string service, std::string name = "")
      : client_(client), service_(std::move(service)), name_(std::move(name)) {}

  /// The names, and `more`.
  [[nodiscard]] json params(const json& more = json::object()) const;
  json acquire() const { return client_.result("breaker.acquire", params()); }
  json status() const { return client_.result("breaker.status", params()); }
  /// breaker.report: its result, or its error's name through report_error().
  json report(const std::string& outcome, const json& more = json::object()) const;
  std::string report_error(const std::string& outcome, const json& more = json::object()) const;
  json put(const std::string& mode, const json& more = json::object()) const;
  json reset(const json& more = json::object()) const;
  json observe(const json& more) const { return client_.result("breaker.observe", params(more)); }
  json batch(const json& more) const {
    return client_.result("breaker.report_batch", params(more));
  }
  std::string error(const std::string& method, const json& more = json::object()) const {
    return client_.error("breaker." + method, params(more));
  }
  /// Twenty failures: the reply to the one that opened it.
  json trip(const json& more = json::object()) const;
  /// Acquires until it is half-open: the reply with the permit.
  json await_permit() const;
  /// All events of its service, of the types given or of breakers.
  std::vector<json> events_of(std::vector<std::string> types = {}) const;

 private:
  line_client& client_;
  std::string service_, name_;
};

/// What breaker.observe needs, with the counts of its source so far.
json observation(const std::string& source, std::int64_t seq, const std::string& state,
                 const json& counts, const json& more = json::object());
/// The sum of all counts.
std::int64_t sum_of(const json& counts);
/// Counts with the ones given and 0 for the others, as the server shows them.
json counts_of(const json& some);

/// The types of all events that are about a breaker.
extern const std::vector<std::string> breaker_event_types;

}  // namespace portcullis::e2e
