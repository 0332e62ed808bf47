// `portcullis breakers`: what a person does with circuit breakers. A table on a terminal, JSON
// lines in a pipe.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/commands.hpp"
#include "apps/rpc_client.hpp"
#include "core/breaker/types.hpp"
#include "core/contract/texts.hpp"
#include "core/limits.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::ordered_json;

struct breakers_options {
  server_options server;
  std::string name, mode, reason, after;
  std::optional<std::int64_t> ttl_s;
};

bool for_people() { return isatty(STDOUT_FILENO) != 0; }
error_form errors() { return for_people() ? error_form::sentence : error_form::json; }

std::string clock_text(std::int64_t at_ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}",
                     fmt::localtime(static_cast<std::time_t>(at_ms / 1000)));
}

std::string ratio_text(const json& ratio) {
  return ratio.is_number() ? fmt::format("{:.0f}%", ratio.get<double>() * 100) : "-";
}

std::string name_of(const json& breaker) {
  return breaker.value("service", "") + "/" + breaker.value("breaker", "");
}

std::uint64_t calls_of(const json& counts) {
  std::uint64_t sum = 0;
  for (const auto& [name, count] : counts.items())
    if (name != "ignored" && name != "rejected") sum += count.get<std::uint64_t>();
  return sum;
}

std::uint64_t failures_of(const json& counts) {
  return counts.value("failure", std::uint64_t{0}) + counts.value("timeout", std::uint64_t{0}) +
         counts.value("slow_failure", std::uint64_t{0});
}

/// Why a text is not SERVICE or SERVICE/BREAKER; empty: it is.
std::string why_no_name(const std::string& text) {
  const auto slash = text.find('/');
  const auto is_part = [](std::string_view part) {
    return core::is_name(part, core::limits::breaker_name_bytes_max);
  };
  if (is_part(std::string_view(text).substr(0, slash)) &&
      (slash == std::string::npos || is_part(std::string_view(text).substr(slash + 1))))
    return {};
  return "a name is SERVICE or SERVICE/BREAKER, each 1 to 64 of A-Z a-z 0-9 _ . -";
}

std::string why_no_reason(const std::string& text) {
  if (!text.empty() && text.size() <= core::limits::reason_bytes_max &&
      simdjson::validate_utf8(text) && core::is_identifier_text(text))
    return {};
  return fmt::format("a reason is 1 to {} bytes of UTF-8 without controls",
                     core::limits::reason_bytes_max);
}

/// SERVICE or SERVICE/BREAKER as parameters; more are added.
json params_of(const std::string& name) {
  const auto slash = name.find('/');
  json params = {{"service", name.substr(0, slash)}};
  if (slash != std::string::npos) params["breaker"] = name.substr(slash + 1);
  return params;
}

void print_table(const std::vector<json>& rows) {
  std::size_t width = 16;
  for (const auto& row : rows) width = std::max(width, name_of(row).size());
  fmt::print("{:<{}}  {:<8}  {:<12}  {:<19}  {:>8}  {:>6}  {:>6}  {:>9}  {}\n", "BREAKER", width,
             "KIND", "STATE", "SINCE", "FAILING", "SLOW", "CALLS", "REJECTED", "CAUSE");
  for (const auto& row : rows)
    fmt::print("{:<{}}  {:<8}  {:<12}  {:<19}  {:>8}  {:>6}  {:>6}  {:>9}  {}\n", name_of(row),
               width, row.value("kind", ""), row.value("state", ""),
               clock_text(row.value("since_ms", std::int64_t{0})), ratio_text(row["failure_ratio"]),
               ratio_text(row["slow_ratio"]), calls_of(row["counts"]),
               row["counts"].value("rejected", std::uint64_t{0}), row.value("cause", ""));
}

int list(const breakers_options& given) {
  rpc_client server(given.server, errors());
  if (const int failed = server.open(); failed >= 0) return failed;
  std::vector<json> rows;
  std::string cursor;
  do {
    json params = {{"limit", 1000}};
    if (!cursor.empty()) params["cursor"] = cursor;
    std::string result;
    if (const int failed = server.call("breaker.list", params.dump(), result); failed >= 0)
      return failed;
    const auto page = json::parse(result);
    for (const auto& row : page["breakers"]) rows.push_back(row);
    cursor = page.value("cursor", "");
  } while (!cursor.empty());
  if (!for_people()) {
    for (const auto& row : rows) fmt::print("{}\n", row.dump());
  } else if (rows.empty()) {
    fmt::print(
        "There are no circuit breakers yet: breaker.acquire, report or observe makes one.\n");
  } else {
    print_table(rows);
  }
  return exit_ok;
}

