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
  /// Prints events up to the seq `end`; in `count`, how many; `at_end`: there was one at or past
  /// it. -1, or the exit status.
  int print(const std::string& page, std::uint64_t end, std::uint64_t& count, bool& at_end,
            std::string& cursor) {
    const simdjson::padded_string padded(page);
    simdjson::ondemand::document document;
    simdjson::ondemand::array events;
    std::string_view at;
    if (parser_.iterate(padded).get(document) != simdjson::SUCCESS ||
        document.find_field_unordered("events").get_array().get(events) != simdjson::SUCCESS)
      return malformed();
    count = 0;
    at_end = false;
    for (auto each : events) {
      simdjson::ondemand::object event;
      std::string_view raw;
      std::uint64_t seq = 0;
      if (each.get_object().get(event) != simdjson::SUCCESS ||
          event.find_field_unordered("seq").get_uint64().get(seq) != simdjson::SUCCESS ||
          event.raw_json().get(raw) != simdjson::SUCCESS)
        return malformed();
      at_end = seq >= end;
      if (seq > end) continue;
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

/// How far the log goes now: -1, or the exit status.
int ask_end(rpc_client& server, std::uint64_t& end) {
  std::string info;
  if (const int failed = server.call("server.info", "{}", info); failed >= 0) return failed;
  const auto parsed = json::parse(info, nullptr, false);
  const auto seq = parsed.find("seq");
  if (!parsed.is_object() || seq == parsed.end() || !seq->is_number_unsigned()) {
    fmt::print(stderr, "portcullis: the answer does not say how far the log goes\n");
    return exit_failed;
  }
  end = seq->get<std::uint64_t>();
  return -1;
}

}  // namespace

int query_events(const event_query_options& given) {
  rpc_client server(given.server, error_form::sentence);
  if (const int failed = server.open(); failed >= 0) return failed;
  page_printer printer(!given.json && isatty(STDOUT_FILENO) != 0);
  auto params = params_of(given);
  auto left = given.limit == 0 ? ~std::uint64_t{0} : given.limit;
  std::string page, cursor;
  // What a busy server adds meanwhile is not waited for: that would have no end. Asked after the
  // first page, which has all that there was when the command began.
  std::optional<std::uint64_t> end;
  while (left > 0) {
    params["limit"] = std::min<std::uint64_t>(left, core::limits::page_rows_max);
    if (const int failed = server.call("events.query", params.dump(), page); failed >= 0)
      return failed;
    std::uint64_t printed = 0;
    bool at_end = false;
    if (const int ended =
            printer.print(page, end.value_or(~std::uint64_t{0}), printed, at_end, cursor);
        ended >= 0)
      return ended;
    if (printed == 0 || at_end)
      return exit_ok;  // a page may be short, only an empty one is the last
    if (!end)
      if (const int failed = ask_end(server, end.emplace()); failed >= 0) return failed;
    left -= std::min(left, printed);
    params["after"] = cursor;
  }
  fmt::print(stderr, "portcullis: that is the limit; --after {} goes on\n", cursor);
  return exit_ok;
}

}  // namespace portcullis::apps
