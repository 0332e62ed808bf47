#include "core/config/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/config/rows.hpp"

namespace portcullis::core {
namespace {

std::string quoted_list(std::span<const std::string_view> names) {
  std::string text;
  for (const auto& name : names) text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", name);
  return text;
}

void flatten_rows(std::map<std::string, keyed_value>& into, key_scope scope,
                  const std::vector<std::string>& prefix, const config_place& at) {
  for (const auto& row : config_table()) {
    if (row.scope != scope) continue;
    auto path = prefix;
    if (prefix.empty()) {
      into[std::string(row.name)] = {&row, row.access.read(at)};
      continue;
    }
    path.emplace_back(last_part(row.name));
    into[dotted(path)] = {&row, row.access.read(at)};
  }
}

}  // namespace

std::span<const config_key> config_table() noexcept {
  // Those of the node's own come first and last in the page: server before the doors.
  static const auto all = [] {
    const auto node = node_rows(), doors = door_rows();
    const auto own = std::find_if(node.begin(), node.end(), [](const config_key& row) {
      return !row.name.starts_with("server.");
    });
    std::vector<config_key> made(node.begin(), own);
    made.insert(made.end(), doors.begin(), doors.end());
    made.insert(made.end(), own, node.end());
    return made;
  }();
  return all;
}

std::string allowed_text(const config_key& key) {
  switch (key.form) {
    case key_form::boolean:
      return "true or false";
    case key_form::integer:
      return fmt::format("an integer from {} to {}", key.least, key.most);
    case key_form::number:
      return fmt::format("a number {} {} {} {}", key.range.above ? "greater than" : "from",
                         key.range.least, key.range.above ? "and at most" : "to", key.range.most);
    case key_form::choice:
      return "one of " + quoted_list(key.allowed);
    case key_form::choices:
      return "a list of any of " + quoted_list(key.allowed);
    case key_form::list:
      if (!key.expected.empty()) return std::string(key.expected);
      return fmt::format("a list of texts of {} to {} bytes", key.least, key.most);
    case key_form::digest:
      return std::string(key.expected);
    case key_form::text:
      if (!key.expected.empty() && key.scope != key_scope::named) return std::string(key.expected);
      return key.least == 0 ? fmt::format("a text of up to {} bytes", key.most)
                            : fmt::format("a text of {} to {} bytes", key.least, key.most);
  }
  __builtin_unreachable();
}

std::map<std::string, keyed_value> flatten(config of) {
  std::map<std::string, keyed_value> values;
  flatten_rows(values, key_scope::server, {}, {.whole = &of});
  flatten_rows(values, key_scope::policy, {}, {.policy = &of.session});
  for (auto& [name, policy] : of.tenants)
    flatten_rows(values, key_scope::policy, {"tenant", name, "session"}, {.policy = &policy});
  flatten_rows(values, key_scope::breaker, {}, {.breaker = &of.breakers.fallback});
  for (auto& [pattern, policy] : of.breakers.patterns)
    flatten_rows(values, key_scope::breaker, {"breaker", pattern}, {.breaker = &policy});
  for (auto& token : of.auth.tokens)
    flatten_rows(values, key_scope::token, {"auth", "token", token.name}, {.token = &token});
  for (auto& each : of.auth.certificates)
    flatten_rows(values, key_scope::certificate, {"auth", "certificate", each.name},
                 {.certificate = &each});
  for (const auto& row : config_table()) {
    if (row.scope != key_scope::named) continue;
    const bool levels = row.name == "log.levels";
    std::vector<std::string> names;
    if (levels)
      for (const auto& [name, level] : of.log.levels) names.push_back(name);
    else
      for (const auto& [name, label] : of.metrics.labels) names.push_back(name);
    for (const auto& name : names)
      values[std::string(row.name) + "." + name] = {&row,
                                                    row.access.read({.whole = &of, .name = name})};
  }
  return values;
}

}  // namespace portcullis::core