void print_status(const json& row) {
  const auto line = [](std::string_view name, const std::string& value) {
    fmt::print("{:<14}{}\n", name, value);
  };
  line("breaker", name_of(row) + " (" + row.value("kind", "") + ")");
  line("state",
       fmt::format("{} since {} ({})", row.value("state", ""),
                   clock_text(row.value("since_ms", std::int64_t{0})), row.value("cause", "")));
  if (row.value("state", "") != row.value("base_state", ""))
    line("base state", row.value("base_state", ""));
  line("epoch", std::to_string(row.value("epoch", std::uint64_t{0})));
  if (row.contains("retry_after_ms"))
    line("retry after", fmt::format("{} ms", row["retry_after_ms"].get<std::int64_t>()));
  if (row.contains("override")) {
    const auto& put = row["override"];
    auto text = fmt::format("{} by {}: {}", put.value("mode", ""), put.value("actor", ""),
                            put.value("reason", ""));
    if (put.contains("expires_at_ms"))
      text += ", until " + clock_text(put["expires_at_ms"].get<std::int64_t>());
    line("override", text);
  }
  const bool hosted = row.value("kind", "") == "hosted";
  for (const auto& [name, field] : {std::pair{"failing", "failure_ratio"}, {"slow", "slow_ratio"}})
    line(name, row[field].is_null() && hosted ? "- (too few calls)" : ratio_text(row[field]));
  std::string counts;
  for (const auto& [name, count] : row["counts"].items())
    if (count.get<std::uint64_t>() > 0)
      counts +=
          fmt::format("{}{} {}", counts.empty() ? "" : ", ", name, count.get<std::uint64_t>());
  line("calls", counts.empty() ? "none" : counts);
  for (const auto& source : row["sources"])
    line("source", fmt::format("{}: {}, last report {}", source.value("source", ""),
                               source.value("state", ""),
                               clock_text(source.value("last_report_at_ms", std::int64_t{0}))));
}

int ask(const breakers_options& given, std::string_view method, const json& params) {
  rpc_client server(given.server, errors());
  if (const int failed = server.open(); failed >= 0) return failed;
  std::string result;
  auto whose = params;  // the whole name
  whose["breaker"] = params.value("breaker", std::string(core::default_breaker));
  const auto named = name_of(whose);
  if (const int failed = server.call(method, params.dump(), result); failed >= 0) return failed;
  if (!for_people()) {
    fmt::print("{}\n", result);
    return exit_ok;
  }
  const auto answer = json::parse(result);
  if (method == "breaker.status")
    print_status(answer);
  else
    fmt::print("{} is {} now (epoch {})\n", named, answer.value("state", ""),
               answer.value("epoch", std::uint64_t{0}));
  if (method != "breaker.override") return exit_ok;
  // An override makes a breaker that is not there yet: also one of a mistyped name.
  if (const int failed = server.call("breaker.status", params_of(named).dump(), result);
      failed >= 0)
    return failed;
  const auto shown = json::parse(result);
  if (calls_of(shown["counts"]) + shown["counts"].value("rejected", std::uint64_t{0}) == 0)
    fmt::print("Nobody has called it since the server started: is the name right?\n");
  return exit_ok;
}

