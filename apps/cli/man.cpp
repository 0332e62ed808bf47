// `portcullis docs man` and `docs man-config`: portcullis(1) out of the tree of subcommands,
// portcullis.toml(5) out of the table of configuration keys, so that neither is ever behind them.
// Written in the macros of man(7).
#include "apps/cli/man.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "core/config/table.hpp"

namespace portcullis::apps {
namespace {

constexpr std::size_t columns = 76;

/// Of SOURCE_DATE_EPOCH where it is set, so that a package is built the same twice
/// (https://reproducible-builds.org/specs/source-date-epoch/); else of today.
std::string date_text() {
  const char* given = std::getenv("SOURCE_DATE_EPOCH");
  const std::string_view text = given == nullptr ? "" : given;
  std::time_t at = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), at);
  if (text.empty() || failed != std::errc{} || end != text.data() + text.size())
    at = std::time(nullptr);
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(at));
}

/// A page as it becomes: plain texts come in, escaped lines of roff go out.
class roff {
 public:
  roff(std::string_view name, int section)
      : text_(fmt::format(".\\\" Made by the program itself; do not edit.\n"
                          ".TH {} {} {} \"portcullis {}\" \"Portcullis\"\n",
                          name, section, date_text(), PORTCULLIS_VERSION)) {}

  void section(std::string_view title) { text_ += fmt::format(".SH {}\n", quoted(title)); }
  void subsection(std::string_view title) { text_ += fmt::format(".SS {}\n", quoted(title)); }
  /// A paragraph; `backticks` are bold. Each line of a text in its own.
  void paragraph(std::string_view text) {
    begin_paragraph();
    flow(text);
  }
  /// An item of a list: what it is called, already escaped, and what it means.
  void item(std::string_view head, std::string_view text) {
    text_ += fmt::format(".TP\n{}\n", head);
    flow(text);
  }
  /// Lines as they are.
  void verbatim(std::string_view text) {
    begin_paragraph();
    text_ += ".nf\n";
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      text_ += guarded(escaped(text.substr(0, end))) + "\n";
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    text_ += ".fi\n";
  }
  void example(std::string_view what, std::string_view command) {
    paragraph(what);
    text_ += ".PP\n.RS 4\n.nf\n" + guarded(escaped(command)) + "\n.fi\n.RE\n";
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

  static std::string bold(std::string_view text) { return "\\fB" + escaped(text) + "\\fR"; }
  static std::string italic(std::string_view text) { return "\\fI" + escaped(text) + "\\fR"; }

 private:
  /// A heading begins one by itself, and mandoc complains of another.
  void begin_paragraph() {
    const auto line = text_.rfind('\n', text_.size() - 2) + 1;  // npos + 1 is 0
    if (text_.compare(line, 3, ".SH") != 0 && text_.compare(line, 3, ".SS") != 0) text_ += ".PP\n";
  }
  static std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == '\\')
        out += "\\e";
      else if (c == '-')
        out += "\\-";
      else if (c == '\'')
        out += "\\(aq";
      else if (c == '^')
        out += "\\(ha";
      else if (c == '~')
        out += "\\(ti";
      else
        out += c;
    }
    return out;
  }
  /// As an argument of a macro.
  static std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : escaped(text)) out += c == '"' ? std::string("\\(dq") : std::string(1, c);
    return out + "\"";
  }
  /// A line that begins so would be a request.
  static std::string guarded(std::string line) {
    return line.starts_with('.') || line.starts_with('\'') ? "\\&" + line : line;
  }

  /// Words in lines of a size that a person can read in the source; what stands in backticks bold.
  void flow(std::string_view text) {
    std::string line;
    bool bold_on = false;
    const auto end_line = [&] {
      if (!line.empty()) text_ += guarded(line) + "\n";
      line.clear();
    };
    while (!text.empty()) {
      const auto end = std::min(text.find_first_of(" \n"), text.size());
      std::string word;
      for (std::string_view left = text.substr(0, end); !left.empty();) {
        const auto tick = std::min(left.find('`'), left.size());
        word += escaped(left.substr(0, tick));
        left.remove_prefix(tick);
        if (left.empty()) break;
        bold_on = !bold_on;
        word += bold_on ? "\\fB" : "\\fR";
        left.remove_prefix(1);
      }
      if (!line.empty() && line.size() + 1 + word.size() > columns) end_line();
      if (!word.empty()) line += (line.empty() ? "" : " ") + word;
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    end_line();
  }

  std::string text_;
};

std::vector<const CLI::App*> shown_commands(const CLI::App& of) {
  return of.get_subcommands([](const CLI::App* each) { return !each->get_group().empty(); });
}

/// What CLI11 writes after a colon behind the type: a set, or a range.
struct option_values {
  std::string type, allowed;
};
option_values values_of(const CLI::Option& option) {
  const auto all = option.get_type_name();
  const auto range = all.find(" in [");
  const auto colon = range == std::string::npos ? all.find(":{") : all.rfind(':', range);
  if (colon == std::string::npos) return {all, ""};
  return {all.substr(0, colon), all.substr(colon + 1)};
}

