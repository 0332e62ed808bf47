// `portcullis bench`: the options of the load generator.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/bench/run.hpp"
#include "apps/bench/script.hpp"
#include "apps/commands.hpp"
#include "apps/rpc_client.hpp"

namespace portcullis::apps {
namespace {

struct bench_command {
  bench_options run;
  std::string mix = "validate=100", protocol = "json-rpc";
};

int measure(bench_command given) {
  given.run.redis = given.protocol == "redis";
  std::string why;
  const auto mix = parse_mix(given.mix, why);
  const bool reads = given.run.redis
                         ? given.run.redis_command != "set"
                         : mix && std::any_of(mix->begin(), mix->end(), [](const auto& each) {
                             static constexpr std::string_view without[] = {
                                 "create", "ping", "unknown", "acquire", "report"};
                             return std::find(std::begin(without), std::end(without), each.first) ==
                                    std::end(without);
                           });
  if (mix && reads && given.run.sessions == 0 && given.run.seconds > 0)
    why = "this load needs --sessions";
  if (!why.empty()) {
    fmt::print(stderr, "portcullis bench: {}\n", why);
    return exit_usage;
  }
  given.run.mix = *mix;
  return run_bench(given.run);
}

}  // namespace

void add_bench(CLI::App& root, int& status) {
  auto given = std::make_shared<bench_command>();
  auto& run_options = given->run;
  auto* command = root.add_subcommand(
      "bench", "Drive a server, Redis or a peer with load and report rate and latency");
  const auto number = [&](const char* name, std::size_t& into, double most, const char* help) {
    command->add_option(name, into, help)
        ->check(CLI::Range(0.0, most))
        ->capture_default_str()
        ->type_name("N");
  };
  add_connect_options(*command, run_options.server);
  command->add_option("--token-file", run_options.token_file, "Log in with the token in this file")
      ->type_name("FILE");
  number("--connections", run_options.connections, 1e6, "Connections");
  number("--depth", run_options.depth, 1e4, "Requests written at once on a connection");
  number("--threads", run_options.threads, 64, "Threads of the generator");
  number("--sessions", run_options.sessions, 1e8,
         "Sessions made first, of which requests name random ones");
  command
      ->add_option("--seconds", run_options.seconds,
                   "How long to measure; 0 only makes the sessions")
      ->check(CLI::Range(0.0, 86'400.0))
      ->capture_default_str();
  command
      ->add_option(
          "--rate", run_options.rate,
          "Requests per second over all connections, in even steps; latencies then count from "
          "when requests were due. 0: as fast as they are answered")
      ->check(CLI::Range(0.0, 1e8))
      ->capture_default_str();
  command->add_option("--warmup", run_options.warmup_s, "Seconds before measuring")
      ->check(CLI::Range(0.0, 3'600.0))
      ->capture_default_str();
  std::string kinds;
  for (const auto& kind : rpc_kinds())
    kinds += fmt::format("{}{}", kinds.empty() ? "" : ", ", kind);
  command->add_option("--mix", given->mix, "KIND=WEIGHT,... of " + kinds)->capture_default_str();
  command
      ->add_option("--ids-file", run_options.ids_file,
                   "Keep the ids of the sessions made, for a later run of as many")
      ->type_name("FILE");
  command->add_option("--protocol", given->protocol, "json-rpc or redis")
      ->check(CLI::IsMember({"json-rpc", "redis"}))
      ->capture_default_str();
  command
      ->add_option("--redis-command", run_options.redis_command,
                   "get, set, or lua, a script with validate's checks")
      ->check(CLI::IsMember({"get", "set", "lua"}))
      ->capture_default_str();
  command->add_flag("--redis-index", run_options.redis_index,
                    "Also keep a set of session ids for each user");
  command->add_option("--cpu-of", run_options.cpu_of, "Report the CPU time of this process")
      ->type_name("PID");
  command->add_flag("--json", run_options.json, "Print one JSON object");
  command->callback([given, &status] { status = measure(*given); });
}

}  // namespace portcullis::apps
