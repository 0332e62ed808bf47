// `portcullis state`: what the server believed at a moment of a stopped node's log.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.hpp"
#include "apps/log/state_at.hpp"
#include "core/contract/texts.hpp"
#include "core/limits.hpp"

namespace portcullis::apps {
namespace {

struct state_options {
  log_place_options place;
  std::string at, user, handle, breaker;
  bool as_json = false;
};

int wrong_usage(const std::string& why) {
  fmt::print(stderr, "portcullis: {}\n", why);
  return exit_usage;
}

int print_state(const std::optional<state_found>& found, const std::string& asked,
                const state_options& given, const std::string& why) {
  if (!found) return complain(why);
  if (!found->known) {
    const auto seq = found->told.value("seq", std::uint64_t{0});
    return complain(seq == 0
                        ? fmt::format("{}: unknown: the log begins later", asked)
                        : fmt::format("{}: unknown at {} (seq {})", asked,
                                      time_text(found->told.value("at_ms", core::millis{0})), seq));
  }
  fmt::print("{}", given.as_json ? found->told.dump() + "\n" : state_text(found->told));
  return exit_ok;
}

int run_state(const state_options& given) {
  const int asked = (given.user.empty() ? 0 : 1) + (given.handle.empty() ? 0 : 1) +
                    (given.breaker.empty() ? 0 : 1);
  if (asked != 1) return wrong_usage("give one of --user, --handle or --breaker");
  log_moment at;
  if (!given.at.empty()) {
    const auto parsed = parse_moment(given.at);
    if (!parsed)
      return wrong_usage(fmt::format("--at {}: neither a sequence number nor a time", given.at));
    at = *parsed;
  }
  std::optional<core::session_handle> handle;
  if (!given.handle.empty()) {
    handle = core::parse_handle(given.handle);
    if (!handle)
      return wrong_usage(
          fmt::format("--handle {}: a handle is s_ and 22 characters", given.handle));
  }
  if (!given.user.empty() && given.user.find('/') == std::string::npos)
    return wrong_usage(fmt::format("--user {}: must be TENANT/USER", given.user));
  log_source from;
  if (const int failed = open_log(given.place, given.breaker.empty(), from); failed >= 0)
    return failed;
  std::string why;
  if (!given.user.empty())
    return print_state(user_at(from, given.user, at, why), "user " + given.user, given, why);
  if (handle)
    return print_state(session_at(from, *handle, at, why), "session " + given.handle, given, why);
  const auto slash = given.breaker.find('/');
  const auto service = given.breaker.substr(0, slash);
  const auto breaker = slash == std::string::npos ? std::string(core::default_breaker)
                                                  : given.breaker.substr(slash + 1);
  return print_state(breaker_at(from, service, breaker, at, why), "breaker " + given.breaker, given,
                     why);
}

}  // namespace

void add_state(CLI::App& root, int& status) {
  auto given = std::make_shared<state_options>();
  auto* command = root.add_subcommand(
      "state",
      "What a stopped node believed at a moment: a user, a session or a breaker; exit 1 "
      "where it was unknown then");
  add_log_place(*command, given->place);
  command
      ->add_option(
          "--at", given->at,
          std::string("After this event, or at this time (default: the end). A time is written ") +
              time_form)
      ->type_name("SEQ|TIME");
  command->add_option("--user", given->user, "Sessions, failed attempts, locks, the policy")
      ->type_name("TENANT/USER");
  command->add_option("--handle", given->handle, "One session and its user's counters")
      ->type_name("H");
  command->add_option("--breaker", given->breaker, "State, epoch, override, sources")
      ->type_name("SERVICE[/BREAKER]");
  command->add_flag("--json", given->as_json, "One JSON object, for programs");
  command->callback([given, &status] { status = run_state(*given); });
}

}  // namespace portcullis::apps
