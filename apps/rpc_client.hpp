// Asking a server, for commands: connecting, logging in, one call after the other.
#pragma once
#include <string>
#include <string_view>

#include "apps/line_client.hpp"

namespace CLI {
class App;
}

namespace portcullis::apps {

/// `timeout_s`: for connecting and for each answer, but where a command says otherwise.
struct server_options : connect_options {
  std::string token_file;
  double timeout_s = 10;
};
inline constexpr const char* rpc_address_help =
    "The server: ADDRESS:PORT, tls://ADDRESS:PORT or unix:PATH";
/// --address and the options of TLS, into `given`, which must outlive the parsing. `option`: under
/// what name the address is given.
void add_connect_options(CLI::App& command, connect_options& given,
                         const char* option = "--address", const char* help = rpc_address_help);
/// These, --token-file and --timeout, into `given`, which must outlive the parsing.
void add_server_options(CLI::App& command, server_options& given, const char* option = "--address",
                        const char* help = rpc_address_help);

/// Prints JSON: as it came in a pipe, indented on a terminal.
void print_json(std::string_view json);

/// How an error reply is told: the JSON object on standard output, or a sentence with what can be
/// done about it on standard error.
enum class error_form { json, sentence };
/// Tells `json`, the error object of a reply. As a sentence it is printable ASCII.
void print_error(const std::string& json, error_form form);

/// Each call answers -1 when it went well; otherwise it has told why (an error reply in the
/// form asked for, what else went wrong on standard error) and answers the exit status.
class rpc_client {
 public:
  /// `given` must outlive it.
  explicit rpc_client(const server_options& given, error_form errors = error_form::json);
  /// Connects, and logs in where there is a token file.
  [[nodiscard]] int open();
  /// `params`: a JSON object. `result`: the reply's, byte for byte.
  [[nodiscard]] int call(std::string_view method, std::string_view params, std::string& result);
  /// The next line that the server sends by itself; waits as long as it takes.
  [[nodiscard]] int wait(std::string& line);

 private:
  [[nodiscard]] int exchange(std::string_view line, std::string& result);
  [[nodiscard]] int unreachable(std::string_view why) const;
  const server_options& given_;
  error_form errors_;
  line_client server_;
};

}  // namespace portcullis::apps
