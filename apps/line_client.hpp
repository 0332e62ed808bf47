// A blocking connection that speaks lines, for commands that ask a server a question or two.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "apps/stream.hpp"

namespace portcullis::apps {

class line_client {
 public:
  /// `timeout` holds for connecting and for each line.
  explicit line_client(std::chrono::milliseconds timeout) : timeout_(timeout) {}

  [[nodiscard]] bool connect(const connector& to);
  /// Sends all of `text`. False when the connection is gone or the timeout has passed.
  [[nodiscard]] bool send(std::string_view text);
  /// The next line without its LF. Nothing when the connection ends, the timeout passes, or a line
  /// is over 16 MiB.
  [[nodiscard]] std::optional<std::string> receive();
  /// The same, however long it takes.
  [[nodiscard]] std::optional<std::string> receive_whenever();
  /// Whether receive() has a line without waiting for the server.
  [[nodiscard]] bool has_line() const noexcept { return received_.find('\n') != std::string::npos; }
  /// Takes what the server has sent, without waiting. False when the connection is over and
  /// receive() has nothing either. Not every byte of TLS is one of a line: what came may be none.
  [[nodiscard]] bool take_what_came();
  /// Whether receive() has at least the beginning of a line.
  [[nodiscard]] bool has_begun() const noexcept { return !received_.empty(); }
  /// For poll(); -1 without a connection.
  [[nodiscard]] int descriptor() const noexcept { return peer_ ? peer_->descriptor() : -1; }
  /// Why the last call failed.
  [[nodiscard]] const std::string& why() const noexcept { return why_; }
  /// Gives the connection away; what was received and not read is lost.
  [[nodiscard]] stream release() noexcept;

 private:
  std::chrono::milliseconds timeout_;
  std::optional<stream> peer_;
  std::string received_, why_;
};

/// The token in a file: its first line. Nothing, and `why`, when it cannot be read or that line has
/// not the form of a token.
[[nodiscard]] std::optional<std::string> read_token(const std::string& file, std::string& why);

/// An auth.login request as a line.
[[nodiscard]] std::string login_line(std::string_view token);

}  // namespace portcullis::apps
