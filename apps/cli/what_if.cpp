// `portcullis what-if`: a stopped node's attempts under another policy.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/commands.hpp"
#include "apps/log/what_if.hpp"

namespace portcullis::apps {
namespace {

struct what_if_given {
  log_place_options place;
  std::vector<std::string> sets;
  std::string from, to;
  bool json = false;
};

/// Draws on standard error where a person looks at it.
class progress_line {
 public:
  void operator()(std::uint64_t done, std::uint64_t all) {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(200);
    const std::chrono::duration<double> took = now - began_;
    fmt::print(
        stderr, "\r{} of {} events, {:.0f}%, {:.0f} a second\x1b[K", done, all,
        100.0 * static_cast<double>(done) / static_cast<double>(std::max<std::uint64_t>(all, 1)),
        static_cast<double>(done) / std::max(took.count(), 1e-6));
    std::fflush(stderr);
    drawn_ = true;
  }
  void wipe() const {
    if (drawn_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now(), next_ = began_;
  bool drawn_ = false;
};

int usage(const std::string& why) {
  complain(why);
  return exit_usage;
}

bool read_moment(const char* option, const std::string& text, log_moment& to) {
  if (text.empty()) return true;
  const auto parsed = parse_moment(text);
  if (!parsed) {
    usage(fmt::format("{} {}: neither a sequence number nor a time", option, text));
    return false;
  }
  to = *parsed;
  return true;
}

int try_policy(const what_if_given& given) {
  what_if_order order;
  order.sets = given.sets;
  if (!read_moment("--from", given.from, order.from) || !read_moment("--to", given.to, order.to))
    return exit_usage;
  if ((order.from.seq && order.to.seq && *order.from.seq > *order.to.seq) ||
      (order.from.at_ms && order.to.at_ms && *order.from.at_ms > *order.to.at_ms))
    return usage("--from is after --to");
  log_source from;
  if (const int failed = open_log(given.place, true, from); failed >= 0) return failed;
  progress_line progress;
  if (isatty(STDERR_FILENO) != 0) order.progress = std::ref(progress);
  const auto result = run_what_if(from, order);
  progress.wipe();
  if (result.bad_order) return usage(result.why);
  if (!result.why.empty()) return complain(result.why);
  if (given.json)
    fmt::print("{}\n", what_if_json(result));
  else
    fmt::print("{}", what_if_table(result));
  return exit_ok;
}

}  // namespace

void add_what_if(CLI::App& root, int& status) {
  auto given = std::make_shared<what_if_given>();
  auto* command = root.add_subcommand(
      "what-if",
      "Replay the attempts in a stopped node's log under another policy and tell what would have "
      "been different: lockouts, sessions, breakers");
  add_log_place(*command, given->place);
  command
      ->add_option("--set", given->sets,
                   "What to try, as for serve: a key of session, tenant, lockout or breaker")
      ->required()
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command
      ->add_option("--from", given->from,
                   std::string("Count from this event or time on. A time is written ") + time_form)
      ->type_name("SEQ|TIME");
  command
      ->add_option("--to", given->to, "Count up to this event or time, written as that of --from")
      ->type_name("SEQ|TIME");
  command->add_flag("--json", given->json, "A JSON object instead of tables");
  command->callback([given, &status] { status = try_policy(*given); });
}

}  // namespace portcullis::apps
