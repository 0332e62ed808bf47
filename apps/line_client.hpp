// A blocking connection that speaks lines, for commands that ask a server a question or two.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace portcullis::apps {

/// Connects to `address` (host:port, or [v6]:port; names are resolved). The descriptor, blocking,
/// with TCP_NODELAY; -1 and `why` when there is no connection within `timeout`.
[[nodiscard]] int connect_to(const std::string& address, std::chrono::milliseconds timeout,
                             std::string& why);

class line_client {
 public:
  /// `timeout` holds for connecting and for each line.
  explicit line_client(std::chrono::milliseconds timeout) : timeout_(timeout) {}
  ~line_client();
  line_client(const line_client&) = delete;
  line_client& operator=(const line_client&) = delete;

  [[nodiscard]] bool connect(const std::string& address);
  /// Sends all of `text`. False when the connection is gone or the timeout has passed.
  [[nodiscard]] bool send(std::string_view text);
  /// The next line without its LF. Nothing when the connection ends, the timeout passes, or a line
  /// is over 16 MiB.
  [[nodiscard]] std::optional<std::string> receive();
  /// The same, however long it takes.
  [[nodiscard]] std::optional<std::string> receive_whenever();
  /// Whether receive() has a line without waiting for the server.
  [[nodiscard]] bool has_line() const noexcept { return received_.find('\n') != std::string::npos; }
  /// For poll(); -1 without a connection.
  [[nodiscard]] int descriptor() const noexcept { return fd_; }
  /// Why the last call failed.
  [[nodiscard]] const std::string& why() const noexcept { return why_; }
  /// Gives the descriptor away; what was received and not read is lost.
  [[nodiscard]] int release() noexcept;

 private:
  [[nodiscard]] bool wait_for(short events, std::chrono::steady_clock::time_point deadline);
  std::chrono::milliseconds timeout_;
  int fd_ = -1;
  std::string received_, why_;
};

/// The token in a file: its first line. Nothing, and `why`, when it cannot be read or that line has
/// not the form of a token.
[[nodiscard]] std::optional<std::string> read_token(const std::string& file, std::string& why);

/// An auth.login request as a line.
[[nodiscard]] std::string login_line(std::string_view token);

}  // namespace portcullis::apps
