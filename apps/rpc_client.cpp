#include "apps/rpc_client.hpp"

#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "apps/commands.hpp"
#include "apps/metrics_page/shown.hpp"
#include "core/bytes.hpp"
#include "core/error/catalogue.hpp"

namespace portcullis::apps {
namespace {

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

}  // namespace

void add_connect_options(CLI::App& command, connect_options& given, const char* option,
                         const char* help) {
  command.add_option(option, given.address, help)->type_name("ADDRESS")->capture_default_str();
  command.add_flag("--tls", given.tls, "Over TLS, as an address that begins with tls://");
  command
      .add_option("--ca", given.ca_file,
                  "The authorities that may have signed the server's certificate, PEM (default: "
                  "those that the system trusts)")
      ->type_name("FILE");
  auto* certificate = command.add_option("--cert", given.certificate_file,
                                         "The client's certificate, PEM, its chain after it");
  auto* key = command.add_option("--key", given.key_file, "The private key of --cert, PEM");
  certificate->type_name("FILE")->needs(key);
  key->type_name("FILE")->needs(certificate);
  command
      .add_option("--server-name", given.server_name,
                  "Whom the server's certificate is for, where that is not the address's host")
      ->type_name("NAME");
}

void add_server_options(CLI::App& command, server_options& given, const char* option,
                        const char* help) {
  add_connect_options(command, given, option, help);
  command.add_option("--token-file", given.token_file, "Log in with the token in this file")
      ->type_name("FILE");
  command
      .add_option("--timeout", given.timeout_s,
                  "Seconds to wait for the connection and for each answer")
      ->type_name("S")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
}

void print_json(std::string_view json) {
  if (isatty(STDOUT_FILENO) == 0) {
    fmt::print("{}\n", json);
    return;
  }
  const auto value = nlohmann::ordered_json::parse(json, nullptr, false);
  fmt::print("{}\n", value.is_discarded() ? std::string(json) : value.dump(2));
}

void print_error(const std::string& json, error_form form) {
  const auto error = nlohmann::json::parse(json, nullptr, false);
  if (form == error_form::json || !error.is_object()) return print_json(json);
  const auto data = error.value("data", nlohmann::json::object());
  const auto name = data.value("error", "");
  auto text = plain_text(fmt::format("{} ({})", error.value("message", ""), name));
  const auto details = data.value("details", nlohmann::json::object());
  for (const auto& [key, value] : details.items()) {
    // An id of the user's is still known with the escapes of JSON, and moves no cursor.
    auto shown = plain_text(value.dump(-1, ' ', true));
    if (value.is_string()) shown = shown.substr(1, shown.size() - 2);
    text += fmt::format(", {}: {}", plain_text(key), shown);
  }
  if (const auto code = core::error_from_wire(error.value("code", 0)))
    text += *code == core::error_code::AUTH_REQUIRED
                ? "\nGive --token-file with a file that holds a token of the server's."
                : fmt::format("\n{}", core::describe(*code).remedy);
  fmt::print(stderr, "portcullis: {}\n", text);
}

rpc_client::rpc_client(const server_options& given, error_form errors)
    : given_(given),
      errors_(errors),
      server_(std::chrono::milliseconds(static_cast<std::int64_t>(given.timeout_s * 1000))) {}

int rpc_client::unreachable(std::string_view why) const {
  fmt::print(stderr, "portcullis: {}: {}\n", given_.address, why);
  return exit_unreachable;
}

int rpc_client::open() {
  std::optional<std::string> token;
  if (!given_.token_file.empty()) {
    std::string why;
    token = read_token(given_.token_file, why);
    if (!token) {
      fmt::print(stderr, "portcullis: {}\n", why);
      return exit_usage;
    }
  }
  std::string why;
  const auto way = connector::make(given_, why);
  if (!way) {
    fmt::print(stderr, "portcullis: {}\n", why);
    return exit_usage;
  }
  if (!server_.connect(*way)) return unreachable(server_.why());
  std::string result;
  return token ? exchange(login_line(*token), result) : -1;
}

int rpc_client::exchange(std::string_view line, std::string& result) {
  if (!server_.send(line)) return unreachable(server_.why());
  const auto reply = server_.receive();
  if (!reply) return unreachable(server_.why());
  auto got = outcome_of(*reply);
  if (!got.usable) return unreachable("the answer is not a JSON-RPC reply");
  if (got.error) {
    print_error(got.json, errors_);
    return exit_failed;
  }
  result = std::move(got.json);
  return -1;
}

int rpc_client::call(std::string_view method, std::string_view params, std::string& result) {
  core::byte_buffer line;
  line.append(R"({"jsonrpc":"2.0","id":1,"method":)");
  core::append_json_string(line, method);
  line.append(R"(,"params":)");
  line.append(params);
  line.append("}\n");
  return exchange(line.view(), result);
}

int rpc_client::wait(std::string& line) {
  auto next = server_.receive_whenever();
  if (!next) return unreachable(server_.why());
  line = std::move(*next);
  return -1;
}

}  // namespace portcullis::apps
