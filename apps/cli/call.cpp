// `portcullis call`: one request, its answer on standard output.
#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.hpp"
#include "apps/line_client.hpp"
#include "core/bytes.hpp"

namespace portcullis::apps {
namespace {

struct call_options {
  std::string address = "127.0.0.1:7420";
  std::string token_file, method, params;
  double timeout_s = 10;
};

/// Prints the outcome: as it came in a pipe, indented on a terminal.
void print_outcome(std::string_view json) {
  if (isatty(STDOUT_FILENO) == 0) {
    fmt::print("{}\n", json);
    return;
  }
  const auto value = nlohmann::ordered_json::parse(json, nullptr, false);
  fmt::print("{}\n", value.is_discarded() ? std::string(json) : value.dump(2));
}

struct outcome {
  bool usable = false, error = false;
  std::string json;
};

/// Takes `result` or `error` out of a reply, byte for byte.
outcome outcome_of(const std::string& line) {
  simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(line);
  for (const char* member : {"result", "error"}) {
    simdjson::ondemand::document document;
    if (parser.iterate(padded).get(document) != simdjson::SUCCESS) return {};
    simdjson::ondemand::object object;
    std::string_view raw;
    if (document.find_field_unordered(member).get_object().get(object) != simdjson::SUCCESS)
      continue;
    if (object.raw_json().get(raw) != simdjson::SUCCESS) continue;
    return {true, member == std::string_view("error"), std::string(raw)};
  }
  return {};
}

int unreachable(const call_options& given, std::string_view why) {
  fmt::print(stderr, "portcullis: {}: {}\n", given.address, why);
  return exit_unreachable;
}

/// Sends a line, prints what is not a success; -1 when it is one.
int exchange(const call_options& given, line_client& server, std::string_view line, outcome& got) {
  if (!server.send(line)) return unreachable(given, server.why());
  const auto reply = server.receive();
  if (!reply) return unreachable(given, server.why());
  got = outcome_of(*reply);
  if (!got.usable) return unreachable(given, "the answer is not a JSON-RPC reply");
  if (!got.error) return -1;
  print_outcome(got.json);
  return exit_failed;
}

int run_call(call_options given) {
  if (given.params == "-") given.params.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (given.params.find_first_not_of(" \t\r\n") == std::string::npos) given.params = "{}";
  if (!nlohmann::json::accept(given.params)) {
    fmt::print(stderr, "portcullis: the parameters are not JSON\n");
    return exit_usage;
  }
  line_client server(std::chrono::milliseconds(static_cast<std::int64_t>(given.timeout_s * 1000)));
  std::optional<std::string> token;
  if (!given.token_file.empty()) {
    std::string why;
    token = read_token(given.token_file, why);
    if (!token) {
      fmt::print(stderr, "portcullis: {}\n", why);
      return exit_usage;
    }
  }
  if (!server.connect(given.address)) return unreachable(given, server.why());
  outcome got;
  if (token)
    if (const int failed = exchange(given, server, login_line(*token), got); failed >= 0)
      return failed;
  core::byte_buffer line;
  line.append(R"({"jsonrpc":"2.0","id":1,"method":)");
  core::append_json_string(line, given.method);
  line.append(R"(,"params":)");
  line.append(given.params);
  line.append("}\n");
  if (const int failed = exchange(given, server, line.view(), got); failed >= 0) return failed;
  print_outcome(got.json);
  return exit_ok;
}

}  // namespace

void add_call(CLI::App& root, int& status) {
  auto given = std::make_shared<call_options>();
  auto* command =
      root.add_subcommand("call",
                          "Call a method and print its result or error as JSON; exit 1 "
                          "on an error, 2 when there is no answer, 64 when it cannot be asked");
  command->add_option("--address", given->address, "The server")
      ->type_name("ADDRESS:PORT")
      ->capture_default_str();
  command->add_option("--token-file", given->token_file, "Log in with the token in this file")
      ->type_name("FILE");
  command
      ->add_option("--timeout", given->timeout_s,
                   "Seconds to wait for the connection and for each answer")
      ->type_name("S")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  command->add_option("METHOD", given->method, "Such as server.info")->required();
  command->add_option("JSON", given->params, "The parameters; - reads standard input");
  command->callback([given, &status] { status = run_call(*given); });
}

}  // namespace portcullis::apps
