// `portcullis call`: one request, its answer on standard output.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.hpp"
#include "apps/rpc_client.hpp"

namespace portcullis::apps {
namespace {

struct call_options {
  server_options server;
  std::string method, params;
};

int run_call(call_options given) {
  if (given.params == "-") given.params.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (given.params.find_first_not_of(" \t\r\n") == std::string::npos) given.params = "{}";
  if (!nlohmann::json::accept(given.params)) {
    fmt::print(stderr, "portcullis: the parameters are not JSON\n");
    return exit_usage;
  }
  rpc_client server(given.server);
  if (const int failed = server.open(); failed >= 0) return failed;
  std::string result;
  if (const int failed = server.call(given.method, given.params, result); failed >= 0)
    return failed;
  print_json(result);
  return exit_ok;
}

}  // namespace

void add_call(CLI::App& root, int& status) {
  auto given = std::make_shared<call_options>();
  auto* command =
      root.add_subcommand("call",
                          "Call a method and print its result or error as JSON; exit 1 "
                          "on an error, 2 when there is no answer, 64 when it cannot be asked");
  add_server_options(*command, given->server);
  command->add_option("METHOD", given->method, "Such as server.info")->required();
  command->add_option("JSON", given->params, "The parameters; - reads standard input");
  command->callback([given, &status] { status = run_call(*given); });
}

}  // namespace portcullis::apps
