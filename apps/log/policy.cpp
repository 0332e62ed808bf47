#include "apps/log/policy.hpp"

#include <nlohmann/json.hpp>

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

std::vector<core::config_entry> entries_of(const json& policy) {
  // What a whole configuration needs beside a policy.
  std::vector<core::config_entry> out = {
      {{"server", "environment"}, std::string("development"), "the log"},
      {{"auth", "mode"}, std::string("none"), "the log"}};
  const auto part = [](const json& from, const char* name) {
    const auto found = from.find(name);
    return found == from.end() ? json::object() : *found;
  };
  add_all(out, {"session"}, part(policy, "session"));
  add_all(out, {"lockout"}, part(policy, "lockout"));
  const auto tenants = part(policy, "tenant");
  for (const auto& [name, each] : tenants.items()) add_all(out, {"tenant", name, "session"}, each);
  const auto breakers = part(policy, "breaker");
  add_all(out, {"breaker"}, part(breakers, "default"));
  const auto patterns = part(breakers, "patterns");
  for (const auto& [pattern, each] : patterns.items()) add_all(out, {"breaker", pattern}, each);
  return out;
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
  std::vector<core::config_problem> problems;
  for (auto& each : flag_entries(sets, problems)) {
    const auto& section = each.path.front();
    if (section != "session" && section != "tenant" && section != "lockout" && section != "breaker")
      problems.push_back({each.origin, core::dotted(each.path),
                          "only session, tenant, lockout and breaker can be tried"});
    entries.push_back(std::move(each));
  }
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
