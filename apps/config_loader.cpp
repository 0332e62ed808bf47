#include "apps/config_loader.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace portcullis::apps {
namespace {

using core::config_entry;
using core::config_problem;
using core::config_value;

std::string kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list of other things than texts";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time";
    case toml::node_type::date_time:
      return "a date and time";
    default:
      return "another value";
  }
}

config_value value_of(const toml::node& node) {
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* integer = node.as_integer()) return integer->get();
  if (const auto* real = node.as_floating_point()) return real->get();
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* array = node.as_array()) {
    std::vector<std::string> items;
    for (const auto& item : *array) {
      const auto* text = item.as_string();
      if (text == nullptr) return core::foreign_value{kind_of(node)};
      items.push_back(text->get());
    }
    return items;
  }
  return core::foreign_value{kind_of(node)};
}

void collect(const toml::table& table, std::vector<std::string>& path, const std::string& name,
             std::vector<config_entry>& into) {
  for (const auto& [key, node] : table) {
    path.emplace_back(key.str());
    const auto* array = node.as_array();
    const bool tables =
        array != nullptr && !array->empty() && array->is_homogeneous(toml::node_type::table);
    if (const auto* inner = node.as_table()) {
      collect(*inner, path, name, into);
    } else if (tables) {
      for (std::size_t i = 0; i < array->size(); ++i) {
        path.push_back(std::to_string(i));
        collect(*array->get(i)->as_table(), path, name, into);
        path.pop_back();
      }
    } else {
      into.push_back({path, value_of(node), fmt::format("{}:{}", name, key.source().begin.line)});
    }
    path.pop_back();
  }
}

// A bare word on a command line is a text: nobody quotes for TOML inside quotes for a shell.
config_value typed(const std::string& text) {
  try {
    const auto table = toml::parse("v = " + text);
    if (table.size() == 1 && table.contains("v")) return value_of(*table.get("v"));
  } catch (const toml::parse_error&) {
    return text;
  }
  return text;
}

config_entry typed_entry(std::vector<std::string> path, const std::string& text,
                         std::string origin) {
  return {std::move(path), typed(text), std::move(origin), text};
}

/// The parts of a dotted key whose parts may be quoted; empty when it has no such form.
std::vector<std::string> key_path(std::string_view key) {
  std::vector<std::string> path;
  while (true) {
    std::string part;
    if (key.starts_with('"')) {
      const auto end = key.find('"', 1);
      if (end == std::string_view::npos) return {};
      part = key.substr(1, end - 1);
      key.remove_prefix(end + 1);
      if (!key.empty() && key.front() != '.') return {};
    } else {
      const auto end = std::min(key.find('.'), key.size());
      part = key.substr(0, end);
      key.remove_prefix(end);
    }
    if (part.empty()) return {};
    path.push_back(std::move(part));
    if (key.empty()) return path;
    key.remove_prefix(1);
  }
}

/// Where `=` ends the key: not one inside quotes.
std::size_t find_equals(std::string_view flag) {
  bool quoted = false;
  for (std::size_t i = 0; i < flag.size(); ++i) {
    if (flag[i] == '"') quoted = !quoted;
    if (flag[i] == '=' && !quoted) return i;
  }
  return std::string_view::npos;
}

std::optional<std::string> read_text(const std::string& file,
                                     std::vector<config_problem>& problems) {
  std::error_code failed;
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file, failed)) {
    problems.push_back(
        {file, "--config", fmt::format("cannot be read: {}", std::strerror(in ? EISDIR : errno))});
    return std::nullopt;
  }
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

std::vector<std::string> process_environment() {
  std::vector<std::string> all;
  for (char** at = environ; *at != nullptr; ++at) all.emplace_back(*at);
  return all;
}

std::vector<config_entry> toml_entries(std::string_view text, const std::string& name,
                                       std::vector<config_problem>& problems) {
  std::vector<config_entry> entries;
  try {
    const auto table = toml::parse(text, name);
    std::vector<std::string> path;
    collect(table, path, name, entries);
  } catch (const toml::parse_error& failed) {
    problems.push_back({fmt::format("{}:{}", name, failed.source().begin.line), "syntax",
                        std::string(failed.description())});
  }
  return entries;
}

std::vector<config_entry> environment_entries(const std::vector<std::string>& environment) {
  constexpr std::string_view prefix = "PORTCULLIS_";
  std::vector<config_entry> entries;
  for (const auto& variable : environment) {
    const auto equals = variable.find('=');
    if (!variable.starts_with(prefix) || equals == std::string::npos) continue;
    const auto name = variable.substr(prefix.size(), equals - prefix.size());
    if (name.find("__") == std::string::npos) continue;
    std::vector<std::string> path(1);
    for (std::size_t i = 0; i < name.size(); ++i) {
      if (name.compare(i, 2, "__") == 0) {
        path.emplace_back();
        ++i;
      } else {
        const char c = name[i];
        path.back() += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      }
    }
    entries.push_back(typed_entry(std::move(path), variable.substr(equals + 1),
                                  "environment " + variable.substr(0, equals)));
  }
  return entries;
}

std::vector<config_entry> flag_entries(const std::vector<std::string>& flags,
                                       std::vector<config_problem>& problems) {
  std::vector<config_entry> entries;
  for (const auto& flag : flags) {
    const auto equals = find_equals(flag);
    auto path =
        equals == std::string::npos ? std::vector<std::string>{} : key_path(flag.substr(0, equals));
    if (path.empty()) {
      problems.push_back({"--set", flag.substr(0, equals), "must be section.key=value"});
      continue;
    }
    entries.push_back(typed_entry(std::move(path), flag.substr(equals + 1), "--set"));
  }
  return entries;
}

core::parsed_config load_config(const config_sources& sources) {
  std::vector<config_problem> problems;
  std::vector<config_entry> entries;
  if (sources.file)
    if (const auto text = read_text(*sources.file, problems))
      entries = toml_entries(*text, *sources.file, problems);
  // What a broken file would have set is unknown: what is missing would be reported wrongly.
  if (!problems.empty()) return {{}, std::move(problems), {}};
  std::ranges::move(environment_entries(sources.environment), std::back_inserter(entries));
  std::ranges::move(flag_entries(sources.flags, problems), std::back_inserter(entries));
  std::error_code failed;
  auto parsed =
      core::parse_config(entries, {.working_dir = std::filesystem::current_path(failed).string(),
                                   .source = sources.file.value_or("defaults")});
  parsed.problems.insert(parsed.problems.begin(), problems.begin(), problems.end());
  return parsed;
}

}  // namespace portcullis::apps
