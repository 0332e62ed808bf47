// One HTTP request after the other to a node's own HTTP door, for commands; no client for the web.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "apps/rpc_client.hpp"

namespace portcullis::apps {

/// As server_options, for HTTP: --http in the place of --address.
void add_http_options(CLI::App& command, server_options& given);

/// `status`: of HTTP (RFC 9110, 15).
struct http_reply {
  int status = 0;
  std::string body;
};

/// A server's refusal as a sentence in printable ASCII: message and name of its error object, or of
/// that of JSON-RPC (which has status 200), where it is one.
[[nodiscard]] std::string refusal_text(const http_reply& reply);
/// The status that says what kind of refusal it is: that of an error of JSON-RPC by its code, else
/// the reply's own. 200: it is none.
[[nodiscard]] int refusal_status(const http_reply& reply);

/// Not thread-safe.
class http_client {
 public:
  /// Reads the token file. Nothing, and `why`, when a file or option cannot be used, or the address
  /// is none.
  [[nodiscard]] static std::optional<http_client> make(const server_options& given,
                                                       std::string& why);
  /// What connections are made with, from the files as they are now. Nothing, and `why`, when one
  /// cannot be used.
  [[nodiscard]] std::optional<connector> prepare(std::string& why) const;
  /// GET, or POST of a JSON `body` that is not empty, over a connection of its own. Nothing, and
  /// `why`, without a whole answer before `deadline`, or when it is no HTTP or over 64 MiB.
  /// Resolving a name is not bounded. A status that is no success is a reply.
  [[nodiscard]] std::optional<http_reply> ask(const connector& way,
                                              stream::clock::time_point deadline,
                                              std::string_view path, std::string_view body,
                                              std::string& why) const;
  /// The same within the timeout, with certificates read anew.
  [[nodiscard]] std::optional<http_reply> ask(std::string_view path, std::string_view body,
                                              std::string& why) const;
  /// Where it asks, as the user named it.
  [[nodiscard]] const std::string& address() const noexcept { return given_.address; }

 private:
  explicit http_client(const server_options& given) : given_(given) {}
  server_options given_;
  std::optional<std::string> token_;
};

}  // namespace portcullis::apps
