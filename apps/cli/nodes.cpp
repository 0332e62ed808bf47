// `portcullis nodes`: which nodes share the log. A table on a terminal, JSON lines in a pipe.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.hpp"
#include "apps/rpc_client.hpp"

namespace portcullis::apps {
namespace {

using json = nlohmann::ordered_json;

std::string when_text(std::int64_t at_ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}",
                     fmt::localtime(static_cast<std::time_t>(at_ms / 1000)));
}

int list_nodes(const server_options& given) {
  const bool for_people = isatty(STDOUT_FILENO) != 0;
  rpc_client server(given, for_people ? error_form::sentence : error_form::json);
  if (const int failed = server.open(); failed >= 0) return failed;
  std::string result;
  if (const int failed = server.call("server.info", "{}", result); failed >= 0) return failed;
  const auto info = json::parse(result);
  if (!info.contains("nodes")) {
    if (for_people)
      fmt::print("{} is alone: its store.mode is \"{}\".\n", info.value("node_id", ""),
                 info.value("mode", ""));
    return exit_ok;
  }
  if (for_people)
    fmt::print("{:<24} {:<10} {:<20} {:<20} {:>12}\n", "NODE", "VERSION", "STARTED", "HEARD",
               "HAS READ");
  for (const auto& node : info["nodes"]) {
    if (!for_people) {
      fmt::print("{}\n", node.dump());
      continue;
    }
    fmt::print("{:<24} {:<10} {:<20} {:<20} {:>12}\n", node.value("node_id", ""),
               node.value("version", ""), when_text(node.value("started_at_ms", std::int64_t{0})),
               when_text(node.value("heard_at_ms", std::int64_t{0})),
               node.value("seq", std::uint64_t{0}));
  }
  return exit_ok;
}

}  // namespace

void add_nodes(CLI::App& root, int& status) {
  auto given = std::make_shared<server_options>();
  auto* command = root.add_subcommand("nodes", "List the nodes that share a log over Redis");
  add_server_options(*command, *given);
  command->callback([given, &status] { status = list_nodes(*given); });
}

}  // namespace portcullis::apps
