// `portcullis replay` and `portcullis verify`: the log of a stopped node, folded again.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/commands.hpp"
#include "apps/log/fold.hpp"
#include "apps/log/verify.hpp"
#include "core/session/decide.hpp"

namespace portcullis::apps {
namespace {

struct replay_options {
  log_place_options place;
  std::string until;
};

int run_replay(const replay_options& given) {
  log_moment until;
  if (!given.until.empty()) {
    const auto parsed = parse_moment(given.until);
    if (!parsed) {
      fmt::print(stderr, "portcullis: --until {}: neither a sequence number nor a time\n",
                 given.until);
      return exit_usage;
    }
    until = *parsed;
  }
  log_source from;
  if (const int failed = open_log(given.place, false, from); failed >= 0) return failed;
  core::replayed_state state;
  const auto began = std::chrono::steady_clock::now();
  const auto folded = fold_log(*from.file, until, state);
  if (!folded.why.empty()) return complain(folded.why);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  fmt::print("events {}, {:.0f} a second\n", folded.events,
             static_cast<double>(folded.events) / std::max(took.count(), 1e-6));
  fmt::print("seq {}, {}\n", state.seq(), time_text(state.at_ms()));
  // As `state` tells them: what ran out between the last event and the time asked for is over.
  const auto moment = until.at_ms.value_or(state.at_ms());
  const auto& sessions = state.sessions();
  std::size_t live = 0;
  for (core::session_slot slot = 0; slot < sessions.slots_used(); ++slot)
    if (sessions.at(slot).status != core::session_status::none &&
        core::is_live(sessions, slot, moment))
      ++live;
  fmt::print("sessions {} live at {}, {} in memory; locked users {}; breakers {}\n", live,
             time_text(moment), sessions.records(), state.lockouts().locked(moment),
             state.breakers().all().size());
  fmt::print("{}\n", core::to_hex(state.digest()));
  return exit_ok;
}

struct verify_options {
  log_place_options place;
  std::string checkpoint;
};

int run_verify(const verify_options& given) {
  std::vector<exported_checkpoint> kept;
  if (!given.checkpoint.empty()) {
    std::string why;
    auto read = read_checkpoints(given.checkpoint, why);
    if (!read) return complain(why);
    kept = std::move(*read);
  }
  log_source from;
  if (const int failed = open_log(given.place, true, from); failed >= 0) return failed;
  const auto report = verify_log(from, kept);
  if (report.events > 0)
    fmt::print("events {} to {}, {}; {} checkpoints; {} users\n", report.first_seq, report.last_seq,
               time_text(report.last_at_ms), report.checkpoints, report.users);
  else
    fmt::print("no events\n");
  for (const auto& each : report.findings) {
    if (each.seq > 0)
      fmt::print("wrong at seq {}: {}\n", each.seq, each.what);
    else
      fmt::print("wrong: {}\n", each.what);
  }
  if (!report.findings.empty()) return exit_failed;
  if (report.too_old > 0)
    fmt::print("{} of the checkpoints given cannot be compared: the log begins at seq {}, {}\n",
               report.too_old, report.begins_after.seq + 1, time_text(report.begins_after.at_ms));
  if (report.compared > 0)
    fmt::print("the log goes on from {} checkpoint{} given, the last at {}\n", report.compared,
               report.compared == 1 ? "" : "s", report.last_compared_seq);
  fmt::print("chain, projections and users are whole\n{}\n", core::to_hex(report.digest));
  return exit_ok;
}

}  // namespace

void add_replay(CLI::App& root, int& status) {
  auto given = std::make_shared<replay_options>();
  auto* command = root.add_subcommand(
      "replay", "Rebuild the state from a stopped node's log; the last line is its digest");
  add_log_place(*command, given->place);
  command
      ->add_option("--until", given->until,
                   std::string("Stop after this sequence number, or at this time, ") + time_form)
      ->type_name("SEQ|TIME");
  command->callback([given, &status] { status = run_replay(*given); });
}

void add_verify(CLI::App& root, int& status) {
  auto given = std::make_shared<verify_options>();
  auto* command = root.add_subcommand(
      "verify",
      "Check a stopped node's log: its chain, its checkpoints, and its tables against a "
      "full replay; exit 1 when anything is wrong, and name the first wrong event");
  add_log_place(*command, given->place);
  command
      ->add_option(
          "--checkpoint", given->checkpoint,
          "Checkpoints kept elsewhere, one a line, or an export, plain or gzip: they show a "
          "log that was cut, rolled back or written anew")
      ->type_name("FILE");
  command->callback([given, &status] { status = run_verify(*given); });
}

}  // namespace portcullis::apps
