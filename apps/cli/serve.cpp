// `portcullis serve`: configuration first, then the node.
#include "apps/serve.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/commands.hpp"
#include "core/bytes.hpp"

namespace portcullis::apps {
namespace {

struct options {
  std::string config, data_dir, listen, http;
  std::vector<std::string> sets;
};

/// The node's log does not exist yet: one line a problem, in the form that its lines will have.
void print_problem(const core::config_problem& problem) {
  const auto text = to_text(problem);
  if (isatty(STDERR_FILENO) != 0) {
    std::fprintf(stderr, "%s\n", text.c_str());
    return;
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const std::time_t seconds = ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char stamp[32];
  const auto size = std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
  core::byte_buffer line;
  line.append(fmt::format(
      R"({{"@timestamp":"{}.{:03}Z","log.level":"error","event.action":"config_invalid",)"
      R"("error.code":"CONFIG_INVALID","ecs.version":"8.11.0","log.logger":"config",)"
      R"("service.name":"portcullis","message":)",
      std::string_view(stamp, size), ms % 1000));
  core::append_json_string(line, text);
  line.append("}\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int run(const options& given) {
  config_sources sources;
  if (!given.config.empty()) sources.file = given.config;
  sources.environment = process_environment();
  sources.flags = given.sets;
  // The short flags win over --set: they name the one thing they mean.
  if (!given.data_dir.empty()) sources.flags.push_back("server.data_dir=" + given.data_dir);
  if (!given.listen.empty()) sources.flags.push_back("listen.rpc.address=" + given.listen);
  if (!given.http.empty()) sources.flags.push_back("listen.http.address=" + given.http);
  const auto loaded = load_config(sources);
  for (const auto& problem : loaded.problems) print_problem(problem);
  if (!loaded.problems.empty()) return exit_failed;
  return serve(loaded, sources);
}

}  // namespace

void add_serve(CLI::App& root, int& status) {
  auto given = std::make_shared<options>();
  auto* command = root.add_subcommand("serve", "Run a node until SIGTERM or SIGINT");
  command->add_option("--config", given->config, "Configuration file (TOML)")->type_name("FILE");
  command->add_option("--data-dir", given->data_dir, "Folder of the embedded store")
      ->type_name("DIR");
  command->add_option("--listen", given->listen, "Where JSON-RPC is served")
      ->type_name("ADDRESS:PORT");
  command->add_option("--http", given->http, "Where metrics and health are served")
      ->type_name("ADDRESS:PORT");
  command->add_option("--set", given->sets, "Set section.key=value; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->callback([given, &status] { status = run(*given); });
}

}  // namespace portcullis::apps