/// "{a,b}" as "one of a, b", "FLOAT in [0.1 - 3600]" as "0.1 to 3600".
std::string allowed_words(std::string allowed) {
  if (allowed.starts_with('{') && allowed.ends_with('}')) {
    std::string words = "One of ";
    for (const char c : allowed.substr(1, allowed.size() - 2))
      words += c == ',' ? std::string(", ") : std::string(1, c);
    return words + ".";
  }
  const auto open = allowed.find('['), dash = allowed.find(" - ");
  if (open == std::string::npos || dash == std::string::npos || !allowed.ends_with(']')) return "";
  return fmt::format("From {} to {}.", allowed.substr(open + 1, dash - open - 1),
                     allowed.substr(dash + 3, allowed.size() - dash - 4));
}

void add_option(roff& page, const CLI::Option& option) {
  const auto values = values_of(option);
  std::string head;
  if (option.get_positional()) {
    head = roff::italic(option.get_single_name());
  } else {
    for (const auto& name : option.get_snames())
      head += (head.empty() ? "" : ", ") + roff::bold("-" + name);
    for (const auto& name : option.get_lnames())
      head += (head.empty() ? "" : ", ") + roff::bold("--" + name);
    if (option.get_items_expected_max() > 0) head += " " + roff::italic(values.type);
  }
  auto text = option.get_description();
  if (!text.empty() && !text.ends_with('.')) text += '.';
  if (const auto words = allowed_words(values.allowed); !words.empty()) text += " " + words;
  if (option.get_required()) text += " Required.";
  if (const auto fallback = option.get_default_str(); !fallback.empty())
    text += " Default: " + fallback + ".";
  page.item(head, text);
}

void add_command(roff& page, const CLI::App& command, const std::string& path) {
  page.subsection(path);
  auto help = command.get_description();
  if (!help.ends_with('.')) help += '.';
  page.paragraph(help);
  for (const auto* option : command.get_options())
    if (!option->get_group().empty() && option->get_name() != "--help,-h" &&
        option != command.get_help_ptr())
      add_option(page, *option);
  if (const auto footer = command.get_footer(); !footer.empty()) page.verbatim(footer);
  for (const auto* each : shown_commands(command))
    add_command(page, *each, path + " " + each->get_name());
}

void add_exit_statuses(roff& page) {
  page.section("EXIT STATUS");
  page.item(roff::bold("0"), "It was done.");
  page.item(roff::bold("1"),
            "The server or the log said no, or what was looked at is not in order. A "
            "configuration that cannot be used.");
  page.item(roff::bold("2"), "The server was not reached, or its certificate not believed.");
  page.item(roff::bold("64"), "An option or a file cannot be used. Nothing was asked.");
  page.paragraph(
      "`check` speaks the language of monitoring plugins instead: 0 OK, 1 WARNING, 2 CRITICAL "
      "(also where the server was not reached), 3 UNKNOWN (also where an option or a file cannot "
      "be used).");
}

void add_surroundings(roff& page) {
  page.section("ENVIRONMENT");
  page.item(
      roff::bold("PORTCULLIS_") + roff::italic("SECTION") + roff::bold("__") + roff::italic("KEY"),
      "For `serve` and `check-config`: a key of the configuration, with two underscores "
      "between levels. It goes before the file; a flag goes before it.");
  page.item(roff::bold("GLIBC_TUNABLES"),
            "Set by `serve`, which then executes itself once, unless it is set already.");
  page.item(roff::bold("NOTIFY_SOCKET"), "Where `serve` tells systemd that it is ready.");
  page.item(roff::bold("WATCHDOG_USEC") + ", " + roff::bold("WATCHDOG_PID"),
            "Set by systemd where the unit has WatchdogSec: within how many microseconds `serve` "
            "tells again that it lives, and to which process that holds.");
  page.item(roff::bold("CREDENTIALS_DIRECTORY"),
            "Set by systemd where the unit has LoadCredential: of a secret's file in this folder "
            "it is not asked that nobody else may read it.");
  page.item(roff::bold("TERM") + ", " + roff::bold("COLORTERM") + ", " + roff::bold("NO_COLOR"),
            "For `top`: what the terminal can do, and that no colours are wanted.");
  page.item(roff::bold("COLUMNS"), "For `top` into a pipe: how long its lines may be.");
  page.item(roff::bold("SOURCE_DATE_EPOCH"), "For `docs man`: the date of this page.");
  page.section("FILES");
  page.item(roff::italic("/etc/portcullis/portcullis.toml"),
            "The configuration that the systemd unit starts with; see portcullis.toml(5).");
  page.item(roff::italic("/etc/portcullis/portcullis.keys"),
            "The key file, mode 0600. Without it the data is lost: keep a copy where the data is "
            "not.");
  page.item(roff::italic("/var/lib/portcullis"),
            "The data of the node, mode 0700: `portcullis.db` is the event log.");
}

