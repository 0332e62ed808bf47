// The one binary. All that it does is in the subcommands.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

#include "apps/commands.hpp"
#include "apps/malloc_settings.hpp"
#include "apps/metrics_page/findings.hpp"
#include "apps/standard_streams.hpp"

namespace {

/// The first word that stands where a subcommand has to and is none, with those before it; empty:
/// there is none.
std::string unknown_subcommand(const CLI::App& root, int argc, char** argv) {
  const CLI::App* app = &root;
  std::string words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto all = app->get_subcommands([](const CLI::App*) { return true; });
    if (all.empty() || word.empty() || word[0] == '-') return {};
    words += (words.empty() ? "" : " ") + word;
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const CLI::App* each) { return each->get_name() == word; });
    if (found == all.end()) return words;
    app = *found;
  }
  return {};
}

/// `--tenant ""` is what a shell makes of a variable that is not set: taken for no value, it would
/// have asked for everything.
void refuse_empty_values(CLI::App& app) {
  for (auto* option : app.get_options([](CLI::Option*) { return true; }))
    if (option->get_items_expected_max() > 0)
      option->check(CLI::Validator(
          [](const std::string& value) {
            return std::string(value.empty() ? "its value is empty" : "");
          },
          ""));
  for (auto* each : app.get_subcommands([](CLI::App*) { return true; })) refuse_empty_values(*each);
}

/// `--tenant=`, which CLI11 gives the next word for a value; empty: there is none.
std::string option_without_value(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") break;
    if (word.starts_with("--") && word.find('=') == word.size() - 1)
      return std::string(word.substr(0, word.size() - 1));
  }
  return {};
}

/// A monitoring system reads standard output, and takes 64 for nothing that it knows.
bool is_check(int argc, char** argv) { return argc > 1 && argv[1] == std::string_view("check"); }

/// The line of a check that could not judge.
int check_failed(const std::string& why) {
  using namespace portcullis::apps;
  std::fputs(plugin_output({{verdict::unknown, "check", why, ""}}).c_str(), stdout);
  return exit_check_unknown;
}

/// Last of a check: its status, unless the line did not arrive. Nobody having read it (EPIPE) is no
/// excuse here: what follows from the status alone would follow from nothing.
int finish_check(int status) noexcept {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "portcullis: standard output could not be written to\n");
  return portcullis::apps::exit_check_unknown;
}

int wrong_usage(int argc, char** argv, const std::string& why) {
  if (is_check(argc, argv)) {
    return check_failed(why);
  }
  std::fprintf(stderr, "portcullis: %s\n", why.c_str());
  return portcullis::apps::exit_usage;
}

int run(int argc, char** argv) {
  using namespace portcullis::apps;
  CLI::App root("Session validation, lockouts and circuit breakers, as a server", "portcullis");
  root.require_subcommand(1);
  root.set_version_flag("--version", std::string("portcullis ") + PORTCULLIS_VERSION);
  int status = exit_ok;
  add_serve(root, status);
  add_top(root, status);
  add_check(root, status);
  add_call(root, status);
  add_breakers(root, status);
  add_events(root, status);
  add_check_config(root, status);
  add_token(root, status);
  add_keys(root, status);
  add_certs(root, status);
  add_replay(root, status);
  add_state(root, status);
  add_explain(root, status);
  add_forget(root, status);
  add_nodes(root, status);
  add_migrate(root, status);
  add_checkpoint(root, status);
  add_verify(root, status);
  add_what_if(root, status);
  add_bench(root, status);
  add_version(root, status);
  add_completion(root, status);
  add_docs(root, status);
  refuse_empty_values(root);
  if (const auto wrong = option_without_value(argc, argv); !wrong.empty())
    return wrong_usage(argc, argv, wrong + ": its value is empty");
  try {
    root.parse(argc, argv);
  } catch (const CLI::ParseError& failed) {
    if (const auto wrong = unknown_subcommand(root, argc, argv); !wrong.empty())
      return wrong_usage(argc, argv, "there is no subcommand " + wrong + "; see portcullis --help");
    if (is_check(argc, argv) && failed.get_exit_code() != 0)
      return wrong_usage(argc, argv, failed.what());
    return root.exit(failed) == 0 ? exit_ok : exit_usage;
  }
  return status;
}

/// A check ends with a line and a status from 0 to 3 whatever happens in it.
int run_check(int argc, char** argv) {
  try {
    return finish_check(run(argc, argv));
  } catch (const std::exception& failed) {
    // What fmt::print throws when the line cannot be written leaves nothing to be said there.
    if (std::ferror(stdout) == 0) check_failed(failed.what());
    return finish_check(portcullis::apps::exit_check_unknown);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace portcullis::apps;
  occupy_standard_descriptors();
  if (argc > 1 && std::string_view(argv[1]) == "serve") restart_with_malloc_settings(argv);
  std::signal(SIGPIPE, SIG_IGN);
  if (is_check(argc, argv)) return run_check(argc, argv);
  try {
    return finish_output(run(argc, argv));
  } catch (const std::system_error& failed) {
    // What fmt::print throws when the buffer is full and cannot be written out.
    if (std::ferror(stdout) != 0) return output_failed(exit_ok, failed.code().value());
    std::fprintf(stderr, "portcullis: %s\n", failed.what());
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "portcullis: %s\n", failed.what());
  }
  return exit_failed;
}
