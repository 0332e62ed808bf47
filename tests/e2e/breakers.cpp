#include "breakers.hpp"

namespace portcullis::e2e {

const std::vector<std::string> breaker_event_types{
    "breaker_opened",       "breaker_half_opened",      "breaker_closed", "breaker_would_open",
    "breaker_override_set", "breaker_override_cleared", "breaker_retired"};

json breaker::params(const json& more) const {
  json all{{"service", service_}};
  if (!name_.empty()) all["breaker"] = name_;
  all.update(more);
  return all;
}

json breaker::report(const std::string& outcome, const json& more) const {
  json all{{"outcome", outcome}, {"duration_ms", 7}};
  all.update(more);
  return client_.result("breaker.report", params(all));
}

std::string breaker::report_error(const std::string& outcome, const json& more) const {
  json all{{"outcome", outcome}, {"duration_ms", 7}};
  all.update(more);
  return error("report", all);
}

json breaker::put(const std::string& mode, const json& more) const {
  json all{{"mode", mode}, {"reason", "test"}};
  all.update(more);
  return client_.result("breaker.override", params(all));
}

json breaker::reset(const json& more) const {
  json all{{"reason", "test"}};
  all.update(more);
  return client_.result("breaker.reset", params(all));
}

json breaker::trip(const json& more) const {
  json told;
  for (int i = 0; i < 20; ++i) told = report("failure", more);
  return told;
}

json breaker::await_permit() const {
  json told;
  EXPECT_TRUE(eventually([&] {
    told = acquire();
    return told["allowed"] == true;
  })) << told;
  return told;
}

std::vector<json> breaker::events_of(std::vector<std::string> types) const {
  return events(client_,
                {{"service", service_}, {"types", types.empty() ? breaker_event_types : types}});
}

json observation(const std::string& source, std::int64_t seq, const std::string& state,
                 const json& counts, const json& more) {
  json all{
      {"source", source}, {"source_epoch", 1}, {"seq", seq}, {"state", state}, {"counts", counts}};
  all.update(more);
  return all;
}

std::int64_t sum_of(const json& counts) {
  std::int64_t sum = 0;
  for (const auto& [name, count] : counts.items()) sum += count.get<std::int64_t>();
  return sum;
}

json counts_of(const json& some) {
  json all{{"success", 0},  {"failure", 0},      {"timeout", 0},     {"ignored", 0},
           {"rejected", 0}, {"slow_success", 0}, {"slow_failure", 0}};
  all.update(some);
  return all;
}

}  // namespace portcullis::e2e