void add_examples(roff& page) {
  page.section("EXAMPLES");
  page.example("A node on this machine, to try it out:",
               "portcullis serve --set server.environment=development --set auth.mode=none");
  page.example("A call, with a token in a file:",
               "portcullis call --token-file ops.token server.info '{}'");
  page.example("What happens now, and what has happened since the 29th of November:",
               "portcullis top\n"
               "portcullis events query --token-file watch.token --from 2026-11-29");
  page.example("A check for Nagios, which warns from 500 locked users on:",
               "portcullis check --http 127.0.0.1:7480 --warn lockouts_active=500");
  page.example("Completion in this shell:", "source <(portcullis completion bash)");
  page.section("SEE ALSO");
  page.paragraph("portcullis.toml(5), systemctl(1), prometheus(1)");
}

std::string section_of(std::string_view name) {
  return std::string(name.substr(0, name.find('.')));
}

/// What a key has without being set; empty: a list's entries and the user's own names have none.
std::string default_of(const core::config_key& row, core::config& defaults) {
  switch (row.scope) {
    case core::key_scope::server:
      return core::toml_text(row.access.read({.whole = &defaults}));
    case core::key_scope::policy:
      return core::toml_text(row.access.read({.policy = &defaults.session}));
    case core::key_scope::breaker:
      return core::toml_text(row.access.read({.breaker = &defaults.breakers.fallback}));
    case core::key_scope::token:
    case core::key_scope::certificate:
    case core::key_scope::named:
      return "";
  }
  __builtin_unreachable();
}

}  // namespace

std::string man_page(const CLI::App& root) {
  roff page("PORTCULLIS", 1);
  page.section("NAME");
  page.paragraph("portcullis - session validation, lockouts and circuit breakers, as a server");
  page.section("SYNOPSIS");
  page.paragraph("`portcullis` COMMAND [OPTION]...");
  page.section("DESCRIPTION");
  page.paragraph(
      "Portcullis is a server that an application asks, for every request it serves, whether a "
      "session is still its user's, on this device, from this network. It decides from state in "
      "memory, writes every decision that must last to a durable log before it answers, counts "
      "failed attempts and locks out whoever guesses. It also runs the circuit breakers of a "
      "fleet. The one program is the server (`portcullis serve`) and all that an operator does "
      "with it.");
  page.paragraph(
      "Commands that ask a running node take its address, --tls with its files, and --token-file. "
      "Commands that read a log take the folder of a stopped node, or of a backup. A TIME is "
      "written as in RFC 3339 (2026-11-29T20:00:00Z; without a zone it is UTC, without a time "
      "midnight) or as milliseconds since 1970. On a terminal most commands print for people, in "
      "a pipe JSON.");
  page.section("COMMANDS");
  for (const auto* each : shown_commands(root))
    add_command(page, *each, "portcullis " + each->get_name());
  add_exit_statuses(page);
  add_surroundings(page);
  add_examples(page);
  return page.take();
}

std::string man_config_page() {
  roff page("PORTCULLIS.TOML", 5);
  core::config defaults;
  page.section("NAME");
  page.paragraph("portcullis.toml - configuration of portcullis serve");
  page.section("DESCRIPTION");
  page.paragraph(
      "The file of `portcullis serve --config`, in TOML. A value comes from the first that has it: "
      "a flag (--set section.key=value), the environment (PORTCULLIS_SECTION__KEY), the file, the "
      "default. A key that there is not, or a value that it does not take, is an error: "
      "`portcullis check-config` names file and line, and with --effective prints every value and "
      "where it comes from. A reload (SIGHUP, admin.reload) changes the keys that say so; a file "
      "that changes any other is refused and changes nothing.");
  page.paragraph(
      "The tables [tenant.\"NAME\".session] take the keys of session for one tenant, "
      "[breaker.\"SERVICE/BREAKER\"] those of breaker for one breaker or, with * for a part, for "
      "many. [[auth.token]] and [[auth.certificate]] are lists: each entry has the keys below.");
  std::string section;
  for (const auto& row : core::config_table()) {
    if (const auto next = section_of(row.name); next != section) {
      section = next;
      page.section("SECTION " + section);
    }
    const bool named = row.scope == core::key_scope::named;
    std::string text(row.help);
    if (!text.ends_with('.')) text += '.';
    text += " May be " + core::allowed_text(row) + ".";
    if (named) text += fmt::format(" NAME: {}.", row.expected);
    if (const auto fallback = default_of(row, defaults); !fallback.empty())
      text += " Default: " + fallback + ".";
    if (row.reloadable) text += " A reload changes it.";
    page.item(roff::bold(row.name) + (named ? "." + roff::italic("NAME") : ""), text);
  }
  page.section("SEE ALSO");
  page.paragraph("portcullis(1)");
  return page.take();
}

}  // namespace portcullis::apps
