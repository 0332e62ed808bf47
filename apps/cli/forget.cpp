// `portcullis forget`: what the log has of a person is opened by nobody any more.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.hpp"
#include "apps/log/forget.hpp"
#include "apps/rpc_client.hpp"
#include "core/contract/texts.hpp"
#include "core/limits.hpp"

namespace portcullis::apps {
namespace {

struct forget_options {
  server_options server;
  log_place_options place;
  forget_order order;
};

int run_forget(const forget_options& given) {
  bool forgotten = false;
  const auto fits = [](const std::string& text, std::size_t most) {
    return !text.empty() && text.size() <= most && core::is_identifier_text(text);
  };
  if (!fits(given.order.tenant_id, core::limits::tenant_id_bytes_max) ||
      !fits(given.order.user_id, core::limits::user_id_bytes_max) ||
      !fits(given.order.reason, core::limits::reason_bytes_max)) {
    fmt::print(stderr,
               "portcullis: --tenant takes 1 to 128 bytes, --user and --reason 1 to 256, UTF-8 "
               "without controls\n");
    return exit_usage;
  }
  if (!given.place.data_dir.empty()) {
    if (const int failed = forget_in(given.place, given.order, forgotten); failed >= 0)
      return failed;
  } else {
    rpc_client server(given.server);
    if (const int failed = server.open(); failed >= 0) return failed;
    const nlohmann::json params = {{"tenant_id", given.order.tenant_id},
                                   {"user_id", given.order.user_id},
                                   {"reason", given.order.reason}};
    std::string result;
    if (const int failed = server.call("admin.forget", params.dump(), result); failed >= 0)
      return failed;
    forgotten = nlohmann::json::parse(result).value("forgotten", false);
  }
  fmt::print("{{\"forgotten\":{}}}\n", forgotten);
  if (!forgotten) return complain("there is no such user, or it was forgotten already");
  return exit_ok;
}

}  // namespace

void add_forget(CLI::App& root, int& status) {
  auto given = std::make_shared<forget_options>();
  auto* command = root.add_subcommand(
      "forget",
      "Revoke all sessions of a user and destroy the key that opens what the log has of "
      "the person; exit 1 where there is no such user. On a running node, or with "
      "--data-dir on a stopped one");
  add_server_options(*command, given->server);
  add_log_place(*command, given->place, false);
  // What is meant for one of the two would be ignored with the other, and another user forgotten.
  auto* folder = command->get_option("--data-dir");
  for (const char* each : {"--keys-file", "--config"}) command->get_option(each)->needs(folder);
  for (const char* each : {"--address", "--tls", "--ca", "--cert", "--key", "--server-name",
                           "--token-file", "--timeout"})
    folder->excludes(command->get_option(each));
  command->add_option("--tenant", given->order.tenant_id, "The user's tenant")->required();
  command->add_option("--user", given->order.user_id, "The user's id")->required();
  command->add_option("--reason", given->order.reason, "Why; stays in the log")->required();
  command->callback([given, &status] { status = run_forget(*given); });
}

}  // namespace portcullis::apps
