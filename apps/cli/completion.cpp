// `portcullis completion SHELL`: a script made from the tree of subcommands, so that it is never
// behind them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "apps/commands.hpp"
#include "core/contract/method.hpp"

namespace portcullis::apps {
namespace {

enum class takes { nothing, anything, file, folder, one_of };

struct word {
  std::string text, help;
  takes value = takes::nothing;     // of an option
  std::vector<std::string> values;  // takes::one_of
};

/// A subcommand by its path of names, and what may follow it.
struct node {
  std::vector<std::string> path;
  std::vector<word> commands, options;
  bool files = false;  // whether a word that stands for itself may be a file
};

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// The set that CLI::IsMember writes behind the type: "TEXT:{a,b}".
std::vector<std::string> set_of(const CLI::Option& option) {
  const auto type = option.get_type_name();
  const auto open = type.find(":{");
  if (open == std::string::npos || !type.ends_with('}')) return {};
  return CLI::detail::split(type.substr(open + 2, type.size() - open - 3), ',');
}

word option_word(const CLI::Option& option, const std::string& name) {
  word out{"--" + name, one_line(option.get_description()), takes::nothing, {}};
  if (option.get_items_expected_max() == 0) return out;
  const auto type = option.get_type_name();
  out.values = set_of(option);
  out.value = !out.values.empty() ? takes::one_of
              : type == "FILE"    ? takes::file
              : type == "DIR"     ? takes::folder
                                  : takes::anything;
  return out;
}

void collect(const CLI::App& app, std::vector<std::string> path, std::vector<node>& into) {
  node here{path, {}, {}, false};
  for (const auto* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    for (const auto& name : option->get_lnames())
      here.options.push_back(option_word(*option, name));
    // What a positional may be: METHOD comes from the contract's own table, other sets from their
    // check.
    if (!option->get_positional()) continue;
    for (const auto& each : set_of(*option))
      here.commands.push_back({each, one_line(option->get_description()), takes::nothing, {}});
    here.files |= option->get_type_name() == "FILE" || option->get_single_name() == "FILE";
    if (option->get_single_name() != "METHOD") continue;
    for (std::size_t i = 0; i < core::method_count; ++i)
      here.commands.push_back(
          {std::string(to_string(static_cast<core::method>(i))), "method", takes::nothing, {}});
  }
  const auto shown =
      app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); });
  for (const auto* sub : shown)
    here.commands.push_back(
        {sub->get_name(), one_line(sub->get_description()), takes::nothing, {}});
  into.push_back(std::move(here));
  for (const auto* sub : shown) {
    auto longer = path;
    longer.push_back(sub->get_name());
    collect(*sub, std::move(longer), into);
  }
}

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) text += (text.empty() ? "" : " ") + part;
  return text;
}

std::string texts(const std::vector<word>& words) {
  std::string text;
  for (const auto& each : words) text += (text.empty() ? "" : " ") + each.text;
  return text;
}

/// `text` inside single quotes, for a shell in which '\'' is a quote.
std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// What comes after an option that takes a value, for bash: a case of `previous`.
std::string bash_values(const std::vector<word>& options) {
  std::string text;
  for (const auto& each : options) {
    if (each.value == takes::nothing) continue;
    const auto words = each.value == takes::file     ? std::string("-f")
                       : each.value == takes::folder ? std::string("-d")
                       : each.value == takes::one_of ? "-W " + shell_quoted(join(each.values))
                                                     : std::string("-W ''");
    text += fmt::format("        {}) COMPREPLY=($(compgen {} -- \"$current\")); return ;;\n",
                        each.text, words);
  }
  if (text.empty()) return {};
  return "      case \"$previous\" in\n" + text + "      esac\n";
}

/// The shell's own loop finds the path: the words so far that name a subcommand of the one before.
std::string bash_script(const std::vector<node>& nodes) {
  std::string script = R"(# bash completion of portcullis: source <(portcullis completion bash)
_portcullis() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" path="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "$path $word" in
)";
  for (const auto& each : nodes)
    if (!each.path.empty())
      script += fmt::format("      {}) path={} ;;\n", shell_quoted(" " + join(each.path)),
                            shell_quoted(" " + join(each.path)));
  script += "    esac\n  done\n  case \"$path\" in\n";
  for (const auto& each : nodes) {
    const auto path = each.path.empty() ? std::string() : " " + join(each.path);
    script += fmt::format("    {})\n{}", shell_quoted(path), bash_values(each.options));
    script += fmt::format(
        "      if [[ $current == -* ]]; then COMPREPLY=($(compgen -W {} -- \"$current\"))\n",
        shell_quoted(texts(each.options)));
    script += fmt::format("      else COMPREPLY=($(compgen -W {} -- \"$current\"){}); fi ;;\n",
                          shell_quoted(texts(each.commands)),
                          each.files ? " $(compgen -f -- \"$current\")" : "");
  }
  script += "  esac\n}\ncomplete -o filenames -F _portcullis portcullis\n";
  return script;
}

