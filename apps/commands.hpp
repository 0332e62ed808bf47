// The subcommands of the one binary: each file in cli/ adds one to the tree, main() runs the tree.
#pragma once
#include <functional>
#include <string_view>

namespace CLI {
class App;
}

namespace portcullis::apps {

/// Exit statuses, over what a subcommand says of its own.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_unreachable = 2;
inline constexpr int exit_usage = 64;
/// Of `check`, which speaks the language of monitoring plugins (0 to 3): it could not judge. In
/// the place of exit_usage there.
inline constexpr int exit_check_unknown = 3;

/// Each adds its subcommand to `root`; when the subcommand is run it stores the exit status in
/// `status`.
void add_serve(CLI::App& root, int& status);
void add_call(CLI::App& root, int& status);
void add_check_config(CLI::App& root, int& status);
void add_version(CLI::App& root, int& status);
void add_completion(CLI::App& root, int& status);
void add_token(CLI::App& root, int& status);
void add_keys(CLI::App& root, int& status);
void add_certs(CLI::App& root, int& status);
void add_docs(CLI::App& root, int& status);
void add_breakers(CLI::App& root, int& status);
void add_events(CLI::App& root, int& status);
void add_replay(CLI::App& root, int& status);
void add_forget(CLI::App& root, int& status);
void add_nodes(CLI::App& root, int& status);
void add_migrate(CLI::App& root, int& status);
void add_checkpoint(CLI::App& root, int& status);
void add_state(CLI::App& root, int& status);
void add_explain(CLI::App& root, int& status);
void add_verify(CLI::App& root, int& status);
void add_what_if(CLI::App& root, int& status);
void add_bench(CLI::App& root, int& status);
void add_top(CLI::App& root, int& status);
void add_check(CLI::App& root, int& status);

}  // namespace portcullis::apps
