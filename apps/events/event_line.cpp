#include "apps/events/event_line.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "apps/log/source.hpp"
#include "apps/standard_streams.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::ordered_json;

/// Texts come from callers: escapes of a terminal must not.
std::string harmless(std::string text) {
  for (auto& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

std::string text_of(const json& value) {
  return harmless(value.is_string() ? value.get<std::string>() : value.dump());
}

/// Removes a member; its text, empty where there was none.
std::string take(json& from, const char* name) {
  const auto found = from.find(name);
  if (found == from.end()) return {};
  auto text = text_of(*found);
  from.erase(found);
  return text;
}

}  // namespace

std::string json_line(std::string_view event, std::string_view cursor) {
  std::string line(event);
  if (!cursor.empty() && line.ends_with('}')) {
    line.pop_back();
    line += fmt::format(R"(,"cursor":"{}"}})", cursor);
  }
  line += '\n';
  return line;
}

std::string readable_line(std::string_view event) {
  auto what = json::parse(event, nullptr, false);
  if (!what.is_object()) return harmless(std::string(event)) + "\n";
  const auto at = what.find("at_ms");
  std::string line = at != what.end() && at->is_number_integer()
                         ? time_text(at->get<core::millis>())
                         : std::string("-");
  for (const char* shown : {"at_ms", "node", "correlation_id"}) take(what, shown);
  line += fmt::format("  {:>6}  {:<22}", take(what, "seq"), take(what, "type"));
  const auto tenant = take(what, "tenant_id"), user = take(what, "user_id"),
             service = take(what, "service"), breaker = take(what, "breaker");
  if (!service.empty()) line += fmt::format("  {}/{}", service, breaker);
  if (!tenant.empty()) line += fmt::format("  {}/{}", tenant, user.empty() ? "-" : user);
  if (const auto handle = take(what, "handle"); !handle.empty()) line += "  " + handle;
  if (const auto actor = take(what, "actor"); !actor.empty()) line += "  by " + actor;
  for (const auto& [name, value] : what.items())
    line += fmt::format("  {}={}", harmless(name), text_of(value));
  while (line.ends_with(' ')) line.pop_back();
  return line + "\n";
}

written write_line(std::string_view line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0)
    return written::yes;
  const int why = errno;
  forget_output();
  if (why == EPIPE) return written::closed;
  complain(fmt::format("standard output: {}", std::strerror(why)));
  return written::failed;
}

}  // namespace portcullis::apps
