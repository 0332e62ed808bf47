#include "core/config/parse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/config/checks.hpp"
#include "core/config/names.hpp"
#include "core/config/table.hpp"

namespace portcullis::core {
namespace {

using path_type = std::vector<std::string>;

bool is_bare_key(std::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

std::string join(const path_type& path, std::size_t parts) {
  std::string text;
  for (std::size_t i = 0; i < parts; ++i) text += (i == 0 ? "" : ".") + path[i];
  return text;
}

bool is_tenant_path(const path_type& path) {
  return path.size() == 4 && path[0] == "tenant" && path[2] == "session" && is_tenant_name(path[1]);
}
bool is_breaker_path(const path_type& path) {
  return path.size() == 3 && path[0] == "breaker" && is_breaker_section(path[1]);
}
/// An entry of [[auth.token]] or [[auth.certificate]].
bool is_caller_path(const path_type& path, std::string_view kind) {
  return path.size() == 4 && path[0] == "auth" && path[1] == kind && !path[2].empty() &&
         path[2].size() <= 6 && path[2].find_first_not_of("0123456789") == std::string::npos;
}
bool is_token_path(const path_type& path) { return is_caller_path(path, "token"); }
bool is_certificate_path(const path_type& path) { return is_caller_path(path, "certificate"); }

/// The row that a path means, or nothing.
const config_key* find_row(const path_type& path) {
  const bool tenant = is_tenant_path(path), token = is_token_path(path);
  const bool certificate = is_certificate_path(path), breaker = is_breaker_path(path);
  const bool plain = !tenant && !token && !certificate && !breaker;
  const auto name = tenant        ? "session." + path[3]
                    : token       ? "auth.token." + path[3]
                    : certificate ? "auth.certificate." + path[3]
                    : breaker     ? "breaker." + path[2]
                                  : join(path, path.size());
  const auto parent = path.size() > 1 ? join(path, path.size() - 1) : std::string();
  for (const auto& row : config_table()) {
    switch (row.scope) {
      case key_scope::server:
        if (plain && row.name == name) return &row;
        break;
      case key_scope::policy:
        if ((plain || tenant) && row.name == name) return &row;
        break;
      case key_scope::breaker:
        if ((plain || breaker) && row.name == name) return &row;
        break;
      case key_scope::token:
        if (token && row.name == name) return &row;
        break;
      case key_scope::certificate:
        if (certificate && row.name == name) return &row;
        break;
      case key_scope::named:
        if (row.name == parent && row.accepts(path.back())) return &row;
        break;
    }
  }
  return nullptr;
}

/// What an unknown key may have meant; empty when nothing is near.
std::string suggestion(const path_type& path) {
  const auto text = dotted(path);
  std::string best;
  std::size_t nearest = std::max<std::size_t>(2, text.size() / 5) + 1;
  for (const auto& row : config_table()) {
    std::vector<std::string> names = {std::string(row.name)};
    if (path.size() == 4 && path[0] == "tenant" && row.scope == key_scope::policy)
      names.push_back(dotted({path[0], path[1]}) + "." + std::string(row.name));
    if (is_breaker_path(path) && row.scope == key_scope::breaker)
      names = {dotted({path[0], path[1], std::string(last_part(row.name))})};
    if (path.size() == 4 && (row.scope == key_scope::token || row.scope == key_scope::certificate))
      names.push_back(join(path, 3) + "." + std::string(last_part(row.name)));
    for (const auto& name : names) {
      const auto distance = last_part(name) == path.back() ? 1 : edit_distance(text, name);
      if (distance < nearest) {
        nearest = distance;
        best = name;
      }
    }
  }
  return best;
}

constexpr auto breaker_section_words =
    "\"SERVICE/BREAKER\", each 1 to 64 of A-Z, a-z, 0-9, _ . and -, or one of them *";

config_problem unknown(const config_entry& entry) {
  std::string message = "there is no such key";
  if (entry.path.size() == 3 && entry.path[0] == "breaker" && !is_breaker_section(entry.path[1]))
    return {entry.origin, dotted(entry.path),
            fmt::format("the name must be {}", breaker_section_words)};
  if (entry.path.size() == 2 && entry.path[0] == "breaker" && is_breaker_section(entry.path[1]))
    return {entry.origin, dotted(entry.path), "is a section; it holds the keys of breaker"};
  if (entry.path.size() == 4 && entry.path[0] == "breaker")
    return {entry.origin, dotted(entry.path),
            fmt::format("{}; did you mean [breaker.\"{}/{}\"]?", message, entry.path[1],
                        entry.path[2])};
  if (entry.path.size() == 3 && entry.path[0] == "auth" &&
      (entry.path[1] == "token" || entry.path[1] == "certificate"))
    return {entry.origin, dotted(entry.path),
            fmt::format("there may be many: write [[auth.{}]]", entry.path[1])};
  for (const auto& row : config_table()) {
    const bool named = row.scope == key_scope::named && entry.path.size() > 1 &&
                       join(entry.path, entry.path.size() - 1) == row.name;
    if (named)
      return {entry.origin, dotted(entry.path), fmt::format("the name must be {}", row.expected)};
    if (row.name.starts_with(join(entry.path, entry.path.size()) + "."))
      return {entry.origin, dotted(entry.path),
              fmt::format("is a section; it holds {}, ...", row.name)};
  }
  if (const auto near = suggestion(entry.path); !near.empty())
    message += fmt::format("; did you mean {}?", near);
  return {entry.origin, dotted(entry.path), std::move(message)};
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    auto part = text.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    parts.emplace_back(part);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

bool allows(const config_key& row, std::string_view text) {
  return std::find(row.allowed.begin(), row.allowed.end(), text) != row.allowed.end();
}
bool has_length(const config_key& row, std::string_view text) {
  const auto size = static_cast<std::int64_t>(text.size());
  return size >= row.least && size <= row.most && text.find('\0') == std::string_view::npos;
}

/// The value as the row takes it, or nothing.
std::optional<config_value> fitted(const config_key& row, const config_entry& entry) {
  const auto* integer = std::get_if<std::int64_t>(&entry.value);
  const auto* text = std::get_if<std::string>(&entry.value);
  if (text == nullptr && entry.raw.has_value()) text = &*entry.raw;
  std::optional<std::vector<std::string>> list;
  if (const auto* given = std::get_if<std::vector<std::string>>(&entry.value))
    list = *given;
  else if (entry.raw.has_value() && text != nullptr)
    list = split(*text);
  switch (row.form) {
    case key_form::boolean:
      if (std::holds_alternative<bool>(entry.value)) return entry.value;
      return std::nullopt;
    case key_form::integer:
      if (integer != nullptr && *integer >= row.least && *integer <= row.most) return *integer;
      return std::nullopt;
    case key_form::number: {
      const auto* real = std::get_if<double>(&entry.value);
      if (real == nullptr && integer == nullptr) return std::nullopt;
      const auto number = real != nullptr ? *real : static_cast<double>(*integer);
      if (!row.range.has(number)) return std::nullopt;
      return number + 0.0;  // -0.0 is 0
    }
    case key_form::text: {
      const bool form =
          text != nullptr && has_length(row, *text) &&
          (row.scope == key_scope::named || row.accepts == nullptr || row.accepts(*text));
      return form ? std::optional<config_value>(*text) : std::nullopt;
    }
    case key_form::choice:
      return text != nullptr && allows(row, *text) ? std::optional<config_value>(*text)
                                                   : std::nullopt;
    case key_form::digest: {
      byte_array<32> bytes;
      return text != nullptr && from_hex(*text, bytes) ? std::optional<config_value>(*text)
                                                       : std::nullopt;
    }
    case key_form::list:
    case key_form::choices: {
      if (!list) return std::nullopt;
      for (const auto& item : *list) {
        const bool fits =
            row.form == key_form::choices
                ? allows(row, item)
                : has_length(row, item) && (row.accepts == nullptr || row.accepts(item));
        if (!fits) return std::nullopt;
      }
      return config_value{*list};
    }
  }
  __builtin_unreachable();
}

/// What was given, in words: never the value of a text, which may be a secret in the wrong place.
std::string given_text(const config_key& row, const config_value& value) {
  const bool lists = row.form == key_form::list || row.form == key_form::choices;
  const bool texts = !lists && row.form != key_form::boolean && row.form != key_form::integer &&
                     row.form != key_form::number;
  if (const auto* foreign = std::get_if<foreign_value>(&value)) return foreign->kind;
  if (std::holds_alternative<std::string>(value)) return texts ? "another text" : "a text";
  if (std::holds_alternative<std::vector<std::string>>(value))
    return lists ? "another list" : "a list";
  return toml_text(value);
}

class parser {
 public:
  parser(parsed_config& into, std::span<const config_entry> entries) : into_(into) {
    for (const auto& entry : entries) winners_[entry.path] = &entry;
  }

  void run() {
    for (const auto& [path, entry] : winners_)
      if (!is_tenant_path(path) && !is_breaker_path(path)) apply(*entry);
    lower(into_.value.session, {});
    // A log that is in memory cannot grow for ever.
    if (into_.value.store.mode == store_mode::redis && !is_given({"store"}, "event_retention_h"))
      into_.value.store.event_retention_h = limits::fleet_retention_h;
    auto& breakers = into_.value.breakers;
    fit(breakers.fallback, {"breaker"});
    for (const auto& [path, entry] : winners_) {
      if (!is_tenant_path(path)) continue;
      into_.value.tenants.try_emplace(path[1], into_.value.session);
      apply(*entry);
    }
    for (auto& [name, policy] : into_.value.tenants) lower(policy, {"tenant", name});
    for (const auto& [path, entry] : winners_) {
      if (!is_breaker_path(path)) continue;
      const bool own = path[1] == store_breaker_pattern;
      breakers.patterns.try_emplace(path[1], own ? store_breaker_policy() : breakers.fallback);
      apply(*entry);
    }
    for (auto& [pattern, policy] : breakers.patterns) {
      fit(policy, {"breaker", pattern});
      if (pattern != store_breaker_pattern) continue;
      // One journal tries it, a commit at a time, and no caller comes whom it could let try.
      policy.auto_half_open = true;
      policy.half_open_permits = policy.half_open_concurrency = 1;
    }
    finish_callers();
  }

 private:
  void apply(const config_entry& entry) {
    const auto* row = find_row(entry.path);
    if (row == nullptr) {
      into_.problems.push_back(unknown(entry));
      return;
    }
    const auto key = dotted(entry.path);
    into_.origins[key] = entry.origin;
    auto value = fitted(*row, entry);
    if (!value) {
      into_.problems.push_back(
          {entry.origin, key,
           fmt::format("must be {}, not {}", allowed_text(*row), given_text(*row, entry.value))});
      return;
    }
    row->access.write(place_of(entry.path), *value);
  }

  config_place place_of(const path_type& path) {
    if (is_tenant_path(path)) return {.policy = &into_.value.tenants.find(path[1])->second};
    if (is_token_path(path)) return {.token = &tokens_[std::stoul(path[2])]};
    if (is_certificate_path(path)) return {.certificate = &certificates_[std::stoul(path[2])]};
    auto& breakers = into_.value.breakers;
    if (is_breaker_path(path)) return {.breaker = &breakers.patterns.find(path[1])->second};
    return {.whole = &into_.value,
            .policy = &into_.value.session,
            .breaker = &breakers.fallback,
            .name = path.back()};
  }

  // A value that is not given follows the ones that are: nobody who shortens a session has to know
  // the granularity.
  void lower(session_policy& policy, path_type prefix) const {
    prefix.emplace_back("session");
    const auto given = [&](std::string_view key) { return is_given(prefix, key); };
    if (!given("idle_ttl_s"))
      policy.idle_ttl_s = std::min(policy.idle_ttl_s, policy.absolute_ttl_s);
    if (!given("touch_granularity_s"))
      policy.touch_granularity_s = std::min(policy.touch_granularity_s, policy.idle_ttl_s / 2);
  }

  // The same: of two values that bound each other, the one that is not given gives way.
  void fit(breaker_policy& policy, const path_type& prefix) const {
    const auto given = [&](std::string_view key) { return is_given(prefix, key); };
    if (!given("window_buckets"))
      policy.window_buckets = static_cast<std::uint32_t>(std::min<std::int64_t>(
          policy.window_buckets, policy.window_s * 1000 / limits::breaker_bucket_ms_min));
    if (!given("open_wait_max_s"))
      policy.open_wait_max_ms = std::max(policy.open_wait_max_ms, policy.open_wait_ms);
    else if (!given("open_wait_s"))
      policy.open_wait_ms = std::min(policy.open_wait_ms, policy.open_wait_max_ms);
    if (!given("half_open_concurrency"))
      policy.half_open_concurrency =
          std::min(policy.half_open_concurrency, policy.half_open_permits);
    else if (!given("half_open_permits"))
      policy.half_open_permits = std::max(policy.half_open_permits, policy.half_open_concurrency);
  }

  [[nodiscard]] bool is_given(path_type prefix, std::string_view key) const {
    prefix.emplace_back(key);
    return winners_.contains(prefix);
  }

  void finish_callers() {
    finish(tokens_, "token", "sha256", into_.value.auth.tokens);
    finish(certificates_, "certificate", "san", into_.value.auth.certificates);
  }
  /// Takes over the entries of one list; `proof` is what shows who somebody is.
  template <class Entry>
  void finish(std::map<std::size_t, Entry>& entries, std::string_view list, std::string_view proof,
              std::vector<Entry>& into) {
    for (auto& [index, entry] : entries) {
      const path_type prefix = {"auth", std::string(list), std::to_string(index)};
      for (const std::string_view part :
           {std::string_view("name"), std::string_view("role"), proof}) {
        if (is_given(prefix, part)) continue;
        auto path = prefix;
        path.emplace_back(part);
        into_.problems.push_back(
            {winners_.lower_bound(prefix)->second->origin, dotted(path), "is required"});
      }
      into.push_back(std::move(entry));
    }
  }

  parsed_config& into_;
  std::map<path_type, const config_entry*> winners_;
  std::map<std::size_t, auth_token> tokens_;
  std::map<std::size_t, auth_certificate> certificates_;
};

}  // namespace

std::string dotted(const path_type& path) {
  std::string text;
  for (const auto& part : path) {
    if (!text.empty()) text += '.';
    text += is_bare_key(part) ? part : toml_text(part);
  }
  return text;
}

std::string to_text(const config_problem& problem) {
  return fmt::format("{}: {}: {}", problem.origin, problem.key, problem.message);
}

parsed_config parse_config(std::span<const config_entry> entries, const parse_options& options) {
  parsed_config parsed;
  parser(parsed, entries).run();
  check_together(parsed, options);
  return parsed;
}

std::vector<config_change> config_diff(const config& before, const config& after) {
  const auto old_values = flatten(before), new_values = flatten(after);
  std::map<std::string, bool> changed;
  for (const auto& [key, value] : old_values) {
    const auto found = new_values.find(key);
    if (found == new_values.end() || found->second != value) changed[key] = value.key->reloadable;
  }
  for (const auto& [key, value] : new_values)
    if (!old_values.contains(key)) changed[key] = value.key->reloadable;
  std::vector<config_change> changes;
  for (const auto& [key, reloadable] : changed) changes.push_back({key, reloadable});
  return changes;
}

std::vector<config_problem> reload_problems(const config& before, const config& after,
                                            const std::map<std::string, std::string>& origins) {
  std::vector<config_problem> problems;
  for (const auto& change : config_diff(before, after)) {
    if (change.reloadable) continue;
    const auto origin = origins.find(change.key);
    problems.push_back({origin == origins.end() ? "defaults" : origin->second, change.key,
                        "a running server cannot change this; restart it"});
  }
  return problems;
}

}  // namespace portcullis::core
