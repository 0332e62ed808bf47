// `portcullis check-config`: what `serve` would say of a configuration, without serving.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/commands.hpp"
#include "apps/config_loader.hpp"
#include "apps/node/keys.hpp"
#include "apps/node/tls_files.hpp"
#include "core/config/render.hpp"

namespace portcullis::apps {
namespace {

struct check_config_options {
  std::string file;
  std::vector<std::string> sets;
  bool effective = false;
};

int run_check_config(const check_config_options& given) {
  const auto loaded = load_config({given.file, process_environment(), given.sets});
  for (const auto& problem : loaded.problems) fmt::print("{}\n", to_text(problem));
  if (!loaded.problems.empty()) return exit_failed;
  // Not the file's fault, so no problem of it: the machine that it is written for may be another
  // one.
  std::string why;
  if (loaded.value.server.environment == core::environment::production &&
      !load_keys(loaded.value, why))
    fmt::print(stderr, "portcullis: serve would not start here: {}\n", why);
  net::tls_contexts unused;
  if (speaks_tls(loaded.value) &&
      !net::tls_context::make(tls_options_of(loaded.value), unused.tickets(), why))
    fmt::print(stderr, "portcullis: serve would not start here: {}\n", why);
  if (given.effective)
    fmt::print("{}", core::effective_config(loaded.value, loaded.origins));
  else
    fmt::print("{}: ok\n", given.file);
  return exit_ok;
}

}  // namespace

void add_check_config(CLI::App& root, int& status) {
  auto given = std::make_shared<check_config_options>();
  auto* command = root.add_subcommand("check-config",
                                      "Check a configuration file, with the environment over it; "
                                      "exit 1 and say where when it is wrong");
  command->add_option("FILE", given->file, "Configuration file (TOML)")->required();
  command->add_option("--set", given->sets, "Set section.key=value; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_flag("--effective", given->effective, "Print every value and where it comes from");
  command->callback([given, &status] { status = run_check_config(*given); });
}

}  // namespace portcullis::apps
