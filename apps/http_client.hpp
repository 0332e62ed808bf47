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

struct http_reply {
  int status = 0;
  std::string body;
};

/// A server's refusal as a sentence: its error object's message and name where it is one.
[[nodiscard]] std::string refusal_text(const http_reply& reply);

/// Not thread-safe.
class http_client {
 public:
  /// Reads the token file. Nothing, and `why`, when a file or option cannot be used.
  [[nodiscard]] static std::optional<http_client> make(const server_options& given,
                                                       std::string& why);
  /// GET, or POST of a JSON `body` that is not empty, over a connection of its own. Nothing, and
  /// `why`, without a whole answer within the timeout, of which connecting is a part, or when it is
  /// no HTTP or over 64 MiB. A status that is no success is a reply.
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
