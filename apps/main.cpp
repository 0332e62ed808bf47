// The one binary. All that it does is in the subcommands.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string_view>

#include "apps/commands.hpp"
#include "apps/malloc_settings.hpp"

int main(int argc, char** argv) {
  using namespace portcullis::apps;
  if (argc > 1 && std::string_view(argv[1]) == "serve") restart_with_malloc_settings(argv);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    CLI::App root("Session validation, lockouts and circuit breakers, as a server", "portcullis");
    root.require_subcommand(1);
    root.set_version_flag("--version", std::string("portcullis ") + PORTCULLIS_VERSION);
    int status = exit_ok;
    add_serve(root, status);
    add_call(root, status);
    add_breakers(root, status);
    add_check_config(root, status);
    add_token(root, status);
    add_keys(root, status);
    add_bench(root, status);
    add_version(root, status);
    add_completion(root, status);
    add_docs(root, status);
    try {
      root.parse(argc, argv);
    } catch (const CLI::ParseError& failed) {
      const std::string_view first = argc > 1 && argv[1][0] != '\0' ? argv[1] : "-";
      const auto named = [first](const CLI::App* each) { return each->get_name() == first; };
      if (first[0] != '-' && root.get_subcommands(named).empty()) {
        std::fprintf(stderr, "portcullis: there is no subcommand %s; see portcullis --help\n",
                     argv[1]);
        return exit_usage;
      }
      return root.exit(failed) == 0 ? exit_ok : exit_usage;
    }
    return status;
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "portcullis: %s\n", failed.what());
    return exit_failed;
  }
}
