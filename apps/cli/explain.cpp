// `portcullis explain`: why an event of a stopped node's log is what it is.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.hpp"
#include "apps/log/explained.hpp"

namespace portcullis::apps {
namespace {

struct explain_options {
  log_place_options place;
  std::optional<std::uint64_t> seq;
  std::string handle, at;
  bool all = false, as_json = false;
};

int print_all(const explained_log& found, bool as_json) {
  if (as_json) {
    ordered_json out{{"events", found.events},
                     {"agree", found.agree},
                     {"not_checkable", found.not_checkable},
                     {"disagree", found.disagree}};
    auto& open = out["open"] = ordered_json::object();
    for (const auto& [what, count] : found.open) open[what] = count;
    auto& lines = out["disagreements"] = ordered_json::array();
    for (const auto& each : found.disagreements)
      lines.push_back({{"seq", each.seq},
                       {"at_ms", each.at_ms},
                       {"type", std::string(core::to_string(each.type))},
                       {"why", each.why}});
    fmt::print("{}\n", out.dump());
  } else {
    for (const auto& each : found.disagreements)
      fmt::print("{} {} {}: {}\n", each.seq, time_text(each.at_ms), core::to_string(each.type),
                 each.why);
    if (found.disagree > found.disagreements.size())
      fmt::print("... and {} more\n", found.disagree - found.disagreements.size());
    for (const auto& [what, count] : found.open)
      fmt::print("not checkable, {} times: {}\n", count, what);
    fmt::print("events {}: {} agree, {} cannot be checked, {} disagree\n", found.events,
               found.agree, found.not_checkable, found.disagree);
  }
  return found.disagree > 0 ? exit_failed : exit_ok;
}

int print_told(const ordered_json& told, bool as_json) {
  fmt::print("{}", as_json ? told.dump() + "\n" : explanation_text(told));
  return exit_ok;
}

int not_so(const std::string& why) {
  fmt::print(stderr, "portcullis: {}\n", why);
  return exit_usage;
}

int explain_one(log_source& from, const explain_options& given) {
  std::string why;
  const auto found = explain_event(from, *given.seq, why);
  if (!found) return complain(why);
  print_told(found->told, given.as_json);
  if (found->agrees != core::agreement::no) return exit_ok;
  return complain(fmt::format("seq {}: {}", *given.seq, found->told.value("why", "")));
}

int explain_session(log_source& from, const explain_options& given,
                    const core::session_handle& handle, const log_moment& at) {
  std::string why;
  const auto found = explain_handle(from, handle, at, why);
  if (!found) return complain(why);
  if (!found->known) {
    if (given.as_json) print_told(found->told, true);
    return complain(fmt::format("session {}: unknown at that time", given.handle));
  }
  return print_told(found->told, given.as_json);
}

int run_explain(const explain_options& given) {
  const int asked = (given.seq ? 1 : 0) + (given.all ? 1 : 0) + (given.handle.empty() ? 0 : 1);
  if (asked != 1) return not_so("give one of SEQ, --handle or --all");
  if (given.seq && !given.at.empty()) return not_so("--at goes with --handle or --all");
  log_moment at;
  if (!given.at.empty()) {
    const auto parsed = parse_moment(given.at);
    if (!parsed)
      return not_so(fmt::format("--at {}: neither a sequence number nor a time", given.at));
    at = *parsed;
  }
  std::optional<core::session_handle> handle;
  if (!given.handle.empty()) {
    handle = core::parse_handle(given.handle);
    if (!handle)
      return not_so(fmt::format("--handle {}: a handle is s_ and 22 characters", given.handle));
  }
  log_source from;
  if (const int failed = open_log(given.place, true, from); failed >= 0) return failed;
  if (given.seq) return explain_one(from, given);
  if (handle) return explain_session(from, given, *handle, at);
  std::string why;
  const auto found = explain_all(from, at, why);
  return found ? print_all(*found, given.as_json) : complain(why);
}

}  // namespace

void add_explain(CLI::App& root, int& status) {
  auto given = std::make_shared<explain_options>();
  auto* command = root.add_subcommand(
      "explain",
      "Why an event of a stopped node's log is what it is: the rule, its values, what led there; "
      "the rule is run again, and exit 1 says that it gives something else");
  add_log_place(*command, given->place);
  command->add_option("SEQ", given->seq, "The event")
      ->type_name("SEQ")
      ->check(CLI::Validator([](const std::string& text) { return why_no_number(text, 1); }, ""));
  command->add_option("--handle", given->handle, "What a validation of this session would answer")
      ->type_name("H");
  command->add_flag("--all", given->all, "Every event: counts, and those that disagree");
  command
      ->add_option("--at", given->at,
                   std::string("With --handle: when; with --all: up to when (default: the end). A "
                               "time is written ") +
                       time_form)
      ->type_name("SEQ|TIME");
  command->add_flag("--json", given->as_json, "One JSON object, for programs");
  command->callback([given, &status] { status = run_explain(*given); });
}

}  // namespace portcullis::apps
