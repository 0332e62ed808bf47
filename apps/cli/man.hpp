// The manual pages, as roff.
#pragma once
#include <string>

namespace CLI {
class App;
}

namespace portcullis::apps {

/// portcullis(1), from the tree of subcommands.
[[nodiscard]] std::string man_page(const CLI::App& root);
/// portcullis.toml(5), from the table of configuration keys.
[[nodiscard]] std::string man_config_page();

}  // namespace portcullis::apps
