// `portcullis version`, and the hidden `portcullis docs` that writes the reference pages.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "apps/cli/man.hpp"
#include "apps/commands.hpp"
#include "core/config/render.hpp"
#include "core/event/codec.hpp"
#include "monitoring/metrics_table.hpp"

namespace portcullis::apps {

void add_version(CLI::App& root, int& status) {
  auto* command = root.add_subcommand("version", "Print the version");
  command->callback([&status] {
    fmt::print("portcullis {} (protocol 1)\n", PORTCULLIS_VERSION);
    status = exit_ok;
  });
}

void add_docs(CLI::App& root, int& status) {
  struct page {
    std::string_view name;
    std::string (*text)();
  };
  static constexpr std::string_view manual = "man";  // which is of the whole tree
  static constexpr page pages[] = {{"config", core::configuration_page},
                                   {"errors", core::errors_page},
                                   {"events", core::event_reference},
                                   {"man-config", man_config_page},
                                   {"metrics", monitoring::metrics_reference}};
  std::vector<std::string> names{std::string(manual)};
  for (const auto& each : pages) names.emplace_back(each.name);
  auto wanted = std::make_shared<std::string>();
  auto* command = root.add_subcommand("docs", "Print a reference page");
  command->group("");  // not in --help: for whoever changes a table
  command->add_option("PAGE", *wanted, "Which one")->required()->check(CLI::IsMember(names));
  command->callback([wanted, &root, &status] {
    if (*wanted == manual) fmt::print("{}", man_page(root));
    for (const auto& each : pages)
      if (each.name == *wanted) fmt::print("{}", each.text());
    status = exit_ok;
  });
}

}  // namespace portcullis::apps
