// `portcullis events`: the event log of a running server, followed or asked; of a stopped one,
// written out and read in again.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.hpp"
#include "apps/events/follow.hpp"
#include "apps/events/query.hpp"
#include "apps/log/export.hpp"
#include "apps/log/import.hpp"
#include "apps/log/source.hpp"

namespace portcullis::apps {
namespace {

std::string why_no_event_type(const std::string& text) {
  return core::parse_event_type(text) ? "" : "there is no event of type " + text;
}
std::string why_no_moment(const std::string& text) {
  return parse_moment(text) ? "" : text + ": neither a sequence number nor a time";
}
std::string why_no_time(const std::string& text) {
  const auto moment = parse_moment(text);
  return moment && moment->at_ms ? "" : text + ": is no time (2026-11-29T16:12:00Z)";
}

void add_types(CLI::App& command, std::vector<std::string>& to) {
  command.add_option("--types", to, "Only events of these types, separated by commas")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("TYPE,...")
      ->check(CLI::Validator(why_no_event_type, ""));
}

void add_json(CLI::App& command, bool& to) {
  command.add_flag("--json", to, "JSON on a terminal, too");
}

void add_tail(CLI::App& events, int& status) {
  auto given = std::make_shared<follow_options>();
  auto* command = events.add_subcommand(
      "tail", "Print events as they come, through restarts of the server; Ctrl-C ends");
  add_server_options(*command, given->server);
  command->add_option("--after", given->after, "First what came after this cursor; e0: everything")
      ->type_name("CURSOR");
  command
      ->add_option("--cursor-file", given->cursor_file,
                   "Keep in this file how far it came, and go on from there")
      ->type_name("FILE");
  add_types(*command, given->types);
  command->add_option("--tenant", given->tenant, "Only events of this tenant")->type_name("TENANT");
  add_json(*command, given->json);
  command->callback([given, &status] { status = follow_events(*given); });
}

void add_query(CLI::App& events, int& status) {
  auto given = std::make_shared<event_query_options>();
  auto* command = events.add_subcommand("query", "Print events that the log of a server holds");
  add_server_options(*command, given->server);
  add_types(*command, given->types);
  auto* tenant = command->add_option("--tenant", given->tenant, "Only events of this tenant");
  tenant->type_name("TENANT");
  command->add_option("--user", given->user, "Only events of this user")
      ->type_name("USER")
      ->needs(tenant);
  command->add_option("--handle", given->handle, "Only events of this session")
      ->type_name("HANDLE");
  command->add_option("--service", given->service, "Only events of this service's breakers")
      ->type_name("SERVICE");
  const auto add_time = [&](const char* name, std::optional<std::int64_t>& to, const char* help) {
    command
        ->add_option_function<std::string>(
            name, [&to](const std::string& text) { to = parse_moment(text)->at_ms; },
            std::string(help) + time_form)
        ->type_name("TIME")
        ->check(CLI::Validator(why_no_time, ""));
  };
  add_time("--from", given->from_ms, "Not before this time, ");
  add_time("--to", given->to_ms, "Not after this time, ");
  command->add_option("--after", given->after, "Only what came after this cursor")
      ->type_name("CURSOR");
  command->add_option("--limit", given->limit, "So many at most (default: all)")
      ->type_name("N")
      ->check(CLI::Validator([](const std::string& text) { return why_no_number(text, 1); }, ""));
  add_json(*command, given->json);
  command->callback([given, &status] { status = query_events(*given); });
}

void add_export(CLI::App& events, int& status) {
  auto given = std::make_shared<export_options>();
  auto* command = events.add_subcommand(
      "export", "Write out a stopped node's log, or a backup's, with all that an import needs");
  add_log_place(*command, given->place);
  command->add_option("--out", given->out, "A file (default: standard output)")->type_name("FILE");
  command->add_flag("--gzip", given->gzip, "Compressed");
  auto* shown =
      command->add_flag("--shown", given->shown,
                        "Events as events.query shows them, for other tools: no import reads it");
  for (const char* each : {"--keys-file", "--config"})  // which open nothing else
    command->get_option(each)->needs(shown);
  command->add_option("--after", given->after, "Only events after this sequence number")
      ->type_name("SEQ")
      ->check(CLI::Validator([](const std::string& text) { return why_no_number(text, 0); }, ""));
  command
      ->add_option_function<std::string>(
          "--until", [given](const std::string& text) { given->until = *parse_moment(text); },
          std::string("Stop after this sequence number, or at this time, ") + time_form)
      ->type_name("SEQ|TIME")
      ->check(CLI::Validator(why_no_moment, ""));
  command->callback([given, &status] { status = export_log(*given); });
}

void add_import(CLI::App& events, int& status) {
  auto given = std::make_shared<import_log_options>();
  auto* command = events.add_subcommand(
      "import", "Make a node's store out of an export; the last line is its state's digest");
  command->add_option("--in", given->in, "The export, plain or gzip; -: standard input")
      ->required()
      ->type_name("FILE");
  command->add_option("--data-dir", given->place.data_dir, "Where to: a folder without a store")
      ->required()
      ->type_name("DIR");
  auto* keys = command->add_option("--keys-file", given->place.keys_file,
                                   "The node's key file (default: DIR/portcullis.keys)");
  keys->type_name("FILE");
  command->add_option("--config", given->place.config, "The configuration that names the key file")
      ->type_name("FILE")
      ->excludes(keys);
  command->add_flag("--json", given->json, "What was imported as JSON");
  command->callback([given, &status] { status = import_log(*given); });
}

}  // namespace

void add_events(CLI::App& root, int& status) {
  auto* command = root.add_subcommand("events", "Follow, ask, export and import the event log");
  command->require_subcommand(1);
  add_tail(*command, status);
  add_query(*command, status);
  add_export(*command, status);
  add_import(*command, status);
}

}  // namespace portcullis::apps