void print_event(const json& event) {
  if (!for_people()) {
    fmt::print("{}\n", event.dump());
    std::fflush(stdout);
    return;
  }
  // `to`: where the type does not say the state, as of an observed breaker that was disabled.
  auto text = fmt::format("{}  {}  {}", clock_text(event.value("at_ms", std::int64_t{0})),
                          name_of(event), event.value("to", event.value("type", "").substr(8)));
  if (event.contains("mode")) text += " " + event.value("mode", "");
  if (event.contains("from")) text += " (was " + event.value("from", "") + ")";
  const auto cause = event.value("cause", "");
  const bool told = cause.empty() || cause == "override_set" || cause == "override_cleared" ||
                    cause == "reported";  // by the type, or by the source
  if (!told) text += ": " + cause;
  if (event.contains("reason")) text += ": " + event.value("reason", "");
  if (event.contains("source")) text += ", reported by " + event.value("source", "");
  if (event.contains("counts") && calls_of(event["counts"]) > 0)
    text += fmt::format(", {} of {} calls failed{}", failures_of(event["counts"]),
                        calls_of(event["counts"]),
                        event.value("kind", "") == "observed" ? " in total" : "");
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

int watch(const breakers_options& given) {
  rpc_client server(given.server, errors());
  if (const int failed = server.open(); failed >= 0) return failed;
  json params = {{"types",
                  {"breaker_opened", "breaker_half_opened", "breaker_closed", "breaker_would_open",
                   "breaker_override_set", "breaker_override_cleared", "breaker_retired"}}};
  if (!given.after.empty()) params["after"] = given.after;
  std::string result;
  if (const int failed = server.call("events.subscribe", params.dump(), result); failed >= 0)
    return failed;
  if (for_people()) fmt::print("Watching; Ctrl-C ends.\n");
  for (;;) {
    std::string line;
    if (const int failed = server.wait(line); failed >= 0) return failed;
    const auto pushed = json::parse(line, nullptr, false);
    if (pushed.is_discarded() || !pushed.contains("params")) continue;
    const auto& told = pushed["params"];
    if (pushed.value("method", "") == "events.ended") {
      print_error(told["error"].dump(), errors());
      return exit_failed;
    }
    if (!told.contains("event")) continue;  // only where the log is by now
    auto event = told["event"];
    event["cursor"] = told["cursor"];  // what --after takes
    const bool named = given.name.empty() || given.name == event.value("service", "") ||
                       given.name == name_of(event);
    if (named) print_event(event);
  }
}

}  // namespace

void add_breakers(CLI::App& root, int& status) {
  auto given = std::make_shared<breakers_options>();
  auto* command = root.add_subcommand("breakers", "Look at circuit breakers, and overrule them");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* help) {
    auto* sub = command->add_subcommand(name, help);
    add_server_options(*sub, given->server);
    return sub;
  };
  const auto add_name = [&](CLI::App* sub, bool required) {
    auto* option = sub->add_option("NAME", given->name, "SERVICE or SERVICE/BREAKER")
                       ->check(CLI::Validator(why_no_name, ""));
    if (required) option->required();
  };
  const auto add_reason = [&](CLI::App* sub) {
    sub->add_option("--reason", given->reason, "Why, for the log")
        ->required()
        ->check(CLI::Validator(why_no_reason, ""));
  };
  add("list", "All breakers")->callback([given, &status] { status = list(*given); });
  auto* sub = add("status", "One breaker");
  add_name(sub, true);
  sub->callback(
      [given, &status] { status = ask(*given, "breaker.status", params_of(given->name)); });
  sub = add("override", "Make a breaker reject all, admit all, or only measure; none ends it");
  add_name(sub, true);
  sub->add_option("MODE", given->mode, "forced_open, disabled, metrics_only or none")
      ->required()
      ->check(CLI::IsMember({"forced_open", "disabled", "metrics_only", "none"}));
  add_reason(sub);
  sub->add_option("--ttl", given->ttl_s, "Seconds after which it ends by itself")
      ->type_name("S")
      ->check(CLI::Range(std::int64_t{1}, core::limits::override_ttl_s_max));
  sub->callback([given, &status] {
    auto params = params_of(given->name);
    params["mode"] = given->mode;
    params["reason"] = given->reason;
    if (given->ttl_s) params["ttl_s"] = *given->ttl_s;
    status = ask(*given, "breaker.override", params);
  });
  sub = add("reset", "Close a breaker and empty its window");
  add_name(sub, true);
  add_reason(sub);
  sub->callback([given, &status] {
    auto params = params_of(given->name);
    params["reason"] = given->reason;
    status = ask(*given, "breaker.reset", params);
  });
  sub = add("watch", "Tell each change as it happens");
  add_name(sub, false);
  sub->add_option("--after", given->after, "First what came after this cursor")
      ->type_name("CURSOR");
  sub->callback([given, &status] { status = watch(*given); });
}

}  // namespace portcullis::apps
