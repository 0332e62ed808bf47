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

struct word {
  std::string text, help;
};

/// A subcommand by its path of names, and what may follow it.
struct node {
  std::vector<std::string> path;
  std::vector<word> commands, options;
};

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

void collect(const CLI::App& app, std::vector<std::string> path, std::vector<node>& into) {
  node here{path, {}, {}};
  for (const auto* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    for (const auto& name : option->get_lnames())
      here.options.push_back({"--" + name, one_line(option->get_description())});
    // What a positional may be: METHOD comes from the contract's own table, other sets from their
    // check.
    if (!option->get_positional() || option->get_single_name() != "METHOD") continue;
    for (std::size_t i = 0; i < core::method_count; ++i)
      here.commands.push_back({std::string(to_string(static_cast<core::method>(i))), "method"});
  }
  const auto shown =
      app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); });
  for (const auto* sub : shown)
    here.commands.push_back({sub->get_name(), one_line(sub->get_description())});
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

/// The shell's own loop finds the path: the words so far that name a subcommand of the one before.
std::string bash_script(const std::vector<node>& nodes) {
  std::string script = R"(# bash completion of portcullis: source <(portcullis completion bash)
_portcullis() {
  local current="${COMP_WORDS[COMP_CWORD]}" path="" word i
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
    script += fmt::format(
        "    {})\n      if [[ $current == -* ]]; then COMPREPLY=($(compgen -W {} -- "
        "\"$current\"))\n",
        shell_quoted(path), shell_quoted(texts(each.options)));
    script += fmt::format(
        "      else COMPREPLY=($(compgen -W {} -- \"$current\") $(compgen -f -- \"$current\")); fi "
        ";;\n",
        shell_quoted(texts(each.commands)));
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

std::string zsh_script(const std::vector<node>& nodes) {
  std::string script = R"(#compdef portcullis
# zsh completion of portcullis: source <(portcullis completion zsh)
_portcullis() {
  local route="" word
  local -a commands options
  for word in "${(@)words[2,CURRENT-1]}"; do
    case "$route $word" in
)";
  for (const auto& each : nodes)
    if (!each.path.empty())
      script += fmt::format("      {}) route={} ;;\n", shell_quoted(" " + join(each.path)),
                            shell_quoted(" " + join(each.path)));
  script += "    esac\n  done\n  case \"$route\" in\n";
  for (const auto& each : nodes)
    script += fmt::format("    {}) commands=({} ) options=({} ) ;;\n",
                          shell_quoted(each.path.empty() ? std::string() : " " + join(each.path)),
                          zsh_words(each.commands), zsh_words(each.options));
  script += R"(  esac
  if [[ $PREFIX == -* ]]; then _describe option options
  elif (( $#commands )); then _describe command commands
  else _files; fi
}
compdef _portcullis portcullis
)";
  return script;
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
    for (const auto& command : each.commands)
      script += fmt::format("complete -c portcullis -n {} -f -a {} -d {}\n", when, command.text,
                            shell_quoted(command.help));
    for (const auto& option : each.options)
      script += fmt::format("complete -c portcullis -n {} -l {} -d {}\n", when,
                            option.text.substr(2), shell_quoted(option.help));
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