std::string zsh_words(const std::vector<word>& words) {
  std::string text;
  for (const auto& each : words) {
    auto name = each.text;
    for (std::size_t at = 0; (at = name.find(':', at)) != std::string::npos; at += 2)
      name.insert(at, "\\");
    text += " " + shell_quoted(name + ":" + each.help);
  }
  return text;
}

/// What comes after an option that takes a value, for zsh: a case of path and option.
std::string zsh_values(const std::vector<node>& nodes) {
  std::string text;
  for (const auto& at : nodes)
    for (const auto& each : at.options) {
      if (each.value == takes::nothing) continue;
      const auto path = at.path.empty() ? std::string() : " " + join(at.path);
      const auto action = each.value == takes::file     ? std::string("_files")
                          : each.value == takes::folder ? std::string("_files -/")
                          : each.value == takes::one_of ? "compadd -- " + join(each.values)
                                                        : "_message " + shell_quoted(each.help);
      text += fmt::format("    {}) {}; return ;;\n", shell_quoted(path + " " + each.text), action);
    }
  return text;
}

std::string zsh_script(const std::vector<node>& nodes) {
  std::string script = R"(#compdef portcullis
# zsh completion of portcullis: source <(portcullis completion zsh)
_portcullis() {
  local route="" word files=""
  local -a commands options
  for word in "${(@)words[2,CURRENT-1]}"; do
    case "$route $word" in
)";
  for (const auto& each : nodes)
    if (!each.path.empty())
      script += fmt::format("      {}) route={} ;;\n", shell_quoted(" " + join(each.path)),
                            shell_quoted(" " + join(each.path)));
  script += "    esac\n  done\n  case \"$route ${words[CURRENT-1]}\" in\n" + zsh_values(nodes) +
            "  esac\n  case \"$route\" in\n";
  for (const auto& each : nodes)
    script +=
        fmt::format("    {}) commands=({} ) options=({} ) files={} ;;\n",
                    shell_quoted(each.path.empty() ? std::string() : " " + join(each.path)),
                    zsh_words(each.commands), zsh_words(each.options), each.files ? "yes" : "''");
  script += R"(  esac
  if [[ $PREFIX == -* ]]; then _describe option options
  else
    (( $#commands )) && _describe command commands
    [[ -n $files ]] && _files
  fi
}
compdef _portcullis portcullis
)";
  return script;
}

std::string fish_value(const word& option) {
  switch (option.value) {
    case takes::nothing:
      return "";
    case takes::anything:
      return " -x";
    case takes::file:
      return " -r -F";
    case takes::folder:
      return " -x -a '(__fish_complete_directories)'";
    case takes::one_of:
      return " -x -a " + shell_quoted(join(option.values));
  }
  __builtin_unreachable();
}

std::string fish_script(const std::vector<node>& nodes) {
  std::string script = R"(# fish completion of portcullis: portcullis completion fish | source
function __portcullis_at
    set -l path ""
    for word in (commandline -opc)[2..-1]
        switch "$path $word"
            case )";
  for (const auto& each : nodes)
    if (!each.path.empty()) script += shell_quoted(" " + join(each.path)) + " ";
  script += R"(
                set path "$path $word"
        end
    end
    test "$path" = "$argv[1]"
end
)";
  for (const auto& each : nodes) {
    const auto path = each.path.empty() ? std::string() : " " + join(each.path);
    const auto when = shell_quoted(fmt::format("__portcullis_at \"{}\"", path));
    if (!each.files) script += fmt::format("complete -c portcullis -n {} -f\n", when);
    for (const auto& command : each.commands)
      script += fmt::format("complete -c portcullis -n {} -f -a {} -d {}\n", when, command.text,
                            shell_quoted(command.help));
    for (const auto& option : each.options)
      script += fmt::format("complete -c portcullis -n {} -l {}{} -d {}\n", when,
                            option.text.substr(2), fish_value(option), shell_quoted(option.help));
  }
  return script;
}

}  // namespace

void add_completion(CLI::App& root, int& status) {
  auto shell = std::make_shared<std::string>();
  auto* command = root.add_subcommand("completion", "Print a completion script for a shell");
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([shell, &root, &status] {
    std::vector<node> nodes;
    collect(root, {}, nodes);
    fmt::print("{}", *shell == "bash"  ? bash_script(nodes)
                     : *shell == "zsh" ? zsh_script(nodes)
                                       : fish_script(nodes));
    status = exit_ok;
  });
}

}  // namespace portcullis::apps
