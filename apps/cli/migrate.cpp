// `portcullis migrate`: the log of a node that was alone becomes the one that several share.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.hpp"
#include "apps/config_loader.hpp"
#include "apps/node/boot_clock.hpp"
#include "apps/node/keys.hpp"
#include "apps/node/redis_options.hpp"
#include "core/config/render.hpp"
#include "store/fleet/migrate.hpp"

namespace portcullis::apps {
namespace {

struct migrate_options {
  std::string config;
  std::vector<std::string> set;
};

int say(const std::string& why) {
  fmt::print(stderr, "{}\n", why);
  return exit_failed;
}

int run_migrate(const migrate_options& given) {
  config_sources sources;
  if (!given.config.empty()) sources.file = given.config;
  sources.environment = process_environment();
  sources.flags = given.set;
  const auto loaded = load_config(sources);
  if (!loaded.problems.empty()) {
    for (const auto& each : loaded.problems) fmt::print(stderr, "{}\n", core::to_text(each));
    return exit_failed;
  }
  const auto& config = loaded.value;
  if (config.store.mode != core::store_mode::redis)
    return say("store.mode is not \"redis\": give the configuration that the node will have");
  std::string why;
  const auto ring = load_keys(config, why);
  if (!ring) return say(why);
  const auto keys = std::make_shared<const core::key_material>(*ring);
  const auto with = fleet_contact(config, keys, why);
  if (!with) return say(why);
  auto from = store::log_file::open(config.server.data_dir);
  if (!from)
    return say(fmt::format("{}: {}", config.server.data_dir, why_not_opened(from.error())));
  boot_clock clock;
  const auto done = store::fleet::migrate(**from, *keys, clock, *with, buffered_random, why);
  if (!done) return say(why);
  fmt::print("{} events and {} users are in Redis; the log ends at {}.\n", done->events,
             done->users, done->seq);
  return exit_ok;
}

}  // namespace

void add_migrate(CLI::App& root, int& status) {
  auto given = std::make_shared<migrate_options>();
  auto* command = root.add_subcommand(
      "migrate",
      "Put what a stopped node's folder holds into Redis, where several nodes share it. "
      "The configuration is the one that the node will have: store.mode = \"redis\", "
      "server.data_dir the folder, crypto.keys_file its keys");
  command->add_option("--config", given->config, "The node's configuration")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  command->add_option("--set", given->set, "Replace a value of it")->type_name("KEY=VALUE");
  command->callback([given, &status] { status = run_migrate(*given); });
}

}  // namespace portcullis::apps
