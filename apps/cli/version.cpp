// `portcullis version`, and the hidden `portcullis docs` that writes the reference pages.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.hpp"
#include "core/config/render.hpp"

namespace portcullis::apps {

void add_version(CLI::App& root, int& status) {
  auto* command = root.add_subcommand("version", "Print the version");
  command->callback([&status] {
    fmt::print("portcullis {} (protocol 1)\n", PORTCULLIS_VERSION);
    status = exit_ok;
  });
}

void add_docs(CLI::App& root, int& status) {
  auto page = std::make_shared<std::string>();
  auto* command = root.add_subcommand("docs", "Print a reference page");
  command->group("");  // not in --help: for whoever changes a table
  command->add_option("PAGE", *page, "config or errors")
      ->required()
      ->check(CLI::IsMember({"config", "errors"}));
  command->callback([page, &status] {
    fmt::print("{}", *page == "config" ? core::configuration_page() : core::errors_page());
    status = exit_ok;
  });
}

}  // namespace portcullis::apps
