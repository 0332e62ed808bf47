#include "apps/log/policy.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/config_loader.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::json;

core::config_value value_of(const json& from) {
  if (from.is_boolean()) return from.get<bool>();
  if (from.is_number_integer()) return from.get<std::int64_t>();
  if (from.is_number_float()) return from.get<double>();
  if (from.is_string()) return from.get<std::string>();
  if (!from.is_array()) return core::foreign_value{from.type_name()};
  std::vector<std::string> texts;
  for (const auto& each : from) {
    if (!each.is_string()) return core::foreign_value{"a list"};
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

/// The members of an object as keys below `path`.
void add_all(std::vector<core::config_entry>& to, std::vector<std::string> path, const json& from) {
  if (!from.is_object()) return;
  path.emplace_back();
  for (const auto& [key, value] : from.items()) {
    path.back() = key;
    to.push_back({path, value_of(value), "the log"});
  }
}

/// What a section has of its own: what is as in the general one follows that. `keep`: the member
/// that is told in any case, so that the section is there.
json own_part(const json& section, const json& general, const char* keep) {
  json own = json::object();
  for (const auto& [key, value] : section.items())
    if (key == keep || !general.contains(key) || general[key] != value) own[key] = value;
  return own;
}

/// What the store's breaker has where nobody configures it, as the log writes it: a wait of half a
/// second, which configuration, in whole seconds, cannot say.
json store_breaker_defaults() {
  core::policy_book book;
  const std::string pattern(core::store_breaker_pattern);
  book.breakers.patterns[pattern] = core::store_breaker_policy();
  return json::parse(core::to_json(book))["breaker"]["patterns"][pattern];
}

std::vector<core::config_entry> entries_of(const json& policy) {
  // What a whole configuration needs beside a policy.
  std::vector<core::config_entry> out = {
      {{"server", "environment"}, std::string("development"), "the log"},
      {{"auth", "mode"}, std::string("none"), "the log"}};
  const auto part = [](const json& from, const char* name) {
    const auto found = from.find(name);
    return found == from.end() ? json::object() : *found;
  };
  const auto session = part(policy, "session");
  add_all(out, {"session"}, session);
  add_all(out, {"lockout"}, part(policy, "lockout"));
  const auto tenants = part(policy, "tenant");
  for (const auto& [name, each] : tenants.items())
    add_all(out, {"tenant", name, "session"}, own_part(each, session, "rotation_grace_s"));
  const auto breakers = part(policy, "breaker");
  const auto general = part(breakers, "default");
  add_all(out, {"breaker"}, general);
  if (const auto most = breakers.find("max"); most != breakers.end())
    add_all(out, {"breaker"}, json{{"max", *most}});
  const auto patterns = part(breakers, "patterns");
  for (const auto& [pattern, each] : patterns.items())
    add_all(
        out, {"breaker", pattern},
        own_part(each, pattern == core::store_breaker_pattern ? store_breaker_defaults() : general,
                 "retire_after_s"));
  return out;
}

/// Values of the log that bound each other give way to those that are tried, as defaults do:
/// nobody who shortens a session has to know the granularity.
void give_way(std::vector<core::config_entry>& entries, std::size_t from_log) {
  const auto last = [&](std::vector<std::string> path) -> core::config_entry* {
    const auto found = std::find_if(entries.rbegin(), entries.rend(),
                                    [&](const auto& each) { return each.path == path; });
    return found == entries.rend() ? nullptr : &*found;
  };
  const auto bound = [&](std::vector<std::string> prefix, const char* what, const char* by,
                         std::int64_t parts) {
    const auto path = [&](const char* key) {
      auto out = prefix;
      out.emplace_back(key);
      return out;
    };
    auto* value = last(path(what));
    const auto* bounding = last(path(by));
    if (bounding == nullptr) bounding = last({"session", by});
    if (value == nullptr || bounding == nullptr || value >= &entries[from_log]) return;
    auto* number = std::get_if<std::int64_t>(&value->value);
    const auto* most = std::get_if<std::int64_t>(&bounding->value);
    if (number != nullptr && most != nullptr) *number = std::min(*number, *most / parts);
  };
  std::set<std::vector<std::string>> prefixes;
  for (const auto& each : entries)
    if (each.path.size() > 1 && (each.path[0] == "session" || each.path[0] == "tenant"))
      prefixes.emplace(each.path.begin(), each.path.end() - 1);
  for (const auto& each : prefixes) {
    bound(each, "idle_ttl_s", "absolute_ttl_s", 1);
    bound(each, "touch_granularity_s", "idle_ttl_s", 2);
  }
}

}  // namespace

std::optional<core::policy_book> parse_policy(const std::string& policy,
                                              const std::vector<std::string>& sets,
                                              std::string& why) {
  const auto told = json::parse(policy.empty() ? "{}" : policy, nullptr, false);
  if (!told.is_object()) {
    why = "the policy in the log is no JSON object";
    return std::nullopt;
  }
  auto entries = entries_of(told);
  const auto from_log = entries.size();
  std::vector<core::config_problem> problems;
  for (auto& each : flag_entries(sets, problems)) {
    const auto& section = each.path.front();
    if (section != "session" && section != "tenant" && section != "lockout" && section != "breaker")
      problems.push_back({each.origin, core::dotted(each.path),
                          "only session, tenant, lockout and breaker can be tried"});
    entries.push_back(std::move(each));
  }
  if (entries.size() > from_log) give_way(entries, from_log);
  auto parsed = core::parse_config(entries);
  for (auto& each : parsed.problems) problems.push_back(std::move(each));
  for (const auto& each : problems) why += (why.empty() ? "" : "\n") + core::to_text(each);
  if (!problems.empty()) return std::nullopt;
  core::policy_book book;
  book.session = parsed.value.session;
  book.lockout = parsed.value.lockout;
  book.breakers = parsed.value.breakers;
  book.tenants = {parsed.value.tenants.begin(), parsed.value.tenants.end()};
  return book;
}

}  // namespace portcullis::apps
