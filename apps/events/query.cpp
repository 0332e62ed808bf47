#include "apps/events/query.hpp"

#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/commands.hpp"
#include "apps/events/event_line.hpp"
#include "core/limits.hpp"

namespace portcullis::apps {
namespace {

using nlohmann::json;

json params_of(const event_query_options& given) {
  json out = json::object();
  const auto put = [&](const char* name, const std::string& value) {
    if (!value.empty()) out[name] = value;
  };
  put("tenant_id", given.tenant);
  put("user_id", given.user);
  put("handle", given.handle);
  put("service", given.service);
  put("after", given.after);
  if (!given.types.empty()) out["types"] = given.types;
  if (given.from_ms) out["from_ms"] = *given.from_ms;
  if (given.to_ms) out["to_ms"] = *given.to_ms;
  return out;
}

/// A page's events are printed as they came.
class page_printer {
 public:
  explicit page_printer(bool for_people) : for_people_(for_people) {}
  /// Of events printed in `count`; -1, or the exit status.
  int print(const std::string& page, std::uint64_t& count, std::string& cursor) {
    const simdjson::padded_string padded(page);
    simdjson::ondemand::document document;
    simdjson::ondemand::array events;
    std::string_view at;
    if (parser_.iterate(padded).get(document) != simdjson::SUCCESS ||
        document.find_field_unordered("events").get_array().get(events) != simdjson::SUCCESS)
      return malformed();
    count = 0;
    for (auto each : events) {
      simdjson::ondemand::object event;
      std::string_view raw;
      if (each.get_object().get(event) != simdjson::SUCCESS ||
          event.raw_json().get(raw) != simdjson::SUCCESS)
        return malformed();
      switch (write_line(for_people_ ? readable_line(raw) : json_line(raw, {}))) {
        case written::yes:
          break;
        case written::closed:
          return exit_ok;
        case written::failed:
          return exit_failed;
      }
      ++count;
    }
    if (document.find_field_unordered("cursor").get_string().get(at) != simdjson::SUCCESS)
      return malformed();
    cursor = at;
    return -1;
  }

 private:
  static int malformed() {
    fmt::print(stderr, "portcullis: the answer is no page of events\n");
    return exit_failed;
  }
  simdjson::ondemand::parser parser_;
  bool for_people_;
};

}  // namespace

int query_events(const event_query_options& given) {
  rpc_client server(given.server, error_form::sentence);
  if (const int failed = server.open(); failed >= 0) return failed;
  page_printer printer(!given.json && isatty(STDOUT_FILENO) != 0);
  auto params = params_of(given);
  auto left = given.limit == 0 ? ~std::uint64_t{0} : given.limit;
  std::string page, cursor;
  while (left > 0) {
    params["limit"] = std::min<std::uint64_t>(left, core::limits::page_rows_max);
    if (const int failed = server.call("events.query", params.dump(), page); failed >= 0)
      return failed;
    std::uint64_t printed = 0;
    if (const int ended = printer.print(page, printed, cursor); ended >= 0) return ended;
    if (printed == 0) return exit_ok;  // a page may be short, only an empty one is the last
    left -= std::min(left, printed);
    params["after"] = cursor;
  }
  fmt::print(stderr, "portcullis: that is the limit; --after {} goes on\n", cursor);
  return exit_ok;
}

}  // namespace portcullis::apps
